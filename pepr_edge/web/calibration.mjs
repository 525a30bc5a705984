// The expected calibration error: as `pepr_edge.scoring`.

import { Z_95, generator, quantile } from "./intervals.mjs";
import { indexOfHighest, sum } from "./sums.mjs";

/** @typedef {import("./sums.mjs").Estimate} Estimate */
/** @typedef {import("./sums.mjs").Weighted} Weighted */

export const BINS = 15;

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
    const bin = binOf(probability);
    return { bin, probability, gap: Number(best === labels[index]) - probability };
  });
}

/**
 * Return the number of the bin of a probability.
 * @param {number} probability
 * @returns {number}
 */
export function binOf(probability) {
  let bin = 0;
  while (bin < BINS - 1 && (bin + 1) / BINS < probability) {
    bin += 1;
  }
  return bin;
}

/**
 * @param {number[][]} logits
 * @param {number[]} labels
 * @returns {Weighted}
 */
export function calibrationError(logits, labels) {
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
 * Value minus bias, plus or minus 1.96 standard errors; see `pepr_edge.scoring.intervals`.
 * @param {number[][]} logits
 * @param {number[]} labels
 * @param {Weighted} weighted
 * @param {number} value
 * @param {Uint16Array[]} counts
 * @returns {[number, number]}
 */
export function calibrationInterval(logits, labels, weighted, value, counts) {
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
export function clipped(value) {
  return Math.min(1, Math.max(0, value));
}
