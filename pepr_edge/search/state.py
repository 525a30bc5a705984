"""What a search knows, and what it may decide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Literal

from pepr_edge.errors import ScoreError
from pepr_edge.scoring.pepr import pepr

Action = Literal["train", "drop", "skip", "stop"]
PolicyName = Literal["exhaustive", "random", "halving", "bounded"]
Kept = Literal["last", "best"]


@dataclass(frozen=True)
class Cost:
    """What something costs in energy, time and CO2eq; None where it is not known."""

    energy_j: float | None = None
    time_s: float | None = None
    co2eq_g: float | None = None

    def __add__(self, other: Cost) -> Cost:
        """Both together: not known where one of them is not."""
        return Cost(
            *(
                None if a is None or b is None else a + b
                for a, b in zip(self.amounts, other.amounts, strict=True)
            )
        )

    def times(self, factor: float) -> Cost:
        """So many times as much."""
        return Cost(*(None if amount is None else amount * factor for amount in self.amounts))

    @property
    def amounts(self) -> tuple[float | None, float | None, float | None]:
        """In the order of the fields."""
        return self.energy_j, self.time_s, self.co2eq_g


NOTHING = Cost(0.0, 0.0, 0.0)


# Stop rule -> its key in a recipe, and that key's unit in ours.
IN_A_RECIPE = {"max_energy_j": ("max_energy_wh", 3600.0), "max_time_s": ("max_time_h", 3600.0)}


@dataclass(frozen=True)
class Limits:
    """Stop rules: what a search may cost in all, its probe included; None for no limit."""

    max_energy_j: float | None = None
    max_time_s: float | None = None
    max_co2eq_g: float | None = None

    def exceeded_by(self, cost: Cost) -> str | None:
        """The stop rule that a cost would break, in words; None where it breaks none.

        Raises:
            ScoreError: there is a limit on what is not known.
        """
        for rule, amount in zip(fields(self), cost.amounts, strict=True):
            limit = getattr(self, rule.name)
            if limit is None:
                continue
            if amount is None:
                raise ScoreError(
                    f"{_as_asked(rule.name, limit)}, but what the search costs in that is not known. Leave that limit out."
                )
            if amount > limit * (1 + 1e-9):
                return _as_asked(rule.name, limit)
        return None


def _as_asked(rule: str, limit: float) -> str:
    """A stop rule as a recipe has it."""
    name, unit = IN_A_RECIPE.get(rule, (rule, 1.0))
    return f"{name} = {limit / unit:g}"


@dataclass(frozen=True)
class SearchCandidate:
    """A model that may be trained: r is its normalised cost in the run's score, in [0, 1]; epoch is the cost of one epoch, estimated."""

    name: str
    r: float
    epoch: Cost


@dataclass(frozen=True)
class Settings:
    """Parameters of the policies. The defaults are those for any set: docs/search.md says what they mean and how they were chosen.

    confidence: how sure `bounded` is that a candidate cannot win before it spares it; at 1 it relies on the bound alone.
    share: of the sweep's energy that `bounded` spends at most, its probe included; least_trainings: but never less than so many of average
    cost beyond the probe. eta: `halving` keeps one in so many. seed: of what is random.
    """

    policy: PolicyName = "bounded"
    confidence: float = 0.99
    share: float = 0.05
    least_trainings: float = 3.0
    eta: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        for name, right, expected in (
            ("confidence", 0 <= self.confidence <= 1, "a number in [0, 1]"),
            ("share", 0 < self.share <= 1, "a number in (0, 1]"),
            ("least_trainings", self.least_trainings >= 0, "a number >= 0"),
            ("eta", self.eta >= 2, "an integer >= 2"),
            ("seed", self.seed >= 0, "an integer >= 0"),
        ):
            if not right:
                raise ScoreError(f"search.{name} = {getattr(self, name)}, expected {expected}.")


@dataclass(frozen=True)
class Decision:
    """What to do next, and why in words. `to_epoch` goes with "train": the epoch, counted from 1, that is to be trained now."""

    action: Action
    reason: str
    candidate: str | None = None
    to_epoch: int | None = None


@dataclass(frozen=True)
class State:
    """All that a policy decides by.

    candidates: each once; epochs: of a full training; curves: validation performance after each epoch, by name; finished: trainings that
    have ended, by the last epoch or by their own early stopping; out: dropped, never started or failed, by name with the reason; spent: in
    all, the probe included; probe: what finding out the costs has cost; alpha: of the score; kept: whether a training keeps its last epoch
    or its best; ceiling: the performance that no model surpasses.
    """

    candidates: tuple[SearchCandidate, ...]
    epochs: int
    curves: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    finished: frozenset[str] = frozenset()
    out: Mapping[str, str] = field(default_factory=dict)
    spent: Cost = NOTHING
    probe: Cost = NOTHING
    limits: Limits = Limits()
    alpha: float = 1.0
    kept: Kept = "last"
    ceiling: float = 1.0

    def trained(self, name: str) -> int:
        """Epochs of a candidate so far."""
        return len(self.curves.get(name, ()))

    def is_open(self, name: str) -> bool:
        """Whether it may still be trained."""
        return name not in self.finished and name not in self.out

    def performance(self, name: str, epoch: int | None = None) -> float:
        """Of what a training would keep after an epoch (the last so far, if not given) that it has reached."""
        curve = self.curves[name][:epoch]
        return max(curve) if self.kept == "best" else curve[-1]

    def pepr(self, candidate: SearchCandidate, epoch: int | None = None) -> float:
        """The score of a candidate as trained until an epoch."""
        return pepr(self.performance(candidate.name, epoch), candidate.r, self.alpha)

    def bound(self, candidate: SearchCandidate) -> float:
        """The score that it cannot surpass."""
        return pepr(self.ceiling, candidate.r, self.alpha)

    def best(self) -> SearchCandidate | None:
        """The best of the finished; None where nothing is."""
        done = [one for one in self.candidates if one.name in self.finished]
        return min(done, key=lambda one: (-self.pepr(one), *precedence(one)), default=None)

    def choice(self) -> SearchCandidate | None:
        """The best so far: of the finished, else of the started; None where nothing was started."""
        begun = [one for one in self.candidates if self.curves.get(one.name)]
        return self.best() or min(begun, key=lambda one: (-self.pepr(one), *precedence(one)), default=None)

    def sweep(self) -> Cost:
        """What training all candidates to the end would cost."""
        units = zip(*(one.epoch.amounts for one in self.candidates), strict=True)
        sums = [None if None in amounts else sum(amount or 0.0 for amount in amounts) for amounts in units]
        return Cost(*sums).times(self.epochs)

    def after(
        self, decision: Decision, performance: float | None = None, cost: Cost = NOTHING, ended: bool = False
    ) -> State:
        """The state when a decision was carried out.

        Args:
            decision: of a policy.
            performance: on the validation split after the epoch, in [0, 1]; with "train".
            cost: of the epoch, as measured.
            ended: the training stopped itself by this epoch.
        """
        name = decision.candidate
        if name is None:
            return self
        if performance is None:
            return replace(self, out={**self.out, name: decision.reason}, spent=self.spent + cost)
        curve = (*self.curves.get(name, ()), performance)
        finished = self.finished | {name} if ended or len(curve) >= self.epochs else self.finished
        return replace(self, curves={**self.curves, name: curve}, finished=finished, spent=self.spent + cost)


def precedence(candidate: SearchCandidate) -> tuple[float, float, str]:
    """Cheapest first: by what the score counts, then by the energy of its training, then by name."""
    return candidate.r, candidate.epoch.energy_j or 0.0, candidate.name
