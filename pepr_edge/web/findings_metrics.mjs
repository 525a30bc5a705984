// Metrics of several findings an image, each the mean over the findings: as `pepr_edge.scoring.multilabel_metrics`
// and `pepr_edge.scoring.findings`.

import { BINS, binOf, clipped } from "./calibration.mjs";
import { probabilities } from "./decision.mjs";
import { Z_95, lowestPerfect, quantile, resampler } from "./intervals.mjs";
import { CALIBRATED } from "./metrics.mjs";
import { area, rocOf } from "./roc.mjs";
import { meanDefined, once, sum } from "./sums.mjs";

/** @typedef {import("./sums.mjs").Estimate} Estimate */
/** @typedef {import("./sums.mjs").Weighted} Weighted */
/** @typedef {{logits: number[][], labels: number[][], decisions: number[][], temperatures: number[]}} FindingsData
 *   labels and decisions: 0 or 1, shape (n, findings) */

/**
 * Return all metrics by name; one that is not defined on these images is left out.
 * @param {FindingsData} data
 * @returns {Record<string, Estimate>}
 */
export function allFindingsFigures(data) {
  const { logits, labels } = data;
  const counts = resamples(labels.length);
  const figures = {
    mean_auroc: estimated(meanAuroc(logits, labels), counts, labels),
    mean_average_precision: estimated(meanAveragePrecision(logits, labels), counts, labels),
    expected_calibration_error: calibration(logits, labels, counts),
    ...atDecision(data, counts),
    [CALIBRATED]: calibration(divided(logits, data.temperatures), labels, counts),
  };
  return Object.fromEntries(Object.entries(figures).flatMap(([name, found]) => (found ? [[name, found]] : [])));
}

/**
 * Return the figures of a group of images: one metric, null where it is not defined, and those of the decision.
 * @param {FindingsData} data
 * @param {string} name
 * @returns {Record<string, Estimate | null>}
 */
export function groupFindingsFigures(data, name) {
  const decided = atDecision(data, resamples(data.labels.length));
  const shown = Object.fromEntries(Object.entries(decided).filter(([, found]) => found !== null));
  return { [name]: allFindingsFigures(data)[name] ?? null, ...shown };
}

/**
 * @param {number} n
 * @returns {Uint16Array[]}
 */
function resamples(n) {
  return resampler(new Array(n).fill(0))(false);
}

/**
 * @param {number[][]} logits
 * @param {number[]} temperatures
 * @returns {number[][]}
 */
function divided(logits, temperatures) {
  return logits.map((row) => row.map((logit, finding) => logit / (temperatures[finding] ?? 1)));
}

/**
 * @param {Weighted} weighted
 * @param {Uint16Array[]} counts
 * @param {number} n
 * @returns {Estimate | null}
 */
function bootstrapped(weighted, counts, n) {
  const value = weighted(once(n));
  if (!Number.isFinite(value)) {
    return null;
  }
  const drawn = counts.map(weighted).filter(Number.isFinite);
  const [low, high] = [quantile(drawn, 0.025), quantile(drawn, 0.975)];
  return { value, low: Math.min(low, value), high: Math.max(high, value), n };
}

/**
 * Return a figure with its interval; without errors, its low end is by the rarest finding.
 * @param {Weighted} weighted
 * @param {Uint16Array[]} counts
 * @param {number[][]} labels
 * @returns {Estimate | null}
 */
function estimated(weighted, counts, labels) {
  const found = bootstrapped(weighted, counts, labels.length);
  if (found === null || found.value < 1 || found.low < 1) {
    return found;
  }
  const having = labels[0].map((_, finding) => sum(labels.map((row) => row[finding])));
  const both = [...having, ...having.map((count) => labels.length - count)];
  return { ...found, low: lowestPerfect(both, having.length) };
}

/**
 * Return the findings that some images have, and some have not.
 * @param {number[][]} labels
 * @returns {number[]}
 */
function defined(labels) {
  return labels[0]
    .map((_, finding) => finding)
    .filter((finding) => labels.some((row) => row[finding] === 1) && labels.some((row) => row[finding] !== 1));
}

/**
 * @param {number[][]} logits
 * @param {number[][]} labels
 * @returns {Weighted}
 */
function meanAuroc(logits, labels) {
  const rocs = defined(labels).map((finding) =>
    rocOf(logits.map((row) => row[finding]), labels.map((row) => row[finding] === 1)),
  );
  return (weights) => meanDefined(rocs.map((roc) => area(roc, weights)));
}

/**
 * @param {number[][]} logits
 * @param {number[][]} labels
 * @returns {Weighted}
 */
function meanAveragePrecision(logits, labels) {
  const rocs = defined(labels).map((finding) =>
    rocOf(logits.map((row) => row[finding]), labels.map((row) => row[finding] === 1)),
  );
  return (weights) => meanDefined(rocs.map((roc) => averagePrecision(roc, weights)));
}

/**
 * Return the precision at each threshold, weighted by the images of the finding that it adds. Source: Zhu 2004.
 * @param {import("./roc.mjs").Roc} roc
 * @param {ArrayLike<number>} weights
 * @returns {number}
 */
function averagePrecision(roc, weights) {
  let named = 0;
  let hits = 0;
  let total = 0;
  for (const { positives, negatives } of roc) {
    const added = sum(positives.map((image) => weights[image]));
    hits += added;
    named += added + sum(negatives.map((image) => weights[image]));
    total += named > 0 ? (added * hits) / named : 0;
  }
  return total / hits;
}

/**
 * @param {FindingsData} data
 * @param {Uint16Array[]} counts
 * @returns {Record<string, Estimate | null>}
 */
function atDecision({ decisions, labels }, counts) {
  /** @type {(rows: number[][]) => number[][]} */
  const opposite = (rows) => rows.map((row) => row.map((value) => 1 - value));
  const f1 = ofDecisions((hits, named, all) => (2 * hits) / (named + all), decisions, labels);
  const sensitivity = ofDecisions((hits, _, all) => hits / all, decisions, labels);
  const specificity = ofDecisions((hits, _, all) => hits / all, opposite(decisions), opposite(labels));
  return {
    mean_f1_at_decision: estimated(f1, counts, labels),
    mean_sensitivity_at_decision: estimated(sensitivity, counts, labels),
    mean_specificity_at_decision: estimated(specificity, counts, labels),
  };
}

/**
 * Return the mean over the findings of a formula of the hits, and of the images that are named and that have it.
 * @param {(hits: number, named: number, all: number) => number} formula
 * @param {number[][]} decisions
 * @param {number[][]} labels
 * @returns {Weighted}
 */
function ofDecisions(formula, decisions, labels) {
  const findings = labels[0].length;
  return (weights) => {
    const hits = new Float64Array(findings);
    const named = new Float64Array(findings);
    const all = new Float64Array(findings);
    labels.forEach((row, image) => {
      const weight = weights[image];
      for (let finding = 0; weight > 0 && finding < findings; finding += 1) {
        const decided = decisions[image][finding];
        hits[finding] += weight * decided * row[finding];
        named[finding] += weight * decided;
        all[finding] += weight * row[finding];
      }
    });
    return meanDefined(Array.from(hits, (count, finding) => formula(count, named[finding], all[finding])));
  };
}

/**
 * Return the difference between the probability of a finding and how often it is there, over all findings.
 * @param {number[][]} logits
 * @param {number[][]} labels
 * @param {Uint16Array[]} counts
 * @returns {Estimate}
 */
function calibration(logits, labels, counts) {
  const findings = labels[0].length;
  // For each image the summed differences in each bin.
  const gaps = logits.map((row, image) => {
    const byBin = new Float64Array(BINS);
    sigmoids(row).forEach((probability, finding) => {
      byBin[binOf(probability)] += (labels[image][finding] - probability) / findings;
    });
    return byBin;
  });
  /** @type {Weighted} */
  const weighted = (weights) => {
    const total = new Float64Array(BINS);
    gaps.forEach((byBin, image) => {
      for (let bin = 0; bin < BINS; bin += 1) {
        total[bin] += weights[image] * byBin[bin];
      }
    });
    return sum(total.map(Math.abs)) / sum(weights);
  };
  const value = weighted(once(labels.length));
  const drawn = counts.map(weighted);
  const mean = sum(drawn) / drawn.length;
  const half = Z_95 * Math.sqrt(sum(drawn.map((other) => (other - mean) ** 2)) / drawn.length);
  const centre = 2 * value - mean;
  const [low, high] = [clipped(centre - half), clipped(centre + half)];
  return { value, low: Math.min(low, value), high: Math.max(high, value), n: labels.length };
}

/**
 * @param {number[]} row
 * @returns {number[]}
 */
function sigmoids(row) {
  return probabilities(row, { kind: "thresholds", positive: null, temperature: 1, threshold: null });
}
