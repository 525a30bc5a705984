"""Check the rank intervals and settled first places of a ranking on independent runs with other seeds.

    python tools/rank_coverage.py --data breastmnist.npz --out runs/rank_coverage \\
        --json docs/benchmarks/rank_coverage.json

One recipe with four small architectures runs several times; each run has its own seeds, and measures energy
and latency itself. The true rank of a model is its rank by the mean performance and the mean costs of all
runs. A 95 % interval of a run holds if it contains that rank. A run that calls its first place settled is
right about another run if that has the same first place. An interrupted run continues. The rows of all runs
are kept, so that the figures can be computed again: with --json alone, from that file.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from progress_lines import Lines

from pepr_edge.pipeline import Options, run
from pepr_edge.ranking import rank
from pepr_edge.recipe import Recipe
from pepr_edge.recipe.toml import parse
from pepr_edge.records import Ranking
from pepr_edge.run_dir.reader import load
from pepr_edge.scoring.pepr import Models, Scoring, scores

RECIPE = """
schema_version = 1
name = "rank_coverage"
seed = {seed}
[device]
name = "this machine, 1 thread"
threads = 1
watts_per_core = 7.5
[data]
source = "{data}"
[candidates]
architectures = {architectures}
image_size_px = 32
[train]
epochs = {epochs}
batch_size = 32
patience = {epochs}
repeats = {repeats}
device = "cpu"
[workstation]
watts_per_core = 7.5
country = "DNK"
[export]
variants = ["fp32"]
[profile]
rules = "{rules}"
[bundles]
top = 1
"""
ARCHITECTURES = ("resnet14t", "resnet18d", "ghostnet_050", "mobilenetv3_small_050")
# Seeds of a run start this far from those of the previous run, so that no training is shared.
SEED_STEP = 100


def main() -> None:
    """Run the recipe with other seeds, and write the coverage."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="the .npz file of BreastMNIST, or phantom")
    parser.add_argument("--out", type=Path, help="folder of the runs")
    parser.add_argument(
        "--json", type=Path, required=True, help="the file to write, or to read without --out"
    )
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--rules", default="adaptive")
    parser.add_argument("--architectures", nargs="+", default=list(ARCHITECTURES))
    arguments = parser.parse_args()
    if arguments.out is None:
        rows = json.loads(arguments.json.read_text(encoding="utf-8"))["runs"]
    else:
        rows = [_one_run(arguments, number) for number in range(arguments.runs)]
    settings = {name: getattr(arguments, name) for name in ("repeats", "epochs", "rules", "architectures")}
    settings["data"] = Path(arguments.data).name if arguments.data else None
    document = {"settings": settings, "coverage": coverage(rows), "runs": rows}
    arguments.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    arguments.json.with_suffix(".md").write_text(as_markdown(document), encoding="utf-8")
    print(as_markdown(document))


def _one_run(arguments: argparse.Namespace, number: int) -> dict[str, Any]:
    started_s = time.perf_counter()
    text = RECIPE.format(
        seed=number * SEED_STEP,
        data=arguments.data,
        architectures=json.dumps(arguments.architectures),
        epochs=arguments.epochs,
        repeats=arguments.repeats,
        rules=arguments.rules,
    )
    recipe = parse(text, Recipe, "rank_coverage")
    folder = arguments.out / f"run-{number:02d}"
    run(recipe, text, folder, Options(), Lines(silent=True))
    row = record(rank(load(folder)), number)  # a finished run is ranked by the code of today
    print(
        f"run {number}: {row['first']} settled={row['settled']} {time.perf_counter() - started_s:.0f} s",
        flush=True,
    )
    return row


def record(ranking: Ranking, number: int) -> dict[str, Any]:
    """Return the rows of one run, with what the check needs."""
    rows = [
        {
            "architecture": row.architecture,
            "status": row.status,
            "rank": row.rank,
            "rank_ci": row.rank_ci,
            "p_best": row.p_best,
            "performance": row.performance,
            "performance_sd": row.performance_sd,
            "repeats": row.repeats,
            "resources": {name: row.resources.get(name) for name in ranking.weights},
            "resources_sd": {name: row.resources_sd.get(name) for name in ranking.weights},
            "pepr": row.pepr.get("edge"),
        }
        for row in ranking.rows
    ]
    first = next((row.architecture for row in ranking.rows if row.rank == 1), None)
    return {
        "run": number,
        "first": first,
        "settled": ranking.settled,
        "sources": ranking.sources,
        "weights": ranking.weights,
        "rows": rows,
    }


def coverage(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Compare each run's intervals with the ranks by the means of all runs.

    Models that lack skill in more than half of the runs have no true rank.
    """
    means = true_ranks(runs)
    held = [
        row["rank_ci"][0] <= means[row["architecture"]] <= row["rank_ci"][1]
        for one in runs
        for row in one["rows"]
        if row["rank_ci"] is not None and row["architecture"] in means
    ]
    widths = [
        row["rank_ci"][1] - row["rank_ci"][0] + 1
        for one in runs
        for row in one["rows"]
        if row["rank_ci"] is not None
    ]
    settled = [one for one in runs if one["settled"]]
    agreements = [
        other["first"] == one["first"] for one in settled for other in runs if other["run"] != one["run"]
    ]
    firsts = [one["first"] for one in runs]
    return {
        "true_ranks": means,
        "intervals": len(held),
        "held": sum(held),
        "share_held": fmean(held) if held else None,
        "mean_width": fmean(widths) if widths else None,
        "first_places": {name: firsts.count(name) for name in sorted(set(firsts), key=str)},
        "settled_runs": len(settled),
        "share_of_other_runs_that_agree": fmean(agreements) if agreements else None,
    }


def true_ranks(runs: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Return the rank of each model by its mean performance and costs over all runs.

    Models that are ranked in fewer than half of the runs are left out.
    """
    by_name: dict[str, list[dict[str, Any]]] = {}
    ranked: list[str] = []
    for one in runs:
        for row in one["rows"]:
            by_name.setdefault(row["architecture"], []).append(row)
            if row["rank"] is not None:
                ranked.append(row["architecture"])
    names = [name for name in by_name if ranked.count(name) >= len(runs) / 2]
    weights = runs[0]["weights"]
    models = Models(
        names=tuple(names),
        performance=np.array([fmean(row["performance"] for row in by_name[name]) for name in names]),
        resources={
            resource: np.array([fmean(row["resources"][resource] for row in by_name[name]) for name in names])
            for resource in weights
        },
    )
    order = np.argsort(-scores(models, Scoring(weights)), kind="stable")
    return {names[index]: rank for rank, index in enumerate(order.tolist(), start=1)}


def as_markdown(document: dict[str, Any]) -> str:
    """Return the table that docs/concepts.md links to."""
    found = document["coverage"]
    settings = document["settings"]
    agree = found["share_of_other_runs_that_agree"]
    rows = [
        ("runs", str(len(document["runs"]))),
        ("rank intervals that hold the rank of the means", f"{found['held']} of {found['intervals']}"),
        ("share (stated: 95 %)", f"{found['share_held']:.1%}"),
        ("mean width of an interval, ranks", f"{found['mean_width']:.2f}"),
        ("first places", ", ".join(f"{name} {count}" for name, count in found["first_places"].items())),
        ("runs that called first place settled", str(found["settled_runs"])),
        ("other runs that agree with those", "none settled" if agree is None else f"{agree:.1%}"),
    ]
    lines = [f"| {name} | {value} |" for name, value in rows]
    return "\n".join(
        [
            "# Do rank intervals hold?",
            "",
            f"Made by `tools/rank_coverage.py`: {len(settings['architectures'])} architectures "
            f"({', '.join(settings['architectures'])}) on {settings['data']} at 32 px, {settings['epochs']} "
            f'epochs, {settings["repeats"]} seeds of each in every run, rules "{settings["rules"]}". Rows '
            "are in rank_coverage.json. A row without a rank (no skill shown in that run) has no interval.",
            "",
            "| | |",
            "| --- | --- |",
            *lines,
            "",
        ]
    )


if __name__ == "__main__":
    main()
