"""The training stage: Candidate -> TrainResult."""

from __future__ import annotations

from functools import reduce
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from pepr_edge.data import Dataset
from pepr_edge.energy.carbon import co2eq_g
from pepr_edge.energy.meter import Meter, MeterSettings, Use, add
from pepr_edge.errors import ModelError
from pepr_edge.field.facts import environment
from pepr_edge.field.memory import peak_memory_bytes
from pepr_edge.intervals import estimates
from pepr_edge.recipe import Recipe
from pepr_edge.records import Candidate, Preprocess, ProbeResult, Quantity, Split, TrainCost, TrainResult
from pepr_edge.store import LOGITS, sha256_file, write_record
from pepr_edge.train.loop import Progress, Trained, batch, fit, loss_function, optimiser, predict
from pepr_edge.train.models import create, head_parameters, normalisation
from pepr_edge.train.step import Mode, probe

CHECKPOINT = "checkpoint.safetensors"
SPLITS: tuple[Split, Split] = ("val", "test")


def train(
    candidate: Candidate, data: Dataset, recipe: Recipe, folder: Path, key: str, *, threads: int, exclusive: bool, progress: Progress
) -> TrainResult:
    """Train a candidate and write checkpoint.safetensors, logits.npz (validation and test) and train.json into its folder.

    Args:
        candidate: the model to be.
        data: its pixels, already of its size and channels.
        recipe: training settings, workstation, metric, seed.
        folder: the candidate's folder.
        key: hash of all that the result depends on; kept in the record.
        threads: CPU threads to train with.
        exclusive: no other job runs on this machine, so its energy counters are ours alone.
        progress: called after each step.
    Raises:
        ModelError: the model cannot be built, or its training fails.
    """
    settings = recipe.train
    device = choose_device(settings.device)
    torch.set_num_threads(threads)
    torch.manual_seed(recipe.seed)
    model = create(candidate, recipe.candidates.weights)
    spec = preprocess_of(candidate, model, data, recipe)
    if settings.mode == "head":
        _freeze_backbone(model)
    with Meter(_meter_settings(recipe, device, exclusive)) as meter:
        mark = meter.mark()
        mode, probes = _probe(model.to(device), data, spec, recipe)
        probing = meter.since(mark)
        _forget_peak(device)
        model = mode.place(model, device)
        trained = fit(model, mode, data, spec, settings, recipe.score.performance, recipe.seed, meter, progress)
        peaks = peak_memory_bytes(), _gpu_peak_bytes(device)
        mark = meter.mark()
        # The test split is read here for the first and only time by PyTorch: nothing is chosen by it.
        logits = {split: predict(model, data.splits[split][0], spec, mode) for split in SPLITS}
        final = meter.since(mark)
    _save(model, logits, folder)
    result = TrainResult(
        key=key,
        candidate=candidate,
        preprocess=spec,
        num_params=sum(parameter.numel() for parameter in model.parameters()),
        checkpoint=CHECKPOINT,
        checkpoint_sha256=sha256_file(folder / CHECKPOINT),
        data_sha256=data.info.sha256,
        protocol=settings.protocol,
        mode=settings.mode,
        layout=mode.layout,
        precision=mode.precision,
        probes=tuple(probes),
        epochs=trained.epochs,
        best_epoch=trained.best_epoch,
        stopped_early=len(trained.epochs) < settings.epochs,
        performance_metric=recipe.score.performance,
        performance=estimates(dict(logits), {split: np.asarray(data.splits[split][1]) for split in SPLITS}, recipe.score.performance),
        cost=cost(trained, probing, final, peaks, recipe.workstation.country),
        environment=environment(threads, accelerator(device), ("torch", "timm", "numpy", "pillow")),
        seed=recipe.seed,
    )
    write_record(folder / "train.json", result)
    return result


def _meter_settings(recipe: Recipe, device: torch.device, exclusive: bool) -> MeterSettings:
    return MeterSettings(
        watts_per_core=recipe.workstation.watts_per_core,
        gpu_watts=recipe.workstation.gpu_watts,
        uses_gpu=device.type == "cuda",
        exclusive=exclusive,
    )


def _forget_peak(device: torch.device) -> None:
    """Give back what the probe held on the GPU: the peak is to be that of the mode that was chosen."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _gpu_peak_bytes(device: torch.device) -> int | None:
    return torch.cuda.max_memory_reserved(device) if device.type == "cuda" else None


def _save(model: nn.Module, logits: dict[Split, NDArray[np.float32]], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}, folder / CHECKPOINT)
    np.savez(folder / LOGITS, **logits)  # type: ignore[arg-type]


def choose_device(wanted: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """The device to train on.

    Raises:
        ModelError: CUDA is asked for and there is none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            'train.device = "cuda", but PyTorch finds no CUDA GPU here. Use "auto" or "cpu", or train on a machine that has one.'
        )
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def accelerator(device: torch.device) -> str:
    """The GPU's name; empty on a CPU."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else ""


def preprocess_of(candidate: Candidate, model: nn.Module, data: Dataset, recipe: Recipe) -> Preprocess:
    """Normalisation that the weights expect; from scratch, that of the training images."""
    channels = candidate.in_channels
    if candidate.weights == "scratch":
        mean, std = pixel_statistics(data.splits["train"][0])
    else:
        mean, std = normalisation(model, channels)
    return Preprocess(
        channels=channels, image_size_px=candidate.image_size_px, interpolation=recipe.data.interpolation, mean=mean, std=std, scale=255.0
    )


def pixel_statistics(pixels: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel of pixels / 255, to six digits.

    Args:
        pixels: uint8, shape (n, px, px, channels); read in parts, as it may be mapped from the disk.
    """
    count, total, squares = 0, np.zeros(pixels.shape[-1]), np.zeros(pixels.shape[-1])
    for start in range(0, len(pixels), 1024):
        part = pixels[start : start + 1024].astype(np.float64).reshape(-1, pixels.shape[-1]) / 255
        count, total, squares = count + len(part), total + part.sum(axis=0), squares + (part**2).sum(axis=0)
    mean = total / count
    # A channel that is constant must not be divided by zero.
    std = np.sqrt(np.maximum(squares / count - mean**2, 1e-6))
    return tuple(round(float(value), 6) for value in mean), tuple(round(float(value), 6) for value in std)


def cost(trained: Trained, probing: Use, final: Use, peaks: tuple[int | None, int | None], country: str | None) -> TrainCost:
    """What was spent: the probe and all epochs as training; validation after each epoch and the last reading apart.

    Args:
        trained: the epochs with their cost.
        probing, final: cost of the probe, and of the last reading of validation and test.
        peaks: greatest memory of the process and of the GPU, bytes; None where it is not known.
        country: ISO 3166 alpha-3, for the carbon intensity.
    """
    training, evaluation = (probing, *trained.training), (*trained.evaluation, final)
    energy = reduce(add, [use.energy for use in training])
    return TrainCost(
        energy_j=energy,
        co2eq_g=co2eq_g(energy, country),
        duration_s=Quantity(
            value=sum(use.duration_s for use in training), method="measured", source="perf_counter over the probe and all epochs"
        ),
        peak_memory_bytes=_measured(peaks[0], "high-water mark of the training process, the probe included"),
        gpu_peak_memory_bytes=_measured(peaks[1], "memory reserved by PyTorch, greatest", "trained on a CPU"),
        images=Quantity(value=trained.images, method="counted", source="training images over all epochs"),
        evaluation_energy_j=reduce(add, [use.energy for use in evaluation]),
        evaluation_duration_s=Quantity(
            value=sum(use.duration_s for use in evaluation), method="measured", source="perf_counter over validation and test"
        ),
    )


def _measured(value: int | None, source: str, otherwise: str = "this system does not tell") -> Quantity:
    if value is None:
        return Quantity(value=None, method="unavailable", source=otherwise)
    return Quantity(value=value, method="measured", source=source)


def _freeze_backbone(model: nn.Module) -> None:
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for parameter in head_parameters(model):
        parameter.requires_grad_(True)


def _probe(model: nn.Module, data: Dataset, spec: Preprocess, recipe: Recipe) -> tuple[Mode, list[ProbeResult]]:
    """The fastest mode on one real batch."""
    settings, (pixels, labels) = recipe.train, data.splits["train"]
    device = next(model.parameters()).device
    images, targets = batch((pixels, labels), np.arange(min(settings.batch_size, len(labels))), spec, device)
    model.train()
    loss = loss_function(settings, labels, len(data.info.labels), device)
    return probe(model, images, targets, lambda trial: optimiser(settings, trial), loss)
