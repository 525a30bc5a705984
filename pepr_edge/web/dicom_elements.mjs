// The elements of an uncompressed DICOM file. Only those of the picture are kept, and none of them is of a patient.
// Source: DICOM PS3.5 (encoding).

import { PageError } from "./errors.mjs";

/** @typedef {{vr: string, bytes: Uint8Array}} Element */
/** @typedef {Map<number, Element>} Elements by tag */

/** Bytes before the letters DICM. */
export const PREAMBLE = 128;
const META_GROUP = 0x0002;
const TRANSFER_SYNTAX = 0x00020010;
const IMPLICIT = "1.2.840.10008.1.2";
const EXPLICIT = "1.2.840.10008.1.2.1";
const UNDEFINED_LENGTH = 0xffffffff;
const ITEM = 0xfffee000;
const ITEM_END = 0xfffee00d;
const SEQUENCE_END = 0xfffee0dd;
const MAX_DEPTH = 32;
// Value representations whose length has four bytes, after two that are not used.
const LONG = ["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"];
const SHORT = [
  ...["AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "PN", "SH", "SL", "SS", "ST", "TM"],
  ...["UI", "UL", "US"],
];
/** Tags of the elements that are kept. */
export const TAGS = {
  samples: 0x00280002,
  kind: 0x00280004,
  frames: 0x00280008,
  rows: 0x00280010,
  columns: 0x00280011,
  allocated: 0x00280100,
  stored: 0x00280101,
  highBit: 0x00280102,
  isSigned: 0x00280103,
  padding: 0x00280120,
  paddingLimit: 0x00280121,
  centre: 0x00281050,
  width: 0x00281051,
  intercept: 0x00281052,
  slope: 0x00281053,
  voiFunction: 0x00281056,
  modalityTable: 0x00283000,
  voiTable: 0x00283010,
  sharedGroups: 0x52009229,
  frameGroups: 0x52009230,
  pixels: 0x7fe00010,
};
const KEPT = new Set([TRANSFER_SYNTAX, ...Object.values(TAGS)]);

/**
 * @param {Elements} elements
 * @param {number} tag
 * @returns {string} its first value; empty if there is none
 */
export function textOf(elements, tag) {
  const bytes = elements.get(tag)?.bytes ?? new Uint8Array();
  return String.fromCharCode(...bytes.subarray(0, 1024)).replaceAll("\0", " ").split("\\")[0].trim();
}

/**
 * Return the first number that an element holds as text; null if there is none.
 * @param {Elements} elements
 * @param {number} tag
 * @returns {number | null}
 */
export function numberOf(elements, tag) {
  const value = textOf(elements, tag);
  if (value === "") {
    return null;
  }
  if (!/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(value)) {
    throw new PageError("corrupt");
  }
  return Number(value);
}

/**
 * Return an unsigned number of 16 bits; null if there is none.
 * @param {Elements} elements
 * @param {number} tag
 * @returns {number | null}
 */
export function unsigned(elements, tag) {
  const bytes = elements.get(tag)?.bytes;
  if (bytes === undefined) {
    return null;
  }
  if (bytes.length !== 2) {
    throw new PageError("corrupt");
  }
  return bytes[0] | (bytes[1] << 8);
}

/**
 * Return a number of 16 bits, signed where its element or the pixels are; null if there is none.
 * @param {Elements} elements
 * @param {number} tag
 * @returns {number | null}
 */
export function pixelValue(elements, tag) {
  const value = unsigned(elements, tag);
  const vr = elements.get(tag)?.vr;
  const isSigned = vr === "SS" || (vr !== "US" && unsigned(elements, TAGS.isSigned) === 1);
  return value !== null && isSigned ? (value << 16) >> 16 : value;
}

/** Reads the elements of a file. */
export class Reader {
  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.position = PREAMBLE + 4;
  }

  /**
   * Return the elements that are kept.
   * @returns {Elements}
   */
  read() {
    /** @type {Elements} */
    const elements = new Map();
    while (this.hasMore() && this.view.getUint16(this.position, true) === META_GROUP) {
      this.element(true, 0, elements);
    }
    const syntax = textOf(elements, TRANSFER_SYNTAX);
    if (syntax !== EXPLICIT && syntax !== IMPLICIT) {
      throw new PageError("isDicom");
    }
    while (this.hasMore() && !elements.has(TAGS.pixels)) {
      this.element(syntax === EXPLICIT, 0, elements);
    }
    return elements;
  }

  hasMore() {
    return this.position + 8 <= this.bytes.length;
  }

  /** @returns {number} */
  tag() {
    const tag = this.view.getUint16(this.position, true) * 0x10000 + this.view.getUint16(this.position + 2, true);
    this.position += 4;
    return tag;
  }

  /** @returns {number} */
  length() {
    this.position += 4;
    return this.view.getUint32(this.position - 4, true);
  }

  /**
   * Read one element, and keep it if it is of the picture and not empty.
   * @param {boolean} isExplicit
   * @param {number} depth of sequences around it
   * @param {Elements | null} elements null inside of a sequence
   */
  element(isExplicit, depth, elements) {
    const tag = this.tag();
    let vr = "";
    let length;
    if (isExplicit) {
      vr = String.fromCharCode(this.bytes[this.position], this.bytes[this.position + 1]);
      this.position += 4;
      if (!LONG.includes(vr) && !SHORT.includes(vr)) {
        throw new PageError("corrupt");
      }
      length = LONG.includes(vr) ? this.length() : this.view.getUint16(this.position - 2, true);
    } else {
      length = this.length();
    }
    const start = this.position;
    if (length === UNDEFINED_LENGTH) {
      if (tag === TAGS.pixels) {
        throw new PageError("isDicom"); // compressed
      }
      this.sequence(isExplicit && vr !== "UN", depth + 1);
    } else {
      this.skip(length);
    }
    if (elements !== null && KEPT.has(tag) && this.position > start) {
      elements.set(tag, { vr, bytes: this.bytes.subarray(start, this.position) });
    }
  }

  /** @param {number} length */
  skip(length) {
    if (this.position + length > this.bytes.length) {
      throw new PageError("corrupt");
    }
    this.position += length;
  }

  /**
   * Skip the items of a sequence of undefined length, and its end.
   * @param {boolean} isExplicit
   * @param {number} depth
   */
  sequence(isExplicit, depth) {
    if (depth > MAX_DEPTH) {
      throw new PageError("corrupt");
    }
    for (let tag = this.tag(); tag !== SEQUENCE_END; tag = this.tag()) {
      const length = this.length();
      if (tag !== ITEM) {
        throw new PageError("corrupt");
      }
      if (length === UNDEFINED_LENGTH) {
        this.item(isExplicit, depth);
      } else {
        this.skip(length);
      }
    }
    this.length();
  }

  /**
   * Skip the elements of an item of undefined length, and its end.
   * @param {boolean} isExplicit
   * @param {number} depth
   */
  item(isExplicit, depth) {
    for (let tag = this.tag(); tag !== ITEM_END; tag = this.tag()) {
      this.position -= 4;
      this.element(isExplicit, depth, null);
    }
    this.length();
  }
}
