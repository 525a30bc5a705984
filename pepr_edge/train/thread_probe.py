"""The number of threads for a model: one, unless all of them are clearly better.

With small layers threads wait for each other at each of them, so a second thread may gain nothing, and it
always takes more processor time, which is energy. Figures: docs/benchmarks/waiting.json.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from pepr_edge.records import ProbeResult
from pepr_edge.train.step import PROBE_STEPS, PRUNE_RATIO, ComputeMode, MakeOptimiser, TrainStep

# All threads are taken if their gain in time, less their loss in processor time, is at least this. On a busy
# machine they gain nothing; so a training there has nearly the energy of one on a quiet machine.
MIN_GAIN = 1.3
MIN_CPU_S = 1e-6  # a clock of the processor may be too coarse for a tiny step


class StepTime(NamedTuple):
    """Seconds of a step on the clock, and of the processor."""

    wall_s: float
    cpu_s: float


def probe_threads(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    optimiser: MakeOptimiser,
    loss: nn.Module,
    threads: int,
) -> tuple[int, list[ProbeResult]]:
    """Train a copy of a model on the CPU for a few steps, with one thread and with all of them in turn.

    The steps are in the default mode: the modes are compared with the chosen number of threads. A model that
    cannot take such a step keeps all threads, and the comparison of modes says why.

    Args:
        model: on the CPU; not changed.
        images, labels: one batch.
        optimiser: makes the optimiser for a copy.
        loss: of the training.
        threads: as many as may be used, more than 1.
    Returns:
        The number of threads, which is also PyTorch's from now on, and the throughput of both numbers.
    """
    mode = ComputeMode()
    trial = mode.place(copy.deepcopy(model), images.device)
    step = TrainStep(trial, mode, optimiser(trial), loss)
    # These are warm-up steps. If one thread is far too slow, it gets no further steps.
    try:
        of_all = _time_step(step, images, labels, threads)
    except RuntimeError:  # a layer lacks this mode, or memory is short
        return threads, []
    of_one = _time_step(step, images, labels, 1)
    if of_one.wall_s <= 2 * PRUNE_RATIO * of_all.wall_s:
        all_steps = []
        one_steps = []
        for _ in range(PROBE_STEPS):
            all_steps.append(_time_step(step, images, labels, threads))
            one_steps.append(_time_step(step, images, labels, 1))
        of_all = _minimum(all_steps)
        of_one = _minimum(one_steps)
    gain = of_one.wall_s / of_all.wall_s * of_one.cpu_s / max(of_all.cpu_s, MIN_CPU_S)
    chosen = threads if gain >= MIN_GAIN else 1
    torch.set_num_threads(chosen)
    results = [
        ProbeResult(
            layout=mode.layout,
            precision=mode.precision,
            images_per_s=len(images) / step_time.wall_s,
            threads=number,
        )
        for number, step_time in ((threads, of_all), (1, of_one))
    ]
    return chosen, results


def _time_step(step: TrainStep, images: torch.Tensor, labels: torch.Tensor, threads: int) -> StepTime:
    torch.set_num_threads(threads)
    start_s = time.perf_counter()
    start_cpu_s = time.process_time()
    step(images, labels)
    return StepTime(time.perf_counter() - start_s, time.process_time() - start_cpu_s)


def _minimum(steps: Sequence[StepTime]) -> StepTime:
    """Return the minimum of each, since other programs can only add time."""
    return StepTime(min(step.wall_s for step in steps), min(step.cpu_s for step in steps))
