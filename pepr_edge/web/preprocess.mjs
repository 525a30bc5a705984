// From an image file to the model's input: the same pixels as `pepr_edge.images.preprocess`.

import { decodeDicom, isDicom } from "./dicom.mjs";
import { PageError } from "./errors.mjs";
import { notRead } from "./formats.mjs";
import { decodeJpeg, isJpeg } from "./jpeg.mjs";
import { decodePng, isPng } from "./png.mjs";
import { resize } from "./resample.mjs";

/** @typedef {import("./orientation.mjs").Picture} Picture */
/** @typedef {{channels: number, image_size_px: number, interpolation: string, mean: number[], std: number[],
 *   scale: number, grey_bits?: number | null, tall_vertical_first?: boolean}} Preprocess */

// 256 MiB of RGB, as in preprocess.py.
export const MAX_PIXELS = Math.floor(1024 ** 3 / 4 / 3);
export const MAX_FILE_BYTES = 1 << 29;
// Depths that an image without a set is scaled by, and the share of pixels that may be above the depth.
const SINGLE_DEPTHS = [8, 12, 16];
const MAX_CLIPPED = 0.005;
const MAX_VALUE = 65535;

/**
 * Decode an image file to an upright picture.
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @returns {Promise<Picture>}
 */
export async function decode(bytes) {
  if (bytes.length === 0) {
    throw new PageError("fileEmpty");
  }
  const decoder = decoderOf(bytes);
  if (decoder === null) {
    throw notRead(bytes);
  }
  try {
    return await decoder(bytes, MAX_PIXELS);
  } catch (fault) {
    if (fault instanceof PageError) {
      throw fault;
    }
    if (fault instanceof RangeError && /alloc|memory|array length/i.test(fault.message)) {
      throw new PageError("noMemory");
    }
    throw new PageError("corrupt");
  }
}

/**
 * @param {Uint8Array} bytes
 * @returns {((bytes: Uint8Array<ArrayBuffer>, maxPixels: number) => Picture | Promise<Picture>) | null}
 */
function decoderOf(bytes) {
  if (isPng(bytes)) {
    return decodePng;
  }
  if (isJpeg(bytes)) {
    return decodeJpeg;
  }
  return isDicom(bytes) ? decodeDicom : null;
}

/**
 * Convert a picture to the model's channels and size.
 * @param {Picture} picture
 * @param {Preprocess} spec
 * @returns {Uint8Array} shape (px, px, channels)
 */
export function toPixels(picture, spec) {
  const eightBit = picture.kind === "deep" ? toEightBit(picture, spec.grey_bits ?? null) : picture;
  const samples = toChannels(eightBit, spec.channels);
  const { width, height } = picture;
  const { channels, image_size_px: px, interpolation } = spec;
  return resize(samples, width, height, channels, px, interpolation, spec.tall_vertical_first ?? true);
}

/**
 * Scale a deep grey picture to 8 bits.
 * @param {Picture} picture
 * @param {number | null} greyBits the depth of the set; null: the smallest that holds this picture
 * @returns {Picture}
 */
function toEightBit(picture, greyBits) {
  const values = picture.samples;
  let maximum = 0;
  let above = 0;
  for (const value of values) {
    maximum = Math.max(maximum, value);
    if (greyBits !== null && value >= 1 << greyBits && value !== MAX_VALUE) {
      above += 1;
    }
  }
  if (above / values.length > MAX_CLIPPED) {
    throw new PageError("tooDeep", { found: maximum, bits: Number(greyBits) });
  }
  const bits = greyBits ?? SINGLE_DEPTHS.find((depth) => maximum < 1 << depth) ?? 16;
  const fullScale = (1 << bits) - 1;
  const half = Math.floor(fullScale / 2);
  const levels = new Uint8Array(fullScale + 1);
  for (let value = 0; value <= fullScale; value += 1) {
    levels[value] = Math.floor((value * 255 + half) / fullScale);
  }
  const samples = new Uint8Array(values.length);
  for (let index = 0; index < values.length; index += 1) {
    samples[index] = levels[Math.min(values[index], fullScale)];
  }
  return { ...picture, kind: "grey", samples };
}

/**
 * Grey to RGB, or RGB to grey by the weights of ITU-R 601-2, as Pillow computes them.
 * @param {Picture} picture of 8 bits
 * @param {number} channels
 * @returns {Uint8Array}
 */
function toChannels(picture, channels) {
  const source = /** @type {Uint8Array} */ (picture.samples);
  const isRgb = picture.kind === "rgb";
  if (isRgb === (channels === 3)) {
    return source;
  }
  const pixels = picture.width * picture.height;
  const result = new Uint8Array(pixels * channels);
  for (let index = 0; index < pixels; index += 1) {
    if (channels === 3) {
      result.fill(source[index], index * 3, index * 3 + 3);
    } else {
      const [red, green, blue] = [source[index * 3], source[index * 3 + 1], source[index * 3 + 2]];
      result[index] = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
    }
  }
  return result;
}

/**
 * Normalise the pixels of one image, in the arithmetic of float32.
 * @param {Uint8Array} pixels shape (px, px, channels)
 * @param {Preprocess} spec
 * @returns {Float32Array} shape (1, channels, px, px)
 */
export function toTensor(pixels, spec) {
  const area = spec.image_size_px ** 2;
  const tensor = new Float32Array(area * spec.channels);
  const scale = Math.fround(spec.scale);
  for (let channel = 0; channel < spec.channels; channel += 1) {
    const mean = Math.fround(spec.mean[channel]);
    const std = Math.fround(spec.std[channel]);
    const levels = Float32Array.from({ length: 256 }, (_, level) => {
      const scaled = Math.fround(Math.fround(level) / scale);
      return Math.fround(scaled - mean) / std;
    });
    for (let index = 0; index < area; index += 1) {
      tensor[channel * area + index] = levels[pixels[index * spec.channels + channel]];
    }
  }
  return tensor;
}
