"""What a worker does with a job: train and export one candidate, or a part of that. See worker_main."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TextIO

from pepr_edge.data import Dataset, load
from pepr_edge.engine.job import CandidateJob, Step, TeacherJob
from pepr_edge.errors import PeprError, RunError
from pepr_edge.export.artifact import ExportSource
from pepr_edge.export.select_variant import select_variant
from pepr_edge.images.preprocess import to_tensor
from pepr_edge.recipe import AUTO, FLOAT32, Recipe
from pepr_edge.recipe.task import with_positive
from pepr_edge.recipe.variants import Variant
from pepr_edge.recipe.variants import load as load_variant
from pepr_edge.records import Artifact, Candidate, Failure, ScreeningResult, TrainResult
from pepr_edge.run_dir.current import (
    current_artifact,
    current_cost_probe,
    current_training,
    current_training_state,
    is_complete,
)
from pepr_edge.run_dir.keys import autotune_key, export_key, screening_key
from pepr_edge.run_dir.layout import ARTIFACT, FAILURE, SCREENING, SCREENINGS, STEP_COST
from pepr_edge.run_dir.reader import read_logits
from pepr_edge.run_dir.store import disk_is_full, read_record, write_record
from pepr_edge.run_dir.training_files import clear

# To calibrate int8 for a screening: the ranges do not change the latency.
SCREENING_IMAGES = 16
# The parent gets one in this many training steps.
STEP_INTERVAL = 5
# Blocks of steps of each candidate whose cost is measured.
STEP_COST_ROUNDS = 3


def work(job: CandidateJob, steps: TextIO) -> None:
    """Do the parts of a job that are not done yet. A part that fails leaves a failure.json instead."""
    folder = Path(job.folder)
    try:
        if job.kind == "step_costs":
            _measure_step_costs(job, steps)
            return
        data = _data(Path(job.data), job.recipe)
        if job.kind == "screen":
            _screen(job, data, steps)
            return
        if job.kind == "select_variant":
            _select_variant(job, data, steps)
            return
        trained = _trained(job) or _train(job, data, steps)
    except PeprError as fault:
        _raise_if_disk_is_full(fault)
        write_record(folder / FAILURE, failure(job.train_key, job.candidate, None, job.stage, fault))
        return
    (folder / FAILURE).unlink(missing_ok=True)
    if trained is not None:
        if is_complete(trained, job.recipe.train):
            clear(job.training_folder)
        if job.kind != "repeat":
            _export(job, trained, data, steps)


def _data(folder: Path, recipe: Recipe) -> Dataset:
    """Read prepared data, with the positive class that the recipe chooses."""
    data = load(folder)
    return replace(data, info=with_positive(data.info, recipe))


def failure(key: str, candidate: Candidate, variant: str | None, stage: str, fault: BaseException) -> Failure:
    """Return an exception as a record."""
    reason = str(fault) or type(fault).__name__
    return Failure(key=key, candidate=candidate, variant=variant, stage=stage, reason=reason)


def _screen(job: CandidateJob, data: Dataset, steps: TextIO) -> None:
    """Write the files of the untrained candidate; where one cannot be made, a record with the reason."""
    from pepr_edge.export.untrained import write_untrained
    from pepr_edge.train.setup import untrained

    report(steps, Step(stage=job.stage, done=0, total=1))
    model, spec = untrained(job.candidate, data, job.recipe, job.threads)
    images = to_tensor(data.splits["train"][0][:SCREENING_IMAGES], spec)
    folder = Path(job.folder) / SCREENINGS
    failed = write_untrained(model, job.candidate, job.recipe, images, folder)
    for variant, reason in failed.items():
        screening = ScreeningResult(
            key=screening_key(job.candidate, variant, job.recipe),
            candidate=job.candidate,
            variant=variant,
            reason=reason,
        )
        write_record(folder / variant / SCREENING, screening)


def _trained(job: CandidateJob) -> TrainResult | None:
    """Return the training if it is done: one that was concluded early, only if the job wants just that."""
    trained = current_training(job.training_folder, job.train_key)
    if trained is None or is_complete(trained, job.recipe.train) or job.kind == "export":
        return trained
    is_wanted = job.kind in ("conclude", "repeat") and len(trained.epochs) == job.until_epoch
    return trained if is_wanted else None


def _train(job: CandidateJob, data: Dataset, steps: TextIO) -> TrainResult | None:
    """Train as far as the job says. None: the training is left unfinished, as the job says."""
    assert job.kind != "export"  # the pipeline gives this job only to candidates that are trained
    if _is_far_enough(job):
        return None
    # The first step of a training follows only after its probes.
    report(steps, Step(stage="cost probe" if job.kind == "probe" else "train", done=0, total=1))
    from pepr_edge.train.distil import TeacherFiles
    from pepr_edge.train.session import TrainingJob
    from pepr_edge.train.train import probe_cost, train, train_until

    training = TrainingJob(
        job.candidate,
        data,
        job.recipe,
        Path(job.folder),
        job.train_key,
        job.threads,
        job.exclusive,
        _progress(job, steps),
        job.weights_file,
        None if job.teacher is None else TeacherFiles(*_teacher(job.teacher, job.recipe)),
    )
    if job.kind == "probe":
        probe_cost(training)
        return None
    if job.kind == "train" and job.until_epoch is not None:
        train_until(training, job.until_epoch)
        return None
    return train(training, job.until_epoch)


def _teacher(teacher: TeacherJob, recipe: Recipe) -> tuple[TrainResult, Path, Dataset]:
    """Read the training that a student learns from, its folder and its images."""
    folder = Path(teacher.folder)
    trained = current_training(folder, teacher.train_key)
    if trained is None:
        raise RunError(f"{folder.name}: its training, from which others learn, was changed. Run it again.")
    return trained, folder, _data(Path(teacher.data), recipe)


def _progress(job: CandidateJob, steps: TextIO) -> Callable[[int, int, int, float], None]:
    """Return a function that reports some steps of a training. Those of a cost probe belong to no epoch."""

    def on_step(done: int, total: int, epoch: int, best: float) -> None:
        if done not in (1, total) and done % STEP_INTERVAL:
            return
        stage = "train" if epoch else "cost probe"
        epochs = job.recipe.train.epochs if epoch else 0
        best_so_far = best if math.isfinite(best) else None
        report(steps, Step(stage=stage, done=done, total=total, epoch=epoch, epochs=epochs, best=best_so_far))

    return on_step


def _is_far_enough(job: CandidateJob) -> bool:
    """True if a job that leaves its training unfinished has nothing to do."""
    folder = Path(job.folder)
    if job.kind == "probe":
        return current_cost_probe(folder, job.train_key) is not None
    if job.kind != "train" or job.until_epoch is None:
        return False
    training = current_training_state(folder, job.train_key)
    return training is not None and (training.stopped_early or len(training.epochs) >= job.until_epoch)


def _export(job: CandidateJob, trained: TrainResult, data: Dataset, steps: TextIO) -> None:
    """Export all variants that are missing, from one float32 file."""
    folder = Path(job.folder)
    recipe = job.recipe
    variants = [load_variant(name) for name in recipe.export.required]
    keys = {variant.name: export_key(trained, variant, recipe) for variant in variants}
    wanted = [
        variant for variant in variants if current_artifact(folder / variant.name, keys[variant.name]) is None
    ]
    if not wanted:
        return
    report(steps, Step(stage="export", done=0, total=len(wanted)))
    from pepr_edge.export.export import Exporter
    from pepr_edge.train.models import restore

    logits = read_logits(job.training_folder)
    best = trained.performance[f"val_{trained.performance_metric}"].value
    with Exporter(ExportSource(trained, logits, data, recipe), job.threads) as exporter:
        try:
            exporter.make_base(restore(trained.candidate, job.training_folder / trained.checkpoint))
        except PeprError as fault:
            for variant in wanted:
                _write_failure(job, trained, variant, fault)
            return
        for number, variant in enumerate(wanted):
            step = Step(stage=f"export {variant.name}", done=number, total=len(wanted), best=best)
            report(steps, step)
            try:
                exporter.artifact(variant, folder / variant.name, keys[variant.name])
                (folder / variant.name / FAILURE).unlink(missing_ok=True)
            except PeprError as fault:
                _write_failure(job, trained, variant, fault)


def _select_variant(job: CandidateJob, data: Dataset, steps: TextIO) -> None:
    """Choose the fastest variant that keeps its quality; if there is none, write the reason in its place."""
    folder = Path(job.folder)
    trained = current_training(job.training_folder, job.train_key)
    assert trained is not None  # the pipeline gives this job only to candidates with a float32 file
    base = read_record(folder / FLOAT32 / ARTIFACT, Artifact)
    key = autotune_key(trained, job.recipe)

    def on_progress(done: int, total: int, name: str) -> None:
        report(steps, Step(stage=f"choose {name}".strip(), done=done, total=total))

    try:
        source = ExportSource(trained, read_logits(job.training_folder), data, job.recipe)
        select_variant(source, base, folder, key, on_progress)
        (folder / FAILURE).unlink(missing_ok=True)
    except PeprError as fault:
        _raise_if_disk_is_full(fault)
        write_record(folder / AUTO / FAILURE, failure(key, job.candidate, AUTO, "choose", fault))


def _measure_step_costs(job: CandidateJob, steps: TextIO) -> None:
    """Measure the training steps of several candidates, and write the cost of each into its folder."""
    from pepr_edge.train.step import ComputeMode
    from pepr_edge.train.step_cost import StepCostJob, step_costs

    folders = {subject.candidate.id: Path(subject.folder) for subject in job.subjects}
    subjects = [
        StepCostJob(
            candidate=subject.candidate,
            data=_data(Path(subject.data), job.recipe),
            mode=ComputeMode(subject.layout, subject.precision),
            threads=subject.threads,
            key=subject.key,
        )
        for subject in job.subjects
    ]
    total = STEP_COST_ROUNDS * len(subjects)
    blocks = count(1)

    def on_block(candidate: Candidate) -> None:
        report(steps, Step(stage=candidate.id, done=next(blocks), total=total))

    for cost in step_costs(subjects, job.recipe, job.exclusive, STEP_COST_ROUNDS, on_block):
        write_record(folders[cost.candidate.id] / STEP_COST, cost)


def _raise_if_disk_is_full(fault: PeprError) -> None:
    """Stop the run if the disk is full: that is not the candidate's failure."""
    if disk_is_full(fault):
        raise fault


def _write_failure(job: CandidateJob, trained: TrainResult, variant: Variant, fault: PeprError) -> None:
    _raise_if_disk_is_full(fault)
    key = export_key(trained, variant, job.recipe)
    record = failure(key, job.candidate, variant.name, "export", fault)
    write_record(Path(job.folder) / variant.name / FAILURE, record)


def report(steps: TextIO, step: Step) -> None:
    """Write a step as one line to the parent."""
    steps.write(step.model_dump_json() + "\n")
    steps.flush()
