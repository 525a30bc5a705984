// Metrics of a classifier with 95 % intervals: those of `pepr_edge.scoring`, from resamples that are drawn
// here, so that an interval from a bootstrap may differ from that of `pepr-edge evaluate` in its last digits.

import { Z_95, exactInterval, generator, quantile, resampler, wilson } from "./intervals.mjs";

/** @typedef {{logits: number[][], labels: number[], decisions: number[], positive: number | null,
 *   temperature: number}} Data `decisions` by the stored rule; `positive` of two classes */
/** @typedef {{value: number, low: number, high: number, n: number}} Estimate */
/** @typedef {(weights: ArrayLike<number>) => number} Weighted a metric of images that count several times */

const LEVEL = 0.9;
const BINS = 15;
// These depend on the shares of the classes: their resamples are drawn from all images.
const OF_SHARES = ["accuracy", "f1", "expected_calibration_error", "cohen_kappa"];

/**
 * Return all metrics by name; one that is not defined on these images is left out.
 * @param {Data} data
 * @returns {Record<string, Estimate>}
 */
export function allFigures(data) {
  const { logits, labels, temperature } = data;
  const draw = resampler(labels);
  /** @type {Record<string, Estimate>} */
  const figures = {};
  for (const [name, weighted] of Object.entries(metricsOf(data))) {
    const value = weighted(once(labels.length));
    if (Number.isFinite(value)) {
      const [low, high] = interval(name, weighted, value, data, draw);
      figures[name] = { value, low: Math.min(low, value), high: Math.max(high, value), n: labels.length };
    }
  }
  Object.assign(figures, sharesAtDecision(data));
  const after = logits.map((row) => row.map((logit) => logit / temperature));
  const error = calibrationEstimate({ ...data, logits: after }, draw(false));
  if (error !== null) {
    figures.calibrated_expected_calibration_error = error;
  }
  return figures;
}

/**
 * @param {number} n
 * @returns {Uint16Array}
 */
function once(n) {
  return new Uint16Array(n).fill(1);
}

/**
 * @param {Data} data
 * @returns {Record<string, Weighted>}
 */
function metricsOf(data) {
  const { logits, labels } = data;
  const classes = logits[0].length;
  const positive = data.positive ?? 1;
  const highest = logits.map(indexOfHighest);
  /** @type {(formula: (table: number[][]) => number) => Weighted} */
  const fromTable = (formula) => (weights) => formula(table(labels, highest, weights, classes));
  const curves = classes === 2 ? [positive] : [...Array(classes).keys()];
  const rocs = curves.map((label) => rocOf(logits.map((row) => logOdds(row, label)), labels, label));
  /** @type {(formula: (roc: Roc, weights: ArrayLike<number>) => number) => Weighted} */
  const fromRoc = (formula) => (weights) => meanDefined(rocs.map((roc) => formula(roc, weights)));
  return {
    accuracy: fromTable((cells) => sum(diagonal(cells)) / sum(cells.map(sum))),
    balanced_accuracy: fromTable((cells) => meanDefined(cells.map((row, label) => row[label] / sum(row)))),
    auroc: fromRoc(area),
    f1: fromTable((cells) => f1(cells, classes === 2 ? positive : null)),
    sensitivity_at_specificity: fromRoc(sensitivityAt),
    specificity_at_sensitivity: fromRoc(specificityAt),
    expected_calibration_error: calibrationError(logits, labels),
    cohen_kappa: fromTable(kappa),
  };
}

/**
 * @param {number[]} row
 * @returns {number}
 */
function indexOfHighest(row) {
  return row.indexOf(Math.max(...row));
}

/**
 * @param {ArrayLike<number>} values
 * @returns {number}
 */
function sum(values) {
  let total = 0;
  for (let index = 0; index < values.length; index += 1) {
    total += values[index];
  }
  return total;
}

/**
 * Return the mean of the values that are defined; NaN if none is.
 * @param {number[]} values
 * @returns {number}
 */
function meanDefined(values) {
  const defined = values.filter(Number.isFinite);
  return sum(defined) / defined.length;
}

/**
 * Return the number of images by true class (rows) and decision (columns).
 * @param {number[]} labels
 * @param {number[]} decisions
 * @param {ArrayLike<number>} weights
 * @param {number} classes
 * @returns {number[][]}
 */
export function table(labels, decisions, weights, classes) {
  const cells = Array.from({ length: classes }, () => new Array(classes).fill(0));
  labels.forEach((label, index) => {
    cells[label][decisions[index]] += weights[index];
  });
  return cells;
}

/**
 * @param {number[][]} cells
 * @returns {number[]}
 */
function diagonal(cells) {
  return cells.map((row, index) => row[index]);
}

/**
 * @param {number[][]} cells
 * @param {number} label
 * @returns {number}
 */
function column(cells, label) {
  return sum(cells.map((row) => row[label]));
}

/**
 * @param {number[][]} cells
 * @param {number | null} positive of two classes; null: the mean over the classes
 * @returns {number}
 */
function f1(cells, positive) {
  const byClass = cells.map((row, label) => (2 * row[label]) / (sum(row) + column(cells, label)));
  return positive === null ? meanDefined(byClass) : byClass[positive];
}

/**
 * @param {number[][]} cells
 * @returns {number}
 */
function kappa(cells) {
  const n = sum(cells.map(sum));
  const byChance = sum(cells.map((row, label) => sum(row) * column(cells, label)));
  const possible = n * n - byChance;
  return possible > 0 ? (n * sum(diagonal(cells)) - byChance) / possible : NaN;
}

/**
 * Return log p - log(1 - p) of one class.
 * @param {number[]} row
 * @param {number} label
 * @returns {number}
 */
function logOdds(row, label) {
  const others = row.filter((_, index) => index !== label).sort((a, b) => a - b);
  const highest = others[others.length - 1];
  return row[label] - highest - Math.log(sum(others.map((other) => Math.exp(other - highest))));
}

/** @typedef {{positives: number[], negatives: number[]}[]} Roc images of equal score, by descending score */

/**
 * @param {number[]} scores
 * @param {number[]} labels
 * @param {number} positive
 * @returns {Roc}
 */
function rocOf(scores, labels, positive) {
  const order = scores.map((_, index) => index).sort((a, b) => scores[b] - scores[a]);
  /** @type {Roc} */
  const groups = [];
  order.forEach((image, rank) => {
    if (rank === 0 || scores[image] !== scores[order[rank - 1]]) {
      groups.push({ positives: [], negatives: [] });
    }
    const group = groups[groups.length - 1];
    (labels[image] === positive ? group.positives : group.negatives).push(image);
  });
  return groups;
}

/**
 * Return the weights of the positives and of the negatives of each group, and their sums.
 * @param {Roc} roc
 * @param {ArrayLike<number>} weights
 */
function weighed(roc, weights) {
  /** @type {(images: number[]) => number} */
  const weight = (images) => images.reduce((total, image) => total + weights[image], 0);
  const groups = roc.map(({ positives, negatives }) => [weight(positives), weight(negatives)]);
  return { groups, all: sum(groups.map(([p]) => p)), none: sum(groups.map(([, n]) => n)) };
}

/**
 * @param {Roc} roc
 * @param {ArrayLike<number>} weights
 * @returns {number}
 */
function area(roc, weights) {
  const { groups, all, none } = weighed(roc, weights);
  let above = 0;
  let pairs = 0;
  for (const [positives, negatives] of groups) {
    pairs += negatives * (2 * above + positives);
    above += positives;
  }
  return pairs / (2 * all * none);
}

/**
 * @param {Roc} roc
 * @param {ArrayLike<number>} weights
 * @returns {number}
 */
function sensitivityAt(roc, weights) {
  const { groups, all, none } = weighed(roc, weights);
  let above = 0;
  let alarms = 0;
  for (const [positives, negatives] of groups) {
    alarms += negatives;
    if (negatives > 0 && (none - alarms) / none < LEVEL) {
      break;
    }
    above += positives;
  }
  return none > 0 ? above / all : NaN;
}

/**
 * @param {Roc} roc
 * @param {ArrayLike<number>} weights
 * @returns {number}
 */
function specificityAt(roc, weights) {
  const { groups, all, none } = weighed(roc, weights);
  let found = 0;
  let alarms = 0;
  for (const [positives, negatives] of groups) {
    found += positives;
    alarms += negatives;
    if (positives > 0 && found / all >= LEVEL) {
      break;
    }
  }
  return all > 0 ? (none - alarms) / none : NaN;
}

/**
 * Return the bin of each image by the probability of its class, that probability, and by how much it misses.
 * @param {number[][]} logits
 * @param {number[]} labels
 */
function gapsOf(logits, labels) {
  return logits.map((row, index) => {
    const best = indexOfHighest(row);
    const shares = row.map((logit) => Math.exp(logit - row[best]));
    const probability = shares[best] / sum(shares);
    let bin = 0;
    while (bin < BINS - 1 && (bin + 1) / BINS < probability) {
      bin += 1;
    }
    return { bin, probability, gap: Number(best === labels[index]) - probability };
  });
}

/**
 * @param {number[][]} logits
 * @param {number[]} labels
 * @returns {Weighted}
 */
function calibrationError(logits, labels) {
  const gaps = gapsOf(logits, labels);
  return (weights) => {
    const byBin = new Float64Array(BINS);
    gaps.forEach(({ bin, gap }, index) => {
      byBin[bin] += weights[index] * gap;
    });
    return sum(byBin.map(Math.abs)) / sum(weights);
  };
}

/**
 * @param {Data} data
 * @param {Uint16Array[]} counts resamples
 * @returns {Estimate | null}
 */
function calibrationEstimate({ logits, labels }, counts) {
  const weighted = calibrationError(logits, labels);
  const value = weighted(once(labels.length));
  const [low, high] = calibrationInterval(logits, labels, weighted, value, counts);
  return { value, low: Math.min(low, value), high: Math.max(high, value), n: labels.length };
}

/**
 * @param {string} name
 * @param {Weighted} weighted
 * @param {number} value
 * @param {Data} data
 * @param {(withinClasses: boolean) => Uint16Array[]} draw
 * @returns {[number, number]}
 */
function interval(name, weighted, value, { logits, labels }, draw) {
  if (name === "accuracy") {
    return wilson(Math.round(value * labels.length), labels.length);
  }
  const counts = draw(!OF_SHARES.includes(name));
  if (name === "expected_calibration_error") {
    return calibrationInterval(logits, labels, weighted, value, counts);
  }
  const drawn = counts.map(weighted).filter(Number.isFinite);
  return [quantile(drawn, 0.025), quantile(drawn, 0.975)];
}

/**
 * Value minus bias, plus or minus 1.96 standard errors; see `pepr_edge.scoring.intervals`.
 * @param {number[][]} logits
 * @param {number[]} labels
 * @param {Weighted} weighted
 * @param {number} value
 * @param {Uint16Array[]} counts
 * @returns {[number, number]}
 */
function calibrationInterval(logits, labels, weighted, value, counts) {
  const n = labels.length;
  const gaps = gapsOf(logits, labels);
  const byBin = new Float64Array(BINS);
  gaps.forEach(({ bin, gap }) => {
    byBin[bin] += gap;
  });
  const signed = gaps.map(({ bin, gap }) => Math.sign(byBin[bin]) * gap);
  const mean = sum(signed) / n;
  const deviation = Math.sqrt(sum(signed.map((gap) => (gap - mean) ** 2)) / n);
  const bias = sum(counts.map(weighted)) / counts.length - value;
  const half = (Z_95 * deviation) / Math.sqrt(n);
  const random = generator(1);
  const calibrated = counts.map(() => {
    const bins = new Float64Array(BINS);
    gaps.forEach(({ bin, probability }) => {
      bins[bin] += Number(random() < probability) - probability;
    });
    return sum(bins.map(Math.abs)) / n;
  });
  const low = value <= quantile(calibrated, 0.95) ? 0 : value - bias - half;
  return [clipped(low), clipped(value - bias + half)];
}

/**
 * @param {number} value
 * @returns {number}
 */
function clipped(value) {
  return Math.min(1, Math.max(0, value));
}

/**
 * Return the figures at the stored decision: of two classes with a positive one.
 * @param {Data} data
 * @returns {Record<string, Estimate>}
 */
function sharesAtDecision({ labels, decisions, positive }) {
  if (positive === null) {
    return {};
  }
  const isPositive = labels.map((label) => label === positive);
  const alarm = decisions.map((decision) => decision === positive);
  /** @type {[string, boolean[], boolean[]][]} the images of each share, and which of them are right */
  const parts = [
    ["sensitivity_at_decision", isPositive, alarm],
    ["specificity_at_decision", isPositive.map((is) => !is), alarm.map((is) => !is)],
    ["ppv_at_decision", alarm, isPositive],
    ["npv_at_decision", alarm.map((is) => !is), isPositive.map((is) => !is)],
  ];
  /** @type {Record<string, Estimate>} */
  const shares = {};
  for (const [name, members, right] of parts) {
    const n = members.filter(Boolean).length;
    const hits = members.filter((is, index) => is && right[index]).length;
    if (n > 0) {
      const [low, high] = exactInterval(hits, n);
      shares[name] = { value: hits / n, low, high, n };
    }
  }
  return shares;
}
