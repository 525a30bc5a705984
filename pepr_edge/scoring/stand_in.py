"""What takes the place of training energy in a score where no energy is known.

Without declared watts, on a machine without energy counters, a weight on energy would leave every model
without a score. The time of the training then has that weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

STAND_IN = "train_time"
# CO2eq is energy times the carbon intensity of one country.
OF_ENERGY = ("train_energy", "train_co2eq")


def weights_without_energy(weights: Mapping[str, float]) -> dict[str, float]:
    """Return weights in which training time has the weights of training energy and its CO2eq."""
    moved = sum(weights.get(name, 0.0) for name in OF_ENERGY)
    if moved <= 0:
        return dict(weights)
    changed: dict[str, float] = {STAND_IN: weights.get(STAND_IN, 0.0) + moved}
    for name, weight in weights.items():
        if name not in OF_ENERGY and name != STAND_IN:
            changed[name] = weight
    return changed


def lacks_energy(trainings: Iterable[Mapping[str, float | None]]) -> bool:
    """Return True if the energy of none of the trainings is known, but the time of one is.

    Args:
        trainings: resources by name.
    """
    has_time = False
    for resources in trainings:
        if resources.get("train_energy") is not None:
            return False
        has_time = has_time or resources.get(STAND_IN) is not None
    return has_time
