// When a latency counts as valid, and its percentiles: the rules of `pepr_edge.measure.rules` and
// `pepr_edge.scoring.percentiles`. Source: MLPerf Inference, loadgen.

import { message } from "./texts.mjs";

/** @typedef {import("./texts.mjs").Message} Message */
/** @typedef {{name: "quick" | "full", warmupRuns: number, warmupS: number, queries: number, durationS: number,
 *   capS: number}} Rules */

/** @type {Record<string, Rules>} */
export const RULES = {
  full: { name: "full", warmupRuns: 10, warmupS: 2, queries: 1024, durationS: 60, capS: 600 },
  quick: { name: "quick", warmupRuns: 10, warmupS: 2, queries: 128, durationS: 10, capS: 600 },
};
const CONFIDENCE = 0.99;
const MAX_DRIFT = 0.15;
const MIN_FOR_P90 = 64;
// The steps of the clock are at most this share of what is timed at once.
const MAX_STEP_SHARE = 0.01;

/**
 * Return the largest t with P[Binom(n, 1 - percentile) <= t] <= 1 - CONFIDENCE; -1 if there is none.
 * @param {number} n
 * @param {number} percentile
 * @returns {number}
 */
export function overlatencyAllowed(n, percentile) {
  const logOdds = Math.log1p(-percentile) - Math.log(percentile);
  let logTerm = n * Math.log(percentile);
  let total = 0;
  let t = -1;
  while (t < n) {
    total += Math.exp(logTerm);
    if (total > 1 - CONFIDENCE) {
      break;
    }
    t += 1;
    if (t < n) {
      logTerm += Math.log((n - t) / (t + 1)) + logOdds;
    }
  }
  return t;
}

/**
 * Return the early-stopping estimates; null where there are too few latencies.
 * @param {number[]} latencies seconds
 * @returns {{p50: number | null, p90: number | null, p95: number | null, p99: number | null}}
 */
export function percentiles(latencies) {
  const sorted = [...latencies].sort((a, b) => a - b);
  /** @type {(percentile: number) => number | null} */
  const estimate = (percentile) => {
    const allowed = overlatencyAllowed(sorted.length, percentile);
    return allowed >= 1 ? sorted[sorted.length - allowed] : null;
  };
  return { p50: estimate(0.5), p90: estimate(0.9), p95: estimate(0.95), p99: estimate(0.99) };
}

/**
 * @param {number[]} values
 * @returns {number}
 */
export function medianOf(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * Return the medians of the first and the last third, seconds; null for fewer than three latencies.
 * @param {number[]} latencies
 * @returns {{first: number, last: number} | null}
 */
export function thirds(latencies) {
  const third = Math.floor(latencies.length / 3);
  if (third === 0) {
    return null;
  }
  return { first: medianOf(latencies.slice(0, third)), last: medianOf(latencies.slice(-third)) };
}

/**
 * Return why a measurement is INVALID, each with its remedy; empty if it is VALID.
 * @param {number[]} latencies in the order they were taken, seconds
 * @param {number} durationS of the timed loop
 * @param {Rules} rules
 * @returns {Message[]}
 */
export function invalidReasons(latencies, durationS, rules) {
  const reasons = [];
  const count = latencies.length;
  if (durationS < rules.durationS) {
    reasons.push(message("invalidTime", { found: { fixed: durationS, digits: 1 }, expected: rules.durationS }));
  }
  if (count < rules.queries) {
    const duration = { fixed: durationS, digits: 0 };
    const advice = message(rules.name === "full" ? "measureQuick" : "takeSmaller");
    reasons.push(message("invalidQueries", { n: count, duration, expected: rules.queries, advice }));
  }
  if (count < MIN_FOR_P90) {
    reasons.push(message("invalidEarly", { n: count, expected: MIN_FOR_P90 }));
  }
  const both = thirds(latencies);
  if (both !== null && Math.abs(both.last - both.first) > MAX_DRIFT * both.first) {
    const change = { share: both.last / both.first - 1 };
    const medians = { first: { seconds: both.first }, last: { seconds: both.last } };
    reasons.push(message("invalidDrift", { ...medians, change, limit: { share: MAX_DRIFT } }));
  }
  return reasons;
}

/**
 * Return how many inferences are timed at once, so that the steps of the clock do not matter.
 * @param {number} latencyS of one inference, about
 * @param {number} resolutionS steps of the clock
 * @returns {number}
 */
export function inferencesPerLatency(latencyS, resolutionS) {
  return Math.max(1, Math.ceil(resolutionS / MAX_STEP_SHARE / Math.max(latencyS, 1e-9)));
}
