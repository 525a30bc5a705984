"""Draw again what a ranking leaves to chance: validation images, seeds of the training, and costs.

A row's score depends on all three. Each source is drawn with its own measured spread; a source whose spread
is not known, such as the seed if every candidate was trained once, is left out and `Spread.sources` says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import stdev
from typing import Literal

import numpy as np

from pepr_edge.ranking.field import FieldMeasurements
from pepr_edge.ranking.validation import Validation
from pepr_edge.records import DeviceProfile, RankingRow
from pepr_edge.run_dir.reader import VariantState
from pepr_edge.scoring.pepr import (
    RESOURCES,
    Array,
    Models,
    Scoring,
    normalised,
    pepr,
    proportions,
    scores,
)
from pepr_edge.scoring.percentiles import p90_error
from pepr_edge.scoring.resources import EpochFigure, training_spread
from pepr_edge.scoring.robustness import DRAWS, RankSpread, first_shares, score_spread

Source = Literal["images", "seeds", "costs"]
TRAINING_RESOURCES = ("train_energy", "train_co2eq", "train_time")
# First place counts as settled if another run would have the same, at this probability.
SETTLED = 0.95
# A cost that one disturbance multiplied has no upper limit; more than this factor changes no rank.
MAX_EXPONENT = math.log(1e6)


@dataclass(frozen=True)
class PooledSd:
    """A standard deviation pooled over candidates, and its degrees of freedom."""

    value: float
    freedom: int


@dataclass(frozen=True)
class Spread:
    """Rank intervals and shares of first places of the ranked rows, in the order of the ranks.

    `others` are the shares of first places of the rows without a rank that another run might rank, in their
    order.
    """

    ranks: RankSpread
    others: tuple[tuple[RankingRow, float], ...]
    sources: tuple[Source, ...]
    settled: bool


def resource_errors(entry: VariantState) -> dict[str, float]:
    """Return the standard error of each resource of an entry, in SI units, as far as it is known.

    The cost of training is a mean over seeds. Its error is the larger of two: by the spread over the seeds,
    if there are several, and by the spread over the epochs.
    """
    errors: dict[str, float] = {}
    if entry.trained is not None:
        errors |= _training_errors(entry)
    if entry.profile is not None:
        errors |= _deployment_errors(entry.profile)
    return errors


def with_field_errors(
    errors: Mapping[str, float], entry: VariantState, measured: FieldMeasurements | None
) -> dict[str, float]:
    """Return the standard errors of an entry's resources, with those of the field for what it measured.

    If the field's error is not known, there is none: the error of home is that of another device.
    """
    if measured is None or entry.artifact is None or entry.artifact.sha256 not in measured:
        return dict(errors)
    figures = measured[entry.artifact.sha256].figures
    kept = {name: error for name, error in errors.items() if name not in figures}
    known = {name: figure.error for name, figure in figures.items() if figure.error is not None}
    return kept | {name: error for name, error in known.items() if name in RESOURCES}


def _training_errors(entry: VariantState) -> dict[str, float]:
    costs = [fair.cost for fair in entry.fair_costs]
    trainings = entry.repeats or (entry.trained,)
    errors = {}
    for name, field in zip(TRAINING_RESOURCES, ("energy_j", "co2eq_g", "duration_s"), strict=True):
        figure: EpochFigure = "duration_s" if field == "duration_s" else "energy_j"
        within = [training_spread(trained, figure) for trained in trainings if trained is not None]
        values = [getattr(cost, field).value for cost in costs]
        known = [value for value in values if value is not None]
        relative = _relative_error([value for value in within if value is not None], known)
        if relative is not None and known:
            errors[name] = relative * sum(known) / len(known)
    return errors


def _relative_error(within: Sequence[float], costs: Sequence[float]) -> float | None:
    """Return the relative standard error of a mean cost, the larger of that by seeds and that by epochs.

    Args:
        within: relative spread of each training, by its epochs.
        costs: of the trainings.
    """
    count = max(1, len(costs))
    by_epochs = max(within) / math.sqrt(count) if within else None
    if count < 2 or min(costs) <= 0:
        return by_epochs
    by_seeds = stdev(math.log(cost) for cost in costs) / math.sqrt(count)
    return by_seeds if by_epochs is None else max(by_seeds, by_epochs)


def _deployment_errors(profile: DeviceProfile) -> dict[str, float]:
    errors = {}
    latency_s = p90_error(profile.latencies_s, profile.blocks)
    if latency_s is not None:
        errors["latency"] = latency_s
    samples = profile.peak_memory_samples_bytes
    if len(samples) > 1:
        errors["peak_memory"] = stdev(samples)
    return errors


def pooled_sd(rows: Sequence[RankingRow]) -> PooledSd | None:
    """Return the standard deviation of the performance over seeds, pooled over candidates; None if unknown.

    Few seeds of one candidate say little about its own spread, so all candidates share one.
    """
    by_candidate = {row.candidate: row for row in rows if row.repeats > 1 and row.performance_sd is not None}
    freedom = sum(row.repeats - 1 for row in by_candidate.values())
    if not freedom:
        return None
    total = sum((row.repeats - 1) * (row.performance_sd or 0.0) ** 2 for row in by_candidate.values())
    return PooledSd(math.sqrt(total / freedom), freedom)


def spread(
    members: Sequence[RankingRow],
    chances: Array,
    models: Models,
    validation: Validation,
    metric: str,
    scoring: Scoring,
    stretch: float = 1.0,
) -> Spread:
    """Draw images, seeds, costs and who has skill again, and return what this does to the ranks.

    Args:
        members: the rows of the set, the ranked ones in the order of their ranks, and rows without skill that
            another run might rank.
        chances: the probability of each member to have skill in another run.
        models: the same as arrays.
        validation: predictions of their artifacts.
        metric: the performance.
        scoring: how the set is scored.
        stretch: change of P in the score per change of the performance.
    """
    drawn = _Drawn(members, models, validation, metric, scoring, stretch)
    contends = drawn.contends
    rows = [row for row, may_rank in zip(members, contends, strict=True) if may_rank]
    of_rows = chances[contends]
    score = scores(models, scoring)[contends]
    once = drawn.scores(scale=1.0)
    all_ranks = score_spread(score, once, is_certain=of_rows >= SETTLED)
    is_ranked = np.array([row.rank is not None for row in rows])
    own = np.array([row.rank for row in rows if row.rank is not None])
    p_best = first_shares(_present(once, of_rows))
    ranks = RankSpread(
        # Rows that another run might rank change the bounds of the score, and so perhaps the order.
        low=np.minimum(all_ranks.low[is_ranked], own),
        high=np.maximum(all_ranks.high[is_ranked], own),
        p_best=p_best[is_ranked],
    )
    others = [(row, share) for row, share in zip(rows, p_best.tolist(), strict=True) if row.rank is None]
    twice = _present(drawn.scores(scale=2.0), of_rows)
    return Spread(ranks, tuple(others), drawn.sources, _is_settled(rows, ranks, first_shares(twice)))


def _present(drawn: Array, chances: Array) -> Array:
    """Return scores over draws, -inf where a row has no skill, shape (DRAWS, m)."""
    has_skill = np.random.default_rng(1).random(drawn.shape) < chances
    return np.where(has_skill, drawn, -np.inf)


def _is_settled(rows: Sequence[RankingRow], ranks: RankSpread, first: Array) -> bool:
    """True if another run, with its own seeds and costs, would have the same first place at 95 %.

    Args:
        rows: those that may have a rank in another run; the first of them is the first of this run.
        ranks: intervals of the ranked ones.
        first: how often each row would be first in another run. The variance is twice that of one run,
            since both runs differ from the mean over seeds.
    """
    ranked = [row for row in rows if row.rank is not None]
    rivals = [row for row, low in zip(ranked, ranks.low.tolist(), strict=True) if low == 1]
    if len(rows) == 1:
        return True
    if len({row.candidate for row in ranked}) > 1 and any(row.repeats < 2 for row in rivals):
        return False
    return int(ranks.high[0]) == 1 and float(first[0]) >= SETTLED


class _Drawn:
    """Draws of performance and resources of the members of a set."""

    def __init__(
        self,
        members: Sequence[RankingRow],
        models: Models,
        validation: Validation,
        metric: str,
        scoring: Scoring,
        stretch: float,
    ) -> None:
        self._members = members
        self._models = models
        self._scoring = scoring
        self._stretch = stretch
        self.contends = np.array([row.rank is not None or row.status == "no_skill" for row in members])
        self._contending = [row for row, may_rank in zip(members, self.contends, strict=True) if may_rank]
        self._images = self._image_effects(validation, metric)
        self._seeds = pooled_sd(members)
        weighted = proportions(scoring.weights)
        self._errors = {name: self._relative_errors(name) for name in weighted}
        has_costs = any(errors.any() for errors in self._errors.values())
        self.sources: tuple[Source, ...] = ("images",)
        if self._seeds is not None:
            self.sources = (*self.sources, "seeds")
        if has_costs:
            self.sources = (*self.sources, "costs")

    def scores(self, scale: float) -> Array:
        """Return PePR of the rows that contend over draws, shape (DRAWS, contending).

        Args:
            scale: factor of the variance of seeds and costs.
        """
        rng = np.random.default_rng(0)
        effects = self._images + self._seed_effects(scale, rng)
        performance = self._models.performance[self.contends] + self._stretch * effects
        resource = self._combined_resources(scale, rng)[:, self.contends]
        return pepr(np.clip(performance, 0.0, 1.0), resource, self._scoring.alpha)

    def _image_effects(self, validation: Validation, metric: str) -> Array:
        """Return the effect of other validation images, shape (DRAWS, contending).

        All rows get the same images. A resample on which the metric is undefined has no effect.
        """
        effects = []
        for row in self._contending:
            logits = validation.logits(row)
            value = validation.value(metric, logits)
            effects.append(np.nan_to_num(validation.resampled(metric, logits) - value, nan=0.0))
        return np.stack(effects, axis=1)

    def _seed_effects(self, scale: float, rng: np.random.Generator) -> Array:
        """Return the effect of other seeds, shape (DRAWS, contending), equal for a candidate's variants."""
        rows = self._contending
        if self._seeds is None:
            return np.zeros((DRAWS, len(rows)))
        # The pooled deviation is itself an estimate: as in Student's t.
        freedom = self._seeds.freedom
        deviation = self._seeds.value * np.sqrt(freedom / rng.chisquare(freedom, DRAWS))
        by_candidate = {row.candidate: rng.standard_normal(DRAWS) for row in rows}
        effects = [deviation * by_candidate[row.candidate] * math.sqrt(scale / row.repeats) for row in rows]
        return np.stack(effects, axis=1)

    def _relative_errors(self, name: str) -> Array:
        """Return the relative standard errors of a resource, shape (m,); 0 where not known."""
        errors = []
        for row in self._members:
            value = row.resources.get(name)
            error = row.resources_sd.get(name)
            errors.append(error / value if value and error is not None else 0.0)
        return np.array(errors)

    def _combined_resources(self, scale: float, rng: np.random.Generator) -> Array:
        """Return the combined and normalised resource of each member over draws, shape (DRAWS, m)."""
        of_training = {row.candidate: rng.standard_normal(DRAWS) for row in self._members}
        shared = np.stack([of_training[row.candidate] for row in self._members], axis=1)
        total = np.zeros(shared.shape)
        for name, share in proportions(self._scoring.weights).items():
            # A candidate's variants share its training, and so the error of its cost.
            noise = shared if name in TRAINING_RESOURCES else rng.standard_normal(shared.shape)
            exponent = self._errors[name] * noise * math.sqrt(scale)
            values = self._models.resources[name] * np.exp(np.clip(exponent, -MAX_EXPONENT, MAX_EXPONENT))
            total += share * self._normalised(name, values)
        return np.minimum(total, 1.0)

    def _normalised(self, name: str, values: Array) -> Array:
        """Normalise a resource within each draw, shape (DRAWS, m): the bounds are drawn, too."""
        if self._scoring.normalise == "reference":
            bound = self._scoring.bound(name, values)
            return np.full(values.shape, np.nan) if bound is None else normalised(values, bound)
        finite = np.where(np.isfinite(values), values, np.nan)
        high = np.nanmax(finite, axis=1, keepdims=True)
        low = (
            np.zeros_like(high)
            if self._scoring.normalise == "max"
            else np.nanmin(finite, axis=1, keepdims=True)
        )
        width = high - low
        scaled = np.where(np.isnan(finite), np.nan, 0.0)
        np.divide(finite - low, width, out=scaled, where=width > 0)
        return scaled
