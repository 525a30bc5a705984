// The 8-bit levels of the stored values of a grey DICOM frame: rescaled; by the first window, else by the range of
// the values without padding and a few outliers; MONOCHROME1 inverted. As `pepr_edge.images.dicom_levels`.
// Source: DICOM PS3.3, C.11.1 (rescale), C.11.2 (windows).

import { TAGS, numberOf, pixelValue, textOf } from "./dicom_elements.mjs";
import { PageError } from "./errors.mjs";

/** @typedef {import("./dicom_elements.mjs").Elements} Elements */
/** @typedef {(value: number) => number} Share a value as a share of white */

const MAX_OUTLIERS = 0.001;
const FAR = 2;
const TINY = 2.2250738585072014e-308;

/**
 * Return the grey level of each value.
 * @param {Int32Array} values
 * @param {Elements} elements
 * @param {boolean} isInverted
 * @returns {Uint8Array}
 */
export function greyLevels(values, elements, isInverted) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const counts = new Int32Array(high - low + 1);
  for (const value of values) {
    counts[value - low] += 1;
  }
  const rescaled = rescaledValues(low, counts.length, elements);
  const share = windowShare(elements) ?? rangeShare(low, rescaled, counts, elements);
  const levels = Uint8Array.from(rescaled, (value, index) => {
    const found = share(value);
    if (counts[index] > 0 && !Number.isFinite(found)) {
      throw new PageError("corrupt");
    }
    const clipped = Math.min(1, Math.max(0, found));
    return rounded(255 * (isInverted ? 1 - clipped : clipped));
  });
  const grey = new Uint8Array(values.length);
  values.forEach((value, index) => {
    grey[index] = levels[value - low];
  });
  return grey;
}

/**
 * @param {number} low the lowest stored value
 * @param {number} count of values from it on
 * @param {Elements} elements
 * @returns {Float64Array}
 */
function rescaledValues(low, count, elements) {
  const slope = numberOf(elements, TAGS.slope);
  const intercept = numberOf(elements, TAGS.intercept);
  if (slope === 0) {
    throw new PageError("zeroSlope");
  }
  const isRescaled = slope !== null && intercept !== null;
  return Float64Array.from({ length: count }, (_, index) =>
    isRescaled ? (low + index) * slope + intercept : low + index,
  );
}

/**
 * Return the share of white by the first window; null if there is none, or it is invalid.
 * @param {Elements} elements
 * @returns {Share | null}
 */
function windowShare(elements) {
  const centre = numberOf(elements, TAGS.centre);
  const width = numberOf(elements, TAGS.width);
  const kind = textOf(elements, TAGS.voiFunction) || "LINEAR";
  const minWidth = kind === "LINEAR" ? 1 : TINY;
  if (centre === null || width === null || width < minWidth || !Number.isFinite(centre)) {
    return null;
  }
  if (kind === "SIGMOID") {
    return (value) => 1 / (1 + Math.exp((-4 * (value - centre)) / width));
  }
  if (kind === "LINEAR_EXACT") {
    return (value) => (value - centre) / width + 0.5;
  }
  if (width === 1) {
    return (value) => Number(value > centre - 0.5);
  }
  return (value) => (value - (centre - 0.5)) / (width - 1) + 0.5;
}

/**
 * Return the share of white by the range of the values that are shown.
 * @param {number} low the lowest stored value
 * @param {Float64Array} rescaled
 * @param {Int32Array} counts of pixels
 * @param {Elements} elements
 * @returns {Share}
 */
function rangeShare(low, rescaled, counts, elements) {
  const first = pixelValue(elements, TAGS.padding);
  const last = pixelValue(elements, TAGS.paddingLimit) ?? first;
  /** @type {(index: number) => boolean} */
  const isPadding = (index) =>
    first !== null && last !== null && low + index >= Math.min(first, last) && low + index <= Math.max(first, last);
  const present = [...rescaled.keys()].filter((index) => counts[index] > 0);
  const inside = present.filter((index) => !isPadding(index));
  const shown = (inside.length > 0 ? inside : present).map((index) => ({ value: rescaled[index], count: counts[index] }));
  const [black, white] = rangeOf(shown.sort((a, b) => a.value - b.value));
  return (value) => (value - black) / Math.max(white - black, TINY);
}

/**
 * Return the lowest and the highest value, without a few pixels far from all others.
 * @param {{value: number, count: number}[]} sorted by value
 * @returns {[number, number]}
 */
function rangeOf(sorted) {
  const total = sorted.reduce((sum, { count }) => sum + count, 0);
  /** @type {number[]} */
  const cumulative = [];
  let counted = 0;
  for (const { count } of sorted) {
    counted += count;
    cumulative.push(counted / total);
  }
  /** @type {(share: number) => number} */
  const valueAt = (share) => {
    const index = cumulative.findIndex((part) => part >= share);
    return sorted[index < 0 ? sorted.length - 1 : index].value;
  };
  const [low, high] = [sorted[0].value, sorted[sorted.length - 1].value];
  const [mostLow, mostHigh] = [valueAt(MAX_OUTLIERS), valueAt(1 - MAX_OUTLIERS)];
  const isFar = high - low > FAR * (mostHigh - mostLow) && mostHigh > mostLow;
  return isFar ? [mostLow, mostHigh] : [low, high];
}

/**
 * Round as numpy's rint: halves to the even number.
 * @param {number} value
 * @returns {number}
 */
function rounded(value) {
  const floor = Math.floor(value);
  const rest = value - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}
