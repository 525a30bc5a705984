"""Small synthetic records of a run, without training or measuring, and the published results of the paper."""

from __future__ import annotations

import csv
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import tiny_bundle

from pepr_edge import __version__
from pepr_edge.field.report_checksum import with_checksum
from pepr_edge.recipe import Recipe
from pepr_edge.recipe.toml import parse
from pepr_edge.recipe.variants import load as load_variant
from pepr_edge.records import (
    Artifact,
    BenchResult,
    Candidate,
    DataInfo,
    DeviceProfile,
    Environment,
    Estimate,
    FieldReport,
    Flips,
    Method,
    Parity,
    Preprocess,
    Quantity,
    RunInfo,
    Split,
    SplitInfo,
    TrainCost,
    TrainResult,
    Validity,
)
from pepr_edge.run_dir.keys import STAGE_REVISIONS, export_key, profile_key, train_key
from pepr_edge.run_dir.layout import candidate_folder
from pepr_edge.run_dir.reader import Results, VariantState
from pepr_edge.run_dir.store import write_record, write_text
from pepr_edge.scoring.intervals import wilson
from pepr_edge.scoring.percentiles import percentiles

N_VAL = 200
RECIPE = """
name = "made"
[device]
name = "a made device"
[candidates]
architectures = ["small", "middle", "large"]
[export]
variants = ["fp32"]
"""


def paper(name: str) -> list[dict[str, str]]:
    """The rows of a table of the paper's figures; skips where they are absent."""
    folder = (
        Path(__file__).resolve().parents[1] / os.environ.get("PEPR_TEST_DATA", "../shared") / "paper"
    ).resolve()
    if not (folder / name).is_file():
        pytest.skip(f"no figures of the paper at {folder}: set PEPR_TEST_DATA")
    with open(folder / name, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def digest(text: str) -> str:
    """A sha256 that differs by text."""
    return hashlib.sha256(text.encode()).hexdigest()


def recipe(more: str = "") -> Recipe:
    """A recipe, with more tables at its end."""
    return parse(RECIPE + more, Recipe, "made.toml")


def candidate(name: str) -> Candidate:
    """A candidate of two classes on grey images."""
    return Candidate(architecture=name, image_size_px=64, in_channels=1, num_classes=2)


def info(*names: str) -> RunInfo:
    """run.json of these candidates."""
    splits: dict[Split, SplitInfo] = {
        "train": SplitInfo(images=900, class_counts=(500, 400)),
        "val": SplitInfo(images=N_VAL, class_counts=(N_VAL // 2, N_VAL // 2)),
    }
    data = DataInfo(
        name="made",
        format="phantom",
        sha256=digest("data"),
        labels=("no", "yes"),
        channels=1,
        splits=splits,
        majority_baseline=0.5,
    )
    return RunInfo(
        key="k",
        recipe="made",
        status="finished",
        candidates=tuple(map(candidate, names)),
        data=data,
        pepr_edge=__version__,
        revisions=dict(STAGE_REVISIONS),
    )


def trained(
    name: str, joules: float | None = 100.0, method: Method = "measured", key: str = ""
) -> TrainResult:
    """A training that cost so much energy."""
    measured, none = Quantity(value=60.0, method="measured"), Quantity(value=None, method="unavailable")
    energy = none if joules is None else Quantity(value=joules, method=method)
    cost = dict.fromkeys(TrainCost.model_fields, measured) | {
        "energy_j": energy,
        "gpu_peak_memory_bytes": none,
    }
    return TrainResult(
        key=key,
        candidate=candidate(name),
        preprocess=Preprocess(channels=1, image_size_px=64, mean=(0.5,), std=(0.25,)),
        num_params=1000,
        checkpoint="checkpoint.safetensors",
        checkpoint_sha256=digest(f"checkpoint {name}"),
        data_sha256=digest("data"),
        protocol="default",
        mode="full",
        layout="contiguous",
        precision="float32",
        probes=(),
        epochs=(),
        best_epoch=1,
        stopped_early=False,
        performance_metric="accuracy",
        performance={},
        cost=TrainCost(**cost),
        environment=Environment(python="3.11", platform="Linux", cpu="made", cores=2, threads=2, versions={}),
        seed=0,
    )


def artifact(name: str, right: int = 180, key: str = "") -> Artifact:
    """An ONNX file that decides so many of the N_VAL validation images rightly."""
    value = right / N_VAL
    split = Estimate(value=value, ci=wilson(right, N_VAL), split="val", n=N_VAL)
    return Artifact(
        key=key,
        candidate=candidate(name),
        variant="fp32",
        path="model.onnx",
        sha256=digest(f"onnx {name}"),
        size_bytes=2_000_000,
        opset=18,
        exporter="dynamo",
        producer="made",
        dynamic_batch=True,
        parity=Parity(images=8, batches=(1,), max_abs_diff=1e-6, tolerance=1e-3, passed=True),
        flips=Flips(count=0, n=N_VAL, ci=(0.0, 0.05)),
        performance={
            "val_accuracy": split,
            "accuracy": Estimate(value=value - 0.01, ci=(0.0, 1.0), split="test", n=N_VAL),
        },
        performance_before={},
        duration_s=1.0,
    )


def profile(
    name: str, latency_s: float = 0.01, memory_bytes: int | None = 100_000_000, key: str = ""
) -> DeviceProfile:
    """The profile of an artifact whose latencies are all the same, 128 of them."""
    changes = {"key": key, "latencies_s": (latency_s,) * 128, "peak_memory_bytes": memory_bytes}
    return tiny_bundle.profile(digest(f"onnx {name}")).model_copy(update=changes)


def entry(
    folder: Path,
    name: str,
    *,
    right: int = 180,
    joules: float | None = 100.0,
    method: Method = "measured",
    latency_s: float = 0.01,
    memory_bytes: int | None = 100_000_000,
) -> VariantState:
    """Write one finished candidate and its predictions, which are wrong on the last validation images."""
    place = folder / candidate(name).id / "fp32"
    place.mkdir(parents=True)
    labels = np.arange(N_VAL) % 2
    decided = np.where(np.arange(N_VAL) < right, labels, 1 - labels)
    logits = np.array([[1.0, 0.0, -1.0], [0.0, 1.0, -1.0]], dtype=np.float32)
    np.savez(place / "predictions.npz", val=logits[decided], val_labels=labels)
    measured = profile(name, latency_s, memory_bytes)
    return VariantState(
        candidate(name), "fp32", place, trained(name, joules, method), artifact(name, right), measured, None
    )


def results(folder: Path, *entries: VariantState, more: str = "") -> Results:
    """A run of these entries; `more` goes into its recipe."""
    return Results(folder, recipe(more), info(*(entry.candidate.architecture for entry in entries)), entries)


def write_run(run: Path, *names: str) -> Path:
    """Write a run directory of these candidates; the first went through all stages but has no predictions."""
    made, of_run = info(*names), recipe()
    write_record(run / "run.json", made)
    listed = ", ".join(f'"{name}"' for name in names)
    write_text(run / "recipe.toml", RECIPE.replace('"small", "middle", "large"', listed))
    folder = candidate_folder(run, made.candidates[0])
    of_training = trained(names[0], key=train_key(made.candidates[0], of_run, made.data))
    model = f"onnx {names[0]}"
    of_export = artifact(names[0], key=export_key(of_training, load_variant("fp32"), of_run))
    of_export = of_export.replace(size_bytes=len(model))
    of_device = profile(names[0], key=profile_key(of_export, of_run, rules="full"))
    write_record(folder / "train.json", of_training)
    write_record(folder / "fp32" / "export.json", of_export)
    write_record(folder / "fp32" / "profile.json", of_device)
    # The files whose checksums the records hold.
    write_text(folder / of_training.checkpoint, f"checkpoint {names[0]}")
    write_text(folder / "fp32" / "model.onnx", model)
    return run


def bench(
    name: str,
    latency_s: float = 0.01,
    memory_bytes: int | None = 100_000_000,
    *,
    samples: int = 128,
    valid: bool = True,
    threads: int = 1,
    **changes: object,
) -> BenchResult:
    """What one device measured of an artifact."""
    latencies_s = (latency_s,) * samples
    made = BenchResult(
        bundle=name,
        artifact_sha256=digest(f"onnx {name}"),
        runtime="onnxruntime",
        provider_used="CPUExecutionProvider",
        threads=threads,
        scenario="single_stream",
        rules="quick",
        validity=Validity(valid=valid, reasons=() if valid else ("drift: made",)),
        latencies_s=latencies_s,
        percentiles_s=percentiles(latencies_s),
        import_s=0.1,
        load_s=0.1,
        first_s=0.1,
        peak_memory_bytes=memory_bytes,
        memory_stages_bytes={},
        cpu_s_per_inference=None,
        energy_j_per_inference=None,
        selftest=None,
    )
    return made.model_copy(update=changes)


def field_report(
    *measured: BenchResult,
    cpu: str = "made cpu",
    partial: bool = False,
    emulated: bool = False,
    **device: object,
) -> FieldReport:
    """The report of one device, with its checksum."""
    facts = tiny_bundle.profile(digest("any")).device.model_copy(update={"cpu": cpu, **device})
    return with_checksum(FieldReport(emulated=emulated, partial=partial, device=facts, results=measured))
