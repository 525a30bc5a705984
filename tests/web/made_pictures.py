"""Made PNG files of all kinds: modes, depths, sizes, orientations, palettes, interlacing."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

MODES = ("1", "L", "LA", "RGB", "RGBA", "P", "I;16")
SIZES_PX = (28, 32, 50, 64)
FILTERS = ("bilinear", "bicubic", "lanczos", "nearest")
ORIENTATION = 0x0112
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def picture(number: int, rng: np.random.Generator, mode: str) -> Image.Image:
    """Return a picture of a mode, of noise or of noise on stripes, of a random size."""
    width, height = (int(side) for side in rng.integers(1, 150, 2))
    noise = rng.integers(0, 256, (height, width, 4), dtype=np.uint8)
    if number % 2:
        rows, columns = np.mgrid[:height, :width]
        noise = (noise // 8 + ((rows * 3 + columns * 5) % 200)[..., None]).astype(np.uint8)
    if mode == "I;16":
        deep = rng.integers(0, 1 << int(rng.integers(6, 17)), (height, width))
        return Image.fromarray(deep.astype(np.uint16))
    if mode == "P":
        return Image.fromarray(noise[..., :3].copy()).quantize(int(rng.integers(2, 200)))
    if mode == "LA":
        return Image.merge("LA", [Image.fromarray(noise[..., band].copy()) for band in range(2)])
    return Image.fromarray(noise).convert(mode)


def png_files(count: int) -> list[tuple[bytes, dict[str, Any]]]:
    """Return PNG files, each with how it is preprocessed."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(count):
        image = picture(number, rng, MODES[number % len(MODES)])
        options = {}
        if number % 9:
            exif = Image.Exif()
            exif[ORIENTATION] = number % 9
            options["exif"] = exif
        file = io.BytesIO()
        image.save(file, "PNG", **options)
        spec = {
            "channels": (1, 3)[number // 7 % 2],
            "image_size_px": SIZES_PX[number % 4],
            "interpolation": FILTERS[number // 4 % 4],
        }
        made.append((file.getvalue(), spec))
    return made


def interlaced(samples: NDArray[np.uint8] | NDArray[np.uint16], colour: int) -> bytes:
    """Return an interlaced PNG file of 8 or 16 bits, which Pillow reads but does not write."""
    height, width = samples.shape[:2]
    lines = b""
    for x, y, step_x, step_y in PASSES:
        part = samples[y::step_y, x::step_x]
        if part.size:
            lines += b"".join(b"\0" + row.astype(row.dtype.newbyteorder(">")).tobytes() for row in part)
    header = struct.pack(">IIBBBBB", width, height, 8 * samples.itemsize, colour, 0, 0, 1)
    return png_of((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))


def sixteen_bit(samples: NDArray[np.uint16], colour: int) -> bytes:
    """Return a PNG file of 16 bits for each sample."""
    height, width = samples.shape[:2]
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    return png_of((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))


def png_of(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG file of these chunks."""
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, body in chunks:
        parts += [struct.pack(">I", len(body)), kind, body, struct.pack(">I", zlib.crc32(kind + body))]
    return b"".join(parts)
