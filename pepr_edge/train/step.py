"""One training step in a given memory layout and precision, and the probe that finds the fastest pair for a model."""

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

PROBE_STEPS = 2  # each time, after one step of warm-up
PRUNE_RATIO = 3.0  # a first step this many times slower than the best step so far ends that probe


@dataclass(frozen=True)
class Mode:
    """How the tensors lie in memory, and in which precision the forward pass computes."""

    layout: Literal["contiguous", "channels_last"] = "contiguous"
    precision: Literal["float32", "bfloat16", "float16"] = "float32"

    @property
    def memory_format(self) -> torch.memory_format:
        """PyTorch's name of the layout."""
        return torch.channels_last if self.layout == "channels_last" else torch.contiguous_format

    def place(self, model: nn.Module, device: torch.device) -> nn.Module:
        """The model on the device in this layout."""
        return model.to(device, memory_format=self.memory_format)  # type: ignore[call-overload, no-any-return]

    def arrange(self, images: torch.Tensor) -> torch.Tensor:
        """A batch in this layout, shape (n, channels, height, width).

        Grey images lie the same in both, and `contiguous` leaves them alone; yet it is by the strides that PyTorch chooses its kernels.
        """
        _, channels, height, width = images.shape
        strides = (
            (1, width * channels, channels) if self.layout == "channels_last" else (height * width, width, 1)
        )
        laid_out = images.contiguous(memory_format=self.memory_format)
        return laid_out.as_strided(images.shape, (channels * height * width, *strides))

    def autocast(self, device: torch.device) -> torch.autocast:
        """Context of the forward pass."""
        reduced = self.precision != "float32"
        return torch.autocast(
            device.type, dtype=getattr(torch, self.precision) if reduced else None, enabled=reduced
        )


class TrainStep:
    """Holds the optimiser, its schedule and the loss scaling open over a training."""

    def __init__(
        self,
        model: nn.Module,
        mode: Mode,
        optimiser: torch.optim.Optimizer,
        loss: nn.Module,
        schedule: torch.optim.lr_scheduler.LRScheduler | None = None,
    ) -> None:
        self.model, self.mode, self.optimiser, self.loss, self.schedule = (
            model,
            mode,
            optimiser,
            loss,
            schedule,
        )
        self.device = next(model.parameters()).device
        # What makes logits of a batch; a frozen backbone's features need the classifier alone.
        self.forward: Callable[[torch.Tensor], torch.Tensor] = lambda images: model(mode.arrange(images))
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=mode.precision == "float16")

    def __call__(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Take one step; returns the loss, still on the device so that nothing waits for it."""
        with self.mode.autocast(self.device):
            loss: torch.Tensor = self.loss(self.forward(images), labels)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.optimiser.zero_grad(set_to_none=True)
        if self.schedule is not None:
            self.schedule.step()
        return loss.detach()

    def state(self) -> dict[str, Any]:
        """What changes with the steps, but for the model."""
        schedule = self.schedule.state_dict() if self.schedule is not None else None
        return {
            "optimiser": self.optimiser.state_dict(),
            "schedule": schedule,
            "scaler": self.scaler.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.optimiser.load_state_dict(state["optimiser"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        if self.scaler.is_enabled() and state["scaler"]:  # which the device before may not have needed
            self.scaler.load_state_dict(state["scaler"])


def modes(device: torch.device) -> list[Mode]:
    """The pairs worth trying on a device, the plain one first."""
    if device.type == "cuda":
        reduced: Literal["bfloat16", "float16"] = (
            "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
        )
    else:
        reduced = "bfloat16"
    return [Mode(), Mode("channels_last"), Mode("channels_last", reduced), Mode("contiguous", reduced)]


def probe(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    optimiser: Callable[[nn.Module], torch.optim.Optimizer],
    loss: nn.Module,
) -> tuple[Mode, list[ProbeResult]]:
    """Train a copy of the model for a few steps in each mode.

    Args:
        model: on its device; left as it is.
        images, labels: one batch on that device.
        optimiser: makes the optimiser for a copy.
        loss: the loss of the training.
    Returns:
        The fastest mode, and the throughput of each.
    Raises:
        ModelError: none of them works.
    """
    candidates = modes(images.device)
    steps_s: dict[Mode, float] = {}
    reasons: dict[Mode, str] = {}
    # There and back, so that what else the machine does falls on all modes alike.
    for mode in [*candidates, *reversed(candidates)]:
        limit_s = PRUNE_RATIO * min(steps_s.values(), default=math.inf)
        if mode in reasons or steps_s.get(mode, 0.0) > limit_s:
            continue
        try:
            step_s = _time(model, mode, images, labels, optimiser, loss, limit_s)
        except (
            RuntimeError
        ) as fault:  # a layer that this precision or layout does not know, or too little memory for it
            reasons[mode] = (str(fault).splitlines() or [type(fault).__name__])[0][:200]
            continue
        steps_s[mode] = min(step_s, steps_s.get(mode, math.inf))
    if not steps_s:
        reason = reasons[candidates[0]]
        raise ModelError(
            f"no training step works with {len(images)} images ({reason}). Lower train.batch_size if memory is short."
        )
    results = [
        ProbeResult(
            layout=mode.layout,
            precision=mode.precision,
            images_per_s=len(images) / steps_s[mode] if mode in steps_s else None,
            reason=reasons.get(mode, ""),
        )
        for mode in candidates
    ]
    return min(steps_s, key=steps_s.__getitem__), results


def _time(
    model: nn.Module,
    mode: Mode,
    images: torch.Tensor,
    labels: torch.Tensor,
    optimiser: Callable[[nn.Module], torch.optim.Optimizer],
    loss: nn.Module,
    limit_s: float,
) -> float:
    """Least seconds of a step, after one of warm-up; the warm-up alone where it is hopeless.

    The least, as other programs can only add to it.
    """
    trial = mode.place(copy.deepcopy(model), images.device)
    step = TrainStep(trial, mode, optimiser(trial), loss)
    seconds = []
    for _ in range(1 + PROBE_STEPS):
        synchronise(images.device)
        start = time.perf_counter()
        step(images, labels)
        synchronise(images.device)
        seconds.append(time.perf_counter() - start)
        # A first step also allocates and picks kernels: only one far behind is given up on.
        if len(seconds) == 1 and seconds[0] > limit_s * 2:
            return seconds[0]
    return min(seconds[1:])


def synchronise(device: torch.device) -> None:
    """Wait for the GPU: its work is queued, and a clock read before it is done tells nothing."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
