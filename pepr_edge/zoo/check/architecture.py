"""Check one architecture, in a process of its own: `check` is what that process runs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import timm
import torch
from torch import nn

from pepr_edge import zoo
from pepr_edge.errors import ExportError, ModelError, PeprError
from pepr_edge.export.artifact import facts
from pepr_edge.export.check import flips, onnx_logits, parity
from pepr_edge.export.convert import convert
from pepr_edge.export.export import FP32_PARITY
from pepr_edge.export.onnx_file import export
from pepr_edge.images.preprocess import to_tensor
from pepr_edge.measure.runtimes import RUNTIMES
from pepr_edge.recipe.variants import load as load_variant
from pepr_edge.records import Parity, SessionSettings
from pepr_edge.train.models import create
from pepr_edge.zoo.check.network import Network, candidate, train_a_little
from pepr_edge.zoo.check.row import CheckJob, CheckRow

VARIANT = "int8_static"
CALIBRATION_IMAGES = 16
WARM_UPS, ROUNDS, LEAST_ROUNDS, LATENCY_S = 3, 40, 12, 4.0
UNTESTED = "not in the zoo: treated by the general rules, and untested beyond this row"
OnStage = Callable[[str], None]


class _CheckProgress:
    """Holds the row open while it fills."""

    def __init__(self, row: CheckRow, tell: OnStage) -> None:
        self.row, self.tell = row, tell

    def stage(self, name: str) -> None:
        """A stage begins."""
        self.found(stage=name)
        self.tell(name)

    def found(self, **values: object) -> None:
        """Something is known."""
        self.row = self.row.model_copy(update=values)


def check(job: CheckJob, folder: Path, tell: OnStage) -> CheckRow:
    """All that can be found of an architecture; a failure is a row with its reason.

    Args:
        job: what is to be checked.
        folder: room for its ONNX files.
        tell: called with the name of each stage as it begins.
    """
    torch.set_num_threads(job.threads)
    torch.manual_seed(0)
    known = job.architecture in zoo.architectures()
    note = zoo.architectures()[job.architecture].quirk if known else UNTESTED
    progress = _CheckProgress(
        CheckRow(
            key=job.key,
            architecture=job.architecture,
            in_zoo=known,
            note=note,
            image_size_px=job.image_size_px,
        ),
        tell,
    )
    try:
        _check(job, progress, folder)
        progress.found(status="ok", stage="done")
    except PeprError as fault:
        progress.found(reason=str(fault))
    except Exception as fault:  # each architecture has its own way to fail
        progress.found(reason=f"{type(fault).__name__}: {' '.join(str(fault).split())[:300]}")
    return progress.row


def _check(job: CheckJob, progress: _CheckProgress, folder: Path) -> None:
    progress.stage("create")
    size_px, model = _create(job)
    progress.found(
        image_size_px=size_px, num_params=sum(parameter.numel() for parameter in model.parameters())
    )
    progress.stage("train")
    start = time.perf_counter()
    network = train_a_little(candidate(job.architecture, size_px), model)
    progress.found(train_s=time.perf_counter() - start, spread=network.spread)
    progress.stage("export")
    fp32, int8 = folder / "fp32.onnx", folder / "int8.onnx"
    _export(network, fp32, job.threads, progress)
    progress.stage("int8")
    _quantise(network, fp32, int8, job.threads, progress)
    progress.stage("latency")
    progress.found(**_latencies(network, fp32, int8))


def _create(job: CheckJob) -> tuple[int, nn.Module]:
    """The model, at the size asked for; of one that is not in the zoo, at the check's own size or else at its native one."""
    if job.image_size_px is not None:
        return job.image_size_px, create(candidate(job.architecture, job.image_size_px))
    with suppress(ModelError):
        return zoo.CHECK_PX, create(candidate(job.architecture, zoo.CHECK_PX))
    config = timm.get_pretrained_cfg(job.architecture, allow_unregistered=False)
    native_px = config.input_size[-1] if config is not None else 224
    return native_px, create(candidate(job.architecture, native_px))


def _export(network: Network, path: Path, threads: int, progress: _CheckProgress) -> None:
    # `parity` counts in standard deviations of all logits; here only what differs between images counts.
    tolerance = FP32_PARITY * network.spread / max(float(network.expected.std()), 1e-2)
    found: list[Parity] = []

    def judge(file: Path) -> None:
        found.append(parity(file, network.kept, network.expected, network.spec, tolerance, threads))
        if not found[-1].passed:
            raise ExportError(
                f"its logits differ from PyTorch's by {found[-1].max_abs_diff:.2g}, tolerance {found[-1].tolerance:.2g}"
            )

    start = time.perf_counter()
    exported = export(network.model, network.spec.channels, network.spec.image_size_px, path, judge)
    progress.found(
        exporter=exported.exporter,
        export_s=time.perf_counter() - start,
        opset=facts(path)[0],
        dynamic_batch=True,
        parity=found[-1],
        fp32_size_bytes=path.stat().st_size,
    )


def _quantise(network: Network, fp32: Path, int8: Path, threads: int, progress: _CheckProgress) -> None:
    start = time.perf_counter()
    made = convert(
        load_variant(VARIANT), fp32, int8, to_tensor(network.seen[:CALIBRATION_IMAGES], network.spec)
    )
    progress.found(
        quantise_s=time.perf_counter() - start, int8=made.remedy, int8_size_bytes=int8.stat().st_size
    )
    # Whatever its tolerance says of an untrained network: that it runs at every batch size is the point here.
    parity(int8, network.kept, network.expected, network.spec, 1.0, threads)
    logits = onnx_logits(int8, network.kept, network.spec, threads)
    if not logits.std(axis=0).any():
        raise ExportError("the int8 file says the same of every image")
    different = flips(logits, network.expected)
    progress.found(
        decisions_agree=1 - different.count / different.n,
        int8_difference=float(np.sqrt(np.mean((logits - network.expected) ** 2))) / network.spread,
    )


def _latencies(network: Network, fp32: Path, int8: Path) -> dict[str, float]:
    """Medians in seconds, the two files in turn, so that what else the machine does falls on both alike."""
    runtime, tensor = RUNTIMES["onnxruntime"], to_tensor(network.kept[:1], network.spec)
    runs = {
        name: runtime.bind(runtime.open(path, SessionSettings(threads=1)), tensor)
        for name, path in (("fp32", fp32), ("int8", int8))
    }
    latencies_s: dict[str, list[float]] = {name: [] for name in runs}
    begun = time.perf_counter()
    for number in range(WARM_UPS + ROUNDS):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if number >= WARM_UPS:
                latencies_s[name].append(time.perf_counter() - start)
        if number >= WARM_UPS + LEAST_ROUNDS and time.perf_counter() - begun > LATENCY_S:
            break
    return {f"{name}_latency_s": statistics.median(values) for name, values in latencies_s.items()}
