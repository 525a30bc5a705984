"""Run the device recipes on data sets, from scratch, and compare their models with extra trees on the pixels.

    python tools/bench_recipes.py --data breastmnist.npz pneumoniamnist.npz --out runs/recipes \
        --json docs/benchmarks/recipes.json

Each recipe runs as shipped with several seeds, but weights = "scratch", as on a machine without a network,
and with one workstation for all of them. Recipes for a GPU train and measure on the processor here, in the
variants fp32 and int8_static. A training that an earlier run made with the same settings, data and seed is
taken from it: several recipes list the same architectures, and the repeats of one seed are the first
trainings of the next. The minutes and the energy in the table are those of runs that took nothing over. A
finished run is not made again, and the table is written after each run, so the command can be stopped and
goes on where it stopped. `--rules quick` measures for a shorter time, which changes latencies a little and
no accuracy.

Source of the comparison: 200 extremely randomised trees (scikit-learn's defaults otherwise) on raw pixels.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from bench_run import winner, with_value
from progress_lines import Lines
from sklearn.ensemble import ExtraTreesClassifier

from pepr_edge import __version__
from pepr_edge.device.cpu import usable_cores
from pepr_edge.device.facts import here
from pepr_edge.errors import PeprError
from pepr_edge.pipeline import Options, run
from pepr_edge.recipe import Recipe, find
from pepr_edge.recipe.toml import parse
from pepr_edge.records import Ranking, RankingRow
from pepr_edge.run_dir.layout import CANDIDATES, CHECKPOINT, LOG, LOGITS, PROFILE, TRAIN_RESULT, repeat_folder
from pepr_edge.run_dir.owned import start_record
from pepr_edge.run_dir.reader import load
from pepr_edge.run_dir.store import write_text
from pepr_edge.text.units import plural

RECIPES = (
    "android_arm_cpu",
    "clinic_laptop_2core",
    "gtx_1050ti_4gb",
    "gtx_1650_4gb",
    "intel_laptop_openvino",
    "jetson_orin_nano",
    "mini_pc_n100",
    "office_laptop_no_avx2",
    "raspberry_pi_4",
    "raspberry_pi_5",
    "server_4core",
    "windows_tablet",
)
TREES = 200
MAX_REPEATS = 3
# Of the workstation, the same for all recipes, so that their trainings cost the same.
WATTS_PER_CORE = 10.0


def main() -> None:
    """Run what is missing, and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", nargs="+", required=True, help=".npz files in MedMNIST's format")
    parser.add_argument("--recipes", nargs="+", default=list(RECIPES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rules", choices=["adaptive", "quick", "full"], default="adaptive")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--json", type=Path, required=True, help="the file to write")
    arguments = parser.parse_args()
    document = _begun(arguments.json)
    for source in arguments.data:
        if Path(source).stem not in document["trees"]:
            document["trees"][Path(source).stem] = trees_accuracy(source)
    done = {(row["recipe"], row["data"], row["seed"], row["rules"]) for row in document["rows"]}
    for seed in arguments.seeds:
        for name in arguments.recipes:
            for source in arguments.data:
                data = Path(source).stem
                if (name, data, seed, arguments.rules) in done:
                    continue
                folder = arguments.out / f"{name}-{data}-{seed}"
                earlier = [row for row in document["rows"] if row["data"] == data]
                alike = sorted(earlier, key=lambda row: _needs_gpu(row["recipe"]) != _needs_gpu(name))
                lend_trainings(arguments.out, alike, seed, folder)
                row = one_run(name, source, seed, arguments.rules, folder)
                known = {key for other in earlier for key in other.get("trainings", ())}
                row["taken_over"] = len(known & set(row.get("trainings", ())))
                document["rows"].append(row)
                _write(arguments.json, document)
    _write(arguments.json, document)
    print(as_markdown(document))


def _begun(path: Path) -> dict[str, Any]:
    """Return the rows so far."""
    if path.is_file():
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    return {
        "schema_version": 1,
        "machine": here().model_dump(mode="json"),
        "cores": usable_cores(),
        "pepr_edge": __version__,
        "trees": {},
        "rows": [],
    }


def _write(path: Path, document: Mapping[str, Any]) -> None:
    write_text(path, json.dumps(document, indent=1) + "\n")
    write_text(path.with_suffix(".md"), as_markdown(document))


def trees_accuracy(source: str) -> float:
    """Return the mean test accuracy of extra trees on raw pixels, over three seeds."""
    with np.load(source) as arrays:
        pixels = {split: arrays[f"{split}_images"] for split in ("train", "test")}
        labels = {split: arrays[f"{split}_labels"].ravel() for split in ("train", "test")}
    flat = {split: images.reshape(len(images), -1) for split, images in pixels.items()}
    accuracies = []
    for seed in range(3):
        trees = ExtraTreesClassifier(TREES, random_state=seed).fit(flat["train"], labels["train"])
        accuracies.append(float(trees.score(flat["test"], labels["test"])))
    return statistics.mean(accuracies)


def _needs_gpu(name: str) -> bool:
    """True for a recipe whose trainings name their device, and so have keys of their own."""
    return 'device = "cuda"' in find(name).read_text(encoding="utf-8")


def lend_trainings(runs: Path, earlier: Sequence[Mapping[str, Any]], seed: int, folder: Path) -> None:
    """Copy what earlier runs on the same images trained into a run directory that does not exist yet.

    Of two trainings of one candidate and seed, that of the first row is copied. A run relies on nothing that
    has another key than its own, so what does not fit is trained all the same.
    """
    if folder.exists():
        return
    candidates = []
    for row in earlier:
        of_row = runs / f"{row['recipe']}-{row['data']}-{row['seed']}" / CANDIDATES
        if of_row.is_dir():  # it may be a row of another folder, or have failed early
            candidates += [(row, candidate) for candidate in of_row.iterdir()]
    start_record(folder)
    for row, candidate in candidates:
        to = folder / CANDIDATES / candidate.name
        if row["seed"] == seed and not to.exists():
            shutil.copytree(candidate, to, ignore=shutil.ignore_patterns(PROFILE))
        for repeat in range(MAX_REPEATS):
            _lend_one(candidate, repeat, to, row["seed"] + repeat - seed)


def _lend_one(from_candidate: Path, from_repeat: int, to_candidate: Path, to_repeat: int) -> None:
    """Copy a finished training, as another repeat of the same candidate in another run."""
    source = repeat_folder(from_candidate, from_repeat)
    to = repeat_folder(to_candidate, to_repeat)
    if not 0 <= to_repeat < MAX_REPEATS or (to / TRAIN_RESULT).exists():
        return
    if (source / TRAIN_RESULT).is_file():
        to.mkdir(parents=True, exist_ok=True)
        for name in (CHECKPOINT, LOGITS, LOG, TRAIN_RESULT):
            shutil.copy2(source / name, to / name)


def one_run(name: str, source: str, seed: int, rules: str, folder: Path) -> dict[str, Any]:
    """Run a recipe; return its first model, its best, and what they cost."""
    text = find(name).read_text(encoding="utf-8")
    text = text.replace("seed = 0", f"seed = {seed}", 1)
    changes: list[tuple[str, str, Any]] = [
        ("data", "source", source),
        ("candidates", "weights", "scratch"),
        ("profile", "rules", rules),
        ("workstation", "watts_per_core", WATTS_PER_CORE),
    ]
    text = re.sub(r"(?m)^gpu_watts = .*\n", "", text)
    if _needs_gpu(name):
        changes += [("train", "device", "cpu"), ("device", "provider", "cpu")]
        changes += [("export", "variants", ["fp32", "int8_static"])]
    for section, key, value in changes:
        text = with_value(text, section, key, value)
    row: dict[str, Any] = {"recipe": name, "data": Path(source).stem, "seed": seed, "rules": rules}
    try:
        ranking = run(parse(text, Recipe, name), text, folder, Options(), Lines())
    except PeprError as error:
        return row | {"failed": str(error)}
    return row | _figures(ranking, folder)


def _figures(ranking: Ranking, folder: Path) -> dict[str, Any]:
    first = winner(ranking)
    accuracies = {name: _test_accuracy(folder, name) for name in _ranked(ranking)}
    settings = load(folder).info.settings
    stages_s = dict(load(folder).info.stage_times_s)
    best = max(accuracies, key=lambda name: accuracies[name], default=None)
    return {
        "first": _name(first) if first else None,
        "first_accuracy": accuracies[_name(first)] if first else None,
        "best": best,
        "best_accuracy": accuracies[best] if best else None,
        "accuracies": accuracies,
        "trainings": _training_keys(folder),
        "no_skill": sum(other.status == "no_skill" for other in ranking.rows),
        "epochs": settings.epochs if settings else None,
        "total_s": sum(stages_s.values()),
        "stages_s": stages_s,
        "spent_energy_j": ranking.spent_energy_j.value if ranking.spent_energy_j else None,
    }


def _name(row: RankingRow) -> str:
    return f"{row.candidate} {row.variant}"


def _ranked(ranking: Ranking) -> list[str]:
    return [_name(row) for row in ranking.rows if row.rank is not None]


def _training_keys(folder: Path) -> list[str]:
    """Return the keys of all finished trainings."""
    trainings = (trained for entry in load(folder).entries for trained in entry.repeats)
    return sorted({trained.key for trained in trainings})


def _test_accuracy(folder: Path, name: str) -> float:
    """Return the test accuracy of a ranked file, from its stored logits."""
    entries = load(folder).entries
    entry = next(entry for entry in entries if f"{entry.candidate.id} {entry.variant}" == name)
    stored = entry.predictions("test")
    return float((stored["test"].argmax(axis=1) == stored["test_labels"]).mean())


def as_markdown(document: Mapping[str, Any]) -> str:
    """Return the rows as a table, one line for a recipe and a set: means over seeds."""
    trees = ", ".join(f"{data} {value:.3f}" for data, value in document["trees"].items())
    rules = ", ".join(dict.fromkeys(row["rules"] for row in document["rows"]))
    machine = f"{document['machine']['cpu']}, {plural(document['cores'], 'core')} of it"
    lines = [
        "# Device recipes on two data sets",
        "",
        "The recipes as shipped, from scratch, as on a machine without a network; those for a GPU on the",
        "processor, in the variants fp32 and int8_static. Test accuracy of the model that the run ranks",
        "first (mean and lowest of the seeds), and the highest of all ranked models (mean): an upper bound,",
        f"since it is chosen on test. {TREES} extra trees on raw pixels reach {trees}.",
        f"Rules of measuring: {rules}. Processor: {machine}, shared with",
        "other work, so a quiet machine takes less time. Minutes and Wh are given for each run that",
        "trained all of its models. The others took over trainings of another recipe or seed with the same",
        "settings, among them some that their own search would have left out. Recipes that are not in the",
        f"table were not run. Made by tools/bench_recipes.py with pepr_edge {document['pepr_edge']}.",
        "",
        "| recipe | data | seeds | first model | its accuracy | lowest | highest of all | minutes | Wh |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    keys = dict.fromkeys((row["recipe"], row["data"]) for row in document["rows"])
    for recipe, data in keys:
        rows = [row for row in document["rows"] if (row["recipe"], row["data"]) == (recipe, data)]
        ranked = [row for row in rows if row.get("first")]
        start = f"| {recipe} | {data} | {len(rows)} | "
        if len(ranked) < len(rows):
            lines.append(f"{start}none in {len(rows) - len(ranked)} of {len(rows)} | | | | | |")
            continue
        names = ", ".join(dict.fromkeys(row["first"] for row in rows))
        accuracies = [row["first_accuracy"] for row in rows]
        own = [row for row in rows if not row.get("taken_over")]
        minutes = ", ".join(f"{row['total_s'] / 60:.1f}" for row in own)
        energy = ", ".join(f"{row['spent_energy_j'] / 3600:.2f}" for row in own if row["spent_energy_j"])
        lines.append(
            f"{start}{names} | {statistics.mean(accuracies):.3f} | {min(accuracies):.3f} | "
            f"{statistics.mean(row['best_accuracy'] for row in rows):.3f} | "
            f"{minutes} | {energy} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
