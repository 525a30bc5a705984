"""The confidence of the policy `bounded`, chosen with each set of a table left out in turn, and how it does on the set left out.

    python tools/search_choose.py TABLE.csv

Chosen is what has the least mean regret on the other sets, and of equals what spends least. Then every part of the sets that lacks its best
models, random halves, and a few at random, with the default.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np

from pepr_edge.search import Settings
from pepr_edge.search.published import Runs, read_runs
from pepr_edge.search.replay import Result, final_scores, repeat

CONFIDENCES = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0)
WITHOUT_BEST = (1, 2, 3, 5, 8)
HALVES = 10
# Few candidates, as a run may have.
FEW, DRAWS = (32, 16), 20


def main() -> None:
    """Print the tables of docs/search.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    sets, _ = read_runs(parser.parse_args().table, None, "energy_kwh", None, None)
    found = {
        confidence: [repeat(runs, replace(Settings(), confidence=confidence), 1) for runs in sets]
        for confidence in CONFIDENCES
    }
    for confidence, results in found.items():
        print(line(f"confidence {confidence:g}", results))
    for left_out, runs in enumerate(sets):
        others = {
            c: [one for at, one in enumerate(results) if at != left_out] for c, results in found.items()
        }
        chosen = min(
            others,
            key=lambda c: (
                round(_regret(others[c]), 6),
                statistics.fmean(one.energy_fraction for one in others[c]),
            ),
        )
        print(line(f"{runs.name} left out, chosen {chosen:g}", [found[chosen][left_out]]))
    parts = {f"without the best {k}": [without_best(runs, k) for runs in sets] for k in WITHOUT_BEST}
    rng = np.random.default_rng(0)
    parts[f"{HALVES} random halves of each"] = [
        some_of(runs, len(runs.models) // 2, rng) for runs in sets for _ in range(HALVES)
    ]
    parts |= {
        f"{DRAWS} times {few} of each": [some_of(runs, few, rng) for runs in sets for _ in range(DRAWS)]
        for few in FEW
    }
    for name, some in parts.items():
        print(line(name, [repeat(runs, Settings(), 1) for runs in some]))


def line(name: str, results: list[Result]) -> str:
    """Means and the greatest of some results."""
    energy = [one.energy_fraction for one in results]
    worst = max(one.regret or 0.0 for one in results)
    return f"| {name} | {statistics.fmean(energy):.4f} | {max(energy):.4f} | {_regret(results):.4f} | {worst:.4f} |"


def _regret(results: list[Result]) -> float:
    return statistics.fmean(one.regret or 0.0 for one in results)


def without_best(runs: Runs, count: int) -> Runs:
    """A set without its best models by PePR."""
    return runs.only(sorted(np.argsort(-final_scores(runs))[count:].tolist()))


def some_of(runs: Runs, count: int, rng: np.random.Generator) -> Runs:
    """So many of a set's models, at random."""
    return runs.only(sorted(rng.choice(len(runs.models), count, replace=False).tolist()))


if __name__ == "__main__":
    main()
