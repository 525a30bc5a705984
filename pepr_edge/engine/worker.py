"""Train and export one candidate, in a process of its own: `python -m pepr_edge.engine.worker`, the CandidateJob on stdin, Steps on stdout.

A process of its own, so that its peak memory is its own and whatever one candidate does, the next one starts clean.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from pepr_edge.data import Dataset, load
from pepr_edge.engine.job import DISK_FULL, CandidateJob, Step
from pepr_edge.engine.parent_death import die_with_parent
from pepr_edge.errors import PeprError
from pepr_edge.export.artifact import ExportSource
from pepr_edge.export.select_variant import select_variant
from pepr_edge.images.preprocess import to_tensor
from pepr_edge.recipe import AUTO, FLOAT32
from pepr_edge.recipe.variants import Variant
from pepr_edge.recipe.variants import load as load_variant
from pepr_edge.records import Artifact, Candidate, Failure, ScreeningResult, TrainResult
from pepr_edge.run_dir.keys import SCREENING, SCREENINGS, autotune_key, export_key, screening_key
from pepr_edge.run_dir.reader import (
    current_artifact,
    current_cost_probe,
    current_training,
    current_training_state,
    is_complete,
    read_logits,
)
from pepr_edge.run_dir.store import disk_is_full, read_record, write_record
from pepr_edge.run_dir.training_files import clear

SCREENING_IMAGES = 16  # to calibrate a first look on: its ranges change no latency


def work(job: CandidateJob, steps: TextIO) -> None:
    """Do what of a job is not on the disk yet. What fails leaves a failure.json where its result would be."""
    data, folder = load(Path(job.data)), Path(job.folder)
    try:
        if job.screening:
            _screen(job, data, steps)
            return
        if job.choose:
            _select_variant(job, data, steps)
            return
        trained = _trained(job) or _train(job, data, steps)
    except PeprError as fault:
        _raise_if_disk_is_full(fault)
        write_record(folder / "failure.json", failure(job.train_key, job.candidate, None, job.stage, fault))
        return
    (folder / "failure.json").unlink(missing_ok=True)
    if trained is not None:
        if is_complete(trained, job.recipe.train):
            clear(folder)
        _export(job, trained, data, steps)


def failure(key: str, candidate: Candidate, variant: str | None, stage: str, fault: BaseException) -> Failure:
    """A fault as a record."""
    return Failure(
        key=key, candidate=candidate, variant=variant, stage=stage, reason=str(fault) or type(fault).__name__
    )


def _screen(job: CandidateJob, data: Dataset, steps: TextIO) -> None:
    """Leave the files of the untrained candidate; where one cannot be made, the look at it says why."""
    from pepr_edge.export.untrained import write_untrained
    from pepr_edge.train.setup import untrained

    tell(steps, Step(stage="first look", done=0, total=1))
    model, spec = untrained(job.candidate, data, job.recipe, job.threads)
    images, folder = (
        to_tensor(data.splits["train"][0][:SCREENING_IMAGES], spec),
        Path(job.folder) / SCREENINGS,
    )
    for variant, reason in write_untrained(model, job.candidate, job.recipe, images, folder).items():
        look = ScreeningResult(
            key=screening_key(job.candidate, variant, job.recipe),
            candidate=job.candidate,
            variant=variant,
            reason=reason,
        )
        write_record(folder / variant / SCREENING, look)


def _trained(job: CandidateJob) -> TrainResult | None:
    """The training that is done. One that was concluded early is not, but for who wants just that."""
    trained = current_training(Path(job.folder), job.train_key)
    if trained is None or is_complete(trained, job.recipe.train):
        return trained
    return trained if job.conclude and len(trained.epochs) == job.until_epoch else None


def _train(job: CandidateJob, data: Dataset, steps: TextIO) -> TrainResult | None:
    """Train as far as the job says; None where it says to leave it there."""
    leave_at = None if job.conclude else job.until_epoch
    if leave_at is not None and _is_far_enough(job, leave_at):
        return None
    from pepr_edge.train.session import TrainingTask
    from pepr_edge.train.train import probe_cost, train, train_until

    task = TrainingTask(
        job.candidate,
        data,
        job.recipe,
        Path(job.folder),
        job.train_key,
        job.threads,
        job.exclusive,
        _progress(job, steps),
    )
    if leave_at is None:
        return train(task, job.until_epoch)
    if leave_at == 0:
        probe_cost(task)
    else:
        train_until(task, leave_at)
    return None


def _progress(job: CandidateJob, steps: TextIO) -> Callable[[int, int, int, float], None]:
    """Tells the parent of some of the steps of a training; those of a cost probe are of no epoch."""

    def told(done: int, total: int, epoch: int, best: float) -> None:
        if done == 1 or done == total or done % 5 == 0:
            stage, epochs = ("train", job.recipe.train.epochs) if epoch else ("cost probe", 0)
            reached = best if math.isfinite(best) else None
            tell(steps, Step(stage=stage, done=done, total=total, epoch=epoch, epochs=epochs, best=reached))

    return told


def _is_far_enough(job: CandidateJob, epoch: int) -> bool:
    folder = Path(job.folder)
    if epoch == 0:
        return current_cost_probe(folder, job.train_key) is not None
    training = current_training_state(folder, job.train_key)
    return training is not None and (training.stopped_early or len(training.epochs) >= epoch)


def _export(job: CandidateJob, trained: TrainResult, data: Dataset, steps: TextIO) -> None:
    """All variants that are not there yet, out of one float32 file."""
    folder = Path(job.folder)
    recipe = job.recipe
    variants = [load_variant(name) for name in recipe.export.made]
    wanted = [
        variant
        for variant in variants
        if current_artifact(folder / variant.name, export_key(trained, variant, recipe)) is None
    ]
    if not wanted:
        return
    from pepr_edge.export.export import Exporter
    from pepr_edge.train.models import restore

    with Exporter(ExportSource(trained, read_logits(folder), data, recipe), job.threads) as exporter:
        try:
            exporter.make_base(restore(trained.candidate, folder / trained.checkpoint))
        except PeprError as fault:
            for variant in wanted:
                _failed(job, trained, variant, fault)
            return
        for number, variant in enumerate(wanted):
            tell(steps, Step(stage=f"export {variant.name}", done=number, total=len(wanted)))
            try:
                exporter.artifact(variant, folder / variant.name, export_key(trained, variant, recipe))
                (folder / variant.name / "failure.json").unlink(missing_ok=True)
            except PeprError as fault:
                _failed(job, trained, variant, fault)


def _select_variant(job: CandidateJob, data: Dataset, steps: TextIO) -> None:
    """The fastest variant that keeps its quality, by the candidate's ladder; where there is none, the reason in its place."""
    folder = Path(job.folder)
    trained = current_training(folder, job.train_key)
    assert trained is not None  # else it would have no float32 file, and no ladder
    plain, key = read_record(folder / FLOAT32 / "export.json", Artifact), autotune_key(trained, job.recipe)

    def told(done: int, total: int, name: str) -> None:
        tell(steps, Step(stage=f"choose {name}".strip(), done=done, total=total))

    try:
        select_variant(ExportSource(trained, read_logits(folder), data, job.recipe), plain, folder, key, told)
        (folder / "failure.json").unlink(missing_ok=True)
    except PeprError as fault:
        _raise_if_disk_is_full(fault)
        write_record(folder / AUTO / "failure.json", failure(key, job.candidate, AUTO, "choose", fault))


def _raise_if_disk_is_full(fault: PeprError) -> None:
    """That is no fault of the candidate: it stops the run."""
    if disk_is_full(fault):
        raise fault


def _failed(job: CandidateJob, trained: TrainResult, variant: Variant, fault: PeprError) -> None:
    _raise_if_disk_is_full(fault)
    path = Path(job.folder) / variant.name / "failure.json"
    write_record(
        path, failure(export_key(trained, variant, job.recipe), job.candidate, variant.name, "export", fault)
    )


def tell(steps: TextIO, step: Step) -> None:
    """One line to the parent."""
    steps.write(step.model_dump_json() + "\n")
    steps.flush()


def main() -> None:
    """Keep stdout for the Steps alone: whatever a library prints goes to stderr, the candidate's log."""
    die_with_parent()
    steps = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        work(CandidateJob.model_validate_json(sys.stdin.read()), steps)
    except Exception as fault:
        if disk_is_full(fault):
            sys.exit(DISK_FULL)
        raise


if __name__ == "__main__":
    main()
