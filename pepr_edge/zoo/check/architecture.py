"""Check one architecture. A process of its own runs `check`."""

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
from pepr_edge.export.artifact import opset_and_producer
from pepr_edge.export.check import FP32_PARITY, flips, onnx_logits, parity, parity_fault
from pepr_edge.export.convert import convert
from pepr_edge.export.deployed_form import count_parameters, export_deployed
from pepr_edge.images.preprocess import to_tensor
from pepr_edge.measure.runtimes import RUNTIMES
from pepr_edge.recipe.variants import load as load_variant
from pepr_edge.records import Parity, SessionSettings
from pepr_edge.train.models import create
from pepr_edge.zoo.check.network import Network, candidate, train_briefly
from pepr_edge.zoo.check.row import CheckJob, CheckRow

VARIANT = "int8_static"
CALIBRATION_IMAGES = 16
WARM_UPS = 3
MAX_ROUNDS, MIN_ROUNDS = 40, 12
LATENCY_S = 4.0  # the timing stops after this time and MIN_ROUNDS
UNTESTED = "not in the zoo: handled by the general rules, and untested except in this row"
OnStage = Callable[[str], None]


class _CheckProgress:
    """Holds the row while it is filled."""

    def __init__(self, row: CheckRow, on_stage: OnStage) -> None:
        self.row = row
        self.on_stage = on_stage

    def begin_stage(self, name: str) -> None:
        """Set the stage of the row and report it."""
        self.set(stage=name)
        self.on_stage(name)

    def set(self, **values: object) -> None:
        """Set fields of the row."""
        self.row = self.row.model_copy(update=values)


def check(job: CheckJob, folder: Path, on_stage: OnStage) -> CheckRow:
    """Run all stages for an architecture and return its row; a failure is a row with the reason.

    Args:
        job: the architecture to check.
        folder: where its ONNX files are written.
        on_stage: called with the name of each stage as it begins.
    """
    torch.set_num_threads(job.threads)
    torch.manual_seed(0)
    known = zoo.architectures().get(job.architecture)
    row = CheckRow(
        key=job.key,
        architecture=job.architecture,
        in_zoo=known is not None,
        note=UNTESTED if known is None else known.quirk,
        image_size_px=job.image_size_px,
    )
    progress = _CheckProgress(row, on_stage)
    try:
        _check(job, progress, folder)
        progress.set(status="ok", stage="done")
    except PeprError as fault:
        progress.set(reason=str(fault))
    except Exception as fault:  # architectures fail in many ways
        progress.set(reason=f"{type(fault).__name__}: {' '.join(str(fault).split())[:300]}")
    return progress.row


def _check(job: CheckJob, progress: _CheckProgress, folder: Path) -> None:
    progress.begin_stage("create")
    size_px, model = _create(job)
    trained_params = count_parameters(model)
    progress.set(image_size_px=size_px, num_params=trained_params, trained_params=trained_params)
    progress.begin_stage("train")
    started_s = time.perf_counter()
    network = train_briefly(candidate(job.architecture, size_px), model)
    progress.set(train_s=time.perf_counter() - started_s, spread=network.spread)
    progress.begin_stage("export")
    fp32 = folder / "fp32.onnx"
    _export(network, fp32, job.threads, progress)
    progress.begin_stage("int8")
    int8 = folder / "int8.onnx"
    _quantise(network, fp32, int8, job.threads, progress)
    progress.begin_stage("latency")
    progress.set(**_latencies(network, fp32, int8))


def _create(job: CheckJob) -> tuple[int, nn.Module]:
    """Return the image size and the model.

    Outside the zoo, if the job gives no size, it is CHECK_PX if the architecture accepts it, else its native
    size.
    """
    if job.image_size_px is not None:
        return job.image_size_px, create(candidate(job.architecture, job.image_size_px))
    with suppress(ModelError):
        return zoo.CHECK_PX, create(candidate(job.architecture, zoo.CHECK_PX))
    config = timm.get_pretrained_cfg(job.architecture, allow_unregistered=False)
    native_px = config.input_size[-1] if config is not None else 224
    return native_px, create(candidate(job.architecture, native_px))


def _export(network: Network, path: Path, threads: int, progress: _CheckProgress) -> None:
    # `parity` counts in standard deviations of all logits; here only differences between images count.
    tolerance = FP32_PARITY * network.spread / max(float(network.expected.std()), 1e-2)
    results: list[Parity] = []

    def check_parity(file: Path) -> None:
        result = parity(file, network.check_pixels, network.expected, network.spec, tolerance, threads)
        results.append(result)
        fault = parity_fault(result)
        if fault is not None:
            raise ExportError(fault)

    started_s = time.perf_counter()
    images = to_tensor(network.check_pixels, network.spec)
    limit = FP32_PARITY * network.spread
    deployed, exported = export_deployed(network.model, images, limit, path, check_parity)
    opset, _ = opset_and_producer(path)
    progress.set(
        num_params=deployed.form.deployed_params,
        form_note=deployed.note,
        exporter=exported.exporter,
        export_s=time.perf_counter() - started_s,
        opset=opset,
        dynamic_batch=True,
        parity=results[-1],
        fp32_size_bytes=path.stat().st_size,
    )


def _quantise(network: Network, fp32: Path, int8: Path, threads: int, progress: _CheckProgress) -> None:
    images = to_tensor(network.train_pixels[:CALIBRATION_IMAGES], network.spec)
    started_s = time.perf_counter()
    made = convert(load_variant(VARIANT), fp32, int8, images)
    progress.set(
        quantise_s=time.perf_counter() - started_s, int8=made.remedy, int8_size_bytes=int8.stat().st_size
    )
    # The result does not matter for an untrained network. The call fails if the file fails at any batch size.
    parity(int8, network.check_pixels, network.expected, network.spec, 1.0, threads)
    logits = onnx_logits(int8, network.check_pixels, network.spec, threads)
    if not logits.std(axis=0).any():
        raise ExportError("the int8 file gives the same logits for every image")
    changed = flips(logits, network.expected)
    rms_difference = float(np.sqrt(np.mean((logits - network.expected) ** 2)))
    progress.set(
        decisions_agree=1 - changed.count / changed.n,
        int8_difference=rms_difference / network.spread,
    )


def _latencies(network: Network, fp32: Path, int8: Path) -> dict[str, float]:
    """Return median latencies, seconds. The two files run in turn, so that other load affects both alike."""
    runtime = RUNTIMES["onnxruntime"]
    tensor = to_tensor(network.check_pixels[:1], network.spec)
    settings = SessionSettings(threads=1)
    runs = {
        "fp32": runtime.bind(runtime.open(fp32, settings), tensor),
        "int8": runtime.bind(runtime.open(int8, settings), tensor),
    }
    latencies_s: dict[str, list[float]] = {name: [] for name in runs}
    started_s = time.perf_counter()
    for number in range(WARM_UPS + MAX_ROUNDS):
        for name, run in runs.items():
            run_started_s = time.perf_counter()
            run()
            if number >= WARM_UPS:
                latencies_s[name].append(time.perf_counter() - run_started_s)
        if number >= WARM_UPS + MIN_ROUNDS and time.perf_counter() - started_s > LATENCY_S:
            break
    return {f"{name}_latency_s": statistics.median(values) for name, values in latencies_s.items()}
