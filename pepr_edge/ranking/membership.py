"""Which rows another run of the same recipe might rank: whether a model has skill depends on its seeds, too.

A row near the limit of skill has a rank in one run and none in another. Where such a row might be first, no
first place is settled, and the ranks of the others depend on it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from pepr_edge.ranking.row import is_rankable
from pepr_edge.ranking.skill import SkillCheck
from pepr_edge.ranking.spread import SETTLED, PooledSd, pooled_sd
from pepr_edge.records import RankingRow
from pepr_edge.scoring.pepr import Array

# Half the width of a 95 % interval, in standard errors.
HALF_WIDTH = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Members:
    """The rows of the set, and those without skill that another run might rank, in the order of the ranking.

    `chances` are the probabilities that another run shows skill, shape (m,).
    """

    rows: tuple[RankingRow, ...]
    chances: Array


def members(rows: Sequence[RankingRow], skill_check: SkillCheck, resources: Collection[str]) -> Members:
    """Return the rows that another run might rank.

    Args:
        rows: of a ranking, in its order.
        skill_check: of the ranking.
        resources: the weighted ones; a row of which one is not known can have no rank.
    """
    seeds = pooled_sd(rows)
    found = []
    chances = []
    for row in rows:
        if not is_rankable(row) and row.status != "no_skill":
            continue
        chance = skill_chance(row, skill_check.margin(row), seeds)
        is_known = all(row.resources.get(name) is not None for name in resources)
        if is_rankable(row) or (is_known and chance > 1 - SETTLED):
            found.append(row)
            chances.append(chance)
    return Members(tuple(found), np.array(chances, dtype=np.float64))


def skill_chance(row: RankingRow, margin: float, seeds: PooledSd | None) -> float:
    """Return the probability that another run shows skill of a row.

    Both runs differ from the mean over seeds, so the variance of seeds counts twice.

    Args:
        row: with its performance and the interval of it.
        margin: by which its performance is above the least that shows skill; infinite without such a limit.
        seeds: standard deviation of the performance over seeds; None if unknown.
    """
    low, high = row.performance_ci or (0.0, 0.0)
    by_images = (high - low) / 2 / HALF_WIDTH
    by_seeds = 0.0 if seeds is None else seeds.value * math.sqrt(2 / row.repeats)
    deviation = math.hypot(by_images, by_seeds)
    if deviation == 0 or math.isinf(margin):
        return 1.0 if margin > 0 else 0.0
    return NormalDist().cdf(margin / deviation)
