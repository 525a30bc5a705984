"""The cost that a training would have on an undisturbed machine.

It is the measured cost, unless other programs disturbed the training. Then energy and time come from training
steps that were measured afterwards, in turn with those of the other candidates; without such steps they come
from the calm epochs of the training itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from pepr_edge.records import Epoch, Method, Quantity, StepCost, Teacher, TrainCost, TrainResult

# All epochs should take equally long. If their mean is this many times the duration of the fastest quarter,
# the training was disturbed; without disturbance the ratio was at most 1.2.
UNEVEN = 1.5
MIN_EPOCHS = 4
# A training was also disturbed if an image cost this many times as much as in the steps measured in turn.
COST_RATIO = 1.25
# Epochs up to this many times as long as the fastest quarter count as calm.
CALM = 1.25
# Names of the figures that can be replaced, as in a warning, and their fields.
NAMES = (("energy", "energy_j"), ("time", "duration_s"))
# What a student is charged for its teacher.
CHARGED = ("energy_j", "co2eq_g", "duration_s", "setup_energy_j", "setup_co2eq_g", "setup_duration_s")
WEAKNESS: tuple[Method, ...] = ("measured", "counted", "declared", "unavailable")


class FairCost(NamedTuple):
    """The cost of a training, with other energy and time if it was disturbed: then `warning` says so."""

    cost: TrainCost
    warning: str = ""


class _Amounts(NamedTuple):
    """Energy and time of a whole training, and where they come from."""

    energy_j: float | None
    duration_s: float
    source: str


def fair_cost(trained: TrainResult, step_cost: StepCost | None) -> FairCost:
    """Return the cost of a training, with that of its teacher, as it would have been without other programs.

    Args:
        trained: the training.
        step_cost: of its candidate; None if it was not measured. It counts only if it has the training's mode
            and threads.
    """
    own = _own_cost(trained, step_cost)
    return FairCost(charged(own.cost, trained.teacher), own.warning)


def charged(cost: TrainCost, teacher: Teacher | None) -> TrainCost:
    """Return the cost of a training with that of its teacher: energy, CO2eq and time."""
    if teacher is None:
        return cost
    return cost.replace(**{name: _sum(getattr(cost, name), getattr(teacher.cost, name)) for name in CHARGED})


def _sum(own: Quantity | None, of_teacher: Quantity | None) -> Quantity | None:
    """Return the sum by the weaker of both methods; not known if either is not."""
    if own is None or of_teacher is None:
        return own
    method = max(own.method, of_teacher.method, key=WEAKNESS.index)
    if own.value is None or of_teacher.value is None:
        source = "not known of the teacher, or of the student"
        return Quantity(value=None, method="unavailable", source=source)
    return Quantity(
        value=own.value + of_teacher.value, method=method, source=f"{own.source}, and that of the teacher"
    )


def _own_cost(trained: TrainResult, step_cost: StepCost | None) -> FairCost:
    in_turn = _in_turn(trained, step_cost)
    span = _uneven_span(_alike(trained))
    if in_turn is not None and (span or _costs_more(trained.cost, in_turn)):
        return _replaced(trained.cost, in_turn, span)
    if span:
        return _replaced(trained.cost, _of_calm_epochs(trained), span)
    return FairCost(trained.cost)


def _in_turn(trained: TrainResult, step_cost: StepCost | None) -> _Amounts | None:
    """Return what the images of a training cost by the steps that were measured in turn."""
    images = trained.cost.images.value
    if step_cost is None or not images or not step_cost.duration_s:
        return None
    mode = (trained.layout, trained.precision, trained.environment.threads)
    if mode != (step_cost.layout, step_cost.precision, step_cost.threads):
        return None
    own_method = trained.cost.energy_j.method
    energy_j = None
    if step_cost.energy_j and step_cost.method == own_method:
        energy_j = median(step_cost.energy_j) * images
    duration_s = median(step_cost.duration_s) * images
    source = f"{images:.0f} images at the cost of training steps measured afterwards"
    return _Amounts(energy_j, duration_s, source)


def _costs_more(cost: TrainCost, in_turn: _Amounts) -> bool:
    """True if a training cost far more than the same steps measured in turn."""
    if (cost.duration_s.value or 0.0) > COST_RATIO * in_turn.duration_s:
        return True
    return in_turn.energy_j is not None and (cost.energy_j.value or 0.0) > COST_RATIO * in_turn.energy_j


def _alike(trained: TrainResult) -> Sequence[Epoch]:
    """Return the epochs that do the same work: not the first, nor those of the classifier alone."""
    return trained.epochs[max(1, trained.head_epochs) :]


def _uneven_span(epochs: Sequence[Epoch]) -> str:
    """Return the range of uneven epochs as text; empty for a training that was not disturbed."""
    durations_s = sorted(epoch.duration_s for epoch in epochs)
    if len(durations_s) < MIN_EPOCHS:
        return ""
    mean_s = sum(durations_s) / len(durations_s)
    if mean_s <= UNEVEN * durations_s[len(durations_s) // 4]:
        return ""
    fastest, slowest = (float(f"{seconds:.2g}") for seconds in (durations_s[0], durations_s[-1]))
    return f"from {fastest:g} to {slowest:g} s an epoch"


def _of_calm_epochs(trained: TrainResult) -> _Amounts:
    """Return the cost of a training whose epochs all had the median cost of its calm ones.

    Epochs of the classifier alone cost what they cost.
    """
    epochs = _alike(trained)
    alone = trained.epochs[: trained.head_epochs]
    fastest_s = sorted(epoch.duration_s for epoch in epochs)[len(epochs) // 4]
    calm = [epoch for epoch in epochs if epoch.duration_s <= CALM * fastest_s]
    energies_j = [epoch.energy_j for epoch in calm if epoch.energy_j is not None]
    count = len(trained.epochs) - len(alone)
    energy_j = None
    alone_j = [epoch.energy_j for epoch in alone if epoch.energy_j is not None]
    if len(energies_j) == len(calm) and len(alone_j) == len(alone):
        energy_j = sum(alone_j) + median(energies_j) * count
    duration_s = sum(epoch.duration_s for epoch in alone) + median(epoch.duration_s for epoch in calm) * count
    source = f"{count} epochs at the median of the {len(calm)} calm ones"
    if alone:
        source += f", and {len(alone)} of the classifier alone as they were"
    return _Amounts(energy_j, duration_s, source)


def _replaced(cost: TrainCost, fair: _Amounts, span: str) -> FairCost:
    """Return a cost with lower energy and time; what is not lower, or not known, stays as it is.

    `span`: the range of uneven epochs as text. It is empty if the costs alone showed the disturbance; then
    one of them is lower here.
    """
    changes: dict[str, Quantity] = {}
    own_j = cost.energy_j.value
    if own_j and fair.energy_j is not None and fair.energy_j < own_j:
        changes["energy_j"] = _quantity(cost.energy_j, fair.energy_j, fair.source)
        if cost.co2eq_g.value is not None:
            co2eq_g = cost.co2eq_g.value * fair.energy_j / own_j
            changes["co2eq_g"] = _quantity(cost.co2eq_g, co2eq_g, fair.source)
    own_s = cost.duration_s.value
    if own_s and fair.duration_s < own_s:
        changes["duration_s"] = _quantity(cost.duration_s, fair.duration_s, fair.source)
    if not changes:
        warning = f"trained while other programs used the CPU ({span}): time and energy are probably too high"
        return FairCost(cost, warning)
    reason = span or f"an image cost more than {COST_RATIO:g} times as much as afterwards"
    names = " and ".join(name for name, field in NAMES if field in changes)
    warning = f"trained while other programs used the CPU ({reason}): {names} taken from {fair.source}"
    return FairCost(cost.replace(**changes), warning)


def _quantity(before: Quantity, value: float, source: str) -> Quantity:
    return before.replace(value=value, source=f"{before.source}, {source}".removeprefix(", "))
