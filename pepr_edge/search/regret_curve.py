"""What regret each policy is left with, by the energy that it may spend: as a table and as a picture."""

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
    """Means over the sets and the seeds at one budget, a share of the sweep's energy; regret is None where nothing could be trained."""

    policy: PolicyName
    budget: float
    energy_fraction: float
    regret: float | None


def curves(
    sets: Sequence[Runs], settings: Settings, seeds: int, progress: Callable[[int, int], None]
) -> list[RegretPoint]:
    """Replay each policy with each budget as its stop rule.

    `bounded` is charged for finding out the costs; `halving` and `random`, against which it is held, are not.
    """
    wanted = [(policy, budget) for policy in POLICIES for budget in BUDGETS]
    found = []
    for number, (policy, budget) in enumerate(wanted):
        progress(number, len(wanted))
        # The budget is the only limit: at the greater ones the policy's own would come first.
        own = replace(settings, policy=policy, share=1.0)
        results = [repeat(runs, own, seeds, PROBE if policy == "bounded" else 0.0, budget) for runs in sets]
        regrets = [one.regret for one in results if one.regret is not None]
        mean = statistics.fmean(regrets) if len(regrets) == len(results) else None
        found.append(
            RegretPoint(policy, budget, statistics.fmean(one.energy_fraction for one in results), mean)
        )
    return found


def as_csv(points: Sequence[RegretPoint]) -> str:
    """One line a point."""
    lines = [
        f"{one.policy},{one.budget:g},{one.energy_fraction:.5f},{'' if one.regret is None else f'{one.regret:.6f}'}"
        for one in points
    ]
    return "\n".join(["policy,budget,energy_fraction,regret", *lines]) + "\n"


def picture(points: Sequence[RegretPoint]) -> Picture:
    """Regret against budget, a line for each policy."""
    from pepr_edge.report.plots import MARKERS, PALETTE
    from pepr_edge.report.svg import open_figure
    from pepr_edge.report.svg import picture as to_picture

    with open_figure() as (figure, axes):
        for number, policy in enumerate(POLICIES):
            own = [one for one in points if one.policy == policy and one.regret is not None]
            x, y = [100 * one.budget for one in own], [one.regret or 0.0 for one in own]
            axes.plot(
                x, y, color=PALETTE[number], marker=MARKERS[number], markersize=4, linewidth=1.4, label=policy
            )
        axes.set_xlabel("energy that may be spent (% of training all)")
        axes.set_ylabel("regret (PePR), mean over the sets")
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
        return to_picture(
            figure, "search", "Regret of the chosen model against the energy of the search, by policy"
        )
