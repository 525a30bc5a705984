"""The cost of the training steps of several candidates, measured in turn in one process.

The epochs of two candidates are minutes apart, and the machine may be disturbed in one of them. So short
blocks of steps are taken in rounds, each of which begins with another candidate: what disturbs the machine
then affects all alike. The weights are the initial ones, since a step takes as long with any others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from pepr_edge.data import Dataset
from pepr_edge.energy.meter import Meter, MeterSettings, Usage
from pepr_edge.errors import PeprError
from pepr_edge.recipe.settings import ResolvedRecipe, ResolvedTrain
from pepr_edge.records import Candidate, StepCost
from pepr_edge.train.loop import BatchLoader, batch_loader, batches, loss_function, train_mode, train_step
from pepr_edge.train.models import backbone_parameters, freeze
from pepr_edge.train.setup import untrained
from pepr_edge.train.step import ComputeMode, TrainStep

# A block takes this long, and at least one step; a first step that does not count precedes it, unless steps
# take longer than SLOW_S.
BLOCK_S = 0.4
SLOW_S = 0.5
# Candidates are open at once up to this many parameters: about 2 GB with gradients and averages.
MAX_PARAMETERS = 100_000_000
# The learning rate has no effect on the cost; its schedule must only be long enough.
SCHEDULE_STEPS = 1_000_000


@dataclass(frozen=True)
class StepCostJob:
    """A candidate to measure, in the mode and with the threads of its training; `key` of the record."""

    candidate: Candidate
    data: Dataset
    mode: ComputeMode
    threads: int
    key: str


def step_costs(
    jobs: Sequence[StepCostJob],
    recipe: ResolvedRecipe,
    exclusive: bool,
    rounds: int,
    on_block: Callable[[Candidate], None] = lambda candidate: None,
) -> list[StepCost]:
    """Measure the steps of candidates in turn, on the CPU.

    Args:
        jobs: the candidates. Those that do not fit into memory together are measured in groups.
        recipe: of the run.
        exclusive: nothing else of this run is at work, so counters measure the steps alone.
        rounds: blocks of each candidate.
        on_block: called after each block.
    Returns:
        The costs; a candidate that cannot be opened or trained has none.
    """
    costs: list[StepCost] = []
    settings = MeterSettings(
        watts_per_core=recipe.workstation.watts_per_core,
        gpu_watts=recipe.workstation.gpu_watts,
        uses_gpu=False,
        exclusive=exclusive,
    )
    with Meter(settings) as meter:
        waiting = list(jobs)
        while waiting:
            group = _open_group(waiting, recipe)
            _run_rounds(group, meter, rounds, on_block)
            costs += [subject.record() for subject in group if subject.blocks]
    return costs


class _Part(NamedTuple):
    """The steps of one kind in a block: what they used, and the share that this kind has of a training."""

    share: float
    usage: Usage
    images: int


class _Subject:
    """A candidate that is open: its training step, its batches, and what its blocks used.

    A block takes full steps and, if a training begins with some, steps of the classifier alone. They count by
    their share of all epochs: a training that ends early costs a few per cent less than this says.
    """

    def __init__(self, job: StepCostJob, recipe: ResolvedRecipe) -> None:
        settings = recipe.train.of_weights(job.candidate.weights)
        train_split = job.data.splits["train"]
        labels = train_split[1]
        model, spec = untrained(job.candidate, job.data, recipe, job.threads)
        device = torch.device("cpu")
        model = job.mode.place(model, device)
        loss = loss_function(settings, labels, len(job.data.info.labels), device, job.data.info.kind)
        train_mode(model, settings)
        generator = torch.Generator().manual_seed(recipe.seed)
        self.job = job
        self.num_params = sum(parameter.numel() for parameter in model.parameters())
        self.blocks: list[list[_Part]] = []
        self._head_share = settings.head_share
        self._backbone = backbone_parameters(model) if settings.head_share else []
        self._step: TrainStep = train_step(model, job.mode, settings, loss, SCHEDULE_STEPS)
        self._load_batch: BatchLoader = batch_loader(train_split, spec, settings, generator, device)
        self._batches = _endless(len(labels), settings, np.random.default_rng(recipe.seed))
        # By whether the backbone is trained: the two kinds of steps differ in length.
        self._step_s = {True: 0.0, False: 0.0}

    def run_block(self, meter: Meter) -> None:
        """Take steps for a while, and keep what they used.

        Raises:
            RuntimeError: memory is short.
        """
        torch.set_num_threads(self.job.threads)
        parts = [self._run_part(meter, 1 - self._head_share, trains_backbone=True)]
        if self._head_share:
            parts.append(self._run_part(meter, self._head_share, trains_backbone=False))
        self.blocks.append(parts)

    def _run_part(self, meter: Meter, share: float, trains_backbone: bool) -> _Part:
        freeze(self._backbone, not trains_backbone)
        if self._step_s[trains_backbone] < SLOW_S:
            self._take_step()
        mark = meter.mark()
        images = 0
        steps_s: list[float] = []
        while sum(steps_s) < BLOCK_S:
            count, step_s = self._take_step()
            images += count
            steps_s.append(step_s)
        self._step_s[trains_backbone] = median(steps_s)
        return _Part(share, meter.since(mark), images)

    def _take_step(self) -> tuple[int, float]:
        """Return the images of a step and its seconds."""
        start_s = time.perf_counter()
        chosen = next(self._batches)
        self._step(*self._load_batch(chosen))
        return len(chosen), time.perf_counter() - start_s

    def record(self) -> StepCost:
        """Return the cost per image of each block."""
        parts = [part for block in self.blocks for part in block]
        energy = parts[0].usage.energy
        is_known = all(part.usage.energy.value is not None for part in parts)
        return StepCost(
            key=self.job.key,
            candidate=self.job.candidate,
            layout=self.job.mode.layout,
            precision=self.job.mode.precision,
            threads=self.job.threads,
            images=sum(part.images for part in parts),
            energy_j=self._per_image(lambda usage: usage.energy.value) if is_known else (),
            duration_s=self._per_image(lambda usage: usage.duration_s),
            method=energy.method if is_known else "unavailable",
            source=energy.source,
        )

    def _per_image(self, amount: Callable[[Usage], float | None]) -> tuple[float, ...]:
        """Return an amount per image of a whole training, for each block; it is known of all parts."""
        totals = []
        for block in self.blocks:
            amounts = [(part, amount(part.usage)) for part in block]
            totals.append(
                sum(part.share * value / part.images for part, value in amounts if value is not None)
            )
        return tuple(totals)


def _endless(images: int, settings: ResolvedTrain, rng: np.random.Generator) -> Iterator[NDArray[np.intp]]:
    """Yield full batches for ever, since a small last batch costs more per image."""
    size = min(settings.batch_size, images)
    while True:
        yield from (chosen for chosen in batches(images, settings.batch_size, rng) if len(chosen) >= size)


def _open_group(waiting: list[StepCostJob], recipe: ResolvedRecipe) -> list[_Subject]:
    """Take the next candidates from those that wait, as many as fit into memory, and open them."""
    group: list[_Subject] = []
    parameters = 0
    while waiting and parameters < MAX_PARAMETERS:
        job = waiting.pop(0)
        try:
            subject = _Subject(job, recipe)
        except (PeprError, RuntimeError):
            continue  # it has no cost, and the ranking takes that of its own epochs
        parameters += subject.num_params
        group.append(subject)
    return group


def _run_rounds(
    group: list[_Subject], meter: Meter, rounds: int, on_block: Callable[[Candidate], None]
) -> None:
    for number in range(rounds):
        first = number * len(group) // rounds
        for subject in group[first:] + group[:first]:
            try:
                subject.run_block(meter)
            except RuntimeError:
                subject.blocks.clear()
            on_block(subject.job.candidate)
