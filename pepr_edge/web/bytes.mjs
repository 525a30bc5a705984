// Bytes: base64, decompression by the browser, sha256.

import { PageError } from "./errors.mjs";

/**
 * Decode base64.
 * @param {string} text
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function fromBase64(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < binary.length; index += 1) {
    bytes[index] = binary.charCodeAt(index);
  }
  return bytes;
}

/**
 * Decompress bytes, at most `limit` of them.
 * @param {Uint8Array<ArrayBuffer>} packed
 * @param {CompressionFormat} format
 * @param {number} limit bytes that are expected, and no more is unpacked
 * @param {boolean} [mayEndEarly] return what was unpacked before the data ended or broke
 * @returns {Promise<Uint8Array<ArrayBuffer>>}
 */
export async function inflate(packed, format, limit, mayEndEarly = false) {
  if (typeof DecompressionStream === "undefined") {
    throw new PageError("noUnpacking");
  }
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream(format));
  const reader = stream.getReader();
  /** @type {Uint8Array[]} */
  const parts = [];
  let size = 0;
  try {
    while (size < limit) {
      const { done, value } = await reader.read();
      if (done) {
        break;
      }
      parts.push(value);
      size += value.length;
    }
  } catch (fault) {
    if (!mayEndEarly) {
      throw fault;
    }
  }
  reader.cancel().catch(() => undefined);
  return joined(parts, Math.min(size, limit));
}

/**
 * Return the bytes of all parts, at most `size`.
 * @param {Uint8Array[]} parts
 * @param {number} [size]
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function joined(parts, size = parts.reduce((sum, part) => sum + part.length, 0)) {
  const whole = new Uint8Array(size);
  let position = 0;
  for (const part of parts) {
    const room = size - position;
    whole.set(part.length > room ? part.subarray(0, room) : part, position);
    position += Math.min(part.length, room);
  }
  return whole;
}

/**
 * Return the UTF-8 bytes of a text.
 * @param {string} text
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function utf8(text) {
  return new Uint8Array(new TextEncoder().encode(text));
}

const ROUND_CONSTANTS = roundConstants();

/** Return the constants of FIPS 180-4: the first 32 bits of the cube roots of the first 64 primes. */
function roundConstants() {
  const constants = new Int32Array(64);
  let count = 0;
  for (let number = 2; count < 64; number += 1) {
    let isPrime = true;
    for (let divisor = 2; divisor * divisor <= number; divisor += 1) {
      if (number % divisor === 0) {
        isPrime = false;
      }
    }
    if (isPrime) {
      const root = Math.cbrt(number);
      constants[count] = Math.floor((root - Math.floor(root)) * 2 ** 32);
      count += 1;
    }
  }
  return constants;
}

const START = [
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
];

/**
 * Return the sha256 of bytes as hexadecimal digits, computed by the browser where it can.
 * @param {Uint8Array<ArrayBuffer>} bytes
 * @returns {Promise<string>}
 */
export async function fastSha256(bytes) {
  if (!globalThis.crypto?.subtle) {
    return sha256(bytes);
  }
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Return the sha256 of bytes as hexadecimal digits.
 *
 * `crypto.subtle` is missing on pages from a local network without TLS. Source: FIPS 180-4.
 * @param {Uint8Array} bytes
 * @returns {string}
 */
export function sha256(bytes) {
  const state = Int32Array.from(START);
  const words = new Int32Array(64);
  const whole = bytes.length - (bytes.length % 64);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let offset = 0; offset < whole; offset += 64) {
    compress(state, words, view, offset);
  }
  const rest = bytes.length - whole;
  const tail = new Uint8Array(rest < 56 ? 64 : 128);
  tail.set(bytes.subarray(whole));
  tail[rest] = 0x80;
  const tailView = new DataView(tail.buffer);
  tailView.setUint32(tail.length - 8, Math.floor(bytes.length / 2 ** 29));
  tailView.setUint32(tail.length - 4, (bytes.length << 3) >>> 0);
  for (let offset = 0; offset < tail.length; offset += 64) {
    compress(state, words, tailView, offset);
  }
  return Array.from(state, (word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
}

/**
 * @param {Int32Array} state
 * @param {Int32Array} words
 * @param {DataView} view
 * @param {number} offset
 */
function compress(state, words, view, offset) {
  for (let index = 0; index < 16; index += 1) {
    words[index] = view.getInt32(offset + 4 * index);
  }
  for (let index = 16; index < 64; index += 1) {
    const early = words[index - 15];
    const late = words[index - 2];
    const first = ((early >>> 7) | (early << 25)) ^ ((early >>> 18) | (early << 14)) ^ (early >>> 3);
    const second = ((late >>> 17) | (late << 15)) ^ ((late >>> 19) | (late << 13)) ^ (late >>> 10);
    words[index] = (words[index - 16] + first + words[index - 7] + second) | 0;
  }
  let [a, b, c, d, e, f, g, h] = state;
  for (let index = 0; index < 64; index += 1) {
    const high = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const added = (h + high + ((e & f) ^ (~e & g)) + ROUND_CONSTANTS[index] + words[index]) | 0;
    const low = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const majority = (a & b) ^ (a & c) ^ (b & c);
    h = g;
    g = f;
    f = e;
    e = (d + added) | 0;
    d = c;
    c = b;
    b = a;
    a = (added + low + majority) | 0;
  }
  [a, b, c, d, e, f, g, h].forEach((word, index) => {
    state[index] = (state[index] + word) | 0;
  });
}
