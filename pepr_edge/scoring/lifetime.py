"""Energy over a model's lifetime: its training, spread over the images, plus each inference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pepr_edge.errors import ScoreError
from pepr_edge.records import Lifetime, RankingRow, Stretch
from pepr_edge.scoring.pepr import only_method

UNKNOWN = (
    "no ranked model has a known energy of both training and inference: declare the watts of a busy core, "
    "workstation.watts_per_core and device.watts_per_core in the recipe, "
    "and in the field `pepr-edge bench --watts-per-core`"
)
PARTS = {"train_energy": "training", "inference_energy": "inference"}


@dataclass(frozen=True)
class Consumer:
    """The energy of a deployed model, joules: once for its training, and for each image."""

    name: str
    training_j: float
    inference_j: float

    def total_j(self, images: float) -> float:
        """Energy of the training and of a number of images."""
        return self.training_j + images * self.inference_j

    def per_image_j(self, images: float) -> float:
        """Energy per image over a lifetime of a number of images.

        Raises:
            ScoreError: fewer than one image.
        """
        check_images(images)
        return self.training_j / images + self.inference_j


def consumer(row: RankingRow) -> Consumer | None:
    """Return the energies of a ranked model; None if that of its training or of an inference is not known."""
    training_j = row.resources.get("train_energy")
    inference_j = row.inference_energy_j
    if training_j is None or inference_j is None:
        return None
    return Consumer(_name(row), training_j, inference_j)


def _name(row: RankingRow) -> str:
    return f"{row.candidate} {row.variant}"


def _methods(rows: Sequence[RankingRow]) -> dict[str, str]:
    methods = {}
    for name, part in PARTS.items():
        methods[part] = only_method([row.methods[name] for row in rows])
    return methods


def check_images(images: float) -> None:
    """Check the number of images of a lifetime.

    Raises:
        ScoreError: it is below 1 or not finite.
    """
    if not images >= 1 or math.isinf(images):
        raise ScoreError(f"lifetime of {images:g} images, expected a number >= 1.")


def cheapest(consumers: Sequence[Consumer]) -> tuple[Stretch, ...]:
    """Return which model needs the least energy for how many images, from 1 to infinity: the lower envelope.

    Where two lines cross, the model that is cheaper from there on takes over.
    """
    if not consumers:
        return ()
    start = 1.0
    # The lowest total for one image; of equal totals the one that is cheaper afterwards.
    current = min(consumers, key=lambda model: (model.total_j(1), model.inference_j))
    stretches: list[Stretch] = []
    while True:
        crossings: list[tuple[float, Consumer]] = []
        for model in consumers:
            if model.inference_j < current.inference_j:
                images = (model.training_j - current.training_j) / (current.inference_j - model.inference_j)
                if math.isfinite(images):
                    crossings.append((images, model))
        if not crossings:
            return (*stretches, Stretch(name=current.name, start=start, until=None))
        until, following = min(crossings, key=lambda crossing: (crossing[0], crossing[1].inference_j))
        if until > start:
            stretches.append(Stretch(name=current.name, start=start, until=until))
            start = until
        current = following


@dataclass(frozen=True)
class LifetimeResult:
    """The rows with their energy per image, and which of them is the cheapest for how many images."""

    rows: tuple[RankingRow, ...]
    summary: Lifetime


def with_lifetime_energy(rows: Sequence[RankingRow], images: float) -> LifetimeResult:
    """Add the energy per image to each ranked row: training energy / images + energy of one inference.

    A row for which one of them is not known has none. If the rows' energies were obtained in different ways,
    no row has one.

    Raises:
        ScoreError: fewer than one image.
    """
    check_images(images)
    ranked = [row for row in rows if row.rank is not None]
    consumers: dict[int | None, Consumer] = {}
    for row in ranked:
        energies = consumer(row)
        if energies is not None:
            consumers[row.rank] = energies
    known = [row for row in ranked if row.rank in consumers]
    left_out = tuple(_name(row) for row in ranked if row.rank not in consumers)
    try:
        methods = _methods(known)
    except ScoreError as fault:
        reason = f"energies were {str(fault).partition(', which')[0]}"
        summary = Lifetime(images=images, stretches=(), methods={}, reason=reason)
        return LifetimeResult(tuple(rows), summary)
    summary = Lifetime(
        images=images,
        stretches=cheapest(list(consumers.values())),
        methods=methods,
        left_out=left_out,
        reason="" if known else UNKNOWN,
    )
    per_image = {rank: model.per_image_j(images) for rank, model in consumers.items()}
    with_energy = [row.model_copy(update={"lifetime_j_per_image": per_image.get(row.rank)}) for row in rows]
    return LifetimeResult(tuple(with_energy), summary)
