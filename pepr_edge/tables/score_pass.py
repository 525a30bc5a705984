"""The second pass over a table, as far as its groups go: their best, what these hang on, and what is odd about them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pepr_edge.errors import ScoreError
from pepr_edge.records import Bound, Outlier
from pepr_edge.scoring.pepr import Array, pepr, scaled, set_id, weighted
from pepr_edge.scoring.robustness import binomial_performances, rank_spread
from pepr_edge.tables.bounds_pass import EXPECTED_IMAGES, BoundsPass, Rows, Scored, ScoreTask, refuse
from pepr_edge.tables.csv_rows import SHOWN_COLUMNS, numbers, on_one_line
from pepr_edge.tables.dependence import Dependence, RetainedRows
from pepr_edge.tables.groups import GroupIds, Index, TopRows, segments

# A draw sorts all models of a group, a thousand times: beyond this it would take longer than the whole table.
SPREAD_MODELS = 2000
# No score is above its performance, but for the last digit.
UPWARDS = 1 + 1e-12


@dataclass(frozen=True)
class Place:
    """One of the best of a group. `combined_r` and `score` are what it is ranked by; the interval is None without images."""

    rank: int
    name: str
    performance: float
    r: Mapping[str, float | None]
    pepr: Mapping[str, float | None]
    combined_r: float
    score: float
    rank_low: int | None = None
    rank_high: int | None = None
    p_best: float | None = None


@dataclass(frozen=True)
class MajorityBaseline:
    """Always saying the commonest class, for nothing: how many of the scored models it outranks."""

    performance: float
    outranks: int
    of: int


@dataclass(frozen=True)
class Group:
    """The scores of one set of models. `name` is None where the table is one set; a bound is None where nothing was measured.

    `dependence` is None where it is not computed: one resource, or too many models.
    """

    name: str | None
    models: int
    scored: int
    set_id: str
    bounds: Mapping[str, Bound | None]
    best: tuple[Place, ...]
    outliers: tuple[Outlier, ...]
    baseline: MajorityBaseline | None
    warnings: tuple[str, ...]
    dependence: Dependence | None


@dataclass(frozen=True)
class TopCandidate:
    """A row that may be among the best when all is read."""

    name: str
    performance: float
    r: tuple[float, ...]
    pepr: tuple[float, ...]
    combined_r: float


class ScorePass:
    """What the second pass learns of the groups. Held open over the chunks."""

    def __init__(self, task: ScoreTask, bounds_pass: BoundsPass) -> None:
        self.task, self.bounds_pass = task, bounds_pass
        self.codes = GroupIds({name or "": code for code, name in enumerate(bounds_pass.names)})
        count = len(bounds_pass.names)
        self.baselines = _baselines(task, bounds_pass)
        self.scored: Index = np.zeros(count, np.int64)
        self.outranked: Index = np.zeros(count, np.int64)
        self.cut: Index = np.zeros((len(task.resources), count), np.int64)
        # Performance not measured; then of each resource: not measured, infinite.
        self.lacking: Index = np.zeros((1 + 2 * len(task.resources), count), np.int64)
        # One more than are shown: the best of the others, where one of the best is left out.
        self.best = TopRows(len(bounds_pass.views.group), min(task.top + 1, int(bounds_pass.models.max())))
        self.kept: dict[int, TopCandidate] = {}
        self.left_out: dict[int, str] = dict.fromkeys(bounds_pass.views.without.tolist(), "")
        self.images: list[tuple[NDArray[Any], ...]] = []
        self.held = RetainedRows(task, bounds_pass)

    def add(self, rows: Rows, scored: Scored) -> None:
        """Take in a chunk."""
        codes = rows.codes
        has = ~np.isnan(scored.combined)
        np.add.at(self.scored, codes[has], 1)
        np.add.at(self.outranked, codes[self.baselines[codes] > scored.combined], 1)
        gaps = [
            np.isnan(rows.performance),
            *(test(values) for values in rows.raw for test in (np.isnan, np.isinf)),
        ]
        for count, gap in zip(self.lacking, gaps, strict=True):
            np.add.at(count, codes[gap], 1)
        if self.task.normalise == "reference":
            lo, hi = self.bounds_pass.views.lo[:, codes], self.bounds_pass.views.hi[:, codes]
            for count, beyond in zip(self.cut, (rows.known < lo) | (rows.known > hi), strict=True):
                np.add.at(count, codes[beyond], 1)
        self._rank(rows, scored)
        if self.held.wanted:
            self.held.add(rows, list(map(self._names(rows), range(len(rows.chunk)))))
        if self.task.spreads:
            self._keep_images(rows, scored, has & (self.bounds_pass.models[codes] <= SPREAD_MODELS))

    def _rank(self, rows: Rows, scored: Scored) -> None:
        """Keep the best, under the bounds of the whole groups and under those without each row that moves them."""
        views = self.bounds_pass.views
        self.best.add(rows.codes, scored.combined, rows.rows)
        for slot in views.slots:
            view = slot[rows.codes]
            may_enter = rows.performance * UPWARDS > self.best.scores[view, -1]
            counts = (view >= 0) & (rows.rows != views.without[view]) & may_enter
            view = view[counts]
            r = scaled(rows.known[:, counts], views.lo[:, view], views.hi[:, view])
            score = pepr(rows.performance[counts], weighted(self.task.shares, list(r)), self.task.alpha)
            self.best.add(view, score, rows.rows[counts])
        start, name_of = rows.chunk.start, self._names(rows)
        for row in np.unique(self.best.rows[self.best.rows >= start]).tolist():
            at = row - start
            each = tuple(scored.r[:, at].tolist()), tuple(scored.pepr[:, at].tolist())
            self.kept[row] = TopCandidate(
                name_of(at), float(rows.performance[at]), *each, float(scored.combined_r[at])
            )
        if len(self.kept) > 4 * self.best.rows.size + 1000:
            self.kept = {row: self.kept[row] for row in np.unique(self.best.rows).tolist() if row >= 0}
        without = views.without
        for row in without[(without >= start) & (without < start + len(rows.chunk))].tolist():
            self.left_out[row] = name_of(row - start)

    def _names(self, rows: Rows) -> Callable[[int], str]:
        """What the models of a chunk are called."""
        cells = rows.chunk.cells[self.task.name] if self.task.name is not None else [""] * len(rows.chunk)
        return lambda at: cells[at] or f"row {rows.chunk.start + at + 1}"

    def _keep_images(self, rows: Rows, scored: Scored, counts: NDArray[np.bool_]) -> None:
        """Keep what rank intervals rest on."""
        column = self.task.images_column
        if column is None:
            images = np.full(len(rows.chunk), self.task.images or 0.0)
        else:
            images = numbers(self.task.table, rows.chunk, column, EXPECTED_IMAGES)
            refuse(
                self.task.table,
                rows.chunk,
                column,
                counts & ~((images >= 1) & np.isfinite(images)),
                EXPECTED_IMAGES,
            )
        kept: tuple[NDArray[Any], ...] = (rows.codes, rows.rows, rows.performance, scored.combined_r, images)
        self.images.append(tuple(one[counts] for one in kept))

    def _intervals(self) -> dict[int, tuple[int, int, float]]:
        """Rank interval and probability of being first, by row, of the best of each group."""
        if not self.images:
            return {}
        codes, rows, performance, r, images = (
            np.concatenate(parts) for parts in zip(*self.images, strict=True)
        )
        order = np.argsort(codes, kind="stable")
        found = {}
        for start, end in zip(*segments(codes[order]), strict=True) if len(order) else ():
            members = order[start:end]
            drawn = binomial_performances(performance[members], images[members])
            shown = np.flatnonzero(np.isin(rows[members], self.best.rows[codes[members[0]]])).tolist()
            spread = rank_spread(performance[members], drawn, r[members], self.task.alpha, shown)
            for place, at in enumerate(shown):
                found[int(rows[members[at]])] = (
                    int(spread.low[place]),
                    int(spread.high[place]),
                    float(spread.p_best[place]),
                )
        return found

    def groups(self) -> tuple[Group, ...]:
        """The result, when all chunks were taken in."""
        intervals = self._intervals()
        return tuple(self._group(code, name, intervals) for code, name in enumerate(self.bounds_pass.names))

    def _group(self, code: int, name: str | None, intervals: Mapping[int, tuple[int, int, float]]) -> Group:
        models, scored, bounds = (
            int(self.bounds_pass.models[code]),
            int(self.scored[code]),
            self._bounds(code),
        )
        known = {
            resource: [bound.lo, bound.hi, bound.method] if bound else None
            for resource, bound in bounds.items()
        }
        performance = float(self.baselines[code])
        return Group(
            name=name,
            models=models,
            scored=scored,
            set_id=set_id([json.dumps([name, models, known], sort_keys=True)]),
            bounds=bounds,
            best=tuple(
                self._place(rank, row, intervals)
                for rank, row in enumerate(self.best.of(code)[: self.task.top], start=1)
            ),
            outliers=self._outliers(code),
            baseline=None
            if np.isnan(performance)
            else MajorityBaseline(performance, int(self.outranked[code]), scored),
            warnings=self._warnings(code),
            dependence=self.held.of(code, bounds),
        )

    def _bounds(self, code: int) -> dict[str, Bound | None]:
        found: dict[str, Bound | None] = {}
        for name, lo, hi in zip(
            self.task.resources,
            self.bounds_pass.views.lo[:, code],
            self.bounds_pass.views.hi[:, code],
            strict=True,
        ):
            method = self.bounds_pass.methods[name][code] if name in self.bounds_pass.methods else ""
            found[name] = None if np.isnan(lo) else Bound(lo=float(lo), hi=float(hi), unit="", method=method)
        return found

    def _place(self, rank: int, row: int, intervals: Mapping[int, tuple[int, int, float]]) -> Place:
        kept = self.kept[row]
        r, each = (
            {name: None if np.isnan(v) else v for name, v in zip(self.task.resources, of, strict=True)}
            for of in (kept.r, kept.pepr)
        )
        score = float(pepr(kept.performance, kept.combined_r, self.task.alpha))
        if len(self.task.resources) > 1:
            each["combined"] = score
        low, high, p_best = intervals.get(row, (None, None, None))
        return Place(rank, kept.name, kept.performance, r, each, kept.combined_r, score, low, high, p_best)

    def _outliers(self, code: int) -> tuple[Outlier, ...]:
        """As `robustness.outliers`, from what was kept."""
        found = []
        for view in self.bounds_pass.views.of_group(code).tolist():
            without = int(self.bounds_pass.views.without[view])
            before = [row for row in self.best.of(code) if row != without][: self.task.top]
            after = self.best.of(view)[: self.task.top]
            if set(before) != set(after):
                enters = tuple(self.kept[row].name for row in after if row not in before)
                leaves = tuple(self.kept[row].name for row in before if row not in after)
                found.append(Outlier(name=self.left_out[without], enters=enters, leaves=leaves))
        return tuple(found)

    def _warnings(self, code: int) -> tuple[str, ...]:
        """What is odd about a group, each in a sentence."""
        found = []
        models, scored = int(self.bounds_pass.models[code]), int(self.scored[code])
        gaps = ["performance not measured"] + [
            f"{name} {why}" for name in self.task.resources for why in ("not measured", "infinite")
        ]
        counts = [
            f"{gap} {count}" for gap, count in zip(gaps, self.lacking[:, code].tolist(), strict=True) if count
        ]
        if counts:
            whose = (
                f"{models - scored} of {models} models have no score"
                if scored < models
                else "some models lack a score of one resource"
            )
            found.append(f"{whose}: {', '.join(counts)}.")
        for name, count in zip(self.task.resources, self.cut[:, code].tolist(), strict=True):
            if count:
                found.append(
                    f"{count} of {models} values of {name} lie beyond the reference bounds and were cut to [0, 1]."
                )
        if self.task.spreads and models > SPREAD_MODELS:
            found.append(
                f"no rank intervals: {models} models, and they are computed for at most {SPREAD_MODELS}."
            )
        return tuple(found)


def _baselines(task: ScoreTask, bounds_pass: BoundsPass) -> Array:
    """The baseline's performance of each group, (g,); NaN where it has none.

    Raises:
        ScoreError: a group that the table does not have.
    """
    for name in task.baselines:
        if name is not None and name not in bounds_pass.names:
            known = ", ".join(on_one_line(one or "") for one in bounds_pass.names[:SHOWN_COLUMNS])
            raise ScoreError(
                f"--baseline {name}: no such group in {task.table.path}, expected one of {known}."
            )
    everyone = task.baselines.get(None, np.nan)
    return np.array(
        [everyone if name is None else task.baselines.get(name, everyone) for name in bounds_pass.names]
    )
