"""What training from a weights file saves, and what its classifier alone is worth: in energy, in performance, and in PePR.

    python tools/bench_finetune.py SOURCE.npz TARGET.npz --work DIR --out docs/benchmarks/finetune.json

Each architecture is trained on SOURCE, once. On TARGET it is then trained from scratch, in full from the file that this left, and its
classifier alone (mode "head") from the same file, with the backbone's features worked out once, and again each epoch as it would be
otherwise. All by the default protocol without augmentation, with several seeds; no seed changes the split, which is the dataset's own.
PePR is over the training energy, min-max over the four ways of one architecture and seed; the source is not charged, as a weights
file mostly comes from elsewhere. Energies are CPU seconds times declared watts.
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
from pepr_edge.recipe import Recipe
from pepr_edge.records import Candidate, TrainResult
from pepr_edge.run_dir.store import write_text
from pepr_edge.scoring.pepr import bounds, normalised, pepr
from pepr_edge.train import trainer
from pepr_edge.train.session import TrainingTask
from pepr_edge.train.train import train

ARCHITECTURES, PX, EPOCHS, SEEDS, WATTS = ("mobilenetv2_050", "resnet18d"), 32, 12, (0, 1, 2), 7.5
METRIC = "balanced_accuracy"
MEANS = ("val", "test", "energy_j", "duration_s", "epochs")
WAYS = ("scratch", "full", "head", "head, features each epoch")


class Found(NamedTuple):
    """One training: performance of its best epoch on validation and on the test split, and what it took."""

    architecture: str
    way: str
    seed: int
    val: float
    test: float
    energy_j: float
    duration_s: float
    epochs: int


def main() -> None:
    """Train all, and write what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    source, target = (
        _data(name, given.work / f"data{number}") for number, name in enumerate((given.source, given.target))
    )
    found = [one for name in ARCHITECTURES for one in trainings(name, source, target, given.work)]
    rows = summary(found)
    document = {
        "schema_version": 1,
        "source": source.info.name,
        "target": target.info.name,
        "images": len(target.splits["train"][1]),
        **{
            "image_size_px": PX,
            "epochs": EPOCHS,
            "watts_per_core": WATTS,
            "metric": METRIC,
            "cpu": facts().cpu,
            "threads": 1,
        },
        "trainings": [one._asdict() for one in found],
        "summary": rows,
    }
    write_text(given.out, json.dumps(document, indent=1) + "\n")
    print(as_markdown(rows))


def _data(name: str, folder: Path) -> Dataset:
    prepare(DataSettings(source=name, image_size_px=PX), folder, lambda done, total: None)
    return load(folder)


def trainings(name: str, source: Dataset, target: Dataset, work: Path) -> Iterator[Found]:
    """An architecture in every way, with every seed."""
    weights = work / f"{name}-source"
    trained(name, "scratch", source, weights, 0, "full")
    for seed in SEEDS:
        for way in WAYS:
            start = "scratch" if way == "scratch" else str(weights / "checkpoint.safetensors")
            mode = "head" if way.startswith("head") else "full"
            taken_apart, frozen = way != WAYS[-1], trainer.frozen
            if not taken_apart:
                trainer.frozen = lambda *_: None  # type: ignore[assignment]
            try:
                result = trained(name, start, target, work / f"{name}-{way}-{seed}", seed, mode)
            finally:
                trainer.frozen = frozen
            yield _found(result, name, way, seed)


def trained(name: str, weights: str, data: Dataset, folder: Path, seed: int, mode: str) -> TrainResult:
    """One training, by itself."""
    recipe = Recipe.model_validate(
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
        weights=weights,
    )
    folder.mkdir(parents=True, exist_ok=True)
    return train(
        TrainingTask(
            candidate, data, recipe, folder, f"{name} {weights} {mode} {seed}", 1, False, lambda *_: None
        )
    )


def _found(result: TrainResult, name: str, way: str, seed: int) -> Found:
    performance, cost = result.performance, result.cost
    figures = (
        performance[f"val_{METRIC}"].value,
        performance[METRIC].value,
        cost.energy_j.value,
        cost.duration_s.value,
    )
    val, test, energy_j, duration_s = (figure for figure in figures if figure is not None)
    return Found(name, way, seed, val, test, energy_j, duration_s, len(result.epochs))


def summary(found: list[Found]) -> list[dict[str, Any]]:
    """Means over the seeds, and PePR over the ways of one architecture."""
    rows = []
    for name in dict.fromkeys(one.architecture for one in found):
        scores: dict[str, list[float]] = {}
        for seed in SEEDS:
            same = [one for one in found if (one.architecture, one.seed) == (name, seed)]
            bound = bounds([one.energy_j for one in same])
            for one in same:
                scores.setdefault(one.way, []).append(float(pepr(one.val, normalised(one.energy_j, bound))))
        for way in WAYS:
            some = [one for one in found if (one.architecture, one.way) == (name, way)]
            means = {key: statistics.fmean(getattr(one, key) for one in some) for key in MEANS}
            rows.append({"architecture": name, "way": way, **means, "pepr": statistics.fmean(scores[way])})
    return rows


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """The summary as a table."""
    lines = [
        "| architecture | way | validation | test | energy, J | epochs | PePR |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        figures = f"{row['val']:.3f} | {row['test']:.3f} | {row['energy_j']:.1f} | {row['epochs']:.1f} | {row['pepr']:.3f}"
        lines.append(f"| {row['architecture']} | {row['way']} | {figures} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
