// From logits to a calibrated probability, a class, and whether the image is referred to a person: as
// `pepr_edge.tasks` does.

import { resize } from "./resample.mjs";

/** @typedef {import("./orientation.mjs").Picture} Picture */
/** @typedef {{min_contrast?: number, colour?: "grey" | "colour" | null, min_side_px?: number | null}} ImageLimits */
/** @typedef {{min_confidence?: number | null, max_novelty?: number | null, images?: ImageLimits}} Refer */
/** @typedef {{kind: string, positive: string | null, temperature: number, threshold: number | null,
 *   refer?: Refer | null}} Decision */
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
 * Return the calibrated probability of each class.
 * @param {ArrayLike<number>} logits
 * @param {Decision} decision
 * @returns {number[]}
 */
export function probabilities(logits, decision) {
  return softmax(Array.from(logits, (logit) => logit / decision.temperature));
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
 * Return the class number that the decision names.
 * @param {ArrayLike<number>} logits
 * @param {Decision} decision
 * @param {string[]} labels
 * @returns {number}
 */
export function decide(logits, decision, labels) {
  if (decision.kind === "median") {
    return median(softmax(Array.from(logits)));
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
 * @param {number[]} shares
 * @returns {number}
 */
function median(shares) {
  let below = 0;
  for (let grade = 0; grade < shares.length - 1; grade += 1) {
    below += shares[grade];
    if (below >= 0.5) {
      return grade;
    }
  }
  return shares.length - 1;
}

/**
 * Return how sure a decision is; at a threshold it is 0.5.
 * @param {ArrayLike<number>} logits
 * @param {Decision} decision
 * @param {string[]} labels
 * @returns {number}
 */
export function confidence(logits, decision, labels) {
  const threshold = decision.threshold;
  if (threshold === null || threshold === undefined) {
    return Math.max(...probabilities(logits, decision));
  }
  if (threshold <= 0 || threshold >= 1) {
    return 1;
  }
  const positive = labels.indexOf(String(decision.positive));
  const border = Math.log(threshold / (1 - threshold));
  const distance = Math.abs((logits[positive] - logits[1 - positive]) / decision.temperature - border);
  return 1 / (1 + Math.exp(-distance));
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
