"""Measure which weights of a training to keep: of which epoch, its own ones or an average over steps.

    python tools/bench_kept_weights.py SET... --architectures resnet18d,resnet14t --work DIR \
        --out docs/benchmarks/kept_weights.json

Each architecture is trained from scratch with the settings that the images decide, without an early stop.
After each epoch the weights, and their exponential moving average over the steps of about an epoch, predict
validation and test. A way chooses one epoch by validation:

- best: the highest accuracy of all epochs;
- settled: the highest of the last quarter of the epochs;
- last: the last epoch;
- loss: the lowest loss of all epochs.

The choice is made on a half of validation and judged on the other half, since an epoch looks better on the
images that selected it: the mean over random halves. Test figures, with the choice on the whole of
validation, stand beside it. Finished trainings in DIR are used again.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from single_training import AveragingTrainer, candidate_for, images_for, recipe_by_images, train_once

from pepr_edge import __version__
from pepr_edge.data import Dataset
from pepr_edge.device.facts import here
from pepr_edge.recipe.settings import ResolvedRecipe
from pepr_edge.run_dir.store import write_text
from pepr_edge.scoring.learning_curve import first_settled
from pepr_edge.scoring.metrics import metric
from pepr_edge.tasks import task_of
from pepr_edge.train import loop, session
from pepr_edge.train.cost_tracker import CostTracker
from pepr_edge.train.trainer import Progress

Logits = NDArray[np.float32]
Labels = NDArray[np.int64]
Measure = Callable[[Logits, Labels], float]

KINDS = ("own", "average")
SPLITS = ("val", "test")
FIGURES = ("half_accuracy", "half_balanced_accuracy", "test_accuracy", "test_balanced_accuracy")
HALVES = 60
RECORDED = "recorded.npz"
# What the others are compared with: what pepr_edge 0.1.0 kept.
REFERENCE = "own, best"


class RecordingTrainer(AveragingTrainer):
    """A trainer that records the logits of each epoch, of its own weights and of the averaged ones."""

    recorded: dict[str, list[Logits]]

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        RecordingTrainer.recorded = {f"{kind}_{split}": [] for kind in KINDS for split in SPLITS}

    def train_one_epoch(self, cost_tracker: CostTracker, progress: Progress) -> None:
        """Train an epoch, then predict both splits with both models."""
        super().train_one_epoch(cost_tracker, progress)
        for kind, model in zip(KINDS, (self.model, self._average.module), strict=True):
            for split in SPLITS:
                pixels = self._data.splits[split][0]
                logits = loop.predict(model, pixels, self._spec, self.mode, cost_tracker.tick)
                self.recorded[f"{kind}_{split}"].append(logits)


def main() -> None:
    """Train all that is missing, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="+", help="images, as of `pepr-edge run --data`")
    parser.add_argument("--architectures", type=lambda text: text.split(","), required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for seed in range(arguments.seeds):
        for source in arguments.sets:
            for architecture in arguments.architectures:
                rows += one_training(source, seed, architecture, arguments.work)
    document = {
        "schema_version": 1,
        "machine": here().model_dump(mode="json"),
        "pepr_edge": __version__,
        "rows": rows,
        "summary": summary(rows),
    }
    write_text(arguments.out, json.dumps(document, indent=1) + "\n")
    print(as_markdown(document["summary"]))


def one_training(source: str, seed: int, architecture: str, work: Path) -> list[dict[str, Any]]:
    """Train unless the folder has it; return a row for each way to choose."""
    name = Path(source).stem
    recipe = recipe_by_images(source, seed, [architecture], "scratch")
    settings = recipe.train.model_copy(update={"patience": recipe.train.epochs})
    recipe = recipe.model_copy(update={"train": settings})
    data = images_for(recipe, architecture, work / name)
    recorded = _recorded(recipe, architecture, data, work / name / f"{architecture}-{seed}")
    start = {"data": name, "architecture": architecture, "seed": seed, "epochs": len(recorded["own_val"])}
    rows = []
    for kind in KINDS:
        for way, figures in _judge(recorded, kind, data).items():
            rows.append({**start, "way": f"{kind}, {way}", **figures})
    return rows


def _recorded(
    recipe: ResolvedRecipe, architecture: str, data: Dataset, folder: Path
) -> dict[str, NDArray[np.float32]]:
    """Return the logits of each epoch, of a training that the folder has or that is made now."""
    candidate = candidate_for(recipe, architecture, data, "scratch")
    RecordingTrainer.recorded = {}
    with patch.object(session, "Trainer", RecordingTrainer):
        train_once("recorded", candidate, recipe, data, folder)
    if RecordingTrainer.recorded:
        arrays = {key: np.stack(logits) for key, logits in RecordingTrainer.recorded.items()}
        np.savez(folder / RECORDED, **arrays)  # type: ignore[arg-type]
    with np.load(folder / RECORDED) as stored:
        return {key: stored[key] for key in stored.files}


def _judge(recorded: dict[str, Logits], kind: str, data: Dataset) -> dict[str, dict[str, float]]:
    """Return the figures of each way to choose an epoch."""
    labels = {split: np.asarray(data.splits[split][1]) for split in SPLITS}
    positive, task = data.info.positive_index, data.info.kind
    measures = {name: metric(name, positive, task) for name in ("accuracy", "balanced_accuracy")}
    loss = task_of(task).loss()

    def ratings(chosen: NDArray[np.intp]) -> list[tuple[float, float]]:
        """Return accuracy and negative loss of each epoch on some validation images."""
        truth = labels["val"][chosen]
        return [
            (
                measures["accuracy"](logits[chosen], truth),
                -float(loss(torch.from_numpy(logits[chosen]), torch.from_numpy(truth))),
            )
            for logits in recorded[f"{kind}_val"]
        ]

    images = len(labels["val"])
    rng = np.random.default_rng(0)
    halves: dict[str, list[dict[str, float]]] = {}
    for _ in range(HALVES):
        order = rng.permutation(images)
        chooses, judges = order[: images // 2], order[images // 2 :]
        for way, epoch in ways(ratings(chooses)).items():
            logits = recorded[f"{kind}_val"][epoch][judges]
            judged = {f"half_{name}": of(logits, labels["val"][judges]) for name, of in measures.items()}
            halves.setdefault(way, []).append(judged)
    figures: dict[str, dict[str, float]] = {}
    for way, epoch in ways(ratings(np.arange(images))).items():
        logits = recorded[f"{kind}_test"][epoch]
        figures[way] = {"epoch": epoch + 1}
        figures[way] |= {name: statistics.fmean(one[name] for one in halves[way]) for name in halves[way][0]}
        figures[way] |= {f"test_{name}": of(logits, labels["test"]) for name, of in measures.items()}
    return figures


def ways(ratings: Sequence[tuple[float, float]]) -> dict[str, int]:
    """Return the epoch, from 0, that each way chooses by accuracy and negative loss."""
    epochs = range(len(ratings))
    return {
        "best": max(epochs, key=ratings.__getitem__),
        "settled": max(epochs[first_settled(len(ratings)) - 1 :], key=ratings.__getitem__),
        "last": epochs[-1],
        "loss": max(epochs, key=lambda epoch: ratings[epoch][1]),
    }


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return, by way and set, the mean figures, and the gain over the reference with its standard error."""
    reference = {_training(row): row for row in rows if row["way"] == REFERENCE}
    found = []
    for way in dict.fromkeys(row["way"] for row in rows):
        for data in [*dict.fromkeys(row["data"] for row in rows), "all"]:
            own = [row for row in rows if row["way"] == way and data in (row["data"], "all")]
            summed: dict[str, Any] = {"way": way, "set": data, "trainings": len(own)}
            for name in FIGURES:
                gains = [row[name] - reference[_training(row)][name] for row in own]
                error = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else None
                summed[name] = {
                    "mean": statistics.fmean(row[name] for row in own),
                    "lowest": min(row[name] for row in own),
                    "gain": statistics.fmean(gains),
                    "gain_se": error,
                }
            found.append(summed)
    return found


def _training(row: dict[str, Any]) -> tuple[str, str, int]:
    return row["data"], row["architecture"], row["seed"]


def as_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return the gains over all sets as a table."""
    lines = [
        "| weights, epoch | validation: accuracy | balanced accuracy | test: accuracy | balanced accuracy |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        if row["set"] == "all" and row["way"] != REFERENCE:
            cells = [f"{row[name]['gain']:+.3f} ({row[name]['gain_se'] or 0:.3f})" for name in FIGURES]
            lines.append(f"| {row['way']} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
