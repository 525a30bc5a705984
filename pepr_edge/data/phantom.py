"""Phantom: generated images of a two-class lesion task, to try and test everything without data.

A grey, textured tissue with one darker lesion, as in ultrasound. A benign lesion tends to be a smooth
ellipse of even texture; a malignant lesion tends to have an irregular, spiculated border and an uneven
texture. Both follow a hidden degree of suspicion. Its ranges overlap between the classes, so that some
images cannot be classified: a small network gets most of them right, not all. Size, position, contrast and
brightness carry no information.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pepr_edge.data.source import DataSettings, ImageSource, Indices, Stamp
from pepr_edge.errors import DataError

ACCEPTS: str = "phantom (generated images)"
SUFFIXES: tuple[str, ...] = ()

LABELS = ("benign", "malignant")
SIZE_PX = 64
MIN_IMAGES = 20

# Images are made in blocks, each with its own seed, 30 benign and 20 malignant in each. So the images of a
# smaller set are the first images of a larger set.
_BLOCK = 50
_MALIGNANT = 20


def images(n: int, seed: int, size_px: int = SIZE_PX) -> tuple[NDArray[np.uint8], Indices]:
    """Generate phantom images; needs nothing but numpy.

    Args:
        n: number of images; a smaller n gives the first images of a larger n.
        seed: not negative; the same seed gives the same images.
        size_px: height and width.
    Returns:
        Pixels, uint8, shape (n, size_px, size_px), and labels, int64, shape (n,): 0 benign, about 60 %, and
        1 malignant.
    """
    blocks = [_block(np.random.default_rng([seed, number]), size_px) for number in range(-(-n // _BLOCK))]
    pixels = np.concatenate([np.zeros((0, size_px, size_px), np.uint8), *(block[0] for block in blocks)])
    labels = np.concatenate([np.zeros(0, np.int64), *(block[1] for block in blocks)])
    return pixels[:n], labels[:n]


def _block(rng: np.random.Generator, size_px: int) -> tuple[NDArray[np.uint8], Indices]:
    labels = rng.permutation(np.repeat([0, 1], [_BLOCK - _MALIGNANT, _MALIGNANT])).astype(np.int64)
    suspicion = np.clip(rng.normal(np.where(labels == 1, 0.74, 0.26), 0.14), 0, 1)[:, None, None]
    inside = _lesion(rng, suspicion, size_px)
    tissue = _uniform(rng, 95, 150) + 10 * _texture(rng, 5, size_px) + 5 * _texture(rng, 14, size_px)
    unevenness = np.clip(2 + 22 * suspicion + rng.normal(0, 3, suspicion.shape), 0, None)
    texture = unevenness * _texture(rng, 12, size_px)
    image = tissue + inside * (texture - _uniform(rng, 35, 65))
    image *= 1 + 0.07 * rng.standard_normal(image.shape)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), labels


def _lesion(rng: np.random.Generator, suspicion: NDArray[np.float64], size_px: int) -> NDArray[np.float64]:
    """Return the lesion mask, 0 to 1 per pixel: an ellipse with lobes; more suspicious, more spicules."""
    axis = np.linspace(-1, 1, size_px)
    x = axis[None, None, :] - _uniform(rng, -0.3, 0.3)
    y = axis[None, :, None] - _uniform(rng, -0.3, 0.3)
    rotation = _uniform(rng, 0, np.pi)
    along = x * np.cos(rotation) + y * np.sin(rotation)
    across = y * np.cos(rotation) - x * np.sin(rotation)
    long_radius = _uniform(rng, 0.35, 0.6)
    ratio = _uniform(rng, 0.65, 1)
    distance = np.hypot(along, across / ratio) / long_radius
    angle = np.arctan2(across / ratio, along)
    border = np.ones_like(angle)
    for lobes in (2, 3, 4):
        border += _uniform(rng, 0, 0.06) * np.cos(lobes * angle + _uniform(rng, 0, 2 * np.pi))
    reach = np.clip(0.30 * suspicion + rng.normal(0, 0.03, suspicion.shape), 0, None)
    for spicules in (7, 9, 11, 14):
        border += reach * _uniform(rng, 0.2, 0.6) * np.cos(spicules * angle + _uniform(rng, 0, 2 * np.pi))
    softness = _uniform(rng, 0.03, 0.08)
    inside: NDArray[np.float64] = 1 / (1 + np.exp(np.clip((distance - border) / softness, -40, 40)))
    return inside


def _uniform(rng: np.random.Generator, low: float, high: float) -> NDArray[np.float64]:
    """Return a random value per image of a block, shaped to broadcast over its pixels."""
    return rng.uniform(low, high, (_BLOCK, 1, 1))


def _texture(rng: np.random.Generator, cells: int, size_px: int) -> NDArray[np.float64]:
    """Return smooth noise of about unit variance: a cells x cells grid of random values, interpolated."""
    position = np.linspace(0, cells - 1, size_px)
    weights = np.clip(1 - np.abs(position[:, None] - np.arange(cells)), 0, None)
    noise: NDArray[np.float64] = 1.5 * (weights @ rng.standard_normal((_BLOCK, cells, cells)) @ weights.T)
    return noise


def recognises(source: str) -> bool:
    """True if it is the word phantom."""
    return source.lower() == "phantom"


def stamp(settings: DataSettings) -> Stamp:
    """Return nothing: the settings define the data."""
    return []


def open_source(settings: DataSettings) -> ImageSource:
    """Generate `phantom_images` images.

    Raises:
        DataError: too few images for splits by class.
    """
    if settings.phantom_images < MIN_IMAGES:
        raise DataError(
            f"phantom: phantom_images = {settings.phantom_images}, expected at least {MIN_IMAGES}. "
            "The default is 600."
        )
    pixels, labels = images(settings.phantom_images, settings.seed)

    def read(indices: Indices) -> Iterator[Image.Image]:
        return (Image.fromarray(pixels[index]) for index in indices)

    digest = hashlib.sha256(pixels.tobytes() + labels.astype("<i8").tobytes()).hexdigest()
    return ImageSource(
        name="phantom", format="phantom", sha256=digest, labels=LABELS, targets=labels, read=read
    )
