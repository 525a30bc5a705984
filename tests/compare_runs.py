"""Finished run directories for comparisons: every candidate's records are made, none is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
)
from pepr_edge.run_dir.keys import candidate_folder, export_key, profile_key, train_key
from pepr_edge.run_dir.store import write_record, write_text

# Of the zoo: efficient and not, CNN and other, small and large.
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
    """How a run was made. `failed` names the candidates that failed in training, `todo` those that were not begun."""

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
    more: str = ""
    profiled: bool = True


def run(folder: Path, accuracies: Mapping[str, float], made: Made | None = None, cost: float = 1.0) -> Path:
    """Write a run of these test accuracies by architecture; `cost` multiplies the energies, each greater than that before it."""
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
    recipe = parse(text + made.more, Recipe, "made.toml")
    candidates = tuple(
        made_records.candidate(name).model_copy(update={"weights": made.weights}) for name in names
    )
    status: Any = "running" if made.todo else "finished"
    info = RunInfo(
        key="k",
        recipe="made",
        status=status,
        candidates=candidates,
        data=_data(made.data, made.fraction),
        pepr_edge=__version__,
    )
    write_record(folder / "run.json", info)
    write_text(folder / "recipe.toml", text + made.more)
    for number, candidate in enumerate(candidates):
        place = candidate_folder(folder, candidate)
        key = train_key(candidate, recipe, info.data)
        if candidate.architecture in made.failed:
            failure = Failure(key=key, candidate=candidate, stage="train", reason="the pixels ran out")
            write_record(place / "failure.json", failure)
        elif candidate.architecture in accuracies:
            _write(
                place,
                candidate,
                recipe,
                made,
                key,
                accuracies[candidate.architecture],
                cost * (100.0 + 10 * number),
                number,
            )
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


def _write(
    place: Path,
    candidate: Candidate,
    recipe: Recipe,
    made: Made,
    key: str,
    accuracy: float,
    joules: float,
    number: int,
) -> None:
    name = candidate.architecture
    performance = {
        metric: Estimate(value=accuracy, ci=(0.0, 1.0), split="test", n=100)
        for metric in ("accuracy", "balanced_accuracy", "auroc")
    }
    base = made_records.trained(name, joules, made.method, key=key)
    grams = Quantity(value=joules / 10, method="declared")
    cost = base.cost.model_copy(
        update={"co2eq_g": grams, "duration_s": Quantity(value=joules / 7, method="measured")}
    )
    changes = {
        "candidate": candidate,
        "num_params": 1_000_000 * (number + 1),
        "performance": performance,
        "cost": cost,
    }
    trained = base.model_copy(update=changes)
    variant = load_variant(made.variant)
    artifact = made_records.artifact(name, key=export_key(trained, variant, recipe))
    artifact = artifact.model_copy(
        update={"candidate": candidate, "variant": variant.name, "performance": performance}
    )
    write_record(place / "train.json", trained)
    write_record(place / variant.name / "export.json", artifact)
    if made.profiled:
        profile = tiny_bundle.profile(artifact.sha256).model_copy(
            update={
                "key": profile_key(artifact, recipe),
                "latencies_s": (0.01 * (number + 1),) * 128,
                "peak_memory_bytes": (number + 1) * 50_000_000,
            }
        )
        write_record(place / variant.name / "profile.json", profile)
    # The files whose checksums the records hold.
    write_text(place / trained.checkpoint, f"checkpoint {name}")
    write_text(place / variant.name / "model.onnx", f"onnx {name}")
    np.savez(place / variant.name / "predictions.npz", **predictions(accuracy))


def predictions(accuracy: float) -> dict[str, NDArray[np.float32]]:
    """Logits and labels of 100 images each: so many of them right as the accuracy says, those of class 1 first."""
    labels = np.repeat([1, 0], 50)
    chosen = np.where(np.arange(100) < round(100 * accuracy), labels, 1 - labels)
    logits = np.eye(2, dtype=np.float32)[chosen] + np.linspace(0, 0.5, 200, dtype=np.float32).reshape(100, 2)
    return {
        split: values
        for name in ("val", "test")
        for split, values in ((name, logits), (f"{name}_labels", labels.astype(np.float32)))
    }


def spread(start: float, *, step: float = 0.01, count: int = len(ARCHITECTURES)) -> dict[str, float]:
    """Accuracies of the first architectures, each greater than that before it."""
    return {name: start + step * number for number, name in enumerate(ARCHITECTURES[:count])}
