// Metrics of a classifier or grader with 95 % intervals: those of `pepr_edge.scoring`, from resamples that are
// drawn here, so that an interval from a bootstrap may differ from that of `pepr-edge evaluate` in its last digits.

import { calibrationError, calibrationInterval } from "./calibration.mjs";
import { medianGrade } from "./decision.mjs";
import { exactInterval, lowestPerfect, quantile, resampler, wilson } from "./intervals.mjs";
import { area, logOdds, rocOf, sensitivityAt, specificityAt } from "./roc.mjs";
import { indexOfHighest, meanDefined, once, sum } from "./sums.mjs";

/** @typedef {import("./sums.mjs").Estimate} Estimate */
/** @typedef {import("./sums.mjs").Weighted} Weighted */
/** @typedef {{logits: number[][], labels: number[], decisions: number[], positive: number | null,
 *   temperature: number, isOrdinal: boolean}} Data `decisions` by the stored rule; `positive` of two classes */
/** @typedef {(withinClasses: boolean) => Uint16Array[]} Draw */

const LEVEL = 0.9;
const AT_LEVEL = /^(sensitivity_at_specificity|specificity_at_sensitivity)_(0\.\d+)$/;
// These depend on the shares of the classes: their resamples are drawn from all images.
const OF_SHARES = [
  "accuracy",
  "f1",
  "expected_calibration_error",
  "cohen_kappa",
  "quadratic_kappa",
  "mean_absolute_error",
];
export const CALIBRATED = "calibrated_expected_calibration_error";

/**
 * Return all metrics by name; one that is not defined on these images is left out.
 * @param {Data} data
 * @returns {Record<string, Estimate>}
 */
export function allFigures(data) {
  const draw = resampler(data.labels);
  /** @type {Record<string, Estimate>} */
  const figures = {};
  for (const [name, weighted] of Object.entries(metricsOf(data))) {
    const found = estimate(name, weighted, data, draw);
    if (found !== null) {
      figures[name] = found;
    }
  }
  Object.assign(figures, sharesAtDecision(data));
  const after = data.logits.map((row) => row.map((logit) => logit / data.temperature));
  figures[CALIBRATED] = calibrationEstimate({ ...data, logits: after }, draw(false));
  return figures;
}

/**
 * Return the figures of a group of images: one metric, null where it is not defined, and those of the decision.
 * @param {Data} data
 * @param {string} name
 * @returns {Record<string, Estimate | null>}
 */
export function groupFigures(data, name) {
  const decided = sharesAtDecision(data);
  if (name in decided || name.endsWith("_at_decision")) {
    return { [name]: decided[name] ?? null, ...decided };
  }
  const [, base, level] = AT_LEVEL.exec(name) ?? [null, name, String(LEVEL)];
  const weighted = metricsOf(data, Number(level))[base];
  const first = weighted ? estimate(base, weighted, data, resampler(data.labels)) : null;
  return { [name]: first, ...decided };
}

/**
 * @param {string} name
 * @param {Weighted} weighted
 * @param {Data} data
 * @param {Draw} draw
 * @returns {Estimate | null}
 */
function estimate(name, weighted, data, draw) {
  const n = data.labels.length;
  const value = weighted(once(n));
  if (!Number.isFinite(value)) {
    return null;
  }
  const [low, high] = interval(name, weighted, value, data, draw);
  return { value, low: Math.min(low, value), high: Math.max(high, value), n };
}

/**
 * @param {Data} data
 * @param {number} [level] sensitivity or specificity that is required
 * @returns {Record<string, Weighted>}
 */
function metricsOf(data, level = LEVEL) {
  const { logits, labels, isOrdinal } = data;
  const classes = logits[0].length;
  const positive = data.positive ?? 1;
  const decided = logits.map(isOrdinal ? medianGrade : indexOfHighest);
  /** @type {(formula: (table: number[][]) => number) => Weighted} */
  const fromTable = (formula) => (weights) => formula(table(labels, decided, weights, classes));
  const curves = classes === 2 ? [positive] : [...Array(classes).keys()];
  const rocs = curves.map((label) =>
    rocOf(logits.map((row) => logOdds(row, label)), labels.map((other) => other === label)),
  );
  /** @type {(formula: (roc: import("./roc.mjs").Roc, weights: ArrayLike<number>) => number) => Weighted} */
  const fromRoc = (formula) => (weights) => meanDefined(rocs.map((roc) => formula(roc, weights)));
  return {
    ...(isOrdinal ? { quadratic_kappa: fromTable(quadraticKappa), mean_absolute_error: fromTable(meanDistance) } : {}),
    accuracy: fromTable((cells) => sum(diagonal(cells)) / sum(cells.map(sum))),
    balanced_accuracy: fromTable((cells) => meanDefined(cells.map((row, label) => row[label] / sum(row)))),
    auroc: fromRoc(area),
    f1: fromTable((cells) => f1(cells, classes === 2 ? positive : null)),
    sensitivity_at_specificity: fromRoc((roc, weights) => sensitivityAt(roc, weights, level)),
    specificity_at_sensitivity: fromRoc((roc, weights) => specificityAt(roc, weights, level)),
    expected_calibration_error: calibrationError(logits, labels),
    cohen_kappa: fromTable(kappa),
  };
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
 * Agreement of grades and decisions beyond chance; a wrong one counts by the square of its distance.
 * Source: Cohen 1968.
 * @param {number[][]} cells
 * @returns {number}
 */
function quadraticKappa(cells) {
  const n = sum(cells.map(sum));
  let distance = 0;
  let byChance = 0;
  cells.forEach((row, label) => {
    row.forEach((count, decided) => {
      distance += count * (label - decided) ** 2;
      byChance += sum(row) * column(cells, decided) * (label - decided) ** 2;
    });
  });
  return byChance > 0 ? (byChance - n * distance) / byChance : NaN;
}

/**
 * Mean number of grades between decision and label.
 * @param {number[][]} cells
 * @returns {number}
 */
function meanDistance(cells) {
  const distances = cells.flatMap((row, label) => row.map((count, decided) => count * Math.abs(label - decided)));
  return sum(distances) / sum(cells.map(sum));
}

/**
 * @param {Data} data
 * @param {Uint16Array[]} counts resamples
 * @returns {Estimate}
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
 * @param {Draw} draw
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
  const [low, high] = [quantile(drawn, 0.025), quantile(drawn, 0.975)];
  if (value === 1 && low === 1) {
    const ofClasses = [...new Set(labels)].map((label) => labels.filter((other) => other === label).length);
    const parts = name === "balanced_accuracy" ? ofClasses.length : 1;
    return [lowestPerfect(OF_SHARES.includes(name) ? [labels.length] : ofClasses, parts), high];
  }
  return [low, high];
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
