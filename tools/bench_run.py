"""Time a whole run of a device recipe, by stage, with different rules and searches.

    python tools/bench_run.py --data pneumoniamnist.npz --out runs/bench_run --json docs/benchmarks/run.json

The recipe clinic_laptop_2core runs with the rules "full" and one training of each candidate, as version
0.1.0 did; with "adaptive" rules; with these and the search "bounded"; and as shipped. The way "adaptive"
differs from "full" in measuring alone, so it goes on from a copy of the trained and exported models of
"full", whose time counts for both. A finished run is not made again. Regret: PePR of the full run's winner
less that of the other run's winner, by the full run's scores.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from progress_lines import Lines

from pepr_edge.device.facts import here
from pepr_edge.pipeline import Options, run
from pepr_edge.recipe import Recipe, find
from pepr_edge.recipe.toml import parse
from pepr_edge.records import Ranking, RankingRow, StageName
from pepr_edge.run_dir.layout import PROFILE
from pepr_edge.run_dir.layout import RECIPE as RECIPE_FILE
from pepr_edge.run_dir.reader import load, read_ranking

NAME = "clinic_laptop_2core"
# Changes of the recipe by way; "as shipped" has none.
WAYS: Mapping[str, Mapping[str, Any]] = {
    "full": {"profile": {"rules": "full"}, "search": {"policy": "exhaustive"}, "train": {"repeats": 1}},
    "adaptive": {
        "profile": {"rules": "adaptive"},
        "search": {"policy": "exhaustive"},
        "train": {"repeats": 1},
    },
    "adaptive, bounded": {
        "profile": {"rules": "adaptive"},
        "search": {"policy": "bounded"},
        "train": {"repeats": 1},
    },
    "as shipped": {},
}


def main() -> None:
    """Run each way, and write the comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="the .npz file of PneumoniaMNIST")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--json", type=Path, required=True, help="the file to write")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--recipe", default=NAME)
    arguments = parser.parse_args()
    rows = {}
    for way in arguments.ways:
        folder = arguments.out / way.replace(", ", "_").replace(" ", "_")
        if way == "adaptive":
            copy_models(arguments.out / "full", folder)
        rows[way] = timed(arguments.recipe, arguments.data, way, folder)
        if way == "adaptive":
            share_stages(rows[way], load(arguments.out / "full").info.stage_times_s)
    if "full" in rows:
        full = read_ranking(arguments.out / "full")
        for row in rows.values():
            row["regret_pepr"] = regret(full, row["winner"])
    machine = here()
    document = {
        "recipe": arguments.recipe,
        "data": Path(arguments.data).name,
        "machine": machine.model_dump(mode="json"),
        "ways": rows,
    }
    arguments.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    table = as_markdown(document)
    arguments.json.with_suffix(".md").write_text(table, encoding="utf-8")
    print(table)


def timed(name: str, data: str, way: str, folder: Path) -> dict[str, Any]:
    """Run the recipe in one way; return its times, its winner and its cost."""
    text = find(name).read_text(encoding="utf-8")
    for section, values in {"data": {"source": data}, **WAYS[way]}.items():
        for key, value in values.items():
            text = with_value(text, section, key, value)
    recipe = parse(text, Recipe, name)
    ranking = run(recipe, text, folder, Options(), Lines())
    again = [sys.executable, "-m", "pepr_edge", "run", str(folder / RECIPE_FILE), "--out", str(folder)]
    started_s = time.perf_counter()
    subprocess.run(again, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    again_s = time.perf_counter() - started_s
    stages = dict(load(folder).info.stage_times_s)
    first = winner(ranking)
    return {
        "total_s": sum(stages.values()),
        "stages_s": stages,
        "again_s": again_s,
        "winner": None if first is None else f"{first.candidate} {first.variant}",
        "test_performance": None if first is None else first.test_performance,
        "may_be_first": [
            f"{row.candidate} {row.variant}" for row in ranking.rows if row.rank_ci and row.rank_ci[0] == 1
        ],
        "settled": ranking.settled,
        "spent_energy_j": ranking.spent_energy_j.value if ranking.spent_energy_j else None,
    }


def copy_models(full: Path, folder: Path) -> None:
    """Copy a finished run without its measurements, unless this was done before."""
    if not folder.exists():
        shutil.copytree(full, folder, ignore=shutil.ignore_patterns(PROFILE))


def share_stages(row: dict[str, Any], of_full: Mapping[StageName, float]) -> None:
    """Put the times of the run that made the models into the row, except for what was done again."""
    row["stages_s"] = {
        **of_full,
        **{stage: row["stages_s"][stage] for stage in ("measuring", "ranking and report")},
    }
    row["total_s"] = sum(row["stages_s"].values())


def with_value(text: str, section: str, key: str, value: Any) -> str:
    """Return a recipe's text with another value of a key."""
    line = f"{key} = {json.dumps(value)}"
    header = f"[{section}]"
    lines = text.splitlines()
    if header not in lines:
        return "\n".join([*lines, "", header, line, ""])
    start = lines.index(header) + 1
    ends = (number for number in range(start, len(lines)) if lines[number].startswith("["))
    end = next(ends, len(lines))
    kept = [other for other in lines[start:end] if not other.startswith(f"{key} =")]
    return "\n".join([*lines[:start], line, *kept, *lines[end:], ""])


def winner(ranking: Ranking) -> RankingRow | None:
    """Return the first row; None if nothing is ranked."""
    return next((row for row in ranking.rows if row.rank == 1), None)


def regret(full: Ranking, name: str | None) -> float | None:
    """Return how much PePR the winner of another run loses, by the scores of the full run."""
    scores = {f"{row.candidate} {row.variant}": row.pepr.get("edge") for row in full.rows if row.rank}
    best = winner(full)
    if best is None or name is None or scores.get(name) is None:
        return None
    return (best.pepr["edge"] or 0.0) - (scores[name] or 0.0)


def as_markdown(document: dict[str, Any]) -> str:
    """Return the table of docs/benchmarks/run.md."""
    ways = document["ways"]
    stages = list(dict.fromkeys(stage for row in ways.values() for stage in row["stages_s"]))
    header = ["", *ways]
    rows = [["total", *(_minutes(row["total_s"]) for row in ways.values())]]
    for stage in stages:
        rows.append([stage, *(_minutes(row["stages_s"].get(stage, 0.0)) for row in ways.values())])
    rows.append(["the same command again", *(f"{row['again_s']:.2f} s" for row in ways.values())])
    rows.append(["winner", *(str(row["winner"]) for row in ways.values())])
    rows.append(["its test accuracy", *(_number(row["test_performance"], "{:.3f}") for row in ways.values())])
    rows.append(["may be first", *(str(len(row["may_be_first"])) for row in ways.values())])
    rows.append(["settled", *("yes" if row["settled"] else "no" for row in ways.values())])
    energies = (row["spent_energy_j"] for row in ways.values())
    rows.append(["energy of all trainings, Wh", *(_number(j and j / 3600, "{:.2f}") for j in energies)])
    rows.append(["regret, PePR", *(_number(row.get("regret_pepr"), "{:.4f}") for row in ways.values())])
    lines = ["| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *rows)]
    title = (
        f"Recipe {document['recipe']} on {document['data']}, {document['machine']['cpu']}, minutes:seconds."
    )
    return "\n".join(["# Time to the answer", "", title, "", *lines, ""])


def _minutes(seconds: float) -> str:
    return f"{int(seconds // 60)}:{int(seconds % 60):02d}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)


if __name__ == "__main__":
    main()
