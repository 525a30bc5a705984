// The sections "Measure" and "Save": latencies of the models that pass, and the report.

import { clockStepS, onBattery } from "./device.mjs";
import { button, element, statusLine, stopButton, table } from "./dom.mjs";
import { Stopped } from "./errors.mjs";
import { measure } from "./measure.mjs";
import { latencyPlot } from "./plot.mjs";
import { fieldReport } from "./report.mjs";
import { RULES } from "./rules.mjs";
import { saveText } from "./save.mjs";
import { formName } from "./state.mjs";
import { language, message, milliseconds, percent, short, text } from "./texts.mjs";

/** @typedef {import("./measure.mjs").Measurement} Measurement */
/** @typedef {import("./report.mjs").Measured} Measured */
/** @typedef {import("./state.mjs").Entry} Entry */
/** @typedef {import("./state.mjs").State} State */
/** @typedef {import("./texts.mjs").Message} Message */

const MAX_SLOWING = 1.05;
const MAX_SPREAD = 3;
// A screen reader speaks the status each time that it changes.
const STATUS_SHARE = 0.1;

/**
 * Return the section "Measure".
 * @param {State} state
 * @returns {HTMLElement}
 */
export function measureView(state) {
  const status = statusLine();
  const bar = element("progress", { max: 1, value: 0, "aria-label": text("measure"), hidden: true });
  const results = element("div");
  const models = modelBoxes(state);
  const length = lengthChoice();
  const stop = stopButton(text("stop"), () => {
    state.isStopped = true;
  });
  const run = async () => {
    bar.value = 0;
    bar.hidden = false;
    try {
      await measureAll(state, models.chosen(), RULES[length.chosen()], { status, bar, results });
    } finally {
      bar.hidden = true;
    }
  };
  const begin = () => void state.alone(status, () => stop.during(run));
  show(state.measured, results);
  return element(
    "section",
    { id: "measure", "aria-labelledby": "measure-title" },
    element("h2", { id: "measure-title" }, text("measure")),
    element("p", {}, text("measureIntro")),
    models.element,
    length.element,
    element("div", { class: "row" }, button(text("measureButton"), begin, true), stop.element),
    bar,
    status,
    results,
  );
}

/** @param {State} state */
function modelBoxes(state) {
  const boxes = state.entries.map((entry) => {
    const box = element("input", { type: "checkbox", checked: true });
    return { entry, box, label: element("label", {}, box, formName(entry)) };
  });
  state.listeners.push(() => {
    for (const { entry, box } of boxes) {
      const isOut = entry.fault !== null || entry.test?.passed === false;
      box.disabled = isOut;
      box.checked = box.checked && !isOut;
    }
  });
  return {
    element: element(
      "fieldset",
      {},
      element("legend", {}, text("models")),
      ...boxes.map(({ label }) => label),
    ),
    chosen: () => boxes.filter(({ box }) => box.checked).map(({ entry }) => entry),
  };
}

function lengthChoice() {
  const names = ["quick", "full"];
  const inputs = names.map((name) =>
    element("input", { type: "radio", name: "rules", value: name, checked: name === "quick" }),
  );
  const labels = inputs.map((input, index) => element("label", {}, input, text(names[index])));
  return {
    element: element("fieldset", {}, element("legend", {}, text("howLong")), ...labels),
    chosen: () => names[inputs.findIndex((input) => input.checked)] ?? "quick",
  };
}

/**
 * Measure models in turn. What was measured to the end is kept if the person stops, or if one fails.
 * @param {State} state
 * @param {Entry[]} entries
 * @param {import("./rules.mjs").Rules} rules
 * @param {{status: HTMLElement, bar: HTMLProgressElement, results: HTMLElement}} parts
 */
async function measureAll(state, entries, rules, { status, bar, results }) {
  const isOnBattery = await onBattery();
  const stepS = clockStepS();
  let count = 0;
  try {
    for (const [index, entry] of entries.entries()) {
      const form = formName(entry);
      status.textContent = text("checking", { form });
      await state.check(entry);
      if (!entry.test?.passed) {
        continue; // the table of the check says why
      }
      const session = await state.session(entry);
      let saidAt = -1;
      /** @type {import("./measure.mjs").OnProgress} */
      const onProgress = (share, medianS) => {
        bar.value = (index + share) / entries.length;
        if (share >= saidAt + STATUS_SHARE) {
          saidAt = share;
          status.textContent = text("measuring", { form, percent: percent(share), median: milliseconds(medianS) });
        }
      };
      const measurement = await measure(session, rules, stepS, onProgress, () => state.isStopped);
      const warnings = warningsOf(measurement, isOnBattery);
      state.keepMeasured({ entry, measurement, warnings, isOnBattery });
      count += 1;
      show(state.measured, results);
    }
    status.textContent = text("measured", { n: count });
  } catch (fault) {
    if (!(fault instanceof Stopped)) {
      throw fault;
    }
    status.textContent = text("stopped");
  }
}

/**
 * @param {Measurement} measurement
 * @param {boolean | null} isOnBattery
 * @returns {Message[]}
 */
function warningsOf(measurement, isOnBattery) {
  const { latenciesS, percentilesS, perLatency, stepS, thirdsS, wasHidden } = measurement;
  const warnings = [];
  if (wasHidden) {
    warnings.push(message("hidden"));
  }
  if (isOnBattery) {
    warnings.push(message("battery"));
  }
  if (thirdsS && thirdsS.last > MAX_SLOWING * thirdsS.first) {
    warnings.push(message("slowing"));
  }
  const limit = MAX_SPREAD * (percentilesS.p50 ?? Infinity);
  if (latenciesS.some((latency) => latency > limit)) {
    warnings.push(message("otherLoad"));
  }
  if (perLatency > 1) {
    warnings.push(message("perLatency", { n: perLatency, step: { seconds: stepS } }));
  }
  return warnings;
}

/**
 * @param {Measured[]} all
 * @param {HTMLElement} results
 */
function show(all, results) {
  if (all.length === 0) {
    return;
  }
  const columns = [text("model"), text("validity"), "p50", "p90", "p95", "p99"];
  const rows = all.map(({ entry, measurement }) => {
    const { p50, p90, p95, p99 } = measurement.percentilesS;
    const isValid = measurement.reasons.length === 0;
    const verdict = element("span", { class: isValid ? "good" : "bad" }, text(isValid ? "valid" : "invalid"));
    return [formName(entry), verdict, ...[p50, p90, p95, p99].map(cellOf)];
  });
  results.replaceChildren(table(text("measureTable"), columns, rows), ...fastest(all), ...all.flatMap(details));
}

/**
 * @param {number | null} seconds
 * @returns {string} for a column of milliseconds
 */
function cellOf(seconds) {
  return seconds === null ? text("tooFew") : short(seconds * 1e3, language(), 3);
}

/**
 * @param {number | null} seconds
 * @returns {string}
 */
function shownPercentile(seconds) {
  return seconds === null ? text("tooFew") : milliseconds(seconds);
}

/**
 * @param {Measured[]} all
 * @returns {HTMLElement[]}
 */
function fastest(all) {
  const valid = all.filter(({ measurement }) => measurement.reasons.length === 0);
  if (valid.length < 2) {
    return [];
  }
  /** @type {(one: Measured) => number} */
  const p90 = (one) => one.measurement.percentilesS.p90 ?? Infinity;
  const best = valid.reduce((first, second) => (p90(second) < p90(first) ? second : first));
  return [element("p", { class: "good" }, text("fastest", { form: formName(best.entry), p90: { seconds: p90(best) } }))];
}

/**
 * @param {Measured} measured
 * @returns {Node[]}
 */
function details({ entry, measurement, warnings }) {
  const { latenciesS, percentilesS, perLatency, reasons } = measurement;
  const title = text("plotTitle", {
    form: formName(entry),
    n: latenciesS.length,
    p50: shownPercentile(percentilesS.p50),
    p90: shownPercentile(percentilesS.p90),
  });
  return [
    element("h3", {}, formName(entry)),
    ...reasons.map(({ key, values }) => element("p", { class: "bad" }, text(key, values))),
    ...warnings.map(({ key, values }) => element("p", { class: "warn" }, text(key, values))),
    latencyPlot(latenciesS, percentilesS.p90, perLatency, title),
  ];
}

/**
 * Return the section "Save".
 * @param {State} state
 * @returns {HTMLElement}
 */
export function saveView(state) {
  const status = statusLine();
  /** @param {string} provider @param {string} file */
  const save = (provider, file) => {
    const measured = state.measured.filter(({ entry }) => entry.provider === provider);
    if (measured.length === 0) {
      status.textContent = text("saveNone");
      return;
    }
    saveText(file, fieldReport(state.kit, measured));
    status.textContent = text("saved", { file });
  };
  const buttons = [button(text("saveButton"), () => save("wasm", "report.json"), true)];
  if ("webgpu" in state.kit.providers) {
    buttons.push(button(text("saveGpuButton"), () => save("webgpu", "report-webgpu.json")));
  }
  return element(
    "section",
    { id: "save", "aria-labelledby": "save-title" },
    element("h2", { id: "save-title" }, text("save")),
    element("p", {}, text("saveIntro")),
    element("div", { class: "row" }, ...buttons),
    status,
  );
}
