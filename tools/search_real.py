"""Compare a real search with the sweep that it replaces: winners and cost, trained on this machine.

    python tools/search_real.py --data pneumoniamnist.npz --out runs/search_real --json
    docs/benchmarks/search.json

One recipe runs with the policies `bounded` and `exhaustive`, each in its own folder; an interrupted run
continues. In both runs each candidate has half of the threads. Energies are CPU seconds times declared watts,
so other programs do not count, except that they displace data from the caches.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from progress_lines import Lines

from pepr_edge.pipeline import Options, run
from pepr_edge.recipe import Recipe
from pepr_edge.recipe.toml import parse
from pepr_edge.records import Ranking, RankingRow
from pepr_edge.run_dir.reader import Results, VariantState, load
from pepr_edge.scoring.intervals import mcnemar
from pepr_edge.tasks import task_of

JOBS = 2
RECIPE = """
schema_version = 1
name = "search_real"
seed = 0
[device]
name = "this machine, 1 thread"
threads = 1
watts_per_core = 7.5
[data]
source = "{data}"
[candidates]
architectures = [
    "mobilenetv2_050", "dla46_c", "dla46x_c", "mobilevitv2_050", "semnasnet_075", "pvt_v2_b0",
    "convnext_atto", "mnasnet_100", "spnasnet_100", "ghostnet_100", "hardcorenas_a", "fbnetc_100",
    "efficientnet_b0", "ese_vovnet19b_dw", "resnet14t", "resnet18d",
]
image_size_px = 64
[train]
epochs = {epochs}
augment = "none"
device = "cpu"
[workstation]
watts_per_core = 7.5
country = "DNK"
[export]
variants = ["fp32"]
[profile]
rules = "quick"
[search]
policy = "{policy}"
"""


def main() -> None:
    """Run both policies and write the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="the .npz file of PneumoniaMNIST")
    parser.add_argument("--out", type=Path, required=True, help="folder of both runs")
    parser.add_argument("--json", type=Path, required=True, help="the file to write")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--only", nargs="+", help="only these architectures, to try the program out")
    arguments = parser.parse_args()
    bounded = run_policy("bounded", arguments.data, arguments.epochs, arguments.only, arguments.out)
    exhaustive = run_policy("exhaustive", arguments.data, arguments.epochs, arguments.only, arguments.out)
    document = {
        "comparison": compared(bounded, exhaustive),
        "bounded": record(*bounded),
        "exhaustive": record(*exhaustive),
    }
    arguments.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(as_markdown(document["comparison"]))


def run_policy(
    policy: str, data: str, epochs: int, only: Sequence[str] | None, out: Path
) -> tuple[Results, Ranking]:
    """Run one policy."""
    text = RECIPE.format(data=data, epochs=epochs, policy=policy)
    recipe = parse(text, Recipe, "search_real")
    if only:
        recipe = recipe.model_copy(
            update={"candidates": recipe.candidates.model_copy(update={"architectures": tuple(only)})}
        )
    ranking = run(recipe, text, out / policy, Options(jobs=JOBS), Lines())
    return load(out / policy), ranking


def compared(bounded: tuple[Results, Ranking], exhaustive: tuple[Results, Ranking]) -> dict[str, Any]:
    """Return the winners, a test of their difference, and the cost of both runs."""
    bounded_results, bounded_ranking = bounded
    sweep_results, sweep_ranking = exhaustive
    chosen = winner(bounded_ranking)
    best = winner(sweep_ranking)
    ranks = {row.candidate: row.rank for row in reversed(sweep_ranking.rows)}
    edges = {row.candidate: row.pepr["edge"] for row in sweep_ranking.rows if row.rank is not None}
    spent = energy_j(bounded_results)
    swept = energy_j(sweep_results)
    search = bounded_results.search
    started = [candidate for candidate in search.candidates if candidate.epochs] if search else []
    return {
        "winner_bounded": chosen.candidate,
        "winner_exhaustive": best.candidate,
        "same": chosen.candidate == best.candidate,
        "paired_test_p": {
            split: paired(entry(sweep_results, chosen), entry(sweep_results, best), split)
            for split in ("val", "test")
        },
        "rank_of_bounded_in_exhaustive": ranks[chosen.candidate],
        "regret_pepr": (edges[best.candidate] or 0.0) - (edges[chosen.candidate] or 0.0),
        "test_performance": {"bounded": chosen.test_performance, "exhaustive": best.test_performance},
        "energy_j": {"bounded": spent, "exhaustive": swept},
        "energy_fraction": spent / swept,
        "started": len(started),
        "finished": sum(candidate.verdict == "finished" for candidate in started),
    }


def as_markdown(comparison: dict[str, Any]) -> str:
    """Return the table of docs/search.md."""
    p = comparison["paired_test_p"]
    accuracy = {name: f"{value:.3f}" for name, value in comparison["test_performance"].items()}
    energy = {name: f"{joules / 3600:.2f} Wh" for name, joules in comparison["energy_j"].items()}
    rows = [
        ("", "bounded", "exhaustive"),
        ("---", "---", "---"),
        ("winner", comparison["winner_bounded"], comparison["winner_exhaustive"]),
        ("its test accuracy", accuracy["bounded"], accuracy["exhaustive"]),
        ("energy of all trainings", energy["bounded"], energy["exhaustive"]),
        ("started, trained to the end", f"{comparison['started']}, {comparison['finished']}", "all"),
    ]
    difference = "the same winner"
    if not comparison["same"]:
        difference = (
            f"the winners differ with p = {p['val']:.2g} on validation, {p['test']:.2g} on test (exact "
            "McNemar)"
        )
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    share = f"{comparison['energy_fraction']:.1%} of the sweep's energy"
    regret = f"by the sweep's own scores a regret of {comparison['regret_pepr']:.4f} PePR"
    return "\n".join([*lines, "", f"{share}; {difference}; {regret}."])


def winner(ranking: Ranking) -> RankingRow:
    """Return the first row."""
    return next(row for row in ranking.rows if row.rank == 1)


def entry(results: Results, row: RankingRow) -> VariantState:
    """Return the state of a row's variant."""
    return next(
        state
        for state in results.entries
        if state.candidate.id == row.candidate and state.variant == row.variant
    )


def paired(first: VariantState, second: VariantState, split: str) -> float:
    """Return p of the exact McNemar test on the decisions of two models of the sweep."""
    return float(mcnemar(_correct(first, split), _correct(second, split)))


def _correct(state: VariantState, split: str) -> NDArray[np.bool_]:
    predictions = state.predictions()
    return np.asarray(task_of().correct(predictions[split], predictions[f"{split}_labels"]))


def energy_j(results: Results) -> float:
    """Return the energy of all trainings.

    It includes the probes and pruned candidates of a search, and the mode probing of a sweep.
    """
    if results.search is not None:
        return results.search.spent_j or 0.0
    trainings = [state.trained for state in results.entries if state.trained is not None]
    return sum(trained.cost.energy_j.value or 0.0 for trained in trainings)


def record(results: Results, ranking: Ranking) -> dict[str, Any]:
    """Return the run's records, without raw latencies and predictions."""
    trained = {state.candidate.id: state.trained for state in results.entries if state.trained is not None}
    return {
        "recipe": results.recipe.model_dump(mode="json", exclude={"data"}) | {"data": results.info.data.name},
        "ranking": ranking.model_dump(mode="json"),
        "search": results.search.model_dump(mode="json") if results.search else None,
        "trainings": [result.model_dump(mode="json", exclude={"probes"}) for result in trained.values()],
    }


if __name__ == "__main__":
    main()
