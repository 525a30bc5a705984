// Decode PNG files to the pixels that Pillow gives: grey of 16 bits stays deep, of other samples of 16 bits
// the upper byte counts, transparency is dropped, colour profiles are ignored.
// Source: PNG specification, third edition (W3C 2024).

import { inflate, joined } from "./bytes.mjs";
import { PageError } from "./errors.mjs";
import { exifOrientation, upright, xmpOrientation } from "./orientation.mjs";

/** @typedef {import("./orientation.mjs").Picture} Picture */
/** @typedef {{width: number, height: number, depth: number, colour: number, isInterlaced: boolean}} Header */

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const GREY = 0;
const RGB = 2;
const PALETTE = 3;
const GREY_ALPHA = 4;
const RGB_ALPHA = 6;
/** @type {Record<number, number>} */
const SAMPLES = { [GREY]: 1, [RGB]: 3, [PALETTE]: 1, [GREY_ALPHA]: 2, [RGB_ALPHA]: 4 };
/** @type {Record<number, number[]>} */
const DEPTHS = {
  [GREY]: [1, 2, 4, 8, 16],
  [RGB]: [8, 16],
  [PALETTE]: [1, 2, 4, 8],
  [GREY_ALPHA]: [8, 16],
  [RGB_ALPHA]: [8, 16],
};
// Adam7: first column and row of each pass, and the steps.
const PASSES = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
];
const MAX_RAW_BYTES = 1 << 29;
const MAX_TEXT_BYTES = 1 << 20;
const RAW_EXIF = "Raw profile type exif";
const XMP = "XML:com.adobe.xmp";

/**
 * True if bytes begin as a PNG file.
 * @param {Uint8Array} bytes
 * @returns {boolean}
 */
export function isPng(bytes) {
  return SIGNATURE.every((byte, index) => bytes[index] === byte);
}

/**
 * Decode a PNG file, upright.
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @param {number} maxPixels
 * @returns {Promise<Picture>}
 */
export async function decodePng(bytes, maxPixels) {
  const { header, palette, data, orientation } = await readChunks(bytes, maxPixels);
  const passes = passesOf(header);
  const size = passes.reduce((sum, pass) => sum + pass.height * (1 + rowBytes(header, pass.width)), 0);
  if (size > MAX_RAW_BYTES) {
    throw new PageError("tooLargeHere");
  }
  const raw = await inflate(data, "deflate", size, true);
  if (raw.length < size) {
    throw new PageError("corrupt");
  }
  const values = samplesOf(raw, header, passes);
  return upright(pictureOf(values, header, palette), orientation);
}

/**
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @param {number} maxPixels
 */
async function readChunks(bytes, maxPixels) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  /** @type {Header | null} */
  let header = null;
  const palette = greyRamp();
  /** @type {Uint8Array[]} */
  const parts = [];
  /** @type {Record<string, Uint8Array>} */
  const texts = {};
  let hasEnded = false;
  for (let position = 8; position + 12 <= bytes.length && !hasEnded; ) {
    const length = view.getUint32(position);
    const kind = String.fromCharCode(...bytes.subarray(position + 4, position + 8));
    const body = bytes.subarray(position + 8, Math.min(position + 8 + length, bytes.length));
    if (kind === "IHDR" || kind === "PLTE") {
      checkSum(bytes, position + 4, length);
    }
    if (kind === "IHDR" && header === null) {
      header = readHeader(body, maxPixels);
    } else if (kind === "PLTE") {
      palette.set(body.subarray(0, palette.length));
    } else if (kind === "IDAT") {
      parts.push(body);
    } else if (kind === "eXIf") {
      texts.exif = body;
    } else if (["tEXt", "zTXt", "iTXt"].includes(kind) && length <= MAX_TEXT_BYTES) {
      await readText(kind, body, texts);
    }
    hasEnded = kind === "IEND";
    position += 12 + length;
  }
  if (header === null || parts.length === 0) {
    throw new PageError("corrupt");
  }
  const data = joined(parts);
  return { header, palette, data, orientation: orientationOf(texts) };
}

/**
 * Palettes start as greys in Pillow; a file may define fewer colours than it uses.
 * @returns {Uint8Array}
 */
function greyRamp() {
  return Uint8Array.from({ length: 768 }, (_, index) => Math.floor(index / 3));
}

/**
 * @param {Uint8Array} body
 * @param {number} maxPixels
 * @returns {Header}
 */
function readHeader(body, maxPixels) {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const width = view.getUint32(0);
  const height = view.getUint32(4);
  const [depth, colour] = [body[8], body[9]];
  if (width === 0 || height === 0 || !(DEPTHS[colour] ?? []).includes(depth)) {
    throw new PageError("corruptKind");
  }
  if (width * height > maxPixels) {
    throw new PageError("tooManyPixels", { width, height, limit: maxPixels });
  }
  return { width, height, depth, colour, isInterlaced: body[12] === 1 };
}

/**
 * Check the CRC-32 of a chunk's name and body.
 * @param {Uint8Array} bytes
 * @param {number} start of the name
 * @param {number} length of the body
 */
function checkSum(bytes, start, length) {
  const end = start + 4 + length;
  if (end + 4 > bytes.length) {
    throw new PageError("corrupt");
  }
  let crc = -1;
  for (let index = start; index < end; index += 1) {
    crc ^= bytes[index];
    for (let bit = 0; bit < 8; bit += 1) {
      crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
    }
  }
  const stored = new DataView(bytes.buffer, bytes.byteOffset).getInt32(end);
  if (~crc !== stored) {
    throw new PageError("corruptHeader");
  }
}

/**
 * Keep the texts that may hold the orientation.
 * @param {string} kind
 * @param {Uint8Array} body
 * @param {Record<string, Uint8Array>} texts
 */
async function readText(kind, body, texts) {
  const nameEnd = body.indexOf(0);
  const name = String.fromCharCode(...body.subarray(0, Math.min(nameEnd, 80)));
  if (name !== RAW_EXIF && name !== XMP) {
    return;
  }
  let start = nameEnd + 1;
  let isPacked = kind === "zTXt";
  if (kind === "zTXt") {
    start += 1;
  } else if (kind === "iTXt") {
    isPacked = body[start] === 1;
    const languageEnd = body.indexOf(0, start + 2);
    start = body.indexOf(0, languageEnd + 1) + 1;
  }
  const text = new Uint8Array(body.subarray(start));
  texts[name] = isPacked ? await inflate(text, "deflate", MAX_TEXT_BYTES, true) : text;
}

/**
 * @param {Record<string, Uint8Array>} texts
 * @returns {number | null}
 */
function orientationOf(texts) {
  let exif = texts.exif;
  if (!exif && texts[RAW_EXIF]) {
    const lines = new TextDecoder("latin1").decode(texts[RAW_EXIF]).split("\n").slice(3).join("");
    const digits = lines.replace(/\s/g, "").match(/[0-9a-fA-F]{2}/g) ?? [];
    exif = Uint8Array.from(digits, (pair) => parseInt(pair, 16));
  }
  const found = exif ? exifOrientation(exif) : null;
  return found === null && texts[XMP] ? xmpOrientation(texts[XMP]) : found;
}

/**
 * @param {Header} header
 * @returns {{width: number, height: number, pass: number[]}[]}
 */
function passesOf(header) {
  const { width, height, isInterlaced } = header;
  const passes = isInterlaced ? PASSES : [[0, 0, 1, 1]];
  return passes
    .map((pass) => ({
      width: Math.ceil((width - pass[0]) / pass[2]),
      height: Math.ceil((height - pass[1]) / pass[3]),
      pass,
    }))
    .filter((size) => size.width > 0 && size.height > 0);
}

/**
 * @param {Header} header
 * @param {number} width
 * @returns {number}
 */
function rowBytes(header, width) {
  return Math.ceil((width * SAMPLES[header.colour] * header.depth) / 8);
}

/**
 * Undo the filters; return all samples, shape (height, width, samples), 16-bit ones whole.
 * @param {Uint8Array} raw
 * @param {Header} header
 * @param {ReturnType<typeof passesOf>} passes
 * @returns {Uint8Array | Uint16Array}
 */
function samplesOf(raw, header, passes) {
  const count = SAMPLES[header.colour];
  const total = header.width * header.height * count;
  const values = header.depth === 16 ? new Uint16Array(total) : new Uint8Array(total);
  const distance = Math.max(1, (count * header.depth) / 8);
  let position = 0;
  for (const { width, height, pass } of passes) {
    const length = rowBytes(header, width);
    /** @type {Uint8Array} */
    let above = new Uint8Array(length);
    for (let row = 0; row < height; row += 1) {
      const line = raw.subarray(position + 1, position + 1 + length);
      unfilter(raw[position], line, above, distance);
      const first = ((pass[1] + row * pass[3]) * header.width + pass[0]) * count;
      spread(line, values, first, width, count, pass[2], header.depth);
      above = line;
      position += length + 1;
    }
  }
  return values;
}

/**
 * Undo the filter of one line, in place.
 * @param {number} filter
 * @param {Uint8Array} line
 * @param {Uint8Array} above
 * @param {number} distance bytes from one pixel to the next, at least 1
 */
function unfilter(filter, line, above, distance) {
  if (filter > 4) {
    throw new PageError("corruptFilter");
  }
  for (let index = 0; filter > 0 && index < line.length; index += 1) {
    const left = index >= distance ? line[index - distance] : 0;
    const up = above[index];
    let predicted = left;
    if (filter === 2) {
      predicted = up;
    } else if (filter === 3) {
      predicted = (left + up) >> 1;
    } else if (filter === 4) {
      predicted = paeth(left, up, index >= distance ? above[index - distance] : 0);
    }
    line[index] += predicted;
  }
}

/**
 * @param {number} left
 * @param {number} up
 * @param {number} corner
 * @returns {number}
 */
function paeth(left, up, corner) {
  const toLeft = Math.abs(up - corner);
  const toUp = Math.abs(left - corner);
  const toCorner = Math.abs(left + up - 2 * corner);
  if (toLeft <= toUp && toLeft <= toCorner) {
    return left;
  }
  return toUp <= toCorner ? up : corner;
}

/**
 * Write the samples of one line to their places.
 * @param {Uint8Array} line
 * @param {Uint8Array | Uint16Array} values
 * @param {number} first index of the first sample
 * @param {number} width pixels of the line
 * @param {number} count samples of a pixel
 * @param {number} step pixels from one to the next
 * @param {number} depth bits of a sample
 */
function spread(line, values, first, width, count, step, depth) {
  const mask = (1 << depth) - 1;
  for (let x = 0; x < width; x += 1) {
    for (let sample = 0; sample < count; sample += 1) {
      const number = x * count + sample;
      let value = line[number];
      if (depth === 16) {
        value = (line[2 * number] << 8) | line[2 * number + 1];
      } else if (depth < 8) {
        const bit = number * depth;
        value = (line[bit >> 3] >> (8 - depth - (bit & 7))) & mask;
      }
      values[first + x * step * count + sample] = value;
    }
  }
}

/**
 * @param {Uint8Array | Uint16Array} values
 * @param {Header} header
 * @param {Uint8Array} palette
 * @returns {Picture}
 */
function pictureOf(values, header, palette) {
  const { width, height, depth, colour } = header;
  const pixels = width * height;
  if (colour === GREY && depth === 16) {
    return { width, height, kind: "deep", samples: values };
  }
  const shift = depth === 16 ? 8 : 0;
  if (colour === GREY || colour === GREY_ALPHA) {
    const factor = depth < 8 ? 255 / ((1 << depth) - 1) : 1;
    const count = SAMPLES[colour];
    const samples = new Uint8Array(pixels);
    for (let index = 0; index < pixels; index += 1) {
      samples[index] = (values[index * count] >> shift) * factor;
    }
    return { width, height, kind: "grey", samples };
  }
  const samples = new Uint8Array(pixels * 3);
  const count = SAMPLES[colour];
  for (let index = 0; index < pixels; index += 1) {
    for (let channel = 0; channel < 3; channel += 1) {
      const value = colour === PALETTE ? palette[values[index] * 3 + channel] : values[index * count + channel] >> shift;
      samples[index * 3 + channel] = value;
    }
  }
  return { width, height, kind: "rgb", samples };
}
