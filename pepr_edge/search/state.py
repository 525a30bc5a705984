"""What a search policy knows (State) and what it can decide (Decision)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Literal

from pepr_edge.errors import ScoreError
from pepr_edge.scoring.learning_curve import kept_performance, unselected
from pepr_edge.scoring.pepr import pepr, skill

Action = Literal["train", "drop", "skip", "stop"]
PolicyName = Literal["exhaustive", "random", "halving", "bounded"]
KeptEpoch = Literal["last", "best"]


@dataclass(frozen=True)
class Cost:
    """Energy, time and CO2eq of some work; None where the amount is not known."""

    energy_j: float | None = None
    time_s: float | None = None
    co2eq_g: float | None = None

    def __add__(self, other: Cost) -> Cost:
        """Add two costs: an amount that one of them does not know is not known."""
        pairs = zip(self.amounts, other.amounts, strict=True)
        return Cost(*(None if a is None or b is None else a + b for a, b in pairs))

    def __sub__(self, other: Cost) -> Cost:
        """Subtract a cost: an amount that one of them does not know is not known."""
        return self + other.scaled(-1)

    def scaled(self, factor: float) -> Cost:
        """Multiply each known amount by a factor."""
        return Cost(*(None if amount is None else amount * factor for amount in self.amounts))

    @property
    def amounts(self) -> tuple[float | None, float | None, float | None]:
        """Energy, time and CO2eq, in the order of the fields."""
        return self.energy_j, self.time_s, self.co2eq_g


def _sum(amounts: Sequence[float | None]) -> float | None:
    """Return the sum of amounts; None if one of them is not known."""
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if len(known) == len(amounts) else None


NO_COST = Cost(0.0, 0.0, 0.0)

# Stop rule -> its recipe key, and that key's unit in SI units.
RECIPE_KEYS = {"max_energy_j": ("max_energy_wh", 3600.0), "max_time_s": ("max_time_h", 3600.0)}


@dataclass(frozen=True)
class Limits:
    """Stop rules: the maximum cost of a whole search, with its cost probes; None for no limit."""

    max_energy_j: float | None = None
    max_time_s: float | None = None
    max_co2eq_g: float | None = None

    def exceeded_by(self, cost: Cost) -> str | None:
        """Return the stop rule that this cost breaks, as text; None if it breaks none.

        Raises:
            ScoreError: a limited amount is not known.
        """
        for rule, amount in zip(fields(self), cost.amounts, strict=True):
            limit = getattr(self, rule.name)
            if limit is None:
                continue
            if amount is None:
                raise ScoreError(
                    f"{_as_recipe(rule.name, limit)}, but the search's cost in that unit is not known. "
                    "Leave that limit out."
                )
            if amount > limit * (1 + 1e-9):
                return _as_recipe(rule.name, limit)
        return None


def _as_recipe(rule: str, limit: float) -> str:
    """Return a stop rule as a recipe states it."""
    key, unit = RECIPE_KEYS.get(rule, (rule, 1.0))
    return f"{key} = {limit / unit:g}"


@dataclass(frozen=True)
class SearchCandidate:
    """A model that a search can train.

    r: its normalised cost in the run's score, in [0, 1]; epoch: the estimated cost of one epoch.
    """

    name: str
    r: float
    epoch: Cost


@dataclass(frozen=True)
class Settings:
    """Parameters of the policies. docs/search.md explains the defaults, which serve any set.

    confidence: `bounded` prunes a candidate when its chance of winning is below 1 - confidence; at 1 only the
    bound prunes.
    share: of the sweep's energy, the most that `bounded` spends, its cost probes included.
    least_trainings: `bounded` can always spend this many trainings of average cost after its cost probes.
    eta: `halving` keeps one of eta candidates.
    seed: of the random policies.
    """

    policy: PolicyName = "bounded"
    confidence: float = 0.99
    share: float = 0.05
    least_trainings: float = 3.0
    eta: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        for name, valid, expected in (
            ("confidence", 0 <= self.confidence <= 1, "a number in [0, 1]"),
            ("share", 0 < self.share <= 1, "a number in (0, 1]"),
            ("least_trainings", self.least_trainings >= 0, "a number >= 0"),
            ("eta", self.eta >= 2, "an integer >= 2"),
            ("seed", self.seed >= 0, "an integer >= 0"),
        ):
            if not valid:
                raise ScoreError(f"search.{name} = {getattr(self, name)}, expected {expected}.")


@dataclass(frozen=True)
class Decision:
    """The next action and its reason. `to_epoch`, with "train": the epoch to train now, counted from 1."""

    action: Action
    reason: str
    candidate: str | None = None
    to_epoch: int | None = None


@dataclass(frozen=True)
class State:
    """Everything that a policy decides by.

    candidates: each once.
    epochs: of a full training.
    curves: validation performance after each epoch, by name.
    finished: trainings that ended, with the last epoch or by early stopping.
    pruned: candidates that get no more training (dropped, skipped or failed), by name with the reason.
    spent: by the search so far, with the cost probes.
    probe: spent on the cost probes.
    alpha: of the score.
    kept_epoch: whether a training keeps its last epoch or its best.
    first_kept_epoch: of those that the best is chosen from, once it is reached.
    ceiling: the highest performance that a model can reach.
    min_performance: a model that ends below it is not shown to have skill, so it cannot win.
    baseline: the performance that counts as 0 in the score.
    """

    candidates: tuple[SearchCandidate, ...]
    epochs: int
    curves: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    finished: frozenset[str] = frozenset()
    pruned: Mapping[str, str] = field(default_factory=dict)
    spent: Cost = NO_COST
    probe: Cost = NO_COST
    limits: Limits = Limits()
    alpha: float = 1.0
    kept_epoch: KeptEpoch = "last"
    first_kept_epoch: int = 1
    ceiling: float = 1.0
    min_performance: float = 0.0
    baseline: float = 0.0

    def trained(self, name: str) -> int:
        """Return the number of epochs that a candidate was trained."""
        return len(self.curves.get(name, ()))

    def is_open(self, name: str) -> bool:
        """True if a candidate can still be trained."""
        return name not in self.finished and name not in self.pruned

    def performance(self, name: str, epoch: int | None = None) -> float:
        """Return the performance that a training stopped at an epoch (default: now) would keep."""
        curve = self.curves[name][:epoch]
        if self.kept_epoch == "best":
            return kept_performance(curve, self.first_kept_epoch)
        return curve[-1]

    def pepr(self, candidate: SearchCandidate, epoch: int | None = None) -> float:
        """Return the score of a candidate trained to an epoch."""
        return pepr(self._scored(self.performance(candidate.name, epoch)), candidate.r, self.alpha)

    def bound(self, candidate: SearchCandidate) -> float:
        """Return the score that a candidate cannot surpass."""
        return pepr(self._scored(self.ceiling), candidate.r, self.alpha)

    def needed(self, candidate: SearchCandidate, score: float) -> float:
        """Return the performance with which a candidate reaches a score."""
        scored = score * (self.alpha + candidate.r) / self.alpha
        return self.baseline + (1 - self.baseline) * scored

    def _scored(self, performance: float) -> float:
        """Return a performance on the scale of the score, from 0, the baseline, to 1."""
        return skill(performance, self.baseline)

    def has_skill(self, name: str) -> bool:
        """True if a started training has reached the performance that a ranked model needs.

        One that ended needs it without the choice of its best epoch, too.
        """
        reached = self.performance(name)
        if name in self.finished and self.kept_epoch == "best":
            reached = min(reached, unselected(self.curves[name]))
        return reached >= self.min_performance

    def best(self) -> SearchCandidate | None:
        """Return the finished candidate with the highest score; None if none is finished with skill."""
        finished = [candidate for candidate in self.candidates if candidate.name in self.finished]
        return self._highest([candidate for candidate in finished if self.has_skill(candidate.name)])

    def choice(self) -> SearchCandidate | None:
        """Return the best finished candidate, else the best started one; None if none was started."""
        started = [candidate for candidate in self.candidates if self.curves.get(candidate.name)]
        return self.best() or self._highest(started)

    def _highest(self, candidates: list[SearchCandidate]) -> SearchCandidate | None:
        return min(
            candidates, key=lambda candidate: (-self.pepr(candidate), *precedence(candidate)), default=None
        )

    def sweep(self) -> Cost:
        """Return the cost of training all candidates to the end."""
        costs = [candidate.epoch for candidate in self.candidates]
        epoch_of_each = Cost(
            _sum([cost.energy_j for cost in costs]),
            _sum([cost.time_s for cost in costs]),
            _sum([cost.co2eq_g for cost in costs]),
        )
        return epoch_of_each.scaled(self.epochs)

    def after_epoch(self, name: str, performance: float, cost: Cost, ended: bool = False) -> State:
        """Return the state after one more epoch of a candidate.

        Args:
            name: of the candidate.
            performance: on the validation split after the epoch, in [0, 1].
            cost: of the epoch, as measured.
            ended: the training stopped itself at this epoch.
        """
        curve = (*self.curves.get(name, ()), performance)
        ended = ended or len(curve) >= self.epochs
        return replace(
            self,
            curves={**self.curves, name: curve},
            finished=self.finished | {name} if ended else self.finished,
            spent=self.spent + cost,
        )

    def without(self, name: str, reason: str, cost: Cost = NO_COST) -> State:
        """Return the state after a candidate was pruned, with the cost of its failed work, if any."""
        return replace(self, pruned={**self.pruned, name: reason}, spent=self.spent + cost)


def precedence(candidate: SearchCandidate) -> tuple[float, float, str]:
    """Sort key, cheapest first: by the cost in the score, then by the energy of an epoch, then by name."""
    return candidate.r, candidate.epoch.energy_j or 0.0, candidate.name
