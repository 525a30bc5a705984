"""Energy over a model's life: what its training cost, spread over the images that it will be asked about, and each answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pepr_edge.errors import ScoreError
from pepr_edge.records import Lifetime, RankingRow, Stretch
from pepr_edge.scoring.pepr import only_method

UNKNOWN = (
    "the energy of training or of an answer is not known of any ranked model: declare the watts of a busy core, workstation.watts_per_core "
    "and device.watts_per_core in the recipe, and in the field `pepr-edge bench --watts-per-core`"
)
PARTS = {"train_energy": "training", "inference_energy": "inference"}


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
    return (
        None
        if training is None or answer is None
        else Consumer(f"{row.candidate} {row.variant}", training, answer)
    )


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


@dataclass(frozen=True)
class Life:
    """The rows with their energy per image, and which of them is the cheapest for how many images."""

    rows: tuple[RankingRow, ...]
    summary: Lifetime


def over_a_life(rows: Sequence[RankingRow], images: float) -> Life:
    """Energy per image of each ranked row: training energy / images + energy of one answer.

    A row of which either is not known has none. Where energies of one kind were obtained in different ways, no row has one.

    Raises:
        ScoreError: fewer than one image.
    """
    check_images(images)
    consumers = {row.rank: one for row in rows if row.rank is not None and (one := consumer(row)) is not None}
    known = [row for row in rows if row.rank in consumers]
    left_out = tuple(
        f"{row.candidate} {row.variant}" for row in rows if row.rank is not None and row.rank not in consumers
    )
    try:
        methods = {words: only_method([row.methods[name] for row in known]) for name, words in PARTS.items()}
    except ScoreError as fault:
        return Life(
            tuple(rows),
            Lifetime(
                images=images,
                stretches=(),
                methods={},
                reason=f"energies were {str(fault).partition(', which')[0]}",
            ),
        )
    reason = "" if known else UNKNOWN
    summary = Lifetime(
        images=images,
        stretches=cheapest(list(consumers.values())),
        methods=methods,
        left_out=left_out,
        reason=reason,
    )
    per_image = {rank: one.per_image_j(images) for rank, one in consumers.items()}
    return Life(
        tuple(row.model_copy(update={"lifetime_j_per_image": per_image.get(row.rank or 0)}) for row in rows),
        summary,
    )
