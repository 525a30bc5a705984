"""Whose place in a ranking cannot change any more, while latencies are still being measured.

A latency is known as a range, the interval of its p90. A place is certain if the score of an artifact stays
below or above that of every other artifact, whatever values in their ranges their latencies have. The scale
of the latency depends on them too. Where a run hands over its best models alone, the order of those that are
certainly behind them does not matter, and they count as certain, too.
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
    """An artifact that can have a rank: its performance, and its resources except latency and memory."""

    performance: float
    resources: Mapping[str, float | None]


@dataclass(frozen=True)
class Places:
    """What the ranking of a run depends on, beside the latency and memory that are not measured yet.

    `members` and `known`, what earlier measurements say of them, are by the number of the entry. `unranked`
    are entries that can have no rank. `pruned` are candidates without a rank that affect the bounds. `limits`
    are those of `Recipe.limits`. `handed_over` is the number of the best models that become bundles (None:
    all).
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

    Entries that are not measured get a profile that breaks no budget, to learn whether they can be ranked.
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
    return replace(entry, profile=_free_profile(entry.artifact))


def _free_profile(artifact: Artifact) -> DeviceProfile:
    """Return a profile without latency and memory."""
    unknown = Quantity(value=None, method="unavailable")
    enough = next(n for n in range(1, 1000) if overlatency_allowed(n, 0.9) >= 1)
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
        latencies_s=(0.0,) * enough,
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
    """Return the entries whose place is certain, or certainly behind the bundles, or that can have none.

    Args:
        places: of the run.
        measured: what is known of the entries that are being measured, by number.
    """
    known = {**places.known, **measured}
    over = {number for number in places.members if number in known and _is_over(known[number], places)}
    certain = set(places.unranked) | over
    members = [number for number in places.members if number not in over]
    if any(number not in known for number in members):
        return certain
    open_budget = {number for number in members if _may_be_over(known[number], places)}
    decided = _decided(places, {number: known[number] for number in members}, open_budget)
    settled = {number for number, is_decided in zip(members, decided, strict=True) if is_decided}
    return certain | (settled - open_budget)


def _is_over(known: Standing, places: Places) -> bool:
    """True if an artifact breaks a budget, wherever in its range its latency is.

    As in the ranking, a budget of memory that could not be measured counts as broken.
    """
    if known.p90_s[0] > places.limits.get("latency_p90_s", math.inf):
        return True
    memory_limit = places.limits.get("peak_memory_bytes")
    return memory_limit is not None and (known.peak_memory_bytes or math.inf) > memory_limit


def _may_be_over(known: Standing, places: Places) -> bool:
    """True if it depends on its latency whether an artifact keeps its budget."""
    return known.p90_s[1] > places.limits.get("latency_p90_s", math.inf)


def _decided(places: Places, known: Mapping[int, Standing], open_budget: set[int]) -> list[bool]:
    """Return for each member whether its place is certain, or certainly behind the models handed over.

    A place is certain if the member is above, or below, each other one for all values in the ranges.

    R is c + w (latency - lo) / (hi - lo) with bounds lo and hi, and member i is above member j if
    P_i (alpha + R_j) > P_j (alpha + R_i). Times (hi - lo), the difference is linear in lo, hi and in each
    latency: it is positive for all values if it is so at the ends of their ranges. It is positive too if it
    is so with R_i = c + w and R_j = c, which no latency exceeds.
    """
    alpha = places.alpha
    performance = np.array([places.members[number].performance for number in known])
    lowest_s = np.array([figures.p90_s[0] for figures in known.values()])
    highest_s = np.array([figures.p90_s[1] for figures in known.values()])
    share = places.weights.get(LATENCY, 0.0)
    fixed = _fixed(places, known)
    above = np.ones((len(known), len(known)), dtype=bool)
    below = above.copy()
    for low_s, high_s in _latency_bounds(places, known, open_budget):
        # Without a weight of the latency the scale does not matter.
        base = (alpha + fixed) * (high_s - low_s if share else 1.0)
        cheapest = base + share * (lowest_s - low_s)
        costliest = base + share * (highest_s - low_s)
        # Element [i, j] is of the difference between members i and j.
        above &= np.outer(performance, cheapest) > np.outer(costliest, performance)
        below &= np.outer(performance, costliest) < np.outer(cheapest, performance)
    is_better = np.outer(performance, alpha + fixed) > np.outer(alpha + fixed + share, performance)
    above |= is_better
    below |= is_better.T
    has_no_score = np.isnan(fixed)
    is_apart = above | below | has_no_score | has_no_score[:, None] | np.eye(len(known), dtype=bool)
    handed_over = math.inf if places.handed_over is None else places.handed_over
    # A member that may break its budget may leave its place to the next one.
    may_stay = np.array([number not in open_budget for number in known], dtype=bool)
    is_behind = (below & may_stay).sum(axis=1) >= handed_over
    return [bool(decided) for decided in is_apart.all(axis=1) | is_behind]


def _fixed(places: Places, known: Mapping[int, Standing]) -> Array:
    """Return the part of each member's R that does not depend on latencies; NaN if it is not known."""
    fixed = np.zeros(len(known))
    for name, share in places.weights.items():
        if name != LATENCY:
            fixed += share * _normalised(_values(places, known, name), _pruned(places, name), places)
    return fixed


def _values(places: Places, known: Mapping[int, Standing], name: str) -> Array:
    """Return a resource of each member; NaN if it is not known."""
    values = []
    for number, figures in known.items():
        value = figures.peak_memory_bytes if name == MEMORY else places.members[number].resources.get(name)
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
    places: Places, known: Mapping[int, Standing], open_budget: set[int]
) -> Iterator[tuple[float, float]]:
    """Yield each combination of the ends of the ranges of both bounds of the latency.

    The cheapest member has its latency in its range too, and so has the costliest. One that may break its
    budget may also be no member.
    """
    pruned = _pruned(places, LATENCY)
    lows = set()
    highs = set()
    for numbers in (set(known), set(known) - open_budget):
        for end in (0, 1):
            values = [*(known[number].p90_s[end] for number in numbers), *pruned]
            if values:
                lows.add(0.0 if places.is_min_zero else min(values))
                highs.add(max(values))
    yield from product(sorted(lows), sorted(highs))
