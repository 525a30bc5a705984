"""Find the artifacts whose place in the ranking is already certain while latencies are being measured.

Of a latency a range is known, the interval of its p90. The place of an artifact is certain if its score is
above or below that of each other artifact for all values in these ranges. The bounds by which latencies are
normalised depend on the same values. If only the best models of a run become bundles, the order of those that
are certainly behind them does not matter, so their places count as certain, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

import numpy as np

from pepr_edge.measure.interleaved_profiles import Standing, standing
from pepr_edge.ranking.rank import rank
from pepr_edge.records import (
    Artifact,
    DeviceFacts,
    DeviceProfile,
    Quantity,
    RankingRow,
    SessionSettings,
    Validity,
)
from pepr_edge.run_dir.reader import Results, VariantState
from pepr_edge.scoring.pepr import Array, normalised_weights
from pepr_edge.scoring.percentiles import overlatency_allowed

LATENCY = "latency"
MEMORY = "peak_memory"


class Member(NamedTuple):
    """An artifact that can have a rank. Of its resources, latency and memory are not used."""

    performance: float
    resources: Mapping[str, float | None]


@dataclass(frozen=True)
class Places:
    """All that the ranking of a run depends on, except the latency and memory that are still measured.

    Entries are given by their position in `Results.entries`.

    members: the entries that can have a rank.
    known: range of the latency, and memory, of members that were measured earlier.
    unranked: the entries that can have no rank.
    pruned: rows of candidates without a rank whose resources count for the bounds.
    weights: of the resources, with a sum of 1.
    is_min_zero: the lower bound of each resource is 0.
    alpha: emphasis on performance.
    limits: budgets, see `Recipe.limits`.
    handed_over: number of the best models that become bundles; None: all.
    """

    members: Mapping[int, Member]
    known: Mapping[int, Standing]
    unranked: frozenset[int]
    pruned: tuple[RankingRow, ...]
    weights: Mapping[str, float]
    is_min_zero: bool
    alpha: float
    limits: Mapping[str, float]
    handed_over: int | None = None


def places_of(results: Results) -> Places:
    """Return what the ranking of a run depends on.

    To find out which entries can have a rank, those without a profile get one that breaks no budget.
    """
    entries = tuple(_with_profile(entry) for entry in results.entries)
    ranking = rank(replace(results, entries=entries))
    rows = {(row.candidate, row.variant): row for row in ranking.rows}
    members = {}
    known = {}
    for number, entry in enumerate(results.entries):
        row = rows[entry.candidate.id, entry.variant]
        performance = row.skill if ranking.ranked_by_skill else row.performance
        if row.rank is None or performance is None:
            continue
        members[number] = Member(min(1.0, max(0.0, performance)), row.resources)
        profile = entry.profile
        if profile is not None:
            earlier = standing(profile.latencies_s, profile.blocks, profile.peak_memory_bytes)
            if earlier is not None:
                known[number] = earlier
    return Places(
        members=members,
        known=known,
        unranked=frozenset(range(len(entries))) - frozenset(members),
        pruned=tuple(row for row in ranking.rows if row.status == "dropped"),
        weights=normalised_weights(ranking.weights),
        is_min_zero=ranking.normalise == "max",
        alpha=ranking.alpha,
        limits=results.recipe.limits(),
        handed_over=results.recipe.bundles.top,
    )


def _with_profile(entry: VariantState) -> VariantState:
    if entry.artifact is None or entry.profile is not None:
        return entry
    return replace(entry, profile=_zero_profile(entry.artifact))


def _zero_profile(artifact: Artifact) -> DeviceProfile:
    """Return a profile in which latency and memory are 0."""
    unknown = Quantity(value=None, method="unavailable")
    # The fewest latencies that have a p90.
    count = next(n for n in range(1, 1000) if overlatency_allowed(n, 0.9) >= 1)
    device = DeviceFacts(
        cpu="", architecture="", isa=(), cores=1, memory_bytes=None, os="", python="", versions={}
    )
    return DeviceProfile(
        artifact_sha256=artifact.sha256,
        settings=artifact.settings or SessionSettings(),
        provider_used="",
        rules="adaptive",
        input_shape=(),
        validity=Validity(valid=True),
        latencies_s=(0.0,) * count,
        warmup_runs=0,
        import_s=0.0,
        load_s=0.0,
        first_s=0.0,
        peak_memory_bytes=0,
        memory_stages_bytes={},
        cpu_s_per_inference=None,
        energy_j_per_inference=unknown,
        load_before=None,
        load_after=None,
        steal_s=None,
        device=device,
    )


def certain_places(places: Places, measured: Mapping[int, Standing]) -> set[int]:
    """Return the entries that need no further measurement, by their position.

    They have a certain place, or are certainly behind the models that become bundles, or can have no rank.

    Args:
        places: of the run.
        measured: what is known so far of the entries that are being measured, by their position.
    """
    known = {**places.known, **measured}
    over_budget = {n for n in places.members if n in known and _is_over_budget(known[n], places)}
    certain = set(places.unranked) | over_budget
    members = [n for n in places.members if n not in over_budget]
    if any(n not in known for n in members):
        return certain
    undecided = {n for n in members if _may_be_over_budget(known[n], places)}
    is_certain = _have_certain_places(places, {n: known[n] for n in members}, undecided)
    placed = {n for n, is_placed in zip(members, is_certain, strict=True) if is_placed}
    return certain | (placed - undecided)


def _is_over_budget(known: Standing, places: Places) -> bool:
    """True if an artifact breaks a budget for each value in the range of its latency.

    As in the ranking, a budget of memory that could not be measured counts as broken.
    """
    if known.p90_s[0] > places.limits.get("latency_p90_s", math.inf):
        return True
    memory_limit = places.limits.get("peak_memory_bytes")
    return memory_limit is not None and (known.peak_memory_bytes or math.inf) > memory_limit


def _may_be_over_budget(known: Standing, places: Places) -> bool:
    """True if an artifact breaks the budget for some value in the range of its latency."""
    return known.p90_s[1] > places.limits.get("latency_p90_s", math.inf)


def _have_certain_places(places: Places, known: Mapping[int, Standing], undecided: set[int]) -> list[bool]:
    """Return for each member whether its place is certain, or certainly behind the models handed over.

    Member i has the resource R_i = c_i + w (latency_i - lo) / (hi - lo), with the bounds lo and hi of the
    latency and its weight w. It is above member j if P_i (alpha + R_j) > P_j (alpha + R_i). Both sides times
    (hi - lo) are linear in lo, hi and in each latency. So the inequality holds for all values in the ranges
    if it holds at their ends. It also holds for all if it holds with the highest R_i, c_i + w, and the
    lowest R_j, c_j.

    Args:
        places: of the run.
        known: of all members that keep their budgets, by their position.
        undecided: those of them that may still break one.
    """
    alpha = places.alpha
    performance = np.array([places.members[n].performance for n in known])
    lowest_s = np.array([figures.p90_s[0] for figures in known.values()])
    highest_s = np.array([figures.p90_s[1] for figures in known.values()])
    weight = places.weights.get(LATENCY, 0.0)
    fixed = _fixed(places, known)
    # Element [i, j]: member i is above, or below, member j.
    above = np.ones((len(known), len(known)), dtype=bool)
    below = above.copy()
    for low_s, high_s in _latency_bounds(places, known, undecided):
        # Without a weight of the latency its bounds do not matter.
        base = (alpha + fixed) * (high_s - low_s if weight else 1.0)
        min_cost = base + weight * (lowest_s - low_s)
        max_cost = base + weight * (highest_s - low_s)
        above &= np.outer(performance, min_cost) > np.outer(max_cost, performance)
        below &= np.outer(performance, max_cost) < np.outer(min_cost, performance)
    is_always_above = np.outer(performance, alpha + fixed) > np.outer(alpha + fixed + weight, performance)
    above |= is_always_above
    below |= is_always_above.T
    has_no_score = np.isnan(fixed)
    is_apart = above | below | has_no_score | has_no_score[:, None] | np.eye(len(known), dtype=bool)
    handed_over = math.inf if places.handed_over is None else places.handed_over
    # A member that breaks its budget leaves its place to the next one.
    keeps_budget = np.array([n not in undecided for n in known], dtype=bool)
    is_behind = (below & keeps_budget).sum(axis=1) >= handed_over
    return [bool(is_certain) for is_certain in is_apart.all(axis=1) | is_behind]


def _fixed(places: Places, known: Mapping[int, Standing]) -> Array:
    """Return the part of each member's R that does not depend on latencies, shape (n,); NaN: not known."""
    fixed = np.zeros(len(known))
    for name, weight in places.weights.items():
        if name != LATENCY:
            fixed += weight * _normalised(_values(places, known, name), _pruned(places, name), places)
    return fixed


def _values(places: Places, known: Mapping[int, Standing], name: str) -> Array:
    """Return a resource of each member; NaN if it is not known."""
    values = []
    for n, figures in known.items():
        value = figures.peak_memory_bytes if name == MEMORY else places.members[n].resources.get(name)
        values.append(math.nan if value is None else float(value))
    return np.array(values)


def _pruned(places: Places, name: str) -> list[float]:
    values = [row.resources.get(name) for row in places.pruned]
    return [value for value in values if value is not None]


def _normalised(values: Array, pruned: Iterable[float], places: Places) -> Array:
    known = [*values[np.isfinite(values)].tolist(), *pruned]
    if not known:
        return np.full(len(values), math.nan)
    low = 0.0 if places.is_min_zero else min(known)
    width = max(known) - low
    return (values - low) / width if width > 0 else values * 0.0


def _latency_bounds(
    places: Places, known: Mapping[int, Standing], undecided: set[int]
) -> Iterator[tuple[float, float]]:
    """Yield the extreme values of the bounds of the latency, lowest and highest, in each combination.

    A bound is the latency of a member, of which a range is known. A member that breaks its budget does not
    count, so the bounds are taken with and without the undecided ones.
    """
    pruned = _pruned(places, LATENCY)
    lows = set()
    highs = set()
    for members in (set(known), set(known) - undecided):
        for end in (0, 1):
            values = [*(known[n].p90_s[end] for n in members), *pruned]
            if values:
                lows.add(0.0 if places.is_min_zero else min(values))
                highs.add(max(values))
    yield from product(sorted(lows), sorted(highs))
