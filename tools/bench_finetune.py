"""Measure what training from a weights file, or of the classifier alone, saves: energy, performance, PePR.

    python tools/bench_finetune.py SOURCE.npz TARGET.npz --work DIR --out docs/benchmarks/finetune.json

Each architecture is trained on SOURCE once. On TARGET it is then trained from scratch, in full from the
resulting weights file, and its classifier alone (mode "head") from the same file: with the backbone's
features computed once, and computed each epoch. All use the default protocol without augmentation and several
seeds; the split is the dataset's own. PePR is over the training energy, min-max over the four methods of one
architecture and seed. The training on SOURCE is not counted, because a weights file usually comes from
elsewhere. Energies are CPU seconds times declared watts.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pepr_edge.data import Dataset, DataSettings, load, prepare
from pepr_edge.device.facts import facts
from pepr_edge.recipe.settings import ResolvedRecipe
from pepr_edge.records import Candidate, TrainResult
from pepr_edge.run_dir.store import write_text
from pepr_edge.scoring.pepr import normalised, pepr, resource_bounds
from pepr_edge.train import trainer
from pepr_edge.train.session import TrainingJob
from pepr_edge.train.train import train

ARCHITECTURES = ("mobilenetv2_050", "resnet18d")
PX = 32
EPOCHS = 12
SEEDS = (0, 1, 2)
WATTS = 7.5
METRIC = "balanced_accuracy"
MEANS = ("val", "test", "energy_j", "duration_s", "epochs")
METHODS = ("scratch", "full", "head", "head, features each epoch")


class Training(NamedTuple):
    """A training: performance of its best epoch on validation and test, and its cost."""

    architecture: str
    method: str
    seed: int
    val: float
    test: float
    energy_j: float
    duration_s: float
    epochs: int


def main() -> None:
    """Train all models and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    source = _data(arguments.source, arguments.work / "data0")
    target = _data(arguments.target, arguments.work / "data1")
    results: list[Training] = []
    for name in ARCHITECTURES:
        results += trainings(name, source, target, arguments.work)
    rows = summary(results)
    document = {
        "schema_version": 1,
        "source": source.info.name,
        "target": target.info.name,
        "images": len(target.splits["train"][1]),
        "image_size_px": PX,
        "epochs": EPOCHS,
        "watts_per_core": WATTS,
        "metric": METRIC,
        "cpu": facts().cpu,
        "threads": 1,
        "trainings": [result._asdict() for result in results],
        "summary": rows,
    }
    write_text(arguments.out, json.dumps(document, indent=1) + "\n")
    print(as_markdown(rows))


def _data(name: str, folder: Path) -> Dataset:
    prepare(DataSettings(source=name, image_size_px=PX), folder, lambda done, total: None)
    return load(folder)


def trainings(name: str, source: Dataset, target: Dataset, work: Path) -> Iterator[Training]:
    """Train an architecture by every method, with every seed."""
    weights = work / f"{name}-source"
    trained(name, "scratch", source, weights, 0, "full")
    for seed in SEEDS:
        for method in METHODS:
            start = "scratch" if method == "scratch" else str(weights / "checkpoint.safetensors")
            mode = "head" if method.startswith("head") else "full"
            frozen = trainer.frozen_backbone
            if method == METHODS[-1]:
                trainer.frozen_backbone = lambda *_: None  # type: ignore[assignment]
            try:
                result = trained(name, start, target, work / f"{name}-{method}-{seed}", seed, mode)
            finally:
                trainer.frozen_backbone = frozen
            yield _training(result, name, method, seed)


def trained(name: str, weights: str, data: Dataset, folder: Path, seed: int, mode: str) -> TrainResult:
    """Train one model."""
    recipe = ResolvedRecipe.model_validate(
        {
            "name": "finetune",
            "seed": seed,
            "device": {"name": "this machine"},
            "candidates": {"architectures": [name], "image_size_px": PX, "weights": weights},
            "train": {
                "mode": mode,
                "epochs": EPOCHS,
                "augment": "none",
                "class_balanced": True,
                "device": "cpu",
            },
            "workstation": {"watts_per_core": WATTS, "country": "DNK"},
            "score": {"performance": METRIC},
        }
    )
    classes = len(data.info.labels)
    candidate = Candidate(
        architecture=name,
        image_size_px=PX,
        in_channels=data.info.channels,
        num_classes=classes,
        weights="scratch" if weights == "scratch" else "file",
    )
    folder.mkdir(parents=True, exist_ok=True)
    key = f"{name} {weights} {mode} {seed}"
    weights_file = "" if weights == "scratch" else weights
    return train(TrainingJob(candidate, data, recipe, folder, key, 1, False, lambda *_: None, weights_file))


def _training(result: TrainResult, name: str, method: str, seed: int) -> Training:
    val = result.performance[f"val_{METRIC}"].value
    test = result.performance[METRIC].value
    energy_j = result.cost.energy_j.value
    duration_s = result.cost.duration_s.value
    assert val is not None
    assert test is not None
    assert energy_j is not None
    assert duration_s is not None
    return Training(name, method, seed, val, test, energy_j, duration_s, len(result.epochs))


def summary(results: list[Training]) -> list[dict[str, Any]]:
    """Return means over the seeds, and PePR over the methods of one architecture."""
    rows = []
    for name in dict.fromkeys(result.architecture for result in results):
        scores: dict[str, list[float]] = {}
        for seed in SEEDS:
            group = [result for result in results if (result.architecture, result.seed) == (name, seed)]
            bound = resource_bounds([result.energy_j for result in group])
            for result in group:
                score = float(pepr(result.val, normalised(result.energy_j, bound)))
                scores.setdefault(result.method, []).append(score)
        for method in METHODS:
            group = [result for result in results if (result.architecture, result.method) == (name, method)]
            means = {key: statistics.fmean(getattr(result, key) for result in group) for key in MEANS}
            rows.append(
                {"architecture": name, "method": method, **means, "pepr": statistics.fmean(scores[method])}
            )
    return rows


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """Return the summary as a Markdown table."""
    lines = [
        "| architecture | method | validation | test | energy, J | epochs | PePR |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        performance = f"{row['val']:.3f} | {row['test']:.3f}"
        cost = f"{row['energy_j']:.1f} | {row['epochs']:.1f} | {row['pepr']:.3f}"
        lines.append(f"| {row['architecture']} | {row['method']} | {performance} | {cost} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
