"""Regret of each policy against the energy that it may spend, as CSV and as a picture."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pepr_edge.search.published import Runs
from pepr_edge.search.replay import PROBE, repeat
from pepr_edge.search.state import PolicyName, Settings

if TYPE_CHECKING:
    from pepr_edge.report.svg import Picture

BUDGETS = (0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.10, 0.12, 0.15, 0.20)
POLICIES: tuple[PolicyName, ...] = ("bounded", "halving", "random")


@dataclass(frozen=True)
class RegretPoint:
    """Means over sets and seeds at one budget (share of the sweep); regret None: nothing was trained."""

    policy: PolicyName
    budget: float
    energy_fraction: float
    regret: float | None


def curves(
    sets: Sequence[Runs], settings: Settings, seeds: int, progress: Callable[[int, int], None]
) -> list[RegretPoint]:
    """Replay each policy with each budget as its stop rule.

    The cost probes are charged to `bounded`, not to `halving` and `random`, with which it is compared.
    """
    total = len(POLICIES) * len(BUDGETS)
    points: list[RegretPoint] = []
    for policy in POLICIES:
        # With share 1 the budget is the only limit: the policy's own would come first at larger budgets.
        policy_settings = replace(settings, policy=policy, share=1.0)
        probe = PROBE if policy == "bounded" else 0.0
        for budget in BUDGETS:
            progress(len(points), total)
            results = [repeat(runs, policy_settings, seeds, probe, budget) for runs in sets]
            energy = statistics.fmean(result.energy_fraction for result in results)
            regrets = [result.regret for result in results if result.regret is not None]
            regret = statistics.fmean(regrets) if len(regrets) == len(results) else None
            points.append(RegretPoint(policy, budget, energy, regret))
    return points


def as_csv(points: Sequence[RegretPoint]) -> str:
    """Return the points as CSV, one line a point."""
    lines = ["policy,budget,energy_fraction,regret"]
    for point in points:
        regret = "" if point.regret is None else f"{point.regret:.6f}"
        lines.append(f"{point.policy},{point.budget:g},{point.energy_fraction:.5f},{regret}")
    return "\n".join(lines) + "\n"


def picture(points: Sequence[RegretPoint]) -> Picture:
    """Draw regret against budget, a line for each policy."""
    from pepr_edge.report.plots import MARKERS, PALETTE
    from pepr_edge.report.svg import open_figure
    from pepr_edge.report.svg import picture as to_picture

    with open_figure() as (figure, axes):
        for policy, color, marker in zip(POLICIES, PALETTE, MARKERS, strict=False):
            drawn = [point for point in points if point.policy == policy and point.regret is not None]
            budgets = [100 * point.budget for point in drawn]
            regrets = [point.regret or 0.0 for point in drawn]
            axes.plot(budgets, regrets, color=color, marker=marker, markersize=4, linewidth=1.4, label=policy)
        axes.set_xlabel("energy that may be spent (% of training all)")
        axes.set_ylabel("regret (PePR), mean over the sets")
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
        alt = "Regret of the chosen model against the energy of the search, by policy"
        return to_picture(figure, "search", alt)
