// Sums and means of what may be undefined, and figures as they are passed on.

/** @typedef {{value: number, low: number, high: number, n: number}} Estimate */
/** @typedef {(weights: ArrayLike<number>) => number} Weighted a metric of images that count several times */

/**
 * @param {number[]} row
 * @returns {number}
 */
export function indexOfHighest(row) {
  return row.indexOf(Math.max(...row));
}

/**
 * @param {ArrayLike<number>} values
 * @returns {number}
 */
export function sum(values) {
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
export function meanDefined(values) {
  const defined = values.filter(Number.isFinite);
  return sum(defined) / defined.length;
}

/**
 * @param {number} n
 * @returns {Uint16Array}
 */
export function once(n) {
  return new Uint16Array(n).fill(1);
}
