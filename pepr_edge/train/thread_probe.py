"""The number of threads for a model: one, unless all of them are clearly faster.

With small layers threads wait for each other at each of them, so a second thread may gain nothing, and it
always takes more processor time: 8 to 23 % in docs/benchmarks/waiting.json.
"""

from __future__ import annotations

import copy
import time

import torch
from torch import nn

from pepr_edge.records import ProbeResult
from pepr_edge.train.step import PROBE_STEPS, PRUNE_RATIO, ComputeMode, Optimisers, TrainStep

# All threads are taken if a step is then at least this many times as fast as with one.
MIN_GAIN = 1.3


def probe_threads(
    model: nn.Module,
    mode: ComputeMode,
    images: torch.Tensor,
    labels: torch.Tensor,
    optimiser: Optimisers,
    loss: nn.Module,
    threads: int,
) -> tuple[int, list[ProbeResult]]:
    """Train a copy of a model on the CPU for a few steps, with one thread and with all of them in turn.

    Args:
        model: on the CPU; not changed.
        mode: of the training.
        images, labels: one batch.
        optimiser: makes the optimiser for a copy.
        loss: of the training.
        threads: as many as may be used, more than 1.
    Returns:
        The number of threads, which is also PyTorch's from now on, and the throughput of both numbers.
    """
    trial = mode.place(copy.deepcopy(model), images.device)
    step = TrainStep(trial, mode, optimiser(trial), loss)
    all_s = _step_s(step, images, labels, threads)
    one_s = _step_s(step, images, labels, 1)
    # These were warm-up steps. If one thread is far too slow, it gets no further steps.
    if one_s <= 2 * PRUNE_RATIO * all_s:
        pairs = []
        for _ in range(PROBE_STEPS):
            pairs.append((_step_s(step, images, labels, threads), _step_s(step, images, labels, 1)))
        # The minimum of each, since other programs can only add time.
        all_s = min(pair[0] for pair in pairs)
        one_s = min(pair[1] for pair in pairs)
    chosen = threads if one_s >= MIN_GAIN * all_s else 1
    torch.set_num_threads(chosen)
    results = [
        ProbeResult(
            layout=mode.layout, precision=mode.precision, images_per_s=len(images) / step_s, threads=number
        )
        for number, step_s in ((threads, all_s), (1, one_s))
    ]
    return chosen, results


def _step_s(step: TrainStep, images: torch.Tensor, labels: torch.Tensor, threads: int) -> float:
    torch.set_num_threads(threads)
    start_s = time.perf_counter()
    step(images, labels)
    return time.perf_counter() - start_s
