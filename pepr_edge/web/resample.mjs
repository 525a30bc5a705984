// Resize as Pillow does, bit for bit: the same filters, antialiasing and fixed-point arithmetic.
// Source: Pillow, src/libImaging/Resample.c and Geometry.c (nearest).

const PRECISION_BITS = 32 - 8 - 2;

/**
 * @param {number} x
 * @returns {number}
 */
function sinc(x) {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}

/**
 * Bicubic with a = -0.5.
 * @param {number} signed
 * @returns {number}
 */
function bicubic(signed) {
  const a = -0.5;
  const x = Math.abs(signed);
  if (x < 1) {
    return ((a + 2) * x - (a + 3)) * x * x + 1;
  }
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/** @type {Record<string, {support: number, weight: (x: number) => number}>} */
const FILTERS = {
  box: { support: 0.5, weight: (x) => (x > -0.5 && x <= 0.5 ? 1 : 0) },
  bilinear: { support: 1, weight: (x) => (Math.abs(x) < 1 ? 1 - Math.abs(x) : 0) },
  bicubic: { support: 2, weight: bicubic },
  lanczos: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/**
 * Return the first input pixel of each output pixel, and the weights in fixed point.
 * @param {number} inSize
 * @param {number} outSize
 * @param {string} interpolation
 * @returns {{starts: Int32Array, weights: Int32Array[]}}
 */
function coefficients(inSize, outSize, interpolation) {
  const filter = FILTERS[interpolation];
  const scale = inSize / outSize;
  const filterScale = Math.max(scale, 1);
  const support = filter.support * filterScale;
  const inverse = 1 / filterScale;
  const starts = new Int32Array(outSize);
  const weights = [];
  for (let out = 0; out < outSize; out += 1) {
    const centre = (out + 0.5) * scale;
    const start = Math.max(Math.trunc(centre - support + 0.5), 0);
    const end = Math.min(Math.trunc(centre + support + 0.5), inSize);
    const raw = [];
    let sum = 0;
    for (let x = 0; x < end - start; x += 1) {
      const weight = filter.weight((x + start - centre + 0.5) * inverse);
      raw.push(weight);
      sum += weight;
    }
    const fixed = new Int32Array(raw.length);
    raw.forEach((weight, index) => {
      const value = (sum === 0 ? weight : weight / sum) * (1 << PRECISION_BITS);
      fixed[index] = Math.trunc(weight < 0 ? value - 0.5 : value + 0.5);
    });
    starts[out] = start;
    weights.push(fixed);
  }
  return { starts, weights };
}

/**
 * Resample one axis.
 * @param {Uint8Array} source
 * @param {number} lines rows for the horizontal axis, columns for the vertical one
 * @param {number} inSize
 * @param {number} outSize
 * @param {string} interpolation
 * @param {number} channels
 * @param {boolean} isHorizontal
 * @returns {Uint8Array}
 */
function resampleAxis(source, lines, inSize, outSize, interpolation, channels, isHorizontal) {
  const { starts, weights } = coefficients(inSize, outSize, interpolation);
  const result = new Uint8ClampedArray(lines * outSize * channels);
  // Distances in bytes from one pixel of the axis to the next, and from one line to the next.
  const step = isHorizontal ? channels : lines * channels;
  const inLine = isHorizontal ? inSize * channels : channels;
  const outLine = isHorizontal ? outSize * channels : channels;
  for (let out = 0; out < outSize; out += 1) {
    const kernel = weights[out];
    for (let line = 0; line < lines; line += 1) {
      const from = line * inLine + starts[out] * step;
      const to = line * outLine + out * step;
      for (let channel = 0; channel < channels; channel += 1) {
        let sum = 1 << (PRECISION_BITS - 1);
        let position = from + channel;
        for (let x = 0; x < kernel.length; x += 1) {
          sum += source[position] * kernel[x];
          position += step;
        }
        result[to + channel] = sum >> PRECISION_BITS;
      }
    }
  }
  return new Uint8Array(result.buffer);
}

/**
 * @param {Uint8Array} source
 * @param {number} width
 * @param {number} height
 * @param {number} channels
 * @param {number} px
 * @returns {Uint8Array}
 */
function resizeNearest(source, width, height, channels, px) {
  const result = new Uint8Array(px * px * channels);
  const columns = nearestPositions(width, px);
  const rows = nearestPositions(height, px);
  for (let y = 0; y < px; y += 1) {
    for (let x = 0; x < px; x += 1) {
      const from = (rows[y] * width + columns[x]) * channels;
      const to = (y * px + x) * channels;
      for (let channel = 0; channel < channels; channel += 1) {
        result[to + channel] = source[from + channel];
      }
    }
  }
  return result;
}

/**
 * @param {number} inSize
 * @param {number} outSize
 * @returns {Int32Array}
 */
function nearestPositions(inSize, outSize) {
  const scale = inSize / outSize;
  const positions = new Int32Array(outSize);
  let position = scale * 0.5;
  for (let index = 0; index < outSize; index += 1) {
    positions[index] = Math.min(Math.trunc(position), inSize - 1);
    position += scale; // added up, as Pillow does, rounding errors included
  }
  return positions;
}

/**
 * Resize 8-bit pixels to a square.
 * @param {Uint8Array} source shape (height, width, channels)
 * @param {number} width
 * @param {number} height
 * @param {number} channels
 * @param {number} px
 * @param {string} interpolation "nearest", "bilinear", "bicubic" or "lanczos"
 * @param {boolean} tallVerticalFirst as later versions of Pillow: the vertical pass of a tall image comes first
 * @returns {Uint8Array} shape (px, px, channels)
 */
export function resize(source, width, height, channels, px, interpolation, tallVerticalFirst) {
  if (width === px && height === px) {
    return source;
  }
  if (interpolation === "nearest") {
    return resizeNearest(source, width, height, channels, px);
  }
  /** @type {(pixels: Uint8Array, rows: number) => Uint8Array} */
  const horizontal = (pixels, rows) =>
    width === px ? pixels : resampleAxis(pixels, rows, width, px, interpolation, channels, true);
  /** @type {(pixels: Uint8Array, columns: number) => Uint8Array} */
  const vertical = (pixels, columns) =>
    height === px ? pixels : resampleAxis(pixels, columns, height, px, interpolation, channels, false);
  // Both passes round to 8 bits, so that their order shows in the last bit.
  if (tallVerticalFirst && height > px && height - px > 2 * (width - px)) {
    return horizontal(vertical(source, width), px);
  }
  return vertical(horizontal(source, height), px);
}
