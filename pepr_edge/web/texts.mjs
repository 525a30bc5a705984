// All texts of the page. A translation is one more table with the same keys.

/** @type {Record<string, Record<string, string>>} */
const TEXTS = {
  en: {
    title: "Models in this browser",
    notice: "A research tool. Not for diagnosis.",
    stays: "Nothing leaves this device: no image, no result. No network is used.",
    sections: "Sections",
    working: "Working ...",
    model: "Model",
    models: "Models",
    busy: "Another task is running. Wait until it ends.",
    unexpected: "{reason}",
    form: "{architecture}, {variant}",
    formOn: "{architecture}, {variant}, on the graphics processor",

    check: "Check",
    checkIntro: "Does each model answer here as where it was made?",
    checkButton: "Check the models",
    checking: "Checking {form} ...",
    checkDone: "{passed} of {n} pass. Only these are used.",
    checkNone: "No model passes here. Use another browser or device.",
    checkTable: "Self-test",
    result: "Result",
    decisions: "Decisions",
    difference: "Largest difference",
    passed: "passed",
    failed: "FAILED",
    agreeing: "{agreeing} of {n}",
    ofTolerance: "{found} (allowed {tolerance})",
    noveltyDiffers: "It does not find the same images unlike the training images.",
    thisBrowser: "This browser",
    browserLine: "{browser} on {os}. Processor cores: {cores}; threads in use: {threads}.",
    clockLine: "Its clock moves in steps of {step}.",
    coarseLine: "Short inferences are timed several at once.",
    webgpuYes: "It offers the graphics processor to pages (WebGPU).",
    webgpuNo: "It does not offer the graphics processor to pages (WebGPU).",
    madeLine: "Page of pepr_edge {version}, made on {made}, with onnxruntime-web {runtime}.",

    predict: "Predict",
    predictIntro: "Choose images (PNG or JPEG), drop them here, or photograph one.",
    choose: "Choose images",
    photograph: "Photograph",
    drop: "Drop images here",
    predicting: "Image {index} of {n} ...",
    predicted: "{n} images: {answered} with an answer.",
    notDone: "Stopped: {n} more were not looked at.",
    probability: "{label}: {percent}",
    thresholdLine: "From {percent} on, the answer is {label}.",
    highestLine: "The class with the highest probability is the answer.",
    medianLine: "The answer is the grade in the middle of the probabilities.",
    findingsLine: "Each finding has a threshold of its own, from which it is named: {thresholds}.",
    noFinding: "no finding",
    uncalibrated: "These probabilities are not calibrated.",
    referred: "Refer to a person",
    likely: "It would say {label}.",
    unsure: "not sure enough: {found}, limit {limit}",
    unlike: "unlike the training images: {found}, limit {limit}",
    blank: "blank or nearly so: contrast {found}, limit {limit}",
    colourInGrey: "a colour image, and the training images are grey",
    greyInColour: "without colour, and the training images have colour",
    tooSmall: "far too small: {found} px, expected at least {limit} px",
    noAnswer: "No answer",
    imageOf: "Image {name}",

    measure: "Measure",
    measureIntro:
      "How fast are the models here? Plug the device in, close other programs, and leave this page in front.",
    howLong: "How long",
    quick: "quick: 128 images and 10 seconds for each model",
    full: "full: 1024 images and one minute for each model",
    measureButton: "Measure",
    stop: "Stop",
    measuring: "{form}: {percent}, median {median}",
    measured: "{n} models measured.",
    stopped: "Stopped. What was measured to the end is kept.",
    measureTable: "Time for one image, ms",
    validity: "Valid",
    valid: "VALID",
    invalid: "INVALID",
    tooFew: "too few",
    undefined: "not defined",
    fastest: "The fastest model that answers as where it was made: {form}, 90 % of images within {p90}.",
    perLatency: "Each value is the mean of {n} images, because the clock of this browser moves in steps of {step}.",
    hidden: "The page was in the background, where browsers slow it down. Measure again, with the page in front.",
    battery: "The device ran on its battery, which can slow it down. Plug it in, and measure again.",
    slowing: "The device slowed down while it was measured. Let it cool, and measure again.",
    otherLoad: "Some images took more than three times as long as the median: other programs may be at work.",
    plotTitle: "{form}: {n} latencies in the order they were taken; median {p50}, 90 % within {p90}",
    plotX: "image",
    plotX2: "block of {n} images",

    evaluate: "Evaluate",
    evaluateIntro: "How do the models do on images of yours whose class is known?",
    chooseFolder: "Choose a folder",
    chooseTable: "Choose a table and its images",
    evaluateStays:
      "A folder with a folder for each class, or a .csv file with the columns path and label (of several findings a column of 0 and 1 for each). The report holds no image, no file name, and no number below 5.",
    evaluated: "{n} images evaluated, {faults} could not be.",
    evaluateStopped: "stopped, and nothing of this model is kept.",
    evaluateNone: "Nothing is evaluated yet.",
    saveEvaluation: "Save the evaluation",
    evaluationSaved: "Saved as {file}. Send it back: pepr-edge rank RUN_DIR --field {file}",
    metricsTable: "Figures on {n} images",
    groupsLabel: "Subgroups (columns of the table, with commas between; may stay empty)",
    computing: "Computing the figures ...",
    leftOut: "{n} of other splits or outside of class folders left out.",
    findingsTable: "Images by finding and answer",
    finding: "Finding",
    foundRight: "found",
    missed: "missed",
    falseAlarm: "false alarm",
    leftRight: "rightly not named",
    groupsTable: "By {column}: {metric}.",
    group: "Group",
    images: "Images",
    worst: "the worst",
    hiddenGroups: "{n} groups with too few images are hidden.",
    confusionTable: "Images by class (rows) and answer (columns)",
    trueClass: "Class",
    metric: "Figure",
    value: "Value",
    interval: "95 % interval",
    moreFaults: "and {n} more",
    metric_quadratic_kappa: "quadratic kappa",
    metric_mean_absolute_error: "mean absolute error, in grades",
    metric_mean_auroc: "mean AUROC over the findings",
    metric_mean_average_precision: "mean average precision over the findings",
    metric_mean_f1_at_decision: "mean F1 of its decisions",
    metric_mean_sensitivity_at_decision: "mean sensitivity of its decisions",
    metric_mean_specificity_at_decision: "mean specificity of its decisions",
    metric_accuracy: "accuracy",
    metric_balanced_accuracy: "balanced accuracy",
    metric_auroc: "AUROC",
    metric_f1: "F1",
    metric_sensitivity_at_specificity: "sensitivity at 90 % specificity",
    metric_specificity_at_sensitivity: "specificity at 90 % sensitivity",
    metric_expected_calibration_error: "expected calibration error",
    metric_cohen_kappa: "Cohen's kappa",
    metric_sensitivity_at_decision: "sensitivity of its decisions",
    metric_specificity_at_decision: "specificity of its decisions",
    metric_ppv_at_decision: "positive predictive value of its decisions",
    metric_npv_at_decision: "negative predictive value of its decisions",
    metric_calibrated_expected_calibration_error: "expected calibration error, calibrated",

    save: "Save",
    saveIntro:
      "The report holds the times, the results of the self-tests, and the kind of browser and system. It holds no image, no name and no address.",
    saveButton: "Save the measurements",
    saveGpuButton: "Save the measurements of the graphics processor",
    saveNone: "Nothing is measured yet.",
    saved: "Saved as {file}. Send it back: pepr-edge rank RUN_DIR --field {file}",
  },
};

/** The language of the page. */
export const LANGUAGE = "en";

/**
 * True if there is such a text.
 * @param {string} key
 * @returns {boolean}
 */
export function hasText(key) {
  return Object.hasOwn(TEXTS[LANGUAGE], key);
}

/**
 * Return a text, with its {names} replaced.
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 * @returns {string}
 */
export function text(key, values = {}) {
  const found = TEXTS[LANGUAGE][key];
  if (found === undefined) {
    throw new Error(`no text "${key}"`);
  }
  return found.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/**
 * Return a share as a percentage with at most one decimal; what is not certain is not shown as certain.
 * @param {number} share
 * @returns {string}
 */
export function percent(share) {
  if (share > 0.9995 && share < 1) {
    return "> 99.9\u00a0%";
  }
  if (share > 0 && share < 0.0005) {
    return "< 0.1\u00a0%";
  }
  return `${Number((share * 100).toFixed(1))}\u00a0%`;
}

/**
 * Return a number with three significant digits.
 * @param {number} value
 * @returns {string}
 */
export function short(value) {
  return String(Number(value.toPrecision(3)));
}
