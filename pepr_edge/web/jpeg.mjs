// JPEG files: the browser decodes them, without their metadata, so that orientation and colour profile are
// handled as Pillow does, in every browser.

import { joined } from "./bytes.mjs";
import { PageError } from "./errors.mjs";
import { exifOrientation, upright, xmpOrientation } from "./orientation.mjs";

/** @typedef {import("./orientation.mjs").Picture} Picture */
/** @typedef {{width: number, height: number, components: number, orientation: number | null,
 *   parts: Uint8Array<ArrayBuffer>[]}} Stream */

const EXIF = "Exif\0\0";
const XMP = "http://ns.adobe.com/xap/1.0/\0";

/**
 * True if bytes begin as a JPEG file.
 * @param {Uint8Array} bytes
 * @returns {boolean}
 */
export function isJpeg(bytes) {
  return bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff;
}

/**
 * Decode a JPEG file, upright. Needs a browser.
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @param {number} maxPixels
 * @returns {Promise<Picture>}
 */
export async function decodeJpeg(bytes, maxPixels) {
  const stream = readStream(bytes);
  const { width, height, components, orientation } = stream;
  if (width * height > maxPixels) {
    throw new PageError("tooManyPixels", { width, height, limit: maxPixels });
  }
  if (components !== 1 && components !== 3) {
    throw new PageError("isCmyk");
  }
  // Firefox decodes no blob of several parts.
  const whole = joined(stream.parts);
  const rgba = await decodeByBrowser(new Blob([whole], { type: "image/jpeg" }), width, height);
  const channels = components === 3 ? 3 : 1;
  const samples = new Uint8Array(width * height * channels);
  for (let index = 0; index < width * height; index += 1) {
    for (let channel = 0; channel < channels; channel += 1) {
      samples[index * channels + channel] = rgba[index * 4 + channel];
    }
  }
  return upright({ width, height, kind: channels === 3 ? "rgb" : "grey", samples }, orientation);
}

/**
 * Return size and orientation of a JPEG file, and its parts without metadata and colour profiles.
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @returns {Stream}
 */
export function readStream(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const parts = [bytes.subarray(0, 2)];
  let [width, height, components] = [0, 0, 0];
  /** @type {number | null} */
  let exif = null;
  /** @type {number | null} */
  let xmp = null;
  for (let position = 2; position + 4 <= bytes.length; ) {
    const marker = bytes[position + 1];
    if (bytes[position] !== 0xff) {
      throw new PageError("corrupt");
    }
    if (marker === 0xff) {
      position += 1; // a fill byte
      continue;
    }
    const end = position + 2 + view.getUint16(position + 2);
    const body = bytes.subarray(position + 4, Math.min(end, bytes.length));
    if (isFrame(marker) && body.length >= 6) {
      height = view.getUint16(position + 5);
      width = view.getUint16(position + 7);
      components = bytes[position + 9];
    }
    if (marker === 0xe1) {
      exif ??= startsWith(body, EXIF) ? exifOrientation(body) : null;
      xmp ??= startsWith(body, XMP) ? xmpOrientation(body) : null;
    }
    const isMetadata = (marker >= 0xe1 && marker <= 0xed) || marker === 0xef || marker === 0xfe;
    if (!isMetadata) {
      parts.push(bytes.subarray(position, end));
    }
    position = end;
    if (marker === 0xda) {
      parts.push(bytes.subarray(position));
      break;
    }
  }
  if (width === 0 || height === 0 || !hasEnd(bytes)) {
    throw new PageError("corrupt");
  }
  return { width, height, components, orientation: exif ?? xmp, parts };
}

/**
 * True for a marker that holds the size of the picture.
 * @param {number} marker
 * @returns {boolean}
 */
function isFrame(marker) {
  return marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
}

/**
 * @param {Uint8Array} body
 * @param {string} text
 * @returns {boolean}
 */
function startsWith(body, text) {
  return String.fromCharCode(...body.subarray(0, text.length)) === text;
}

/**
 * True if the picture's data end with their end marker; browsers show grey in place of what is missing.
 * @param {Uint8Array} bytes
 * @returns {boolean}
 */
function hasEnd(bytes) {
  for (let index = bytes.length - 2; index > 0; index -= 1) {
    if (bytes[index] === 0xff && bytes[index + 1] === 0xd9) {
      return true;
    }
  }
  return false;
}

/**
 * @param {Blob} blob
 * @param {number} width
 * @param {number} height
 * @returns {Promise<Uint8ClampedArray>}
 */
async function decodeByBrowser(blob, width, height) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    throw new PageError("corrupt");
  }
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (context === null || bitmap.width !== width || bitmap.height !== height) {
    throw new PageError("noMemory");
  }
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  try {
    return context.getImageData(0, 0, width, height).data;
  } catch {
    throw new PageError("noMemory");
  }
}
