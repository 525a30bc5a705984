// The section "Check": self-tests of all models, and what this browser can do.

import { clockStepS, hasWebGpu, thisDevice } from "./device.mjs";
import { button, element, pause, statusLine, stopButton, table } from "./dom.mjs";
import { errorLine } from "./errors.mjs";
import { usableThreads } from "./runtime.mjs";
import { formName } from "./state.mjs";
import { short, text } from "./texts.mjs";

/** @typedef {import("./state.mjs").State} State */
/** @typedef {import("./state.mjs").Entry} Entry */

const COARSE_S = 5e-5;

/**
 * Return the section.
 * @param {State} state
 * @returns {HTMLElement}
 */
export function checkView(state) {
  const status = statusLine();
  const results = element("div");
  const browser = element("div");
  const stop = stopButton(text("stop"), () => {
    state.isStopped = true;
  });
  const begin = () => void state.alone(status, () => stop.during(() => checkAll(state, status)));
  state.listeners.push(() => {
    const checked = state.entries.filter((entry) => entry.test !== null || entry.fault !== null);
    results.replaceChildren(...(checked.length ? [resultsTable(checked)] : []));
  });
  void describe(state).then((lines) => browser.replaceChildren(...lines));
  return element(
    "section",
    { id: "check", "aria-labelledby": "check-title" },
    element("h2", { id: "check-title" }, text("check")),
    element("p", {}, text("checkIntro")),
    element("div", { class: "row" }, button(text("checkButton"), begin, true), stop.element),
    status,
    results,
    element("h3", {}, text("thisBrowser")),
    browser,
  );
}

/**
 * @param {State} state
 * @param {HTMLElement} status
 */
async function checkAll(state, status) {
  for (const entry of state.entries) {
    status.textContent = text("checking", { form: formName(entry) });
    await pause();
    await state.check(entry);
    state.changed();
  }
  const passed = state.passing().length;
  const key = passed > 0 ? "checkDone" : "checkNone";
  status.textContent = text(key, { passed, n: state.entries.length });
}

/**
 * @param {Entry[]} entries
 * @returns {HTMLElement}
 */
function resultsTable(entries) {
  const columns = [text("model"), text("result"), text("decisions"), text("difference")];
  return table(text("checkTable"), columns, entries.map(resultRow));
}

/**
 * @param {Entry} entry
 * @returns {import("./dom.mjs").Child[]}
 */
function resultRow(entry) {
  const { test, fault } = entry;
  if (test === null) {
    return [formName(entry), element("span", { class: "bad" }, text("failed")), errorLine(fault), ""];
  }
  const verdict = element("span", { class: test.passed ? "good" : "bad" }, text(test.passed ? "passed" : "failed"));
  const novelty = test.noveltyAgrees === false ? ` ${text("noveltyDiffers")}` : "";
  const found = short(test.maxAbsDiff);
  return [
    formName(entry),
    verdict,
    text("agreeing", { agreeing: test.agreeing, n: test.n }) + novelty,
    text("ofTolerance", { found, tolerance: short(test.tolerance) }),
  ];
}

/**
 * @param {State} state
 * @returns {Promise<HTMLElement[]>}
 */
async function describe(state) {
  const device = thisDevice();
  const step = clockStepS();
  const lines = [
    text("browserLine", {
      browser: `${device.browser} ${device.major}`,
      os: device.os,
      cores: device.cores,
      threads: usableThreads(),
    }),
    `${text("clockLine", { step: { seconds: step } })}${step > COARSE_S ? ` ${text("coarseLine")}` : ""}`,
  ];
  if ("webgpu" in state.kit.providers) {
    lines.push(text((await hasWebGpu()) ? "webgpuYes" : "webgpuNo"));
  }
  const { version, made, runtime } = state.kit;
  lines.push(text("madeLine", { version, made, runtime }));
  return lines.map((line) => element("p", { class: "soft" }, line));
}
