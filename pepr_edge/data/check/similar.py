"""Find pictures that are nearly the same: saved again as JPEG, a little brighter, or with a small crop.

A perceptual hash (phash of the package imagehash) finds candidates. It cannot decide alone: X-rays of two
patients differ by fewer bits than a picture and its own crop. So each candidate is looked at: fine details of
both pictures are correlated, after one of them is cropped as fits best. docs/decisions/near-copies.md has the
figures behind the limits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pepr_edge.data.check.evidence import THUMBNAIL_PX, Thumbnail

Vectors = NDArray[np.float32]
Crop = tuple[float, float, float, float]

# Of 144 bits. Crops of up to 5 % on each side changed at most 40.
MAX_DIFFERENT_BITS = 40
# Correlation of fine details. Planted copies: at least 0.99 with a crop of the grid, and 0.96 with the best.
# Different pictures: at most 0.95 and 0.942.
GRID_CORRELATION = 0.97
CORRELATION = 0.95
# Share of a side that the crops of the grid, and the best crop, take away.
GRID_CROPS = (0.0, 0.04)
MAX_CROP = 0.12
STEPS = (0.04, 0.02, 0.01)
GRID_PX = 16
FINE_PX = 32
BLOCK = 1024


Turn = Callable[[NDArray[Any]], NDArray[Any]]
# Mirrored, turned by 180 degrees, mirrored along both diagonals, and turned by 90 degrees (by 270 is the same
# pair the other way round): of arrays of shape (n, rows, columns).
TURNS: tuple[Turn, ...] = (
    lambda planes: planes[:, :, ::-1],
    lambda planes: planes[:, ::-1],
    lambda planes: planes[:, ::-1, ::-1],
    lambda planes: planes.transpose(0, 2, 1),
    lambda planes: planes[:, ::-1, ::-1].transpose(0, 2, 1),
    lambda planes: planes.transpose(0, 2, 1)[:, ::-1],
)


def similar_pairs(bits: NDArray[np.bool_], thumbnails: Sequence[Thumbnail]) -> Iterator[tuple[int, int]]:
    """Yield pairs of pictures that are nearly the same, enough pairs to connect all that belong together.

    Args:
        bits: perceptual hash of each picture, shape (n, bits).
        thumbnails: of each picture, grey, THUMBNAIL_PX on a side.
    """
    if len(thumbnails) < 2:
        return
    stack = np.stack(thumbnails).astype(np.float32)
    whole = _details(stack, [(0.0, 0.0, 0.0, 0.0)])[:, 0]
    crops = [(left, top, right, bottom) for left, top, right, bottom in product(GRID_CROPS, repeat=4)]
    sets = np.arange(len(thumbnails))
    for start in range(0, len(thumbnails), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(thumbnails)))
        details = _details(stack[block], crops)
        for first, second in _candidates(bits, block, sets):
            fits = _best_correlation(details, whole, first - start, second) >= GRID_CORRELATION
            for one, other in zip(first[fits].tolist(), second[fits].tolist(), strict=True):
                if sets[one] != sets[other] and _same_picture(thumbnails[one], thumbnails[other]):
                    connect(sets, one, other)
                    yield one, other


def turned_pairs(thumbnails: Sequence[Thumbnail]) -> Iterator[tuple[int, int]]:
    """Yield pairs of pictures of which one is nearly the other turned by 90, 180 or 270 degrees or mirrored.

    Args:
        thumbnails: as for `similar_pairs`. A turned copy that is also cropped is not found.
    """
    if len(thumbnails) < 2:
        return
    whole = _details(np.stack(thumbnails).astype(np.float32), [(0.0, 0.0, 0.0, 0.0)])[:, 0]
    planes = whole.reshape(-1, GRID_PX, GRID_PX)
    sets = np.arange(len(thumbnails))
    for turn in TURNS:
        turned = np.ascontiguousarray(turn(planes)).reshape(len(planes), -1)
        for start in range(0, len(planes), BLOCK):
            correlation = whole[start : start + BLOCK] @ turned.T
            first, second = np.nonzero(correlation >= GRID_CORRELATION)
            for one, other in zip((first + start).tolist(), second.tolist(), strict=True):
                if sets[one] != sets[other] and _is_turned(thumbnails[one], thumbnails[other], turn):
                    connect(sets, one, other)
                    yield one, other


def _is_turned(one: Thumbnail, other: Thumbnail, turn: Turn) -> bool:
    turned = np.ascontiguousarray(turn(other[None])[0])
    uncropped = np.zeros(4)
    correlation = _fine_details(Image.fromarray(one), uncropped) @ _fine_details(
        Image.fromarray(turned), uncropped
    )
    return float(correlation) >= CORRELATION


def connect(sets: NDArray[np.int64], one: int, other: int) -> None:
    """Put two pictures, and all that belong with them, into one set.

    Args:
        sets: the number of each picture's set; changed in place.
    """
    sets[sets == sets[one]] = sets[other]


def _candidates(
    bits: NDArray[np.bool_], block: NDArray[np.int64], sets: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the pairs of a picture of the block and any other set's whose hashes differ in few bits."""
    ones = bits[block].astype(np.float32)
    for start in range(0, len(bits), BLOCK):
        others = bits[start : start + BLOCK].astype(np.float32)
        equal = ones @ others.T
        different = ones.sum(axis=1)[:, None] + others.sum(axis=1)[None, :] - 2 * equal
        first, second = np.nonzero(different <= MAX_DIFFERENT_BITS)
        apart = sets[block[first]] != sets[second + start]
        if apart.any():
            yield block[first[apart]], second[apart] + start


def _best_correlation(
    details: Vectors, whole: Vectors, first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return for each pair the highest correlation of a crop of its first picture with the whole second."""
    best = np.empty(len(first), np.float32)
    for start in range(0, len(first), BLOCK):
        part = slice(start, start + BLOCK)
        best[part] = np.einsum("ncd,nd->nc", details[first[part]], whole[second[part]]).max(axis=1)
    return best


def _details(thumbnails: Vectors, crops: Sequence[Crop]) -> Vectors:
    """Return the fine details of crops of pictures, as vectors of length 1, shape (n, crops, pixels).

    Resizing is linear, so all pictures are resized by the same matrices.
    """
    smoothing = _smoothing(GRID_PX)
    made = []
    for left, top, right, bottom in crops:
        rows = _resizing(top, bottom)
        columns = _resizing(left, right)
        small = rows @ thumbnails @ columns.T
        coarse = smoothing @ small @ smoothing.T
        made.append(_unit((small - coarse).reshape(len(thumbnails), -1)))
    return np.stack(made, axis=1)


def _resizing(before: float, after: float) -> Vectors:
    """Return the matrix that crops one side of a thumbnail and resizes it to GRID_PX."""
    identity = Image.fromarray(np.eye(THUMBNAIL_PX, dtype=np.float32))
    box = (0.0, before * THUMBNAIL_PX, float(THUMBNAIL_PX), (1 - after) * THUMBNAIL_PX)
    return np.asarray(identity.resize((THUMBNAIL_PX, GRID_PX), Image.Resampling.BILINEAR, box=box))


def _smoothing(px: int) -> Vectors:
    """Return the matrix that averages over a fourth of a side, and enlarges again."""
    identity = Image.fromarray(np.eye(px, dtype=np.float32))
    coarse = identity.resize((px, px // 4), Image.Resampling.BOX)
    return np.asarray(coarse.resize((px, px), Image.Resampling.BICUBIC))


def _unit(vectors: Vectors) -> Vectors:
    centred = vectors - vectors.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(lengths, 1e-6), np.float32)


def _same_picture(one: Thumbnail, other: Thumbnail) -> bool:
    return max(_cropped_correlation(one, other), _cropped_correlation(other, one)) >= CORRELATION


def _cropped_correlation(cropped: Thumbnail, whole: Thumbnail) -> float:
    """Return the correlation of a picture with the crop of another that fits it best.

    The crop is found by coordinate descent: its four sides are moved in turn while that helps.
    """
    picture = Image.fromarray(cropped)
    target = _fine_details(Image.fromarray(whole), np.zeros(4))
    crop = np.zeros(4)
    best = float(_fine_details(picture, crop) @ target)
    for step in STEPS:
        is_better = True
        while is_better:
            is_better = False
            for side, sign in product(range(4), (1, -1)):
                moved = crop.copy()
                moved[side] += sign * step
                if not 0 <= moved[side] <= MAX_CROP:
                    continue
                correlation = float(_fine_details(picture, moved) @ target)
                if correlation > best:
                    best = correlation
                    crop = moved
                    is_better = True
    return best


def _fine_details(picture: Image.Image, crop: NDArray[np.float64]) -> Vectors:
    left, top, right, bottom = (float(share) * THUMBNAIL_PX for share in crop)
    box = (left, top, THUMBNAIL_PX - right, THUMBNAIL_PX - bottom)
    small = np.asarray(picture.resize((FINE_PX, FINE_PX), Image.Resampling.BILINEAR, box=box), np.float32)
    smoothing = _smoothing(FINE_PX)
    return np.asarray(_unit((small - smoothing @ small @ smoothing.T).reshape(1, -1))[0])
