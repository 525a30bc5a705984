"""Choose the confidence of the policy `bounded` by leave-one-set-out over a published table.

    python tools/search_choose.py TABLE.csv

The choice has the lowest mean regret on the other sets, and of equals the lowest energy; it is tested on the
set left out. Then the default is tested on parts of the sets: without the best models, random halves, and a
few models at random.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pepr_edge.search import Settings
from pepr_edge.search.published import Runs, read_runs
from pepr_edge.search.replay import Result, final_scores, repeat

CONFIDENCES = (0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0)
WITHOUT_BEST = (1, 2, 3, 5, 8)
HALVES = 10
# Numbers of candidates as in a usual run.
FEW = (32, 16)
DRAWS = 20


def main() -> None:
    """Print the tables of docs/search.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    sets, _ = read_runs(parser.parse_args().table, None, "energy_kwh", None, None)
    by_confidence = {
        confidence: [repeat(runs, replace(Settings(), confidence=confidence), 1) for runs in sets]
        for confidence in CONFIDENCES
    }
    for confidence, results in by_confidence.items():
        print(line(f"confidence {confidence:g}", results))
    for left_out, runs in enumerate(sets):
        others = {c: results[:left_out] + results[left_out + 1 :] for c, results in by_confidence.items()}
        costs = {c: (round(_regret(results), 6), _energy(results)) for c, results in others.items()}
        chosen = min(costs, key=lambda c: costs[c])
        print(line(f"{runs.name} left out, chosen {chosen:g}", [by_confidence[chosen][left_out]]))
    for name, part in parts(sets).items():
        print(line(name, [repeat(runs, Settings(), 1) for runs in part]))


def parts(sets: Sequence[Runs]) -> dict[str, list[Runs]]:
    """Return parts of the sets, by description."""
    by_name = {f"without the best {k}": [without_best(runs, k) for runs in sets] for k in WITHOUT_BEST}
    rng = np.random.default_rng(0)
    halves = by_name[f"{HALVES} random halves of each"] = []
    for runs in sets:
        halves += [sample(runs, len(runs.models) // 2, rng) for _ in range(HALVES)]
    for few in FEW:
        samples = by_name[f"{DRAWS} times {few} of each"] = []
        for runs in sets:
            samples += [sample(runs, few, rng) for _ in range(DRAWS)]
    return by_name


def line(name: str, results: list[Result]) -> str:
    """Return the mean and maximum of energy and regret, as a row of a table."""
    max_energy = max(result.energy_fraction for result in results)
    max_regret = max(result.regret or 0.0 for result in results)
    return (
        f"| {name} | {_energy(results):.4f} | {max_energy:.4f} | {_regret(results):.4f} | {max_regret:.4f} |"
    )


def _energy(results: list[Result]) -> float:
    return statistics.fmean(result.energy_fraction for result in results)


def _regret(results: list[Result]) -> float:
    return statistics.fmean(result.regret or 0.0 for result in results)


def without_best(runs: Runs, count: int) -> Runs:
    """Return a set without its best models by PePR."""
    return runs.only(sorted(np.argsort(-final_scores(runs))[count:].tolist()))


def sample(runs: Runs, count: int, rng: np.random.Generator) -> Runs:
    """Return a random part of a set."""
    return runs.only(sorted(rng.choice(len(runs.models), count, replace=False).tolist()))


if __name__ == "__main__":
    main()
