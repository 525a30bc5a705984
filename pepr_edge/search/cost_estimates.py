"""Estimate the resources of candidates before training: by screening on the device, and by a cost probe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pepr_edge.energy.carbon import co2eq_g
from pepr_edge.errors import ScoreError
from pepr_edge.recipe import ScoreSettings
from pepr_edge.recipe.settings import ResolvedRecipe
from pepr_edge.records import (
    Bound,
    Candidate,
    CostEstimate,
    CostProbe,
    ScreeningResult,
    TrainCost,
)
from pepr_edge.run_dir.current import current_cost_probe, current_training
from pepr_edge.scoring.pepr import RESOURCES, normalised, normalised_weights, resource_bounds
from pepr_edge.scoring.resources import of_device, of_training
from pepr_edge.scoring.stand_in import lacks_energy, weights_without_energy
from pepr_edge.search.state import NO_COST, Cost
from pepr_edge.train.cost import full_cost

ADVICE = {
    "train_energy": "Declare workstation.watts_per_core",
    "train_co2eq": "Declare workstation.watts_per_core and workstation.country",
}


@dataclass(frozen=True)
class CandidateCosts:
    """Estimated costs of a candidate (probe, epoch, whole training), and the resources of each variant."""

    candidate: Candidate
    probe: Cost
    epoch: Cost
    full: TrainCost
    variants: tuple[CostEstimate, ...]


def estimate_costs(
    candidate: Candidate,
    folder: Path,
    key: str,
    recipe: ResolvedRecipe,
    screenings: Sequence[ScreeningResult],
    images: int,
) -> CandidateCosts | None:
    """Estimate the costs of a candidate; return None if it has neither a cost probe nor a training.

    Args:
        candidate: to estimate.
        folder: of the candidate.
        key: of its training.
        recipe: of the run.
        screenings: of its variants; those without a profile are left out.
        images: number of training images.
    """
    source = current_cost_probe(folder, key) or current_training(folder, key)
    if source is None:
        return None
    country = recipe.workstation.country
    if isinstance(source, CostProbe):
        probe = cost_of(source.cost)
        epoch_co2eq_g = co2eq_g(source.epoch_energy_j, country).value
        epoch = Cost(source.epoch_energy_j.value, source.epoch_duration_s.value, epoch_co2eq_g)
        full = full_cost(source, recipe.train.epochs, images, country)
    else:
        probe = NO_COST
        epoch = training_cost_of(source.cost).scaled(1 / len(source.epochs))
        full = source.cost
    in_training, training_methods = of_training(full, images)
    variants = [
        estimate.replace(
            resources=in_training | estimate.resources, methods=training_methods | estimate.methods
        )
        for estimate in device_estimates(screenings)
    ]
    return CandidateCosts(candidate, probe, epoch, full, tuple(variants))


def device_estimates(screenings: Sequence[ScreeningResult]) -> list[CostEstimate]:
    """Return the resources on the device of each variant that was measured."""
    estimates = []
    for screening in screenings:
        if screening.profile is not None:
            resources, methods = of_device(screening.profile)
            estimates.append(
                CostEstimate(
                    variant=screening.variant,
                    resources=resources,
                    methods=methods,
                    size_bytes=screening.size_bytes,
                )
            )
    return estimates


def cost_of(cost: TrainCost) -> Cost:
    """Return the part of a training's cost that a search counts: setup and steps, without evaluation."""
    total = NO_COST
    # A training that took no time was not done; its CO2eq is None.
    if cost.duration_s.value:
        total += training_cost_of(cost)
    setup = (cost.setup_energy_j, cost.setup_duration_s, cost.setup_co2eq_g)
    amounts = [None if quantity is None else quantity.value for quantity in setup]
    if amounts[1]:  # in version 0.1.0 the training included the setup
        total += Cost(*amounts)
    return total


def training_cost_of(cost: TrainCost) -> Cost:
    """Return the cost of the training steps alone."""
    return Cost(cost.energy_j.value, cost.duration_s.value, cost.co2eq_g.value)


def normalised_costs(
    estimates: Sequence[CandidateCosts], settings: ScoreSettings, needed: bool
) -> dict[str, float]:
    """Return the cost R of each candidate, in [0, 1], by its id.

    R is the weighted mean of the normalised resources, of the candidate's cheapest variant.

    Args:
        estimates: of the set over which resources are normalised.
        settings: of the run's score.
        needed: if False, R is 0 for all candidates when a resource is not known.
    Raises:
        ScoreError: R is needed, and a resource with a weight is not known of a candidate.
    """
    known = [variant.resources for costs in estimates for variant in costs.variants]
    by_time = lacks_energy(known)
    weights = normalised_weights(weights_without_energy(settings.weights) if by_time else settings.weights)
    for costs in estimates:
        for name in weights:
            if all(variant.resources.get(name) is None for variant in costs.variants):
                if needed:
                    raise _not_known(name, costs.candidate.id)
                return {costs.candidate.id: 0.0 for costs in estimates}
    bounds = {name: _bounds(estimates, name, settings) for name in weights} if estimates else {}
    cheapest = {}
    for costs in estimates:
        cheapest[costs.candidate.id] = min(
            _mean_resource(variant.resources, weights, bounds) for variant in costs.variants
        )
    return cheapest


def _bounds(estimates: Sequence[CandidateCosts], name: str, settings: ScoreSettings) -> Bound:
    values = []
    methods = []
    for costs in estimates:
        for variant in costs.variants:
            value = variant.resources.get(name)
            if value is not None:
                values.append(value)
                methods.append(variant.methods[name])
    return resource_bounds(values, RESOURCES[name][1], settings.normalise, methods)


def _mean_resource(
    resources: Mapping[str, float | None], weights: Mapping[str, float], bounds: Mapping[str, Bound]
) -> float:
    """Return the weighted mean of a variant's normalised resources; 1 if one of them is not known.

    So a variant with an unknown resource never stands for its candidate.
    """
    total = 0.0
    for name, weight in weights.items():
        value = resources.get(name)
        if value is None:
            return 1.0
        total += weight * normalised(value, bounds[name])
    return min(1.0, total)


def _not_known(name: str, candidate: str) -> ScoreError:
    advice = ADVICE.get(name, "Choose another search.policy")
    return ScoreError(
        f"search.policy weighs candidates before they are trained, but {name} of {candidate} is not known. "
        f"{advice}, or leave {name} out of score.weights."
    )
