// JSON as Python writes it with sorted keys, so that a report has the same checksum here and there.

import { sha256, utf8 } from "./bytes.mjs";

/** A number that is a float in Python, also where it is whole. */
export class Float {
  /** @param {number} value */
  constructor(value) {
    this.value = value;
  }
}

/**
 * Return a float, or null.
 * @param {number | null | undefined} value
 * @returns {Float | null}
 */
export function float(value) {
  return value === null || value === undefined ? null : new Float(value);
}

/**
 * Return a number as Python's repr of a float.
 * @param {number} value
 * @returns {string}
 */
export function floatText(value) {
  if (!Number.isFinite(value)) {
    throw new RangeError("a report holds finite numbers alone");
  }
  const size = Math.abs(value);
  if (value !== 0 && (size < 1e-4 || size >= 1e16)) {
    const [digits, exponent] = value.toExponential().split("e");
    const sign = exponent[0] === "-" ? "-" : "+";
    return `${digits}e${sign}${exponent.replace(/[+-]/, "").padStart(2, "0")}`;
  }
  if (Object.is(value, -0)) {
    return "-0.0";
  }
  return Number.isInteger(value) ? `${value}.0` : String(value);
}

/**
 * Return a text as Python writes it in JSON: ASCII alone.
 * @param {string} text
 * @returns {string}
 */
function quoted(text) {
  return JSON.stringify(text).replace(
    /[\u007f-\uffff]/g,
    (unit) => (unit === "\u007f" ? unit : `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`),
  );
}

/**
 * Return a document as JSON text with sorted keys and without spaces.
 * @param {unknown} value
 * @returns {string}
 */
export function canonicalJson(value) {
  if (value instanceof Float) {
    return floatText(value.value);
  }
  if (typeof value === "string") {
    return quoted(value);
  }
  if (Array.isArray(value)) {
    return `[${value.map(canonicalJson).join(",")}]`;
  }
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `{${entries.map(([key, inner]) => `${quoted(key)}:${canonicalJson(inner)}`).join(",")}}`;
  }
  return JSON.stringify(value);
}

/**
 * Return the text of a report with its checksum.
 * @param {Record<string, unknown>} report without `checksum`
 * @returns {string}
 */
export function sealed(report) {
  const checksum = sha256(utf8(canonicalJson(report)));
  return `${canonicalJson({ ...report, checksum })}\n`;
}
