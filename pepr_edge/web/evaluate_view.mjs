// The section "Evaluate": how the models do on labelled images, and the report of it.

import { classify } from "./classify.mjs";
import { onBattery } from "./device.mjs";
import { button, element, fileChoice, pause, statusLine, table } from "./dom.mjs";
import { PageError, errorLine, shownName } from "./errors.mjs";
import { MIN_CELL, confusionOf, evaluationReport, figuresOf } from "./evaluate.mjs";
import { readLabelled } from "./labelled.mjs";
import { modelChoice } from "./predict_view.mjs";
import { saveText } from "./save.mjs";
import { formName } from "./state.mjs";
import { text } from "./texts.mjs";

/** @typedef {import("./evaluate.mjs").Evaluated} Evaluated */
/** @typedef {import("./state.mjs").State} State */
/** @typedef {import("./state.mjs").Entry} Entry */

const FILE = "evaluation.json";
const MAX_FAULTS = 20;
const KINDS = ["argmax", "threshold"];

/**
 * Return the section.
 * @param {State} state
 * @returns {HTMLElement}
 */
export function evaluateView(state) {
  const status = statusLine();
  const results = element("div");
  /** @type {Evaluated[]} */
  const all = [];
  const choice = modelChoice(state, "evaluate-model", () => undefined);
  /** @param {File[]} files */
  const onFiles = (files) => {
    if (files.length > 0) {
      void state.alone(status, () => evaluateAll(state, choice.entry(), files, { status, results, all }));
    }
  };
  const save = async () => {
    if (all.length === 0) {
      status.textContent = text("evaluateNone");
      return;
    }
    saveText(FILE, evaluationReport(state.kit, all, await onBattery()));
    status.textContent = text("evaluationSaved", { file: FILE });
  };
  return element(
    "section",
    { id: "evaluate", "aria-labelledby": "evaluate-title" },
    element("h2", { id: "evaluate-title" }, text("evaluate")),
    element("p", {}, text("evaluateIntro")),
    choice.element,
    element(
      "div",
      { class: "row" },
      fileChoice(text("chooseFolder"), { webkitdirectory: true, multiple: true, id: "evaluate-folder" }, onFiles),
      fileChoice(text("chooseTable"), { multiple: true, id: "evaluate-files" }, onFiles),
      button(text("saveEvaluation"), () => void save()),
    ),
    element("p", { class: "soft" }, text("evaluateStays")),
    status,
    results,
  );
}

/**
 * @param {State} state
 * @param {Entry} entry
 * @param {File[]} files
 * @param {{status: HTMLElement, results: HTMLElement, all: Evaluated[]}} parts
 */
async function evaluateAll(state, entry, files, { status, results, all }) {
  const { labels, decision } = entry.form;
  if (decision !== null && !KINDS.includes(decision.kind)) {
    throw new PageError("a model of grades, which this page does not evaluate. Use pepr-edge evaluate.");
  }
  const labelled = await readLabelled(files, labels);
  const session = await state.checkedSession(entry);
  /** @type {Evaluated} */
  const evaluated = { entry, answered: [], unreadable: 0, unanswered: 0 };
  /** @type {string[]} */
  const faults = [];
  for (const [index, { file, label }] of labelled.entries()) {
    if (index % 10 === 0) {
      status.textContent = text("predicting", { index: index + 1, n: labelled.length });
      await pause();
    }
    try {
      evaluated.answered.push({ prediction: await classify(session, file), label });
    } catch (fault) {
      const line = errorLine(fault);
      faults.push(`${shownName(file.name)}: ${line}`);
      evaluated[line.startsWith("no answer") ? "unanswered" : "unreadable"] += 1;
    }
  }
  if (evaluated.answered.length < MIN_CELL) {
    throw new PageError(
      `${evaluated.answered.length} images with an answer, expected at least ${MIN_CELL}: figures of fewer would ` +
        "stand for single patients. Add labelled images.",
    );
  }
  const others = all.filter((other) => other.entry !== entry);
  all.splice(0, all.length, ...others, evaluated);
  results.replaceChildren(...all.flatMap(figuresOfModel), ...faultLines(faults));
  status.textContent = text("evaluated", { n: evaluated.answered.length, faults: faults.length });
}

/**
 * @param {Evaluated} evaluated
 * @returns {HTMLElement[]}
 */
function figuresOfModel(evaluated) {
  const { entry, answered } = evaluated;
  const figures = Object.entries(figuresOf(evaluated, answered));
  const rows = figures.map(([name, { value, low, high, n }]) => {
    const shown = n < MIN_CELL ? text("tooFew") : value.toFixed(3);
    return [text(`metric_${name}`), shown, n < MIN_CELL ? "" : `${low.toFixed(3)} - ${high.toFixed(3)}`];
  });
  const { labels } = entry.form;
  const cells = confusionOf(evaluated).map((row, label) => [labels[label], ...row.map(String)]);
  return [
    element("h3", {}, formName(entry)),
    table(text("metricsTable", { n: answered.length }), [text("metric"), text("value"), text("interval")], rows),
    table(text("confusionTable"), [text("trueClass"), ...labels], cells),
  ];
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
