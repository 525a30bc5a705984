"""Plant near copies in datasets, and count how many are found and how many other pairs are.

    python tools/near_copies.py phantom PATH.npz ... [--planted 100]

A planted copy is one image, saved again as JPEG, with other brightness, cropped, or all of these. Pairs that
the data hold themselves are listed apart: look at them before calling them false.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance

from pepr_edge.data import DataSettings
from pepr_edge.data.check.evidence import Scan
from pepr_edge.data.check.similar import similar_pairs
from pepr_edge.data.formats import open_source
from pepr_edge.data.pixels import Decoded
from pepr_edge.images.preprocess import to_pixels

IMAGE_SIZE_PX = 64
Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def saved_again(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """Return an image as JPEG of quality 75 to 95."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=int(generator.integers(75, 96)))
    return Image.open(stream).convert("L")


def brighter(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """Return an image up to 5 % darker or brighter."""
    return ImageEnhance.Brightness(image).enhance(generator.uniform(0.95, 1.05))


def cropped(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """Return an image without up to 5 % at each side, at least a pixel in all."""
    width, height = image.size
    left, top, right, bottom = generator.uniform(0, 0.05, 4) * (width, height, width, height)
    return image.crop((round(left), max(round(top), 1), width - round(right), height - round(bottom)))


def all_of_these(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """Return an image with all changes."""
    return saved_again(brighter(cropped(image, generator), generator), generator)


CHANGES: tuple[Change, ...] = (saved_again, brighter, cropped, all_of_these)


def pairs(images: list[Image.Image]) -> set[frozenset[int]]:
    """Return the pairs that are found among images."""
    scan = Scan()
    for index, image in enumerate(images):
        pixels = to_pixels(image, channels=1, image_size_px=IMAGE_SIZE_PX, interpolation="bilinear")
        scan.add(Decoded(index, "train", image, pixels))
    indices = sorted(scan.perceptual)
    bits = np.stack([scan.perceptual[index] for index in indices])
    found = similar_pairs(bits, [scan.thumbnails[index] for index in indices])
    return {frozenset((indices[one], indices[other])) for one, other in found}


def main() -> None:
    """Print a row for each dataset and change."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--planted", type=int, default=100)
    arguments = parser.parse_args()
    print("| data | images | change | planted | found | pairs of the data | other pairs |")
    print("|---|--:|---|--:|--:|--:|--:|")
    for name in arguments.sources:
        source = open_source(DataSettings(name, IMAGE_SIZE_PX))
        images = [
            image for image in source.read(np.arange(len(source.targets))) if isinstance(image, Image.Image)
        ]
        own = pairs(images)
        in_pair = set().union(*own)
        singles = [index for index in range(len(images)) if index not in in_pair]
        generator = np.random.default_rng(0)
        for change in CHANGES:
            chosen = generator.choice(singles, min(arguments.planted, len(singles)), replace=False)
            copies = [change(images[index], generator) for index in chosen]
            found = pairs(images + copies)
            planted = {frozenset((int(index), len(images) + n)) for n, index in enumerate(chosen)}
            others = len(found - planted - own)
            row = (source.name, len(images), change.__name__.replace("_", " "), len(planted))
            print("|", " | ".join(map(str, (*row, len(found & planted), len(own), others))), "|", flush=True)


if __name__ == "__main__":
    main()
