"""What each candidate would use, before it is trained: on the device by its first looks, in training by its cost probe; and its R."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pepr_edge.energy.carbon import co2eq_g
from pepr_edge.errors import ScoreError
from pepr_edge.recipe import Recipe, ScoreSettings
from pepr_edge.records import Candidate, CostEstimate, CostProbe, ScreeningResult, TrainCost, TrainResult
from pepr_edge.run_dir.reader import current_cost_probe, current_training
from pepr_edge.scoring.pepr import RESOURCES, bounds, normalised, shares
from pepr_edge.scoring.resources import of_device, of_training
from pepr_edge.search import Cost
from pepr_edge.search.state import NOTHING
from pepr_edge.train.cost import whole


@dataclass(frozen=True)
class CandidateCosts:
    """A candidate with what its probe, an epoch and the whole of its training cost, and what each of its variants would use."""

    candidate: Candidate
    probe: Cost
    epoch: Cost
    full: TrainCost
    prospects: tuple[CostEstimate, ...]


def estimate_costs(
    candidate: Candidate,
    folder: Path,
    key: str,
    recipe: Recipe,
    screenings: Sequence[ScreeningResult],
    images: int,
) -> CandidateCosts | None:
    """What a candidate would use; None where neither a cost probe nor a training says.

    Args:
        candidate: whose training lies in `folder`, under `key`.
        recipe: of the run.
        looks: at its variants; those that could not be measured are left out.
        images: of the training split.
    """
    known = current_cost_probe(folder, key) or current_training(folder, key)
    if known is None:
        return None
    full = (
        whole(known, recipe.train.epochs, images, recipe.workstation.country)
        if isinstance(known, CostProbe)
        else known.cost
    )
    in_training, how = of_training(full, images)
    prospects = []
    for screening in screenings:
        if screening.profile is not None:
            on_device, measured = of_device(screening.profile)
            known_of = {
                "resources": in_training | on_device,
                "methods": how | measured,
                "size_bytes": screening.size_bytes,
            }
            prospects.append(CostEstimate.model_validate({"variant": screening.variant, **known_of}))
    probe = cost_of(known.cost) if isinstance(known, CostProbe) else NOTHING
    return CandidateCosts(candidate, probe, _epoch(known, recipe.workstation.country), full, tuple(prospects))


def _epoch(known: CostProbe | TrainResult, country: str | None) -> Cost:
    if isinstance(known, CostProbe):
        return Cost(
            known.epoch_energy_j.value,
            known.epoch_duration_s.value,
            co2eq_g(known.epoch_energy_j, country).value,
        )
    return cost_of(known.cost).times(1 / len(known.epochs))


def cost_of(cost: TrainCost) -> Cost:
    """What a search counts of a training: its steps and its probe, evaluation apart."""
    return Cost(cost.energy_j.value, cost.duration_s.value, cost.co2eq_g.value)


def normalised_costs(
    estimates: Sequence[CandidateCosts], settings: ScoreSettings, needed: bool
) -> dict[str, float]:
    """R of each candidate by its id, in [0, 1]: the weighted mean of its resources, normalised over the set; that of its best variant.

    Args:
        outlooks: the set.
        settings: of the run's score.
        needed: whether something rests on it; else R is 0 where a resource is not known.
    Raises:
        ScoreError: a resource that has a weight is not known of a candidate, and it is needed.
    """
    weights, every = shares(settings.weights), [one for estimate in estimates for one in estimate.prospects]
    missing = [
        (name, estimate.candidate.id)
        for estimate in estimates
        for name in weights
        if not _known(estimate.prospects, name)
    ]
    if missing and needed:
        raise ScoreError(_words(*missing[0]))
    if missing or not estimates:
        return {estimate.candidate.id: 0.0 for estimate in estimates}
    found = {}
    for name in weights:
        known = [one for one in every if one.resources.get(name) is not None]
        values = [value for one in known if (value := one.resources[name]) is not None]
        found[name] = bounds(
            values, RESOURCES[name][1], settings.normalise, [one.methods[name] for one in known]
        )

    def r(resources: Mapping[str, float | None]) -> float:
        values = {name: resources.get(name) for name in weights}
        if None in values.values():
            return 1.0  # a variant of which less is known than of another does not stand for its candidate
        return min(
            1.0,
            sum(
                weights[name] * normalised(value, found[name])
                for name, value in values.items()
                if value is not None
            ),
        )

    return {
        estimate.candidate.id: min(r(one.resources) for one in estimate.prospects) for estimate in estimates
    }


def _known(prospects: Sequence[CostEstimate], name: str) -> bool:
    return any(one.resources.get(name) is not None for one in prospects)


def _words(name: str, candidate: str) -> str:
    mend = {
        "train_energy": "Declare workstation.watts_per_core",
        "train_co2eq": "Declare workstation.watts_per_core and workstation.country",
    }.get(name, "Take another search.policy")
    return (
        f"search.policy weighs candidates before they are trained, but {name} of {candidate} is not known. "
        f"{mend}, or leave {name} out of score.weights."
    )
