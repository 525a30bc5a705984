// What intervals of metrics are made of: resamples, quantiles, and the limits of shares.

const RESAMPLES = 500;
export const Z_95 = 1.959963984540054;

/**
 * Return a quantile, interpolated as numpy does.
 * @param {number[]} values
 * @param {number} share
 * @returns {number}
 */
export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b);
  const position = share * (sorted.length - 1);
  const lower = Math.floor(position);
  const upper = Math.min(lower + 1, sorted.length - 1);
  return sorted[lower] + (sorted[upper] - sorted[lower]) * (position - lower);
}

/**
 * Return a generator of numbers in [0, 1) that is the same each time. Source: mulberry32.
 * @param {number} seed
 * @returns {() => number}
 */
export function generator(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Return a function that draws resamples, from all images or within each class; each kind once.
 * @param {number[]} labels
 * @returns {(withinClasses: boolean) => Uint16Array[]}
 */
export function resampler(labels) {
  /** @type {Map<boolean, Uint16Array[]>} */
  const drawn = new Map();
  return (withinClasses) => {
    let counts = drawn.get(withinClasses);
    if (counts === undefined) {
      counts = drawResamples(withinClasses ? labels : labels.map(() => 0));
      drawn.set(withinClasses, counts);
    }
    return counts;
  };
}

/**
 * @param {number[]} strata
 * @returns {Uint16Array[]}
 */
function drawResamples(strata) {
  const random = generator(0);
  const members = [...new Set(strata)].map((stratum) =>
    strata.map((other, index) => (other === stratum ? index : -1)).filter((index) => index >= 0),
  );
  return Array.from({ length: RESAMPLES }, () => {
    const counts = new Uint16Array(strata.length);
    for (const images of members) {
      images.forEach(() => {
        counts[images[Math.floor(random() * images.length)]] += 1;
      });
    }
    return counts;
  });
}

/**
 * Source: Wilson 1927.
 * @param {number} successes
 * @param {number} n
 * @returns {[number, number]}
 */
export function wilson(successes, n) {
  const z2 = Z_95 ** 2;
  const proportion = successes / n;
  const centre = proportion + z2 / (2 * n);
  const half = Z_95 * Math.sqrt((proportion * (1 - proportion)) / n + z2 / (4 * n * n));
  return [Math.max(0, (centre - half) / (1 + z2 / n)), Math.min(1, (centre + half) / (1 + z2 / n))];
}

/**
 * Return the low end of the interval of a metric that is 1: resamples of images without errors have none.
 * @param {number[]} counts images of each class, or all of them
 * @param {number} parts 1, or the number of shares of which the rarest has one
 * @returns {number}
 */
export function lowestPerfect(counts, parts) {
  const rarest = Math.min(...counts.filter((count) => count > 0));
  return 1 - (1 - wilson(rarest, rarest)[0]) / parts;
}

/**
 * Source: Clopper and Pearson 1934.
 * @param {number} successes
 * @param {number} n
 * @returns {[number, number]}
 */
export function exactInterval(successes, n) {
  return [lowerLimit(successes, n), 1 - lowerLimit(n - successes, n)];
}

/**
 * Return the proportion at which this many successes or more have a probability of 2.5 %.
 * @param {number} successes
 * @param {number} n
 * @returns {number}
 */
function lowerLimit(successes, n) {
  if (successes === 0) {
    return 0;
  }
  let low = 0;
  let high = successes / n;
  for (let step = 0; step < 60; step += 1) {
    const middle = (low + high) / 2;
    if (middle === low || middle === high) {
      break;
    }
    // The binomial terms from n down, each from the one before.
    let logTerm = n * Math.log(middle);
    let total = 0;
    for (let k = n; k >= successes; k -= 1) {
      total += Math.exp(logTerm);
      logTerm += Math.log(k / (n - k + 1)) + Math.log1p(-middle) - Math.log(middle);
    }
    if (total > 0.025) {
      high = middle;
    } else {
      low = middle;
    }
  }
  return low;
}
