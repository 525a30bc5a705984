"""Measure what techniques of fine-tuning gain: the same training with and without each, by seed.

    python tools/bench_techniques.py ONE.npz OTHER.npz --weights FILE --work DIR \
        --out docs/benchmarks/techniques.json

tf_efficientnet_lite0 is trained from its ImageNet weights (FILE, as `pepr-edge weights import` writes it) on
the own splits of each set, with the settings that the images decide. "plain" is the training as pepr_edge
does it; each other one differs in a single technique:

- lower rate: the backbone learns at a tenth of the classifier's rate;
- no decay of norms: weight decay leaves out normalisation and biases, which are vectors;
- average: validation and the kept weights are those of an exponential moving average over steps (timm's
  ModelEmaV3; decay such that it spans an epoch);
- gradual: for the first tenth of the steps the classifier alone is trained;
- no warm-up: the rate begins at its highest, and falls to zero by a cosine, with constant momentum (one cycle
  changes it, too);
- no augmentation: the images are never changed.

They are compared by the epoch that is kept, on validation and on test, with plain's of the same seed.
"gradual" and the augmentation are settings of pepr_edge; the others are not: this script puts them into the
trainer. Energies are CPU seconds times declared watts. Files of finished trainings in DIR are used again.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from single_training import (
    METRIC,
    WATTS,
    AveragingTrainer,
    candidate_for,
    images_for,
    recipe_by_images,
    train_once,
)
from torch import nn

from pepr_edge import __version__
from pepr_edge.device.facts import here
from pepr_edge.recipe.settings import ResolvedRecipe, ResolvedTrain
from pepr_edge.records import Epoch, TrainResult
from pepr_edge.run_dir.store import write_text
from pepr_edge.train import loop, session
from pepr_edge.train.models import head_parameters
from pepr_edge.train.trainer import CostTracker

ARCHITECTURE = "tf_efficientnet_lite0"
SEEDS = 3
BACKBONE_RATE = 0.1
GRADUAL = "gradual"
NOT_AUGMENTED = "no augmentation"

Schedule = torch.optim.lr_scheduler.OneCycleLR


def grouped(settings: ResolvedTrain, model: nn.Module, lower_rate: bool = False) -> torch.optim.Optimizer:
    """Return AdamW with two groups of parameters that differ in their rate, or in their weight decay."""
    head = {id(parameter) for parameter in head_parameters(model)}
    first, second = [], []
    for parameter in model.parameters():
        is_second = id(parameter) in head if lower_rate else parameter.ndim < 2
        (second if is_second else first).append(parameter)
    rate = settings.learning_rate
    groups = [
        {"params": first, "lr": rate * BACKBONE_RATE if lower_rate else rate},
        {"params": second, "weight_decay": settings.weight_decay if lower_rate else 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, weight_decay=settings.weight_decay, fused=True)


def schedule_of_groups(optimiser: torch.optim.Optimizer, _: float, **settings: Any) -> Schedule:
    """Return the one-cycle schedule, each group of parameters with its own highest rate."""
    return Schedule(optimiser, [group["lr"] for group in optimiser.param_groups], **settings)


class AveragedTrainer(AveragingTrainer):
    """A trainer that evaluates and keeps the average."""

    def _validate(self, cost_tracker: CostTracker) -> NDArray[np.float32]:
        pixels = self._data.splits["val"][0]
        return loop.predict(self._average.module, pixels, self._spec, self.mode, cost_tracker.tick)

    def _add_epoch(self, epoch: Epoch) -> None:
        trained = self.model
        self.model = self._average.module
        super()._add_epoch(epoch)
        self.model = trained


@contextmanager
def lower_rate() -> Iterator[None]:
    """Put groups of two rates into the training step."""
    with (
        patch.object(loop, "optimiser", partial(grouped, lower_rate=True)),
        patch.object(torch.optim.lr_scheduler, "OneCycleLR", schedule_of_groups),
    ):
        yield


def falling_rate(optimiser: torch.optim.Optimizer, _: float, total_steps: int, **__: Any) -> Any:
    """Return a schedule without the warm-up of one cycle."""
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, total_steps)


TECHNIQUES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "plain": nullcontext,
    "lower rate": lower_rate,
    "no decay of norms": lambda: patch.object(loop, "optimiser", grouped),
    "average": lambda: patch.object(session, "Trainer", AveragedTrainer),
    GRADUAL: nullcontext,
    "no warm-up": lambda: patch.object(torch.optim.lr_scheduler, "OneCycleLR", falling_rate),
    NOT_AUGMENTED: nullcontext,
}


def main() -> None:
    """Train all that is missing, and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="+", help=".npz files in MedMNIST's format")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    arguments = parser.parse_args()
    trainings = []
    for seed in range(arguments.seeds):
        for source in arguments.sets:
            for name in TECHNIQUES:
                folder = arguments.work / Path(source).stem
                trained = _trained(name, _recipe(name, source, seed, arguments.weights), folder)
                trainings.append(
                    {"data": Path(source).stem, "seed": seed, "technique": name, **_row(trained)}
                )
                print(trainings[-1], flush=True)
    rows = summary(trainings)
    document = {
        "schema_version": 1,
        "architecture": ARCHITECTURE,
        "metric": METRIC,
        "watts_per_core": WATTS,
        "machine": here().model_dump(mode="json"),
        "pepr_edge": __version__,
        "trainings": trainings,
        "summary": rows,
    }
    write_text(arguments.out, json.dumps(document, indent=1) + "\n")
    print(as_markdown(rows))


def _recipe(technique: str, source: str, seed: int, weights: Path) -> ResolvedRecipe:
    recipe = recipe_by_images(source, seed, [ARCHITECTURE], str(weights.resolve()))
    changes: dict[str, Any] = {"mode": GRADUAL if technique == GRADUAL else "full"}
    if technique == NOT_AUGMENTED:
        changes["augment"] = "none"
    return recipe.model_copy(update={"train": recipe.train.model_copy(update=changes)})


def _trained(technique: str, recipe: ResolvedRecipe, folder: Path) -> TrainResult:
    """Train with a technique, unless the folder has it."""
    data = images_for(recipe, ARCHITECTURE, folder, "pretrained")
    candidate = candidate_for(recipe, ARCHITECTURE, data, "pretrained")
    own = folder / f"{technique}-{recipe.seed}"
    with TECHNIQUES[technique]():
        return train_once(technique, candidate, recipe, data, own, str(recipe.candidates.weights))


def _row(trained: TrainResult) -> dict[str, Any]:
    return {
        "val": trained.performance[f"val_{METRIC}"].value,
        "test": trained.performance[METRIC].value,
        "energy_j": trained.cost.energy_j.value,
        "epochs": len(trained.epochs),
    }


def summary(trainings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return, by technique and set, and over the sets, the mean gain over plain and its standard error."""
    plain = {(row["data"], row["seed"]): row for row in trainings if row["technique"] == "plain"}
    rows = []
    for technique in [name for name in TECHNIQUES if name != "plain"]:
        own = [row for row in trainings if row["technique"] == technique]
        for data in [*dict.fromkeys(row["data"] for row in own), "all"]:
            pairs = [(row, plain[row["data"], row["seed"]]) for row in own if data in (row["data"], "all")]
            row: dict[str, Any] = {"technique": technique, "set": data, "pairs": len(pairs)}
            for split in ("val", "test"):
                gains = [one[split] - other[split] for one, other in pairs]
                row[f"{split}_gain"] = statistics.fmean(gains)
                error = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else None
                row[f"{split}_gain_se"] = error
            row["energy_ratio"] = statistics.fmean(
                one["energy_j"] / other["energy_j"] for one, other in pairs
            )
            rows.append(row)
    return rows


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """Return the summary as a table."""
    lines = [
        "| technique | set | pairs | gain on validation | gain on test | energy, times |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        gains = []
        for split in ("val", "test"):
            error = row[f"{split}_gain_se"]
            gains.append(f"{row[f'{split}_gain']:+.3f}" + ("" if error is None else f" (± {error:.3f})"))
        start = f"| {row['technique']} | {row['set']} | {row['pairs']} | "
        lines.append(f"{start}{gains[0]} | {gains[1]} | {row['energy_ratio']:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
