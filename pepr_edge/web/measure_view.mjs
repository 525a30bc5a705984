// The sections "Measure" and "Save": latencies of the models that pass, and the report.

import { clockStepS, onBattery } from "./device.mjs";
import { button, element, statusLine, table } from "./dom.mjs";
import { Stopped, measure } from "./measure.mjs";
import { latencyPlot } from "./plot.mjs";
import { fieldReport } from "./report.mjs";
import { RULES, shownMs } from "./rules.mjs";
import { saveText } from "./save.mjs";
import { formName } from "./state.mjs";
import { percent, short, text } from "./texts.mjs";

/** @typedef {import("./measure.mjs").Measurement} Measurement */
/** @typedef {import("./report.mjs").Measured} Measured */
/** @typedef {import("./state.mjs").Entry} Entry */
/** @typedef {import("./state.mjs").State} State */

const MAX_SLOWING = 1.05;
const MAX_SPREAD = 3;

/** What was measured so far; shared by both sections. */
export class Measurements {
  constructor() {
    /** @type {Measured[]} */
    this.all = [];
    this.isStopped = false;
    /** @type {boolean | null} */
    this.isOnBattery = null;
  }

  /** @param {Measured} measured */
  add(measured) {
    this.all = [...this.all.filter((other) => other.entry !== measured.entry), measured];
  }
}

/**
 * Return the section "Measure".
 * @param {State} state
 * @param {Measurements} measurements
 * @returns {HTMLElement}
 */
export function measureView(state, measurements) {
  const status = statusLine();
  const bar = element("progress", { max: 1, value: 0, "aria-label": text("measure"), hidden: true });
  const results = element("div");
  const models = modelBoxes(state);
  const length = lengthChoice();
  const stop = button(text("stop"), () => {
    measurements.isStopped = true;
  });
  stop.disabled = true;
  const run = async () => {
    stop.disabled = false;
    bar.hidden = false;
    try {
      const rules = RULES[length.chosen()];
      await measureAll(state, measurements, models.chosen(), rules, { status, bar, results });
    } finally {
      stop.disabled = true;
      bar.hidden = true;
    }
  };
  const start = button(text("measureButton"), () => void state.alone(status, run), true);
  return element(
    "section",
    { id: "measure", "aria-labelledby": "measure-title" },
    element("h2", { id: "measure-title" }, text("measure")),
    element("p", {}, text("measureIntro")),
    models.element,
    length.element,
    element("div", { class: "row" }, start, stop),
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
 * @param {State} state
 * @param {Measurements} measurements
 * @param {Entry[]} entries
 * @param {import("./rules.mjs").Rules} rules
 * @param {{status: HTMLElement, bar: HTMLProgressElement, results: HTMLElement}} parts
 */
async function measureAll(state, measurements, entries, rules, { status, bar, results }) {
  measurements.isStopped = false;
  measurements.isOnBattery = await onBattery();
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
      /** @type {import("./measure.mjs").OnProgress} */
      const onProgress = (share, medianS) => {
        bar.value = (index + share) / entries.length;
        status.textContent = text("measuring", { form, percent: percent(share), median: shownMs(medianS) });
      };
      const measurement = await measure(session, rules, stepS, onProgress, () => measurements.isStopped);
      const warnings = warningsOf(measurement, measurements.isOnBattery);
      measurements.add({ entry, measurement, warnings });
      count += 1;
      show(measurements.all, results);
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
 * @returns {string[]}
 */
function warningsOf(measurement, isOnBattery) {
  const { latenciesS, percentilesS, perLatency, stepS, thirdsS, wasHidden } = measurement;
  const warnings = [];
  if (wasHidden) {
    warnings.push(text("hidden"));
  }
  if (isOnBattery) {
    warnings.push(text("battery"));
  }
  if (thirdsS && thirdsS.last > MAX_SLOWING * thirdsS.first) {
    warnings.push(text("slowing"));
  }
  const limit = MAX_SPREAD * (percentilesS.p50 ?? Infinity);
  if (latenciesS.some((latency) => latency > limit)) {
    warnings.push(text("otherLoad"));
  }
  if (perLatency > 1) {
    warnings.push(text("perLatency", { n: perLatency, step: shownMs(stepS) }));
  }
  return warnings;
}

/**
 * @param {Measured[]} all
 * @param {HTMLElement} results
 */
function show(all, results) {
  const columns = [text("model"), text("validity"), "p50", "p90", "p95", "p99"];
  const rows = all.map(({ entry, measurement }) => {
    const { p50, p90, p95, p99 } = measurement.percentilesS;
    const isValid = measurement.reasons.length === 0;
    const verdict = element("span", { class: isValid ? "good" : "bad" }, text(isValid ? "valid" : "invalid"));
    return [formName(entry), verdict, ...[p50, p90, p95, p99].map(milliseconds)];
  });
  results.replaceChildren(table(text("measureTable"), columns, rows), ...fastest(all), ...all.flatMap(details));
}

/**
 * @param {number | null} seconds
 * @returns {string} for a column of milliseconds
 */
function milliseconds(seconds) {
  return seconds === null ? text("tooFew") : short(seconds * 1e3);
}

/**
 * @param {number | null} seconds
 * @returns {string}
 */
function shownPercentile(seconds) {
  return seconds === null ? text("tooFew") : shownMs(seconds);
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
  return [element("p", { class: "good" }, text("fastest", { form: formName(best.entry), p90: shownMs(p90(best)) }))];
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
    ...reasons.map((reason) => element("p", { class: "bad" }, reason)),
    ...warnings.map((warning) => element("p", { class: "warn" }, warning)),
    latencyPlot(latenciesS, percentilesS.p90, perLatency, title),
  ];
}

/**
 * Return the section "Save".
 * @param {State} state
 * @param {Measurements} measurements
 * @returns {HTMLElement}
 */
export function saveView(state, measurements) {
  const status = statusLine();
  /** @param {string} provider @param {string} file */
  const save = (provider, file) => {
    const measured = measurements.all.filter(({ entry }) => entry.provider === provider);
    if (measured.length === 0) {
      status.textContent = text("saveNone");
      return;
    }
    saveText(file, fieldReport(state.kit, measured, measurements.isOnBattery));
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
