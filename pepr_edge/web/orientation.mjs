// Turn a picture upright by the orientation in its EXIF or XMP data, as Pillow's exif_transpose does.

/**
 * A decoded picture. "deep" is grey of more than 8 bits; its samples are 16-bit.
 * @typedef {{width: number, height: number, kind: "grey" | "rgb" | "deep",
 *   samples: Uint8Array | Uint16Array}} Picture
 */

const ORIENTATION = 0x0112;
const SHORT = 3;

/**
 * Return the orientation in EXIF data, 1 to 8; null if there is none.
 * @param {Uint8Array} bytes TIFF data, with or without the "Exif" marker before it
 * @returns {number | null}
 */
export function exifOrientation(bytes) {
  const hasMarker = bytes.length > 6 && String.fromCharCode(...bytes.subarray(0, 6)) === "Exif\0\0";
  const data = hasMarker ? bytes.subarray(6) : bytes;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (data.length < 14) {
    return null;
  }
  const isLittle = data[0] === 0x49 && data[1] === 0x49;
  const isBig = data[0] === 0x4d && data[1] === 0x4d;
  const first = view.getUint32(4, isLittle);
  if ((!isLittle && !isBig) || first + 2 > data.length) {
    return null;
  }
  const count = view.getUint16(first, isLittle);
  for (let index = 0; index < count; index += 1) {
    const entry = first + 2 + 12 * index;
    if (entry + 12 > data.length) {
      return null;
    }
    if (view.getUint16(entry, isLittle) === ORIENTATION) {
      return view.getUint16(entry + 2, isLittle) === SHORT ? view.getUint16(entry + 8, isLittle) : null;
    }
  }
  return null;
}

/**
 * Return the orientation in XMP data; null if there is none.
 * @param {Uint8Array} bytes
 * @returns {number | null}
 */
export function xmpOrientation(bytes) {
  const match = /tiff:Orientation(?:="|>)([0-9])/.exec(new TextDecoder("latin1").decode(bytes));
  return match ? Number(match[1]) : null;
}

/**
 * Return an upright picture.
 * @param {Picture} picture
 * @param {number | null} orientation
 * @returns {Picture}
 */
export function upright(picture, orientation) {
  if (orientation === null || orientation < 2 || orientation > 8) {
    return picture;
  }
  const { width, height, kind, samples } = picture;
  const channels = kind === "rgb" ? 3 : 1;
  const isTurned = orientation >= 5;
  const newWidth = isTurned ? height : width;
  const newHeight = isTurned ? width : height;
  const result = samples instanceof Uint16Array ? new Uint16Array(samples.length) : new Uint8Array(samples.length);
  const flipsX = [2, 3, 7, 8].includes(orientation);
  const flipsY = [3, 4, 6, 7].includes(orientation);
  for (let y = 0; y < newHeight; y += 1) {
    for (let x = 0; x < newWidth; x += 1) {
      // The stored pixel that is shown at (x, y).
      const alongX = isTurned ? y : x;
      const alongY = isTurned ? x : y;
      const fromX = flipsX ? width - 1 - alongX : alongX;
      const fromY = flipsY ? height - 1 - alongY : alongY;
      for (let channel = 0; channel < channels; channel += 1) {
        result[(y * newWidth + x) * channels + channel] = samples[(fromY * width + fromX) * channels + channel];
      }
    }
  }
  return { width: newWidth, height: newHeight, kind, samples: result };
}
