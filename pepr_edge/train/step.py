"""A training step in a memory layout and precision, and the probe that finds the fastest pair for a model."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from pepr_edge.errors import ModelError
from pepr_edge.records import ProbeResult

PROBE_STEPS = 2  # in each pass, after one warm-up step
# Trainings of fewer steps get a brief probe: a thorough one takes some 30 steps, more than it would save.
BRIEF_BELOW_STEPS = 500
PRUNE_RATIO = 3.0  # a probe ends if its first step takes this many times as long as the fastest step so far
# The labels; for a student, the labels and its teacher's logits.
Targets = torch.Tensor | tuple[torch.Tensor, torch.Tensor]
MakeOptimiser = Callable[[nn.Module], torch.optim.Optimizer]


@dataclass(frozen=True)
class ComputeMode:
    """The memory layout of the tensors, and the precision of the forward pass."""

    layout: Literal["contiguous", "channels_last"] = "contiguous"
    precision: Literal["float32", "bfloat16", "float16"] = "float32"

    @property
    def memory_format(self) -> torch.memory_format:
        """PyTorch's name of the layout."""
        return torch.channels_last if self.layout == "channels_last" else torch.contiguous_format

    def place(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Move a model to the device, in this layout."""
        return model.to(device, memory_format=self.memory_format)  # type: ignore[call-overload, no-any-return]

    def arrange(self, images: torch.Tensor) -> torch.Tensor:
        """Return a batch in this layout, shape (n, channels, height, width).

        The bytes of grey images are the same in both layouts, so `contiguous` leaves their strides unchanged.
        But PyTorch chooses its kernels by the strides, so they are set here.
        """
        _, channels, height, width = images.shape
        strides = (height * width, width, 1)
        if self.layout == "channels_last":
            strides = (1, width * channels, channels)
        laid_out = images.contiguous(memory_format=self.memory_format)
        return laid_out.as_strided(images.shape, (channels * height * width, *strides))

    def autocast(self, device: torch.device) -> torch.autocast:
        """Return the context of the forward pass."""
        reduced = self.precision != "float32"
        dtype = getattr(torch, self.precision) if reduced else None
        return torch.autocast(device.type, dtype=dtype, enabled=reduced)


class TrainStep:
    """The optimiser, its schedule and the loss scaling of a training."""

    def __init__(
        self,
        model: nn.Module,
        mode: ComputeMode,
        optimiser: torch.optim.Optimizer,
        loss: nn.Module,
        schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
    ) -> None:
        self.model = model
        self.mode = mode
        self.optimiser = optimiser
        self.loss = loss
        self.schedule = schedule
        self.device = next(model.parameters()).device
        # Returns the logits of a batch; replaced by the classifier alone if a batch holds a frozen backbone's
        # features.
        self.forward: Callable[[torch.Tensor], torch.Tensor] = lambda images: model(mode.arrange(images))
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=mode.precision == "float16")

    def __call__(self, images: torch.Tensor, targets: Targets) -> torch.Tensor:
        """Take one step and return the loss; it stays on the device, so that the CPU does not wait for it."""
        with self.mode.autocast(self.device):
            loss: torch.Tensor = self.loss(self.forward(images), targets)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.optimiser.zero_grad(set_to_none=True)
        if self.schedule is not None:
            self.schedule.step()
        return loss.detach()

    def state(self) -> dict[str, Any]:
        """Return everything that changes with the steps, except the model."""
        schedule = self.schedule.state_dict() if self.schedule is not None else None
        return {
            "optimiser": self.optimiser.state_dict(),
            "schedule": schedule,
            "scaler": self.scaler.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state."""
        self.optimiser.load_state_dict(state["optimiser"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        # The state has no scaling if it was made on a device that does not need it.
        if self.scaler.is_enabled() and state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])


def modes(device: torch.device) -> list[ComputeMode]:
    """Return the modes worth trying on a device, the default one first."""
    reduced: Literal["bfloat16", "float16"] = "bfloat16"
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        reduced = "float16"
    return [
        ComputeMode(),
        ComputeMode("channels_last"),
        ComputeMode("channels_last", reduced),
        ComputeMode("contiguous", reduced),
    ]


def probe(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    optimiser: MakeOptimiser,
    loss: nn.Module,
    brief: bool = False,
) -> tuple[ComputeMode, list[ProbeResult]]:
    """Train copies of a model for a few steps in each mode.

    Args:
        model: on its device; not changed.
        images, labels: one batch on that device.
        optimiser: makes the optimiser for a copy.
        loss: of the training.
        brief: try each mode once, for one step.
    Returns:
        The fastest mode, and the throughput of each.
    Raises:
        ModelError: no mode works.
    """
    candidates = modes(images.device)
    steps_s: dict[ComputeMode, float] = {}
    reasons: dict[ComputeMode, str] = {}
    # In both directions, so that other load on the machine affects all modes equally.
    backwards = [] if brief else candidates[::-1]
    timed_steps = 1 if brief else PROBE_STEPS
    for mode in [*candidates, *backwards]:
        limit_s = PRUNE_RATIO * min(steps_s.values(), default=math.inf)
        if mode in reasons or steps_s.get(mode, 0.0) > limit_s:
            continue
        try:
            step_s = _step_s(model, mode, images, labels, optimiser, loss, timed_steps, limit_s)
        except RuntimeError as fault:  # a layer lacks this precision or layout, or memory is short
            reasons[mode] = (str(fault).splitlines() or [type(fault).__name__])[0][:200]
            continue
        steps_s[mode] = min(step_s, steps_s.get(mode, math.inf))
    if not steps_s:
        reason = reasons[candidates[0]]
        raise ModelError(
            f"no training step works with {len(images)} images ({reason}). "
            "Lower train.batch_size if memory is short."
        )
    results = [_result(mode, len(images), steps_s.get(mode), reasons.get(mode, "")) for mode in candidates]
    return min(steps_s, key=steps_s.__getitem__), results


def _result(mode: ComputeMode, images: int, step_s: float | None, reason: str) -> ProbeResult:
    """Return what a mode achieved. `images`: of a step; `step_s`: None if none worked."""
    return ProbeResult(
        layout=mode.layout,
        precision=mode.precision,
        images_per_s=None if step_s is None else images / step_s,
        reason=reason,
    )


def _step_s(
    model: nn.Module,
    mode: ComputeMode,
    images: torch.Tensor,
    labels: torch.Tensor,
    optimiser: MakeOptimiser,
    loss: nn.Module,
    timed_steps: int,
    limit_s: float,
) -> float:
    """Return the minimum seconds of a step after one warm-up step, since other programs can only add time.

    If the warm-up step is far too slow, return its seconds without further steps.
    """
    trial = mode.place(copy.deepcopy(model), images.device)
    step = TrainStep(trial, mode, optimiser(trial), loss)
    seconds = []
    for _ in range(1 + timed_steps):
        synchronise(images.device)
        start = time.perf_counter()
        step(images, labels)
        synchronise(images.device)
        seconds.append(time.perf_counter() - start)
        # A first step also allocates memory and selects kernels, so the limit is doubled.
        if len(seconds) == 1 and seconds[0] > limit_s * 2:
            return seconds[0]
    return min(seconds[1:])


def synchronise(device: torch.device) -> None:
    """Wait for the GPU: it works asynchronously, so a clock read before this would be too early."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
