// The section "Predict": images in, classes with their probabilities out, as `pepr-edge predict`.

import { classify } from "./classify.mjs";
import { hasFindings } from "./decision.mjs";
import { element, fileChoice, pause, statusLine, stopButton } from "./dom.mjs";
import { errorLine, shownName } from "./errors.mjs";
import { formName } from "./state.mjs";
import { percent, text } from "./texts.mjs";

/** @typedef {import("./classify.mjs").Prediction} Prediction */
/** @typedef {import("./state.mjs").State} State */
/** @typedef {import("./state.mjs").Entry} Entry */

const ACCEPT = "image/png,image/jpeg,application/dicom,.png,.jpg,.jpeg,.dcm,.dicom";
// More lines help nobody on a phone, and previews take memory.
const MAX_PREVIEWS = 200;
// Classes or findings whose probabilities are shown.
const MAX_SHARES = 5;

/**
 * Return the section.
 * @param {State} state
 * @returns {HTMLElement}
 */
export function predictView(state) {
  const status = statusLine();
  const rule = element("p", { class: "soft" });
  const results = element("ul", { class: "results" });
  const choice = modelChoice(state, "predict-model", () => {
    rule.textContent = ruleLine(choice.entry());
  });
  const stop = stopButton(text("stop"), () => {
    state.isStopped = true;
  });
  /** @param {File[]} files */
  const onFiles = (files) => {
    if (files.length > 0) {
      const task = () => predictAll(state, choice.entry(), files, status, results);
      void state.alone(status, () => stop.during(task));
    }
  };
  return element(
    "section",
    { id: "predict", "aria-labelledby": "predict-title" },
    element("h2", { id: "predict-title" }, text("predict")),
    element("p", {}, text("predictIntro")),
    choice.element,
    rule,
    element(
      "div",
      { class: "row" },
      fileChoice(text("choose"), { accept: ACCEPT, multiple: true, id: "predict-files" }, onFiles),
      fileChoice(text("photograph"), { accept: "image/*", capture: "environment", id: "predict-photo" }, onFiles),
      stop.element,
    ),
    dropZone(onFiles),
    element("p", { class: "notice" }, text("notice")),
    status,
    results,
  );
}

/**
 * Return a choice of the model: those that pass, or all before the check.
 * @param {State} state
 * @param {string} id
 * @param {() => void} onChange
 */
export function modelChoice(state, id, onChange) {
  const select = element("select", { id });
  select.addEventListener("change", onChange);
  const usable = () => state.entries.filter((entry) => entry.fault === null && entry.test?.passed !== false);
  const fill = () => {
    const chosen = select.value;
    const options = usable().map((entry) =>
      element("option", { value: state.entries.indexOf(entry) }, formName(entry)),
    );
    select.replaceChildren(...options);
    if (options.some((option) => option.value === chosen)) {
      select.value = chosen;
    }
    onChange();
  };
  queueMicrotask(fill);
  state.listeners.push(fill);
  const label = element("label", { for: id }, text("model"));
  return {
    element: element("div", { class: "row" }, label, select),
    /** @returns {Entry} */
    entry: () => state.entries[Number(select.value)] ?? state.entries[0],
  };
}

/**
 * @param {Entry} entry
 * @returns {string}
 */
function ruleLine(entry) {
  const { decision } = entry.form;
  if (decision === null) {
    return `${text("highestLine")} ${text("uncalibrated")}`;
  }
  if (decision.kind === "median") {
    return text("medianLine");
  }
  if (hasFindings(decision)) {
    const thresholds = decision.thresholds ?? [];
    const each = entry.form.labels
      .slice(0, MAX_SHARES)
      .map((label, finding) => `${shownName(label)} ${percent(thresholds[finding] ?? 0.5)}`);
    const more = entry.form.labels.length > MAX_SHARES ? ["..."] : [];
    return text("findingsLine", { thresholds: [...each, ...more].join(text("separator")) });
  }
  if (decision.threshold === null) {
    return text("highestLine");
  }
  return text("thresholdLine", { percent: percent(decision.threshold), label: shownName(decision.positive ?? "") });
}

/**
 * @param {(files: File[]) => void} onFiles
 * @returns {HTMLElement}
 */
function dropZone(onFiles) {
  const zone = element("div", { class: "drop soft" }, text("drop"));
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    onFiles([...(event.dataTransfer?.files ?? [])]);
  });
  return zone;
}

/**
 * @param {State} state
 * @param {Entry} entry
 * @param {File[]} files
 * @param {HTMLElement} status
 * @param {HTMLElement} results
 */
async function predictAll(state, entry, files, status, results) {
  const session = await state.checkedSession(entry);
  results.querySelectorAll("img").forEach((image) => URL.revokeObjectURL(image.src));
  results.replaceChildren();
  let answered = 0;
  let done = 0;
  for (const [index, file] of files.entries()) {
    status.textContent = text("predicting", { index: index + 1, n: files.length });
    await pause();
    if (state.isStopped) {
      break;
    }
    done += 1;
    let shown;
    try {
      shown = predictionLines(await classify(session, file), entry);
      answered += 1;
    } catch (fault) {
      shown = [element("p", { class: "bad" }, text("noAnswer")), element("p", {}, errorLine(fault))];
    }
    results.append(resultItem(file, shown, index < MAX_PREVIEWS && shown.length > 2));
  }
  const left = files.length - done;
  const stopped = left > 0 ? ` ${text("notDone", { n: left })}` : "";
  status.textContent = text("predicted", { n: done, answered }) + stopped;
}

/**
 * @param {Prediction} prediction
 * @param {Entry} entry
 * @returns {HTMLElement[]}
 */
function predictionLines(prediction, entry) {
  const { labels } = entry.form;
  const order = labels.map((_, index) => index).sort((a, b) => prediction.shares[b] - prediction.shares[a]);
  const shares = order
    .slice(0, MAX_SHARES)
    .map((index) => text("probability", { label: shownName(labels[index]), percent: percent(prediction.shares[index]) }));
  const head =
    prediction.referral === null
      ? [element("p", { class: "label" }, prediction.label)]
      : [
          element("p", { class: "label warn" }, text("referred")),
          element("p", {}, text("referredLine", { reason: prediction.referral.reason, label: prediction.label })),
        ];
  return [...head, element("p", {}, shares.join(text("separator"))), element("p", { class: "soft" }, text("notice"))];
}

/**
 * @param {File} file
 * @param {HTMLElement[]} lines
 * @param {boolean} hasPreview
 * @returns {HTMLElement}
 */
function resultItem(file, lines, hasPreview) {
  const name = shownName(file.name);
  const preview = hasPreview
    ? element("img", { src: URL.createObjectURL(file), alt: text("imageOf", { name }), onerror: removeImage })
    : null;
  return element("li", {}, preview, element("div", {}, element("p", { class: "soft" }, name), ...lines));
}

/**
 * Remove the preview of an image that the browser cannot show, such as a DICOM file.
 * @param {Event} event
 */
function removeImage(event) {
  const image = /** @type {HTMLImageElement} */ (event.target);
  URL.revokeObjectURL(image.src);
  image.remove();
}
