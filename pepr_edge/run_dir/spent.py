"""What all trainings of a run cost together: repeats, pruned and interrupted ones included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pepr_edge.records import Quantity, TrainCost, TrainingState
from pepr_edge.run_dir.current import current_repeats, repeat_key
from pepr_edge.run_dir.layout import TRAINING, candidate_folder, repeat_folder
from pepr_edge.run_dir.reader import Results
from pepr_edge.run_dir.store import read_current


class Spent(NamedTuple):
    """Energy in joules and time in seconds of all trainings and their evaluation."""

    energy_j: Quantity
    time_s: Quantity


def training_costs(results: Results) -> Iterator[TrainCost]:
    """Yield the cost so far of every training of a run."""
    recipe = results.recipe
    info = results.info
    for candidate in info.candidates:
        folder = candidate_folder(results.folder, candidate)
        trainings = results.trainings(candidate)
        if recipe.train.teacher is not None:  # the results have the better one alone
            trainings = current_repeats(folder, candidate, recipe, info.data, info.revisions, verify=False)
        for repeat in range(recipe.train.most_repeats):
            of_repeat = repeat_folder(folder, repeat)
            if repeat in trainings:
                yield trainings[repeat].cost
            elif (of_repeat / TRAINING).is_file():
                key = repeat_key(of_repeat, candidate, recipe, info.data, info.revisions, repeat)
                # Its cost counts even if the state that it would resume from is torn.
                unfinished = read_current(of_repeat / TRAINING, TrainingState, key)
                if unfinished is not None:
                    yield unfinished.cost


def spent(results: Results) -> Spent | None:
    """Return what the trainings of a run cost together; None if nothing was trained."""
    costs = list(training_costs(results))
    if not costs:
        return None
    energies = [_parts(cost, "energy_j") for cost in costs]
    times = [_parts(cost, "duration_s") for cost in costs]
    return Spent(_total(energies), _total(times))


def _parts(cost: TrainCost, unit: str) -> list[Quantity]:
    """Return the parts of a cost, such as steps and evaluation, whose names end in this."""
    return [value for name, value in cost if name.endswith(unit) and isinstance(value, Quantity)]


def _total(of_trainings: Sequence[list[Quantity]]) -> Quantity:
    """Return the sum over trainings and their parts; a training of which no part is known is left out."""
    known = [parts for parts in of_trainings if any(part.value is not None for part in parts)]
    source = f"{len(known)} trainings with their evaluation, repeats and pruned ones included"
    unknown = len(of_trainings) - len(known)
    if unknown:
        source += f"; {unknown} more are not known"
    if not known:
        return Quantity(value=None, method="unavailable", source="of no training known")
    parts = [part for of_training in known for part in of_training if part.value is not None]
    is_declared = any(part.method == "declared" for part in parts)
    total = sum(part.value or 0.0 for part in parts)
    return Quantity(value=total, method="declared" if is_declared else "measured", source=source)
