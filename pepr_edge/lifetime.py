"""Energy over a model's life: what its training cost, spread over the images that it will be asked about, and each answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pepr_edge.errors import ScoreError
from pepr_edge.records import RankingRow, Stretch


@dataclass(frozen=True)
class Consumer:
    """A deployed model's energy, joules: once for its training, and for each image."""

    name: str
    training_j: float
    inference_j: float

    def per_image_j(self, images: float) -> float:
        """Energy per image over a life of so many images.

        Raises:
            ScoreError: fewer than one image.
        """
        check_images(images)
        return self.training_j / images + self.inference_j


def consumer(row: RankingRow) -> Consumer | None:
    """A row of a ranking as a consumer; None where the energy of its training or of an answer is not known."""
    training, answer = row.resources.get("train_energy"), row.inference_energy_j
    return None if training is None or answer is None else Consumer(f"{row.candidate} {row.variant}", training, answer)


def check_images(images: float) -> None:
    """Refuse a life of less than one image.

    Raises:
        ScoreError: it is.
    """
    if not images >= 1 or math.isinf(images):
        raise ScoreError(f"lifetime of {images:g} images, expected a number >= 1.")


def cheapest(consumers: Sequence[Consumer]) -> tuple[Stretch, ...]:
    """Which model needs the least energy for how many images, from 1 to infinity: the lower envelope of their lines.

    Where two meet, the one that is cheaper from there on takes over.
    """
    if not consumers:
        return ()
    at = 1.0
    # At the start the least total; of equal ones that which is cheaper afterwards.
    now = min(consumers, key=lambda one: (one.training_j + one.inference_j, one.inference_j))
    found: list[Stretch] = []
    while True:
        meetings = [
            ((one.training_j - now.training_j) / (now.inference_j - one.inference_j), one)
            for one in consumers
            if one.inference_j < now.inference_j
        ]
        meetings = [(images, one) for images, one in meetings if math.isfinite(images)]
        if not meetings:
            return (*found, Stretch(name=now.name, start=at, until=None))
        images, after = min(meetings, key=lambda met: (met[0], met[1].inference_j))
        if images > at:
            found.append(Stretch(name=now.name, start=at, until=images))
            at = images
        now = after
