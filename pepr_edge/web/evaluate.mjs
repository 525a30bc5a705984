// The report of an evaluation, as `pepr-edge evaluate --out` writes it: no image, no path, no small numbers.

import { Float, float, sealed } from "./canonical_json.mjs";
import { decisionOrDefault } from "./decision.mjs";
import { exactInterval } from "./intervals.mjs";
import { allFigures, table } from "./metrics.mjs";
import { deviceFacts } from "./report.mjs";

/** @typedef {import("./classify.mjs").Prediction} Prediction */
/** @typedef {import("./embedded.mjs").Kit} Kit */
/** @typedef {import("./metrics.mjs").Estimate} Estimate */
/** @typedef {import("./state.mjs").Entry} Entry */
/** @typedef {{prediction: Prediction, label: number}} Answered */
/** @typedef {{entry: Entry, answered: Answered[], unreadable: number, unanswered: number}} Evaluated */

export const MIN_CELL = 5;
const HIDDEN =
  `Numbers of fewer than ${MIN_CELL} images are null, and groups of fewer are not named. A reader who ` +
  "knows the number of images may still work out a single hidden number from the others and the metrics.";
const NO_DECISION =
  "The bundle stores no decision (version 0.1): the highest logit decides, and probabilities are not calibrated.";
const DRAWN_HERE = "Evaluated in a browser, which draws the resamples of the intervals by its own numbers.";
const CALIBRATED = "calibrated_expected_calibration_error";
// Floats of a decision; those that are whole are written as in Python.
const FLOATS = ["temperature", "threshold", "threshold_ci", "min_confidence", "max_novelty", "min_contrast"];

/**
 * Return the metrics of some answers by name.
 * @param {Evaluated} evaluated
 * @param {Answered[]} answered
 * @returns {Record<string, Estimate>}
 */
export function figuresOf({ entry }, answered) {
  const { form } = entry;
  const decision = decisionOrDefault(form.decision);
  return allFigures({
    logits: answered.map(({ prediction }) => Array.from(prediction.logits)),
    labels: answered.map(({ label }) => label),
    decisions: answered.map(({ prediction }) => prediction.decided),
    positive: positiveOf(entry),
    temperature: decision.temperature,
  });
}

/**
 * Return the class number of the positive of two classes, or null.
 * @param {Entry} entry
 * @returns {number | null}
 */
export function positiveOf({ form }) {
  if (form.labels.length !== 2) {
    return null;
  }
  return form.decision === null ? 1 : form.labels.indexOf(String(form.decision.positive));
}

/**
 * Return the number of images by true class and decision.
 * @param {Evaluated} evaluated
 * @returns {number[][]}
 */
export function confusionOf({ entry, answered }) {
  const labels = answered.map(({ label }) => label);
  const decisions = answered.map(({ prediction }) => prediction.decided);
  return table(labels, decisions, new Uint8Array(labels.length).fill(1), entry.form.labels.length);
}

/**
 * Return the text of a sealed report.
 * @param {Kit} kit
 * @param {Evaluated[]} all
 * @param {boolean | null} isOnBattery
 * @returns {string}
 */
export function evaluationReport(kit, all, isOnBattery) {
  return sealed({
    schema_version: 1,
    kind: "evaluation",
    device: deviceFacts(kit, isOnBattery),
    results: all.map(result),
  });
}

/** @param {Evaluated} evaluated */
function result(evaluated) {
  const { entry, answered, unreadable, unanswered } = evaluated;
  const { form } = entry;
  const metrics = figuresJson(figuresOf(evaluated, answered));
  const refers = Boolean(form.decision?.refer);
  const shares = refers ? figuresOfReferring(answered) : {};
  return {
    bundle: form.bundle,
    artifact_sha256: form.model.sha256,
    runtime: "onnxruntime-web",
    fallback: form.isFallback,
    task: positiveOf(entry) === null ? "multiclass" : "binary",
    labels: form.labels,
    decision: form.decision && withFloats(form.decision),
    n: answered.length,
    unreadable,
    unanswered,
    metrics: { ...metrics, ...shares },
    confusion: confusionOf(evaluated).map((row) => row.map(cell)),
    calibration: calibration(evaluated, metrics),
    referred: refers ? referred(evaluated, shares) : null,
    notes: form.decision === null ? [HIDDEN, NO_DECISION, DRAWN_HERE] : [HIDDEN, DRAWN_HERE],
  };
}

/**
 * @param {Record<string, Estimate>} figures
 * @returns {Record<string, unknown>}
 */
function figuresJson(figures) {
  return Object.fromEntries(
    Object.entries(figures).map(([name, { value, low, high, n }]) => [
      name,
      n < MIN_CELL ? null : { value: new Float(value), ci: [new Float(low), new Float(high)] },
    ]),
  );
}

/**
 * @param {number} count
 * @returns {number | null}
 */
function cell(count) {
  return count >= MIN_CELL ? count : null;
}

/**
 * @param {number} hits
 * @param {number} n
 */
function share(hits, n) {
  if (n < MIN_CELL) {
    return null;
  }
  const [low, high] = exactInterval(hits, n);
  return { value: new Float(hits / n), ci: [new Float(low), new Float(high)] };
}

/** @param {Answered[]} answered */
function figuresOfReferring(answered) {
  const others = answered.filter(({ prediction }) => prediction.referral === null);
  const right = others.filter(({ prediction, label }) => prediction.decided === label);
  return {
    referred_share: share(answered.length - others.length, answered.length),
    accuracy_if_answered: share(right.length, others.length),
  };
}

/**
 * @param {Evaluated} evaluated
 * @param {Record<string, unknown>} shares
 */
function referred(evaluated, shares) {
  const { answered } = evaluated;
  const others = answered.filter(({ prediction }) => prediction.referral === null);
  /** @type {Record<string, number>} */
  const reasons = {};
  for (const { prediction } of answered) {
    if (prediction.referral !== null) {
      reasons[prediction.referral.kind] = (reasons[prediction.referral.kind] ?? 0) + 1;
    }
  }
  return {
    n: cell(answered.length - others.length),
    share: shares.referred_share,
    reasons: Object.fromEntries(Object.entries(reasons).map(([kind, count]) => [kind, cell(count)])),
    metrics_of_others: others.length < MIN_CELL ? {} : figuresJson(figuresOf(evaluated, others)),
  };
}

/**
 * @param {Evaluated} evaluated
 * @param {Record<string, unknown>} metrics
 */
function calibration({ answered }, metrics) {
  const shares = answered.map(({ prediction }) => prediction.shares[prediction.decided]);
  const right = answered.filter(({ prediction, label }) => prediction.decided === label);
  const mean = shares.reduce((total, value) => total + value, 0) / shares.length;
  return {
    error: metrics[CALIBRATED] ?? null,
    mean_probability: float(Math.min(1, mean)),
    share_correct: float(right.length / answered.length),
  };
}

/**
 * Return a decision whose floats are written as in Python.
 * @param {any} value
 * @returns {any}
 */
function withFloats(value) {
  if (typeof value !== "object" || value === null) {
    return value;
  }
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => {
      if (!FLOATS.includes(name)) {
        return [name, Array.isArray(inner) ? inner : withFloats(inner)];
      }
      return [name, Array.isArray(inner) ? inner.map(float) : float(inner)];
    }),
  );
}
