// From logits to a calibrated probability, a class, and whether the image is referred to a person: as
// `pepr_edge.tasks` does.

import { resize } from "./resample.mjs";

/** @typedef {import("./orientation.mjs").Picture} Picture */
/** @typedef {{min_contrast?: number, colour?: "grey" | "colour" | null, min_side_px?: number | null}} ImageLimits */
/** @typedef {{min_confidence?: number | null, max_novelty?: number | null, images?: ImageLimits}} Refer */
/** @typedef {{kind: string, positive: string | null, temperature: number, threshold: number | null,
 *   temperatures?: number[] | null, thresholds?: number[] | null, refer?: Refer | null}} Decision */
/** @typedef {number | number[]} Decided a class number; of several findings 0 or 1 for each */
/** @typedef {{kind: "blank" | "colour" | "size", found: number}} Unlike */

const COLOUR_PX = 64;
const COLOURED_LEVELS = 24;
const COLOURED_SHARE = 0.1;

/**
 * Return the decision of a bundle; bundles of version 0.1 have none.
 * @param {Decision | null} stored
 * @returns {Decision}
 */
export function decisionOrDefault(stored) {
  return stored ?? { kind: "argmax", positive: null, temperature: 1, threshold: null };
}

/**
 * True if an image may have several findings, or none.
 * @param {Decision | null} decision
 * @returns {boolean}
 */
export function hasFindings(decision) {
  return decision?.kind === "thresholds";
}

/**
 * Return the calibrated probability of each class or finding.
 * @param {ArrayLike<number>} logits
 * @param {Decision} decision
 * @returns {number[]}
 */
export function probabilities(logits, decision) {
  if (hasFindings(decision)) {
    return Array.from(logits, (logit, finding) => Math.exp(-logSum(0, -logit / temperatureOf(decision, finding))));
  }
  return softmax(Array.from(logits, (logit) => logit / decision.temperature));
}

/**
 * @param {Decision} decision
 * @param {number} finding
 * @returns {number}
 */
function temperatureOf(decision, finding) {
  return decision.temperatures?.[finding] ?? 1;
}

/**
 * Return log(exp(a) + exp(b)), as numpy's logaddexp does.
 * @param {number} a
 * @param {number} b
 * @returns {number}
 */
function logSum(a, b) {
  return a === b ? a + Math.LN2 : Math.max(a, b) + Math.log1p(Math.exp(-Math.abs(a - b)));
}

/**
 * @param {number[]} values
 * @returns {number[]}
 */
function softmax(values) {
  const maximum = Math.max(...values);
  const exponentials = values.map((value) => Math.exp(value - maximum));
  const sum = exponentials.reduce((total, value) => total + value, 0);
  return exponentials.map((value) => value / sum);
}

/**
 * Return the class number that the decision names, or 0 and 1 for each finding.
 * @param {ArrayLike<number>} logits
 * @param {Decision} decision
 * @param {string[]} labels
 * @returns {Decided}
 */
export function decide(logits, decision, labels) {
  if (hasFindings(decision)) {
    const thresholds = decision.thresholds ?? [];
    return probabilities(logits, decision).map((share, finding) => Number(share >= (thresholds[finding] ?? 0.5)));
  }
  return classOf(logits, decision, labels);
}

/**
 * True if two decisions are the same one.
 * @param {Decided} decided
 * @param {Decided} other
 * @returns {boolean}
 */
export function agree(decided, other) {
  return String(decided) === String(other);
}

/**
 * @param {ArrayLike<number>} logits
 * @param {Decision} decision
 * @param {string[]} labels
 * @returns {number}
 */
function classOf(logits, decision, labels) {
  if (decision.kind === "median") {
    return medianGrade(logits);
  }
  if (decision.threshold === null || decision.threshold === undefined) {
    let best = 0;
    for (let index = 1; index < logits.length; index += 1) {
      best = logits[index] > logits[best] ? index : best;
    }
    return best;
  }
  const positive = labels.indexOf(String(decision.positive));
  const isPositive = probabilities(logits, decision)[positive] >= decision.threshold;
  return isPositive ? positive : 1 - positive;
}

/**
 * Return the lowest grade that has, with those below it, a probability of one half.
 *
 * By the logarithms of the sums below and above, as `pepr_edge.tasks.ordinal`: the same for ties.
 * @param {ArrayLike<number>} logits
 * @returns {number}
 */
export function medianGrade(logits) {
  const last = logits.length - 1;
  const above = new Float64Array(logits.length);
  above[last] = logits[last];
  for (let grade = last - 1; grade >= 0; grade -= 1) {
    above[grade] = logSum(above[grade + 1], logits[grade]);
  }
  let below = -Infinity;
  let median = 0;
  for (let grade = 0; grade < last; grade += 1) {
    below = grade === 0 ? logits[0] : logSum(below, logits[grade]);
    median += Number(below - above[grade + 1] < 0);
  }
  return median;
}

/**
 * Return how sure a decision is: the probability of its class; at a threshold it is 0.5. Of several findings,
 * it is that of the least sure one.
 * @param {ArrayLike<number>} logits
 * @param {Decision} decision
 * @param {string[]} labels
 * @returns {number}
 */
export function confidence(logits, decision, labels) {
  if (hasFindings(decision)) {
    const sure = Array.from(logits, (logit, finding) =>
      sureOf(logit / temperatureOf(decision, finding), decision.thresholds?.[finding] ?? 0.5),
    );
    return Math.min(...sure);
  }
  const threshold = decision.threshold;
  if (threshold === null || threshold === undefined) {
    return probabilities(logits, decision)[classOf(logits, decision, labels)];
  }
  const positive = labels.indexOf(String(decision.positive));
  return sureOf((logits[positive] - logits[1 - positive]) / decision.temperature, threshold);
}

/**
 * Return the probability of a decision, with its odds divided by those of the threshold.
 * @param {number} logOdds of the positive class, or of the finding
 * @param {number} threshold
 * @returns {number} 1 where the threshold gives one answer for all images
 */
function sureOf(logOdds, threshold) {
  if (threshold <= 0 || threshold >= 1) {
    return 1;
  }
  return 1 / (1 + Math.exp(-Math.abs(logOdds - Math.log(threshold / (1 - threshold)))));
}

/**
 * Return why an image is none like those of the training, or null.
 * @param {Picture} picture
 * @param {Uint8Array} pixels what the model sees of it
 * @param {ImageLimits | undefined} limits
 * @returns {Unlike | null}
 */
export function unlike(picture, pixels, limits) {
  if (!limits) {
    return null;
  }
  const side = Math.min(picture.width, picture.height);
  if (limits.min_side_px !== null && limits.min_side_px !== undefined && side < limits.min_side_px) {
    return { kind: "size", found: side };
  }
  const contrast = deviation(pixels);
  if (contrast < (limits.min_contrast ?? 0)) {
    return { kind: "blank", found: contrast };
  }
  const share = limits.colour ? colouredShare(picture) : 0;
  const isOther = limits.colour === "grey" ? share > COLOURED_SHARE : limits.colour === "colour" && share === 0;
  return isOther ? { kind: "colour", found: share } : null;
}

/**
 * @param {Uint8Array} pixels
 * @returns {number}
 */
function deviation(pixels) {
  let sum = 0;
  for (const pixel of pixels) {
    sum += pixel;
  }
  const mean = sum / pixels.length;
  let squares = 0;
  for (const pixel of pixels) {
    squares += (pixel - mean) ** 2;
  }
  return Math.sqrt(squares / pixels.length);
}

/**
 * @param {Picture} picture
 * @returns {number}
 */
function colouredShare(picture) {
  if (picture.kind !== "rgb") {
    return 0;
  }
  const source = /** @type {Uint8Array} */ (picture.samples);
  const small = resize(source, picture.width, picture.height, 3, COLOUR_PX, "box", true);
  let coloured = 0;
  for (let index = 0; index < small.length; index += 3) {
    const channels = [small[index], small[index + 1], small[index + 2]];
    if (Math.max(...channels) - Math.min(...channels) > COLOURED_LEVELS) {
      coloured += 1;
    }
  }
  return coloured / (small.length / 3);
}
