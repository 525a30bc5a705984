"""Two runs with one architecture in common: the trainings of the same seed are the pairs.

Over a few seeds of one architecture the costs differ by chance alone, and min-max would stretch that to the
whole scale of PePR: the performances are compared, and the costs are in the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pepr_edge.compare.model import Model, Side
from pepr_edge.compare.record import LeftOut
from pepr_edge.compare.runs import model_of, no_better_than_chance
from pepr_edge.run_dir.reader import Results, VariantState
from pepr_edge.run_dir.variant_figures import seed_performances


def by_seed(a: Results, b: Results, sides: tuple[Side, Side]) -> tuple[str, Side, Side] | None:
    """Return the only common candidate, and both sides with a model for each of its seeds.

    None if more or fewer candidates are in common, or fewer than two seeds.

    Args:
        a, b: the runs.
        sides: as read for a comparison of candidates.
    """
    in_a, in_b = ({model.name for model in side.models} for side in sides)
    common = in_a & in_b
    if len(common) != 1:
        return None
    name = common.pop()
    first = _side(a, sides[0], name)
    second = _side(b, sides[1], name)
    if len({model.name for model in first.models} & {model.name for model in second.models}) < 2:
        return None
    return name, first, second


def _side(results: Results, side: Side, name: str) -> Side:
    entries = [entry for entry in results.entries if entry.candidate.id == name]
    entry = max(entries, key=lambda entry: entry.artifact is not None)  # its variants share the trainings
    others = tuple(
        LeftOut(candidate=model.name, reason="not in both") for model in side.models if model.name != name
    )
    split = results.info.data.splits.get("train")
    images = split.images if split else None
    models = tuple(_models(entry, side.metric, images))
    # Those of the side are about its other candidates, and about files, which are not compared here.
    _, warnings = no_better_than_chance(results, side.metric, models)
    if results.info.status != "finished":
        warnings.insert(0, "not finished: a seed may be missing")
    return replace(side, models=models, left_out=(*side.left_out, *others), warnings=tuple(warnings))


def _models(entry: VariantState, metric: str, images: int | None) -> Iterator[Model]:
    """Yield a model for each training, or none if the metric is not defined for one of them."""
    performances = seed_performances(entry, metric, "test")
    for trained, performance in zip(entry.repeats, performances, strict=False):
        one = replace(entry, trained=trained, repeats=(trained,))
        model = model_of(one, max(0.0, performance), images, variant=None)
        yield replace(model, name=f"seed {trained.seed}")
