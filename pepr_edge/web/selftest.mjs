// A bundle's self-test: does the model decide here as where it was made?

import { agree, decide, decisionOrDefault } from "./decision.mjs";
import { pause } from "./dom.mjs";
import { readAsset } from "./embedded.mjs";
import { Stopped } from "./errors.mjs";

/** @typedef {import("./runtime.mjs").Session} Session */
/** @typedef {{passed: boolean, agreeing: number, n: number, maxAbsDiff: number, tolerance: number,
 *   noveltyAgrees: boolean | null}} TestResult */

// A novelty this near to its limit, as a share of it, may lie on either side of it on another device.
const NOVELTY_MARGIN = 0.1;
// The page draws and takes input this often, between two images.
const PAUSE_MS = 250;

/**
 * Run the self-test of an open model.
 * @param {Session} session
 * @param {() => boolean} isStopped
 * @returns {Promise<TestResult>}
 */
export async function selfTest(session, isStopped) {
  const { form } = session;
  const { n, tolerance } = form.selftest;
  const decision = decisionOrDefault(form.decision);
  const pixels = await readAsset(form.selftest.pixels);
  const expected = new Float32Array((await readAsset(form.selftest.logits)).buffer);
  const novelty = form.selftest.novelty && new Float32Array((await readAsset(form.selftest.novelty)).buffer);
  const size = pixels.length / n;
  const classes = form.labels.length;
  const limit = decision.refer?.max_novelty ?? null;
  let agreeing = 0;
  let maxAbsDiff = 0;
  let noveltyAgrees = limit === null || novelty === null ? null : true;
  let nextPause = performance.now() + PAUSE_MS;
  for (let index = 0; index < n; index += 1) {
    if (performance.now() >= nextPause) {
      await pause();
      nextPause = performance.now() + PAUSE_MS;
    }
    if (isStopped()) {
      throw new Stopped();
    }
    const answer = await session.answer(pixels.subarray(index * size, (index + 1) * size));
    const wanted = expected.subarray(index * classes, (index + 1) * classes);
    answer.logits.forEach((logit, label) => {
      maxAbsDiff = Math.max(maxAbsDiff, Math.abs(logit - wanted[label]));
    });
    if (agree(decide(answer.logits, decision, form.labels), decide(wanted, decision, form.labels))) {
      agreeing += 1;
    }
    if (limit !== null && novelty !== null && answer.novelty !== null) {
      const isNear = Math.abs(novelty[index] - limit) <= NOVELTY_MARGIN * limit;
      noveltyAgrees = noveltyAgrees && (isNear || answer.novelty > limit === novelty[index] > limit);
    }
  }
  const passed = agreeing === n && maxAbsDiff <= tolerance && noveltyAgrees !== false;
  return { passed, agreeing, n, maxAbsDiff, tolerance, noveltyAgrees };
}
