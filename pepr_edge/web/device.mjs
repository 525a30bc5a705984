// What the browser tells of the device, and no more than its class: nothing here identifies it.

/** @typedef {{browser: string, major: string, os: string, cores: number, memoryBytes: number | null}} Device */

/** @type {[string, RegExp][]} */
const BROWSERS = [
  ["Edge", /Edg(?:A|iOS)?\/(\d+)/],
  ["Opera", /OPR\/(\d+)/],
  ["Samsung Internet", /SamsungBrowser\/(\d+)/],
  ["Firefox", /(?:Firefox|FxiOS)\/(\d+)/],
  ["Chrome", /(?:Chrome|CriOS|HeadlessChrome)\/(\d+)/],
  ["Safari", /Version\/(\d+)[.\d]* (?:Mobile\/\S+ )?Safari/],
];
/** @type {[string, RegExp][]} */
const SYSTEMS = [
  ["Android", /Android/],
  ["iOS", /iPhone|iPad|iPod/],
  ["Windows", /Windows/],
  ["ChromeOS", /CrOS/],
  ["macOS", /Mac OS X/],
  ["Linux", /Linux/],
];

/**
 * Return name and major version of a browser, and the system, from its user agent.
 * @param {string} agent
 * @returns {{browser: string, major: string, os: string}}
 */
export function namesOf(agent) {
  const browser = BROWSERS.find(([, pattern]) => pattern.test(agent));
  const system = SYSTEMS.find(([, pattern]) => pattern.test(agent));
  return {
    browser: browser ? browser[0] : "unknown browser",
    major: browser ? (browser[1].exec(agent)?.[1] ?? "0") : "0",
    os: system ? system[0] : "unknown system",
  };
}

/**
 * Return the class of this device.
 * @returns {Device}
 */
export function thisDevice() {
  const gibibytes = /** @type {any} */ (navigator).deviceMemory;
  return {
    ...namesOf(navigator.userAgent),
    cores: Math.max(1, navigator.hardwareConcurrency || 1),
    memoryBytes: typeof gibibytes === "number" ? Math.round(gibibytes * 2 ** 30) : null,
  };
}

/**
 * True if the device runs on its battery; null where the browser does not tell.
 * @returns {Promise<boolean | null>}
 */
export async function onBattery() {
  try {
    const battery = await /** @type {any} */ (navigator).getBattery();
    return !battery.charging;
  } catch {
    return null;
  }
}

/**
 * Return the steps in which the clock moves, seconds.
 * @returns {number}
 */
export function clockStepS() {
  let smallest = Infinity;
  const end = performance.now() + 100;
  for (let changes = 0; changes < 50; ) {
    const before = performance.now();
    let after = before;
    while (after === before) {
      after = performance.now();
    }
    smallest = Math.min(smallest, after - before);
    changes += 1;
    if (after > end) {
      break;
    }
  }
  return Math.round(smallest * 1e6) / 1e9;
}

/**
 * True if the browser offers a graphics processor to this page.
 * @returns {Promise<boolean>}
 */
export async function hasWebGpu() {
  try {
    const gpu = /** @type {any} */ (navigator).gpu;
    return Boolean(gpu && (await gpu.requestAdapter()));
  } catch {
    return false;
  }
}
