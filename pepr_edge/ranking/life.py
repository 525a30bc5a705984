"""What the ranked models cost over a life of so many images: training and answers together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pepr_edge.errors import ScoreError
from pepr_edge.lifetime import cheapest, check_images, consumer
from pepr_edge.records import Lifetime, RankingRow
from pepr_edge.score import only_method

UNKNOWN = (
    "the energy of training or of an answer is not known of any ranked model: declare the watts of a busy core, workstation.watts_per_core "
    "and device.watts_per_core in the recipe, and in the field `pepr-edge bench --watts-per-core`"
)
PARTS = {"train_energy": "training", "inference_energy": "inference"}


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
    left_out = tuple(f"{row.candidate} {row.variant}" for row in rows if row.rank is not None and row.rank not in consumers)
    try:
        methods = {words: only_method([row.methods[name] for row in known]) for name, words in PARTS.items()}
    except ScoreError as fault:
        return Life(
            tuple(rows), Lifetime(images=images, stretches=(), methods={}, reason=f"energies were {str(fault).partition(', which')[0]}")
        )
    reason = "" if known else UNKNOWN
    summary = Lifetime(images=images, stretches=cheapest(list(consumers.values())), methods=methods, left_out=left_out, reason=reason)
    per_image = {rank: one.per_image_j(images) for rank, one in consumers.items()}
    return Life(tuple(row.model_copy(update={"lifetime_j_per_image": per_image.get(row.rank or 0)}) for row in rows), summary)
