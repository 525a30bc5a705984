// The section "Evaluate": how the models do on labelled images, and the report of it.

import { classify } from "./classify.mjs";
import { onBattery } from "./device.mjs";
import { button, element, fileChoice, pause, statusLine, stopButton, table } from "./dom.mjs";
import { PageError, errorLine, shownName } from "./errors.mjs";
import { MIN_CELL, confusionOf, evaluated, evaluationReport } from "./evaluate.mjs";
import { hasFindings } from "./decision.mjs";
import { readLabelled } from "./labelled.mjs";
import { modelChoice } from "./predict_view.mjs";
import { saveText } from "./save.mjs";
import { formName } from "./state.mjs";
import { NO_VALUE } from "./subgroups.mjs";
import { fixed, hasText, text } from "./texts.mjs";

/** @typedef {import("./evaluate.mjs").Answers} Answers */
/** @typedef {import("./evaluate.mjs").Evaluated} Evaluated */
/** @typedef {import("./labelled.mjs").LabelledSet} LabelledSet */
/** @typedef {import("./sums.mjs").Estimate} Estimate */
/** @typedef {import("./state.mjs").State} State */
/** @typedef {import("./state.mjs").Entry} Entry */

const FILE = "evaluation.json";
const MAX_FAULTS = 20;
const DECIMALS = 3;
// A larger table helps nobody on a screen.
const MAX_TABLE_LABELS = 30;

/**
 * Return the section.
 * @param {State} state
 * @returns {HTMLElement}
 */
export function evaluateView(state) {
  const status = statusLine();
  const results = element("div");
  results.replaceChildren(...state.evaluated.flatMap(figuresOfModel));
  const choice = modelChoice(state, "evaluate-model", () => undefined);
  const groups = element("input", { id: "evaluate-groups", type: "text", maxlength: 300, autocomplete: "off" });
  const stop = stopButton(text("stop"), () => {
    state.isStopped = true;
  });
  /** @param {File[]} files */
  const onFiles = (files) => {
    if (files.length === 0) {
      return;
    }
    const task = async () => {
      const wanted = groups.value.split(",").map((name) => name.trim()).filter(Boolean);
      const set = await readLabelled(files, choice.entry().form, wanted);
      await evaluateAll(state, choice.entry(), set, { status, results });
    };
    void state.alone(status, () => stop.during(task));
  };
  return element(
    "section",
    { id: "evaluate", "aria-labelledby": "evaluate-title" },
    element("h2", { id: "evaluate-title" }, text("evaluate")),
    element("p", {}, text("evaluateIntro")),
    choice.element,
    element("div", { class: "row" }, element("label", { for: "evaluate-groups" }, text("groupsLabel")), groups),
    element(
      "div",
      { class: "row" },
      fileChoice(text("chooseFolder"), { webkitdirectory: true, multiple: true, id: "evaluate-folder" }, onFiles),
      fileChoice(text("chooseTable"), { multiple: true, id: "evaluate-files" }, onFiles),
      stop.element,
      button(text("saveEvaluation"), () => void save(state, status)),
    ),
    element("p", { class: "soft" }, text("evaluateStays")),
    status,
    results,
  );
}

/**
 * Save the report of what was evaluated.
 * @param {State} state
 * @param {HTMLElement} status
 */
async function save(state, status) {
  if (state.evaluated.length === 0) {
    status.textContent = text("evaluateNone");
    return;
  }
  saveText(FILE, evaluationReport(state.kit, state.evaluated, await onBattery()));
  status.textContent = text("evaluationSaved", { file: FILE });
}

/**
 * @param {State} state
 * @param {Entry} entry
 * @param {LabelledSet} set
 * @param {{status: HTMLElement, results: HTMLElement}} parts
 */
async function evaluateAll(state, entry, set, { status, results }) {
  const session = await state.checkedSession(entry);
  /** @type {Answers} */
  const answers = { entry, answered: [], columns: set.columns, unreadable: 0, unanswered: 0 };
  /** @type {string[]} */
  const faults = [];
  for (const [index, { file, label, groups }] of set.images.entries()) {
    if (index % 10 === 0) {
      status.textContent = text("predicting", { index: index + 1, n: set.images.length });
      await pause();
    }
    if (state.isStopped) {
      throw new PageError("evaluateStopped");
    }
    try {
      answers.answered.push({ prediction: await classify(session, file), label, groups });
    } catch (fault) {
      faults.push(text("fileFault", { name: shownName(file.name), reason: errorLine(fault) }));
      const isUnanswered = fault instanceof PageError && fault.key === "notFinite";
      answers[isUnanswered ? "unanswered" : "unreadable"] += 1;
    }
  }
  const count = answers.answered.length;
  results.replaceChildren(...state.evaluated.flatMap(figuresOfModel), ...faultLines(faults));
  if (count < MIN_CELL) {
    throw new PageError("tooFewAnswered", { n: count, limit: MIN_CELL });
  }
  status.textContent = text("computing");
  await pause();
  state.keepEvaluated(evaluated(answers));
  results.replaceChildren(...state.evaluated.flatMap(figuresOfModel), ...faultLines(faults));
  const leftOut = set.leftOut > 0 ? ` ${text("leftOut", { n: set.leftOut })}` : "";
  status.textContent = text("evaluated", { n: count, faults: faults.length }) + leftOut;
}

/**
 * @param {Evaluated} one
 * @returns {HTMLElement[]}
 */
function figuresOfModel(one) {
  const { entry, answered, figures, subgroups } = one;
  const name = formName(entry);
  const columns = [text("metric"), text("value"), text("interval")];
  const rows = Object.entries(figures).map(([metric, found]) => [metricName(metric), ...cellsOf(found)]);
  return [
    element("h3", {}, name),
    table(text("metricsTable", { n: answered.length }), columns, rows, name),
    ...(entry.form.labels.length <= MAX_TABLE_LABELS ? [confusionTable(one)] : []),
    ...subgroups.map((subgroup) => groupsTable(subgroup, name)),
  ];
}

/**
 * @param {string} name of a metric; with a level at its end it has no text
 * @returns {string}
 */
function metricName(name) {
  return hasText(`metric_${name}`) ? text(`metric_${name}`) : name.replaceAll("_", " ");
}

/**
 * @param {Estimate | null | undefined} found
 * @returns {string[]} value and interval
 */
function cellsOf(found) {
  if (!found || found.n < MIN_CELL) {
    return [text(found ? "tooFew" : "undefined"), ""];
  }
  const [value, low, high] = [found.value, found.low, found.high].map((number) => fixed(number, DECIMALS));
  return [value, text("range", { low, high })];
}

/**
 * @param {Evaluated} one
 * @returns {HTMLElement}
 */
function confusionTable(one) {
  const { form } = one.entry;
  const name = formName(one.entry);
  const labels = form.labels.map(shownName);
  const counts = confusionOf(one);
  if (hasFindings(form.decision)) {
    const rows = /** @type {number[][][]} */ (counts).map(([without, having], finding) => [
      labels[finding],
      ...[having[1], having[0], without[1], without[0]].map(String),
    ]);
    const columns = ["finding", "foundRight", "missed", "falseAlarm", "leftRight"].map((key) => text(key));
    return table(text("findingsTable"), columns, rows, name);
  }
  const rows = /** @type {number[][]} */ (counts).map((row, label) => [labels[label], ...row.map(String)]);
  return table(text("confusionTable"), [text("trueClass"), ...labels], rows, name);
}

/**
 * @param {import("./subgroups.mjs").Subgroups} subgroups
 * @param {string} name of the model
 * @returns {HTMLElement}
 */
function groupsTable({ column, metric, groups, worst, hiddenGroups }, name) {
  const rows = groups.map(({ group, n, figures }) => [
    group === worst ? text("worstGroup", { group: groupName(group) }) : groupName(group),
    String(n),
    ...cellsOf(figures[metric]),
  ]);
  const hidden = hiddenGroups > 0 ? ` ${text("hiddenGroups", { n: hiddenGroups })}` : "";
  const caption = text("groupsTable", { column: shownName(column), metric: metricName(metric) }) + hidden;
  return table(caption, [text("group"), text("images"), text("value"), text("interval")], rows, name);
}

/**
 * @param {string} group
 * @returns {string}
 */
function groupName(group) {
  return group === NO_VALUE ? text("noValue") : shownName(group);
}

/**
 * @param {string[]} faults
 * @returns {HTMLElement[]}
 */
function faultLines(faults) {
  const lines = faults.slice(0, MAX_FAULTS).map((line) => element("p", { class: "bad" }, line));
  if (faults.length > MAX_FAULTS) {
    lines.push(element("p", { class: "bad" }, text("moreFaults", { n: faults.length - MAX_FAULTS })));
  }
  return lines;
}
