// The ROC curve of one class or finding, of images that count several times: as `pepr_edge.scoring.roc`.

import { sum } from "./sums.mjs";

/**
 * Return log p - log(1 - p) of one class.
 * @param {number[]} row
 * @param {number} label
 * @returns {number}
 */
export function logOdds(row, label) {
  const others = row.filter((_, index) => index !== label).sort((a, b) => a - b);
  const highest = others[others.length - 1];
  return row[label] - highest - Math.log(sum(others.map((other) => Math.exp(other - highest))));
}

/** @typedef {{positives: number[], negatives: number[]}[]} Roc images of equal score, by descending score */

/**
 * @param {number[]} scores
 * @param {boolean[]} isPositive
 * @returns {Roc}
 */
export function rocOf(scores, isPositive) {
  const order = scores.map((_, index) => index).sort((a, b) => scores[b] - scores[a]);
  /** @type {Roc} */
  const groups = [];
  order.forEach((image, rank) => {
    if (rank === 0 || scores[image] !== scores[order[rank - 1]]) {
      groups.push({ positives: [], negatives: [] });
    }
    const group = groups[groups.length - 1];
    (isPositive[image] ? group.positives : group.negatives).push(image);
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
export function area(roc, weights) {
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
 * @param {number} level specificity that is required
 * @returns {number}
 */
export function sensitivityAt(roc, weights, level) {
  const { groups, all, none } = weighed(roc, weights);
  let above = 0;
  let alarms = 0;
  for (const [positives, negatives] of groups) {
    alarms += negatives;
    if (negatives > 0 && (none - alarms) / none < level) {
      break;
    }
    above += positives;
  }
  return none > 0 ? above / all : NaN;
}

/**
 * @param {Roc} roc
 * @param {ArrayLike<number>} weights
 * @param {number} level sensitivity that is required
 * @returns {number}
 */
export function specificityAt(roc, weights, level) {
  const { groups, all, none } = weighed(roc, weights);
  let found = 0;
  let alarms = 0;
  for (const [positives, negatives] of groups) {
    found += positives;
    alarms += negatives;
    if (positives > 0 && found / all >= level) {
      break;
    }
  }
  return all > 0 ? (none - alarms) / none : NaN;
}
