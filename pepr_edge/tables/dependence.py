"""What the winner of each group depends on, the weights and the normalisation, for tables that are small enough to be held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pepr_edge.records import Bound, Sensitivity
from pepr_edge.scoring.pepr import Array, Models, Scoring
from pepr_edge.scoring.robustness import to_normalisation, to_weights
from pepr_edge.tables.bounds_pass import BoundsPass, Rows, ScoreTask
from pepr_edge.tables.groups import Index

# A group is scored a hundred times for each resource: with three, up to 15 ms for a few models and 100 ms for 2000.
ROWS = 20_000
GROUPS = 200
GROUP_MODELS = 2000


@dataclass(frozen=True)
class Dependence:
    """Of one group: between which weights its winner stays the winner, and who wins under each normalisation."""

    sensitivity: tuple[Sensitivity, ...]
    winners: Mapping[str, str | None]


class RetainedRows:
    """The rows of a small table with several resources; of any other, none. Held open over the chunks."""

    def __init__(self, task: ScoreTask, bounds_pass: BoundsPass) -> None:
        self.task = task
        self.wanted = (
            len(task.resources) > 1
            and int(bounds_pass.models.sum()) <= ROWS
            and len(bounds_pass.names) <= GROUPS
        )
        self.names: list[str] = []
        self.parts: list[tuple[Index, Array, Array]] = []

    def add(self, rows: Rows, names: Sequence[str]) -> None:
        """Take in a chunk."""
        self.names += names
        self.parts.append((rows.codes, rows.performance, rows.known))

    def of(self, group: int, bounds: Mapping[str, Bound | None]) -> Dependence | None:
        """What was found of a group with these bounds, when all chunks were taken in; None where it is not computed."""
        if not self.parts:
            return None
        codes, performance, known = (
            np.concatenate(parts, axis=-1) for parts in zip(*self.parts, strict=True)
        )
        members = np.flatnonzero(codes == group)
        if len(members) > GROUP_MODELS:
            return None
        resources = dict(zip(self.task.resources, known[:, members], strict=True))
        # By their row, since two models may bear one name.
        models = Models(tuple(map(str, members.tolist())), performance[members], resources)
        reference = (
            {name: bound for name, bound in bounds.items() if bound}
            if self.task.normalise == "reference"
            else None
        )
        scoring = Scoring(self.task.weights, self.task.normalise, self.task.alpha, reference)
        sensitivity = tuple(self._named(one) for one in to_weights(models, scoring))
        return Dependence(
            sensitivity, {how: self._name(row) for how, row in to_normalisation(models, scoring).items()}
        )

    def _named(self, one: Sensitivity) -> Sensitivity:
        return one.model_copy(
            update={
                "winner_below": self._name(one.winner_below),
                "winner_above": self._name(one.winner_above),
            }
        )

    def _name(self, row: str | None) -> str | None:
        return None if row is None else self.names[int(row)]
