"""Train and export one candidate, in a process of its own: `python -m pepr_edge.engine.worker`, the Job on stdin, Steps on stdout.

A process of its own, so that its peak memory is its own and whatever one candidate does, the next one starts clean.
"""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import TextIO

from pepr_edge.data import Dataset, load
from pepr_edge.engine.job import Job, Step
from pepr_edge.errors import PeprError
from pepr_edge.export.artifact import Source
from pepr_edge.export.variants import Variant
from pepr_edge.export.variants import load as load_variant
from pepr_edge.records import Candidate, Failure, TrainResult
from pepr_edge.results import current_artifact, current_training, export_key, read_logits
from pepr_edge.store import write_record


def work(job: Job, steps: TextIO) -> None:
    """Do what of a job is not on the disk yet. What fails leaves a failure.json where its result would be."""
    data, folder = load(Path(job.data)), Path(job.folder)
    try:
        trained = current_training(folder, job.train_key) or _train(job, data, steps)
    except PeprError as fault:
        write_record(folder / "failure.json", failure(job.train_key, job.candidate, None, "train", fault))
        return
    (folder / "failure.json").unlink(missing_ok=True)
    _export(job, trained, data, steps)


def failure(key: str, candidate: Candidate, variant: str | None, stage: str, fault: BaseException) -> Failure:
    """A fault as a record."""
    return Failure(key=key, candidate=candidate, variant=variant, stage=stage, reason=str(fault) or type(fault).__name__)


def _train(job: Job, data: Dataset, steps: TextIO) -> TrainResult:
    from pepr_edge.train.train import train

    def progress(done: int, total: int, epoch: int, best: float) -> None:
        if done == 1 or done == total or done % 5 == 0:
            reached = best if math.isfinite(best) else None
            tell(steps, Step(stage="train", done=done, total=total, epoch=epoch, epochs=job.recipe.train.epochs, best=reached))

    return train(
        job.candidate,
        data,
        job.recipe,
        Path(job.folder),
        job.train_key,
        threads=job.threads,
        exclusive=job.exclusive,
        progress=progress,
    )


def _export(job: Job, trained: TrainResult, data: Dataset, steps: TextIO) -> None:
    """All variants that are not there yet, out of one float32 file."""
    folder = Path(job.folder)
    recipe = job.recipe
    variants = [load_variant(name) for name in recipe.export.made]
    wanted = [variant for variant in variants if current_artifact(folder / variant.name, export_key(trained, variant, recipe)) is None]
    if not wanted:
        return
    from pepr_edge.export.export import Exporter
    from pepr_edge.train.models import restore

    with Exporter(Source(trained, read_logits(folder), data, recipe), job.threads) as exporter:
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


def _failed(job: Job, trained: TrainResult, variant: Variant, fault: PeprError) -> None:
    path = Path(job.folder) / variant.name / "failure.json"
    write_record(path, failure(export_key(trained, variant, job.recipe), job.candidate, variant.name, "export", fault))


def tell(steps: TextIO, step: Step) -> None:
    """One line to the parent."""
    steps.write(step.model_dump_json() + "\n")
    steps.flush()


def main() -> None:
    """Keep stdout for the Steps alone: whatever a library prints goes to stderr, the candidate's log."""
    steps = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    work(Job.model_validate_json(sys.stdin.read()), steps)


if __name__ == "__main__":
    main()
