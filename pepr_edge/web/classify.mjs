// One image file in, a class with its probabilities out, or why a person is to decide: as `pepr-edge predict`.

import { confidence, decide, decisionOrDefault, probabilities, unlike } from "./decision.mjs";
import { PageError, shownName } from "./errors.mjs";
import { MAX_FILE_BYTES, decode, toPixels } from "./preprocess.mjs";
import { percent, short, text } from "./texts.mjs";

/** @typedef {import("./decision.mjs").Decision} Decision */
/** @typedef {import("./runtime.mjs").Session} Session */
/** @typedef {{kind: "size" | "blank" | "colour" | "novelty" | "confidence", reason: string}} Referral */
/** @typedef {import("./decision.mjs").Decided} Decided */
/** @typedef {{decided: Decided, label: string, shares: number[], referral: Referral | null,
 *   logits: Float32Array}} Prediction */

/**
 * Classify one image file.
 * @param {Session} session
 * @param {File} file
 * @returns {Promise<Prediction>}
 */
export async function classify(session, file) {
  const { form } = session;
  if (file.size > MAX_FILE_BYTES) {
    throw new PageError("fileTooLarge", { limit: MAX_FILE_BYTES >> 20 });
  }
  let bytes;
  try {
    bytes = new Uint8Array(await file.arrayBuffer());
  } catch {
    throw new PageError("fileUnreadable");
  }
  const picture = await decode(bytes);
  const pixels = toPixels(picture, form.preprocess);
  const answer = await session.answer(pixels);
  const decision = decisionOrDefault(form.decision);
  const decided = decide(answer.logits, decision, form.labels);
  return {
    decided,
    label: labelOf(decided, form.labels),
    shares: probabilities(answer.logits, decision),
    referral: referralOf(answer, decision, form.labels, unlike(picture, pixels, decision.refer?.images)),
    logits: answer.logits,
  };
}

/**
 * Return the label of a decision as it is shown; of several findings all that are named.
 * @param {Decided} decided
 * @param {string[]} labels
 * @returns {string}
 */
export function labelOf(decided, labels) {
  if (typeof decided === "number") {
    return shownName(labels[decided]);
  }
  return labels.filter((_, finding) => decided[finding] === 1).map(shownName).join(", ") || text("noFinding");
}

/**
 * Return why an image is referred to a person, or null.
 * @param {import("./runtime.mjs").Answer} answer
 * @param {Decision} decision
 * @param {string[]} labels
 * @param {import("./decision.mjs").Unlike | null} other
 * @returns {Referral | null}
 */
function referralOf(answer, decision, labels, other) {
  const refer = decision.refer;
  if (!refer) {
    return null;
  }
  if (other !== null) {
    const limits = refer.images;
    const limit = other.kind === "size" ? (limits?.min_side_px ?? 0) : (limits?.min_contrast ?? 0);
    const inGrey = limits?.colour === "grey" ? "colourInGrey" : "greyInColour";
    const key = { size: "tooSmall", blank: "blank", colour: inGrey }[other.kind];
    return { kind: other.kind, reason: text(key, { found: short(other.found), limit: short(limit) }) };
  }
  const { max_novelty: maxNovelty, min_confidence: minConfidence } = refer;
  if (typeof maxNovelty === "number" && answer.novelty !== null && answer.novelty > maxNovelty) {
    const values = { found: short(answer.novelty), limit: short(maxNovelty) };
    return { kind: "novelty", reason: text("unlike", values) };
  }
  const sure = confidence(answer.logits, decision, labels);
  if (typeof minConfidence === "number" && sure < minConfidence) {
    const values = { found: percent(sure), limit: percent(minConfidence) };
    return { kind: "confidence", reason: text("unsure", values) };
  }
  return null;
}
