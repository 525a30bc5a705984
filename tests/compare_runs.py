"""Run directories for comparisons with generated records: no candidate is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import made_records
import numpy as np
import tiny_bundle
from numpy.typing import NDArray

from pepr_edge import __version__
from pepr_edge.recipe import Recipe
from pepr_edge.recipe.toml import parse
from pepr_edge.recipe.variants import load as load_variant
from pepr_edge.records import (
    Candidate,
    DataInfo,
    Estimate,
    Failure,
    Method,
    Quantity,
    RunInfo,
    Split,
    SplitInfo,
    TrainResult,
)
from pepr_edge.run_dir.keys import STAGE_REVISIONS, export_key, profile_key, train_key
from pepr_edge.run_dir.layout import candidate_folder, repeat_folder
from pepr_edge.run_dir.store import write_record, write_text

# From the zoo: efficient or not, CNN or other, small or large.
ARCHITECTURES = (
    "mobilenetv2_050",
    "dla46_c",
    "efficientnet_b0",
    "resnet14t",
    "mnasnet_100",
    "resnet18d",
    "botnet26t_256",
    "densenet121",
)
RECIPE = """
name = "made"
seed = {seed}
[device]
name = "{device}"
[candidates]
architectures = [{names}]
weights = "{weights}"
[data]
fraction = {fraction}
[export]
variants = ["{variant}"]
[score]
performance = "{metric}"
"""


@dataclass(frozen=True)
class Made:
    """The properties of a run. `failed` names candidates that failed in training, `todo` those not begun.

    `begun` are the weights that "auto" found for the candidates, in turn, `files` the hashes of the weights
    files that they began with. `repeats` are the test accuracies
    of each candidate with further seeds.
    """

    weights: str = "scratch"
    fraction: float = 1.0
    seed: int = 0
    variant: str = "fp32"
    metric: str = "accuracy"
    method: Method = "measured"
    data: str = "made"
    device: str = "a made device"
    failed: tuple[str, ...] = ()
    todo: tuple[str, ...] = ()
    begun: tuple[str, ...] = ()
    files: tuple[str | None, ...] = ()
    repeats: tuple[float, ...] = ()
    more: str = ""
    profiled: bool = True


def run(folder: Path, accuracies: Mapping[str, float], made: Made | None = None, cost: float = 1.0) -> Path:
    """Write a run directory.

    Args:
        folder: to write to.
        accuracies: test accuracy by architecture.
        made: other properties.
        cost: factor of all energies, which grow from candidate to candidate.
    """
    made = made or Made()
    names = (*accuracies, *made.failed, *made.todo)
    text = RECIPE.format(
        names=", ".join(f'"{name}"' for name in names),
        weights=made.weights,
        fraction=made.fraction,
        seed=made.seed,
        variant=made.variant,
        metric=made.metric,
        device=made.device,
    )
    text += made.more
    if made.repeats:
        text += f"[train]\nrepeats = {1 + len(made.repeats)}\n"
    recipe = parse(text, Recipe, "made.toml")
    begun = cycle(made.begun or (made.weights,))
    files = cycle(made.files or (None,))
    info = RunInfo(
        key="k",
        recipe="made",
        status="running" if made.todo else "finished",
        candidates=tuple(
            made_records.candidate(name).model_copy(
                update={"weights": next(begun), "weights_sha256": next(files)}
            )
            for name in names
        ),
        data=_data(made.data, made.fraction),
        pepr_edge=__version__,
        revisions=dict(STAGE_REVISIONS),
    )
    write_record(folder / "run.json", info)
    write_text(folder / "recipe.toml", text)
    for number, candidate in enumerate(info.candidates):
        key = train_key(candidate, recipe, info.data)
        if candidate.architecture in made.failed:
            failure = Failure(key=key, candidate=candidate, stage="train", reason="the pixels ran out")
            write_record(candidate_folder(folder, candidate) / "failure.json", failure)
        elif candidate.architecture in accuracies:
            trained = _trained(candidate, made, key, accuracies[candidate.architecture], cost, number)
            _write(candidate_folder(folder, candidate), trained, recipe, made, number)
            for repeat, accuracy in enumerate(made.repeats, start=1):
                key = train_key(candidate, recipe, info.data, repeat=repeat)
                trained = _trained(candidate, made, key, accuracy, cost, number + repeat)
                of_seed = {"seed": made.seed + repeat, "num_params": 1_000_000 * (number + 1)}
                trained = trained.model_copy(update=of_seed)
                _write_training(repeat_folder(candidate_folder(folder, candidate), repeat), trained)
    return folder


def _data(name: str, fraction: float) -> DataInfo:
    images = round(400 * fraction)
    splits: dict[Split, SplitInfo] = {
        split: SplitInfo(images=count, class_counts=(count // 2, count - count // 2))
        for split, count in (("train", images), ("val", 100), ("test", 100))
    }
    return DataInfo(
        name=name,
        format="phantom",
        sha256=made_records.digest(name),
        labels=("no", "yes"),
        channels=1,
        fraction=fraction,
        splits=splits,
        majority_baseline=0.5,
    )


def _trained(
    candidate: Candidate, made: Made, key: str, accuracy: float, cost: float, number: int
) -> TrainResult:
    joules = cost * (100.0 + 10 * number)
    trained = made_records.trained(candidate.architecture, joules, made.method, key=key)
    costs = {
        "co2eq_g": Quantity(value=joules / 10, method="declared"),
        "duration_s": Quantity(value=joules / 7, method="measured"),
    }
    estimate = Estimate(value=accuracy, ci=(0.0, 1.0), split="test", n=100)
    changes = {
        "candidate": candidate,
        "num_params": 1_000_000 * (number + 1),
        "performance": dict.fromkeys(("accuracy", "balanced_accuracy", "auroc"), estimate),
        "cost": trained.cost.model_copy(update=costs),
    }
    return trained.model_copy(update=changes)


def _write(folder: Path, trained: TrainResult, recipe: Recipe, made: Made, number: int) -> None:
    """Write the records of one candidate, and files with the contents whose checksums the records hold."""
    name = trained.candidate.architecture
    variant = load_variant(made.variant)
    model = f"onnx {name}"
    artifact = made_records.artifact(name, key=export_key(trained, variant, recipe))
    changes = {
        "candidate": trained.candidate,
        "variant": variant.name,
        "performance": trained.performance,
        "size_bytes": len(model),
    }
    artifact = artifact.model_copy(update=changes)
    _write_training(folder, trained)
    write_record(folder / variant.name / "export.json", artifact)
    if made.profiled:
        measured = {
            "key": profile_key(artifact, recipe),
            "latencies_s": (0.01 * (number + 1),) * 128,
            "peak_memory_bytes": (number + 1) * 50_000_000,
        }
        profile = tiny_bundle.profile(artifact.sha256).model_copy(update=measured)
        write_record(folder / variant.name / "profile.json", profile)
    write_text(folder / variant.name / "model.onnx", model)
    accuracy = trained.performance["accuracy"].value
    np.savez(folder / variant.name / "predictions.npz", **predictions(accuracy))


def _write_training(folder: Path, trained: TrainResult) -> None:
    write_record(folder / "train.json", trained)
    write_text(folder / trained.checkpoint, f"checkpoint {trained.candidate.architecture}")


def predictions(accuracy: float) -> dict[str, NDArray[np.float32]]:
    """Return logits and labels of 100 images with this accuracy; images of class 1 are recognised first."""
    labels = np.repeat([1, 0], 50)
    decisions = np.where(np.arange(100) < round(100 * accuracy), labels, 1 - labels)
    logits = np.eye(2, dtype=np.float32)[decisions]
    logits += np.linspace(0, 0.5, 200, dtype=np.float32).reshape(100, 2)
    arrays = {}
    for split in ("val", "test"):
        arrays[split] = logits
        arrays[f"{split}_labels"] = labels.astype(np.float32)
    return arrays


def spread(start: float, *, step: float = 0.01, count: int = len(ARCHITECTURES)) -> dict[str, float]:
    """Return accuracies of the first architectures, which grow by a step."""
    return {name: start + step * number for number, name in enumerate(ARCHITECTURES[:count])}
