"""A real search against the sweep that it replaces: both trained on this machine, their winners compared, what each took.

    python tools/search_real.py --data pneumoniamnist.npz --out runs/search_real --json docs/benchmarks/search.json

Two runs of one recipe, `bounded` and `exhaustive`, each in a folder of its own; a run that was interrupted goes on. Half of the threads for
each candidate, in both runs. Energies are CPU seconds times declared watts, so that what else the machine does is not counted, but for what
it makes the caches lose.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from pepr_edge.pipeline import Options, run
from pepr_edge.recipe import Recipe
from pepr_edge.recipe.toml import parse
from pepr_edge.records import Ranking, RankingRow
from pepr_edge.run_dir.reader import Results, VariantState, load
from pepr_edge.scoring.intervals import mcnemar

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
    "mobilenetv2_050", "dla46_c", "dla46x_c", "mobilevitv2_050", "semnasnet_075", "pvt_v2_b0", "convnext_atto", "mnasnet_100",
    "spnasnet_100", "ghostnet_100", "hardcorenas_a", "fbnetc_100", "efficientnet_b0", "ese_vovnet19b_dw", "resnet14t", "resnet18d",
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


class Lines:
    """A view that prints what is said, with the time."""

    def say(self, text: str) -> None:
        """One line."""
        print(time.strftime("%H:%M:%S"), text, flush=True)

    @contextmanager
    def bar(self, label: str) -> Iterator[Lines]:
        """Only its label is shown."""
        self.say(label)
        yield self

    def to(self, done: int, total: int, note: str = "") -> None:
        """Nothing: too many lines."""


def main() -> None:
    """Carry both runs out and write what came of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="the .npz file of PneumoniaMNIST")
    parser.add_argument("--out", type=Path, required=True, help="folder of both runs")
    parser.add_argument("--json", type=Path, required=True, help="the file to write")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--only", nargs="+", help="only these architectures, to try the program out")
    asked = parser.parse_args()
    found = {
        policy: carried_out(policy, asked.data, asked.epochs, asked.only, asked.out)
        for policy in ("bounded", "exhaustive")
    }
    document = {"comparison": compared(found["bounded"], found["exhaustive"])} | {
        name: record(*one) for name, one in found.items()
    }
    asked.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(as_markdown(document["comparison"]))


def carried_out(
    policy: str, data: str, epochs: int, only: Sequence[str] | None, out: Path
) -> tuple[Results, Ranking]:
    """One run."""
    text = RECIPE.format(data=data, epochs=epochs, policy=policy)
    recipe = parse(text, Recipe, "search_real")
    if only:
        recipe = recipe.model_copy(
            update={"candidates": recipe.candidates.model_copy(update={"architectures": tuple(only)})}
        )
    ranking = run(recipe, text, out / policy, Options(jobs=JOBS), Lines())
    return load(out / policy), ranking


def compared(bounded: tuple[Results, Ranking], exhaustive: tuple[Results, Ranking]) -> dict[str, Any]:
    """The winners, whether they can be told apart, and what either run took."""
    chosen, best = winner(bounded[1]), winner(exhaustive[1])
    edges = {row.candidate: row.pepr["edge"] for row in exhaustive[1].rows if row.rank is not None}
    spent, swept = energy_j(bounded[0]), energy_j(exhaustive[0])
    started = [one for one in bounded[0].search.candidates if one.epochs] if bounded[0].search else []
    return {
        "winner_bounded": chosen.candidate,
        "winner_exhaustive": best.candidate,
        "same": chosen.candidate == best.candidate,
        "paired_test_p": {
            split: paired(entry(exhaustive[0], chosen), entry(exhaustive[0], best), split)
            for split in ("val", "test")
        },
        "rank_of_bounded_in_exhaustive": next(
            row.rank for row in exhaustive[1].rows if row.candidate == chosen.candidate
        ),
        "regret_pepr": (edges[best.candidate] or 0.0) - (edges[chosen.candidate] or 0.0),
        "test_performance": {"bounded": chosen.test_performance, "exhaustive": best.test_performance},
        "energy_j": {"bounded": spent, "exhaustive": swept},
        "energy_fraction": spent / swept,
        "started": len(started),
        "finished": sum(one.verdict == "finished" for one in started),
    }


def as_markdown(found: dict[str, Any]) -> str:
    """The table of docs/search.md."""
    p = found["paired_test_p"]
    rows = [
        ("", "bounded", "exhaustive"),
        ("---", "---", "---"),
        ("winner", found["winner_bounded"], found["winner_exhaustive"]),
        (
            "its test accuracy",
            *(f"{found['test_performance'][name]:.3f}" for name in ("bounded", "exhaustive")),
        ),
        (
            "energy of all trainings",
            *(f"{found['energy_j'][name] / 3600:.2f} Wh" for name in ("bounded", "exhaustive")),
        ),
        ("begun, trained to the end", f"{found['started']}, {found['finished']}", "all"),
    ]
    words = (
        "the same winner"
        if found["same"]
        else f"winners apart by p = {p['val']:.2g} on validation, {p['test']:.2g} on test (exact McNemar)"
    )
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    share, regret = f"{found['energy_fraction']:.1%} of the sweep's energy", f"{found['regret_pepr']:.4f}"
    return "\n".join([*lines, "", f"{share}; {words}; by the sweep's own scores a regret of {regret} PePR."])


def winner(ranking: Ranking) -> RankingRow:
    """The first row."""
    return next(row for row in ranking.rows if row.rank == 1)


def entry(results: Results, row: RankingRow) -> VariantState:
    """What a row is of."""
    return next(
        one for one in results.entries if (one.candidate.id, one.variant) == (row.candidate, row.variant)
    )


def paired(first: VariantState, second: VariantState, split: str) -> float:
    """Exact McNemar test of two models' decisions, both of the sweep: the chance of so great a difference by these images alone."""
    right = []
    for one in (first, second):
        predictions = one.predictions()
        right.append(predictions[split].argmax(axis=1) == predictions[f"{split}_labels"])
    return float(mcnemar(*(np.asarray(one) for one in right)))


def energy_j(results: Results) -> float:
    """Of all trainings: of a search its probes and what it gave up are in, of a sweep the probing of each candidate's fastest mode."""
    if results.search is not None:
        return results.search.spent_j or 0.0
    return sum(one.trained.cost.energy_j.value or 0.0 for one in results.entries if one.trained is not None)


def record(results: Results, ranking: Ranking) -> dict[str, Any]:
    """What the run directory says, but for the raw latencies and the predictions."""
    trained = {one.candidate.id: one.trained for one in results.entries if one.trained is not None}
    return {
        "recipe": results.recipe.model_dump(mode="json", exclude={"data"}) | {"data": results.info.data.name},
        "ranking": ranking.model_dump(mode="json"),
        "search": results.search.model_dump(mode="json") if results.search else None,
        "trainings": [one.model_dump(mode="json", exclude={"probes"}) for one in trained.values()],
    }


if __name__ == "__main__":
    main()
