// Measure the latency of a model: single stream by MLPerf's rules, with a clock that may be coarse.

import { readAsset } from "./embedded.mjs";
import { pause } from "./dom.mjs";
import { Stopped } from "./errors.mjs";
import { toTensor } from "./preprocess.mjs";
import { inferencesPerLatency, invalidReasons, medianOf, percentiles, thirds } from "./rules.mjs";

/** @typedef {import("./rules.mjs").Rules} Rules */
/** @typedef {import("./runtime.mjs").Session} Session */
/** @typedef {{rules: Rules, latenciesS: number[], perLatency: number, stepS: number, firstS: number,
 *   importS: number, loadS: number, threads: number, warmupRuns: number, wasHidden: boolean,
 *   reasons: import("./texts.mjs").Message[], percentilesS: ReturnType<typeof percentiles>,
 *   thirdsS: ReturnType<typeof thirds>}} Measurement */
/** @typedef {(share: number, medianS: number) => void} OnProgress */

// The page draws and takes input this often, between two latencies.
const PAUSE_S = 0.25;

/**
 * Measure an open model.
 * @param {Session} session
 * @param {Rules} rules
 * @param {number} stepS steps of the clock
 * @param {OnProgress} onProgress
 * @param {() => boolean} isStopped
 * @returns {Promise<Measurement>}
 */
export async function measure(session, rules, stepS, onProgress, isStopped) {
  const { form } = session;
  const pixels = await readAsset(form.selftest.pixels);
  const tensor = toTensor(pixels.subarray(0, pixels.length / form.selftest.n), form.preprocess);
  const visibility = watchVisibility();
  try {
    const begin = now();
    await session.runTensor(tensor);
    const firstS = now() - begin;
    const warmup = await warmUp(session, tensor, rules, isStopped);
    const perLatency = inferencesPerLatency(warmup.latencyS, stepS);
    const { latenciesS, durationS } = await timed(session, tensor, rules, perLatency, onProgress, isStopped);
    return {
      rules,
      latenciesS,
      perLatency,
      stepS,
      firstS,
      importS: session.importS,
      loadS: session.loadS,
      threads: session.threads,
      warmupRuns: warmup.runs,
      wasHidden: visibility.wasHidden(),
      reasons: invalidReasons(latenciesS, durationS, rules),
      percentilesS: percentiles(latenciesS),
      thirdsS: thirds(latenciesS),
    };
  } finally {
    visibility.end();
  }
}

/** @returns {number} seconds */
function now() {
  return performance.now() / 1e3;
}

function watchVisibility() {
  let wasHidden = document.hidden;
  const listener = () => {
    wasHidden = wasHidden || document.hidden;
  };
  document.addEventListener("visibilitychange", listener);
  return {
    wasHidden: () => wasHidden,
    end: () => document.removeEventListener("visibilitychange", listener),
  };
}

/**
 * Run a model until it is warm.
 * @param {Session} session
 * @param {Float32Array} tensor
 * @param {Rules} rules
 * @param {() => boolean} isStopped
 * @returns {Promise<{runs: number, latencyS: number}>} the number of runs, and the time of one, about
 */
async function warmUp(session, tensor, rules, isStopped) {
  const begin = now();
  let runs = 0;
  let inRuns = 0;
  let nextPause = begin + PAUSE_S;
  while (runs < rules.warmupRuns || now() - begin < rules.warmupS) {
    const before = now();
    await session.runTensor(tensor);
    inRuns += now() - before;
    runs += 1;
    if (now() >= nextPause) {
      await pauseUnless(isStopped);
      nextPause = now() + PAUSE_S;
    }
  }
  return { runs, latencyS: inRuns / runs };
}

/** @param {() => boolean} isStopped */
async function pauseUnless(isStopped) {
  if (isStopped()) {
    throw new Stopped();
  }
  await pause();
}

/**
 * @param {Session} session
 * @param {Float32Array} tensor
 * @param {Rules} rules
 * @param {number} perLatency
 * @param {OnProgress} onProgress
 * @param {() => boolean} isStopped
 * @returns {Promise<{latenciesS: number[], durationS: number}>}
 */
async function timed(session, tensor, rules, perLatency, onProgress, isStopped) {
  /** @type {number[]} */
  const latenciesS = [];
  const begin = now();
  let durationS = 0;
  let nextPause = begin + PAUSE_S;
  while ((latenciesS.length < rules.queries || durationS < rules.durationS) && durationS < rules.capS) {
    const before = now();
    for (let run = 0; run < perLatency; run += 1) {
      await session.runTensor(tensor);
    }
    const after = now();
    // In whole nanoseconds, as in reports.
    latenciesS.push(Math.round(((after - before) / perLatency) * 1e9) / 1e9);
    durationS = after - begin;
    if (after >= nextPause) {
      const share = Math.min(latenciesS.length / rules.queries, durationS / rules.durationS);
      onProgress(Math.min(1, share), medianOf(latenciesS));
      await pauseUnless(isStopped);
      nextPause = now() + PAUSE_S;
    }
  }
  return { latenciesS, durationS };
}
