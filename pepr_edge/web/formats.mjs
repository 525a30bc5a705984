// What a file is that no decoder of the page reads, by its first bytes, and what to do with it.

import { isDicom } from "./dicom.mjs";
import { PREAMBLE } from "./dicom_elements.mjs";
import { PageError } from "./errors.mjs";

// Brands of files of the ISO base media format.
const HEIC = /^(heic|heix|heim|heis|hevc|mif1|msf1)$/;
const AVIF = /^avi[fs]$/;
/** @type {[string, string][]} the first bytes, as Latin-1 */
const STARTS = [
  ["II*\0", "TIFF"],
  ["MM\0*", "TIFF"],
  ["II+\0", "TIFF"],
  ["MM\0+", "TIFF"],
  ["GIF8", "GIF"],
  ["\0\0\0\fjP  ", "JPEG 2000"],
  ["\xff\x4f\xff\x51", "JPEG 2000"],
  ["\0\0\0\fJXL ", "JPEG XL"],
  ["\xff\n", "JPEG XL"],
  ["8BPS", "Photoshop"],
  ["BM", "BMP"],
];
const DICOM = /^[\x02\x08]\0[^]{2}(?:AE|CS|DA|DT|LO|OB|SH|TM|UI|UL)/;

/**
 * Return the error of a file of a format that is not read: what it is, and the remedy.
 * @param {Uint8Array} bytes
 * @returns {PageError}
 */
export function notRead(bytes) {
  const head = String.fromCharCode(...bytes.subarray(0, PREAMBLE + 4));
  if (isDicom(bytes) || DICOM.test(head)) {
    return new PageError("isDicom");
  }
  const format = nameOf(head);
  if (format !== null) {
    return new PageError("isFormat", { format });
  }
  const start = head.trimStart().toLowerCase();
  if (start.startsWith("<!doctype html") || start.startsWith("<html")) {
    return new PageError("isWebPage");
  }
  return new PageError("isOther");
}

/**
 * @param {string} head
 * @returns {string | null}
 */
function nameOf(head) {
  if (head.startsWith("RIFF") && head.slice(8, 12) === "WEBP") {
    return "WebP";
  }
  const brand = head.slice(4, 8) === "ftyp" ? head.slice(8, 12) : "";
  if (HEIC.test(brand) || AVIF.test(brand)) {
    return HEIC.test(brand) ? "HEIC" : "AVIF";
  }
  return STARTS.find(([start]) => head.startsWith(start))?.[1] ?? null;
}
