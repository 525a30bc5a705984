// The report of an evaluation, as `pepr-edge evaluate --out` writes it: no image, no path, no small numbers.

import { Float, float, sealed } from "./canonical_json.mjs";
import { agree, decisionOrDefault, hasFindings } from "./decision.mjs";
import { allFindingsFigures, groupFindingsFigures } from "./findings_metrics.mjs";
import { exactInterval } from "./intervals.mjs";
import { CALIBRATED, allFigures, groupFigures, table } from "./metrics.mjs";
import { deviceFacts } from "./report.mjs";
import { subgroupsOf } from "./subgroups.mjs";
import { once, sum } from "./sums.mjs";

/** @typedef {import("./classify.mjs").Prediction} Prediction */
/** @typedef {import("./embedded.mjs").Kit} Kit */
/** @typedef {import("./decision.mjs").Decided} Decided */
/** @typedef {import("./subgroups.mjs").Subgroups} Subgroups */
/** @typedef {import("./sums.mjs").Estimate} Estimate */
/** @typedef {import("./state.mjs").Entry} Entry */
/** @typedef {{prediction: Prediction, label: Decided, groups: string[]}} Answered */
/** @typedef {{entry: Entry, answered: Answered[], columns: string[], unreadable: number, unanswered: number}} Answers
 *   `columns`: the names of the groups' columns */
/** @typedef {Answers & {figures: Record<string, Estimate>, subgroups: Subgroups[]}} Evaluated */

export const MIN_CELL = 5;
const HIDDEN =
  `Numbers of fewer than ${MIN_CELL} images are null, and groups of fewer are not named. A reader who ` +
  "knows the number of images may still work out a single hidden number from the others and the metrics.";
const NO_DECISION =
  "The bundle stores no decision (version 0.1): the highest logit decides, and probabilities are not calibrated.";
const DRAWN_HERE = "Evaluated in a browser, which draws the resamples of the intervals by its own numbers.";
// Floats of a decision; those that are whole are written as in Python.
const FLOATS = [
  "temperature",
  "temperatures",
  "threshold",
  "thresholds",
  "threshold_ci",
  "min_confidence",
  "max_novelty",
  "min_contrast",
];

/**
 * Compute all figures of the answers of a model.
 * @param {Answers} answers
 * @returns {Evaluated}
 */
export function evaluated(answers) {
  const { entry, answered, columns } = answers;
  const metric = entry.form.performanceMetric;
  /** @type {(some: Answered[]) => Record<string, Estimate | null>} */
  const ofSome = (some) =>
    hasFindings(entry.form.decision)
      ? groupFindingsFigures(findingsData(entry, some), metric)
      : groupFigures(classData(entry, some), metric);
  const subgroups = columns.map((column, number) =>
    subgroupsOf(column, answered, (one) => one.groups[number], ofSome, metric),
  );
  return { ...answers, figures: figuresOf(entry, answered), subgroups };
}

/**
 * Return the metrics of some answers by name.
 * @param {Entry} entry
 * @param {Answered[]} answered
 * @returns {Record<string, Estimate>}
 */
function figuresOf(entry, answered) {
  return hasFindings(entry.form.decision)
    ? allFindingsFigures(findingsData(entry, answered))
    : allFigures(classData(entry, answered));
}

/**
 * @param {Entry} entry
 * @param {Answered[]} answered
 * @returns {import("./metrics.mjs").Data}
 */
function classData(entry, answered) {
  const decision = decisionOrDefault(entry.form.decision);
  return {
    logits: answered.map(({ prediction }) => Array.from(prediction.logits)),
    labels: answered.map(({ label }) => Number(label)),
    decisions: answered.map(({ prediction }) => Number(prediction.decided)),
    positive: positiveOf(entry),
    temperature: decision.temperature,
    isOrdinal: decision.kind === "median",
  };
}

/**
 * @param {Entry} entry
 * @param {Answered[]} answered
 * @returns {import("./findings_metrics.mjs").FindingsData}
 */
function findingsData(entry, answered) {
  return {
    logits: answered.map(({ prediction }) => Array.from(prediction.logits)),
    labels: answered.map(({ label }) => asFindings(label)),
    decisions: answered.map(({ prediction }) => asFindings(prediction.decided)),
    temperatures: entry.form.decision?.temperatures ?? [],
  };
}

/**
 * @param {Decided} decided
 * @returns {number[]}
 */
function asFindings(decided) {
  return typeof decided === "number" ? [decided] : decided;
}

/**
 * Return the class number of the positive of two classes, or null.
 * @param {Entry} entry
 * @returns {number | null}
 */
export function positiveOf({ form }) {
  if (form.decision === null) {
    return form.labels.length === 2 ? 1 : null;
  }
  return form.decision.positive === null ? null : form.labels.indexOf(form.decision.positive);
}

/**
 * Return the kind of task, as `pepr-edge evaluate` names it.
 * @param {Entry} entry
 * @returns {string}
 */
function taskOf(entry) {
  if (positiveOf(entry) !== null) {
    return "binary";
  }
  const kinds = /** @type {Record<string, string>} */ ({ median: "ordinal", thresholds: "multilabel" });
  return kinds[decisionOrDefault(entry.form.decision).kind] ?? "multiclass";
}

/**
 * Return the number of images by true class and decision; of several findings such a table for each.
 * @param {Answers} answers
 * @returns {number[][] | number[][][]}
 */
export function confusionOf({ entry, answered }) {
  const weights = once(answered.length);
  /** @type {(pick: (decided: Decided) => number, classes: number) => number[][]} */
  const tableOf = (pick, classes) =>
    table(
      answered.map(({ label }) => pick(label)),
      answered.map(({ prediction }) => pick(prediction.decided)),
      weights,
      classes,
    );
  if (hasFindings(entry.form.decision)) {
    return entry.form.labels.map((_, finding) => tableOf((decided) => asFindings(decided)[finding], 2));
  }
  return tableOf(Number, entry.form.labels.length);
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

/** @param {Evaluated} one */
function result(one) {
  const { entry, answered, unreadable, unanswered } = one;
  const { form } = entry;
  const metrics = figuresJson(one.figures);
  const refers = Boolean(form.decision?.refer);
  const shares = refers ? figuresOfReferring(answered) : {};
  return {
    bundle: form.bundle,
    artifact_sha256: form.model.sha256,
    runtime: "onnxruntime-web",
    fallback: form.isFallback,
    task: taskOf(entry),
    labels: form.labels,
    decision: form.decision && withFloats(form.decision),
    n: answered.length,
    unreadable,
    unanswered,
    metrics: { ...metrics, ...shares },
    confusion: cells(confusionOf(one)),
    calibration: calibration(one, metrics),
    referred: refers ? referred(one, shares) : null,
    subgroups: one.subgroups.map(subgroupsJson),
    notes: form.decision === null ? [HIDDEN, NO_DECISION, DRAWN_HERE] : [HIDDEN, DRAWN_HERE],
  };
}

/** @param {Subgroups} subgroups */
function subgroupsJson({ column, metric, groups, worst, hiddenGroups, hiddenImages }) {
  return {
    column,
    metric,
    groups: groups.map(({ group, n, figures }) => ({ group, n, metrics: figuresJson(figures) })),
    worst,
    hidden_groups: hiddenGroups,
    hidden_images: cell(hiddenImages),
  };
}

/**
 * @param {any} counts a table of counts, or several
 * @returns {any}
 */
function cells(counts) {
  return Array.isArray(counts) ? counts.map(cells) : cell(counts);
}

/**
 * @param {Record<string, Estimate | null>} figures
 * @returns {Record<string, unknown>}
 */
function figuresJson(figures) {
  return Object.fromEntries(Object.entries(figures).map(([name, found]) => [name, figureJson(found)]));
}

/** @param {Estimate | null} found */
function figureJson(found) {
  if (found === null || found.n < MIN_CELL) {
    return null;
  }
  return { value: new Float(found.value), ci: [new Float(found.low), new Float(found.high)] };
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
  const right = others.filter(isRight);
  return {
    referred_share: share(answered.length - others.length, answered.length),
    accuracy_if_answered: share(right.length, others.length),
  };
}

/**
 * True if a decision is the label; of several findings, if all are.
 * @param {Answered} one
 * @returns {boolean}
 */
function isRight({ prediction, label }) {
  return agree(prediction.decided, label);
}

/**
 * @param {Evaluated} one
 * @param {Record<string, unknown>} shares
 */
function referred({ entry, answered }, shares) {
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
    metrics_of_others: others.length < MIN_CELL ? {} : figuresJson(figuresOf(entry, others)),
  };
}

/**
 * Return how far the probabilities of the decisions agree with the share of correct ones; of several findings over
 * all of them.
 * @param {Evaluated} one
 * @param {Record<string, unknown>} metrics
 */
function calibration({ answered }, metrics) {
  const shares = answered.flatMap(({ prediction: { decided, shares: all } }) =>
    typeof decided === "number"
      ? [all[decided]]
      : decided.map((named, finding) => (named === 1 ? all[finding] : 1 - all[finding])),
  );
  const right = answered.flatMap(({ prediction: { decided }, label }) =>
    typeof decided === "number"
      ? [decided === label]
      : decided.map((named, finding) => named === asFindings(label)[finding]),
  );
  return {
    error: metrics[CALIBRATED] ?? null,
    mean_probability: float(Math.min(1, sum(shares) / shares.length)),
    share_correct: float(right.filter(Boolean).length / right.length),
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
