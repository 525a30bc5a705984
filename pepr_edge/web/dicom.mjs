// Uncompressed grey DICOM files, as `pepr_edge.images.dicom` reads them: the middle frame. What is not read here is
// refused, never guessed. Source: DICOM PS3.3, C.7.6.3 (image pixels).

import { PREAMBLE, Reader, TAGS, numberOf, textOf, unsigned } from "./dicom_elements.mjs";
import { greyLevels } from "./dicom_levels.mjs";
import { PageError } from "./errors.mjs";

/** @typedef {import("./dicom_elements.mjs").Element} Element */
/** @typedef {import("./dicom_elements.mjs").Elements} Elements */
/** @typedef {import("./orientation.mjs").Picture} Picture */

// Files with these need more than this page does.
const REFUSED = [TAGS.modalityTable, TAGS.voiTable, TAGS.sharedGroups, TAGS.frameGroups];

/**
 * True if bytes begin as a DICOM file with its head.
 * @param {Uint8Array} bytes
 * @returns {boolean}
 */
export function isDicom(bytes) {
  return String.fromCharCode(...bytes.subarray(PREAMBLE, PREAMBLE + 4)) === "DICM";
}

/**
 * Decode a DICOM file as 8-bit grey.
 * @param {Uint8Array} bytes
 * @param {number} maxPixels
 * @returns {Picture}
 */
export function decodeDicom(bytes, maxPixels) {
  const elements = new Reader(bytes).read();
  const kind = textOf(elements, TAGS.kind);
  const allocated = unsigned(elements, TAGS.allocated) ?? 0;
  const isRead =
    ["MONOCHROME1", "MONOCHROME2"].includes(kind) &&
    (unsigned(elements, TAGS.samples) ?? 1) === 1 &&
    [8, 16].includes(allocated) &&
    elements.has(TAGS.pixels) &&
    !REFUSED.some((tag) => elements.has(tag));
  if (!isRead) {
    throw new PageError("isDicom");
  }
  const width = unsigned(elements, TAGS.columns) ?? 0;
  const height = unsigned(elements, TAGS.rows) ?? 0;
  if (width === 0 || height === 0) {
    throw new PageError("corrupt");
  }
  if (width * height > maxPixels) {
    throw new PageError("tooManyPixels", { width, height, limit: maxPixels });
  }
  const values = storedValues(elements, width * height, allocated);
  const samples = greyLevels(values, elements, kind === "MONOCHROME1");
  return { width, height, kind: "grey", samples };
}

/**
 * Return the values of the middle frame.
 * @param {Elements} elements
 * @param {number} count of pixels
 * @param {number} allocated bits
 * @returns {Int32Array}
 */
function storedValues(elements, count, allocated) {
  const stored = unsigned(elements, TAGS.stored) ?? allocated;
  const high = unsigned(elements, TAGS.highBit) ?? stored - 1;
  if (stored < 1 || high < stored - 1 || high >= allocated) {
    throw new PageError("corrupt");
  }
  const frames = Math.max(1, numberOf(elements, TAGS.frames) ?? 1);
  const size = (count * allocated) / 8;
  const bytes = /** @type {Element} */ (elements.get(TAGS.pixels)).bytes;
  if (!Number.isInteger(frames) || bytes.length < size * frames) {
    throw new PageError("corrupt");
  }
  const frame = bytes.subarray(size * Math.floor(frames / 2));
  const isSigned = unsigned(elements, TAGS.isSigned) === 1;
  // By shifts: bits above the high one are dropped, the sign is spread, and bits below the stored ones are dropped.
  const left = 31 - high;
  const right = left + high + 1 - stored;
  const values = new Int32Array(count);
  for (let index = 0; index < count; index += 1) {
    const raw = allocated === 8 ? frame[index] : frame[2 * index] | (frame[2 * index + 1] << 8);
    values[index] = isSigned ? (raw << left) >> right : (raw << left) >>> right;
  }
  return values;
}
