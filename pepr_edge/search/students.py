"""Train small candidates again with the best one as their teacher, where the recipe says teacher = "best".

Every candidate is first trained alone. The one that is best on validation is the teacher; those with fewer
parameters are trained a second time, and learn from it, too. Of both trainings the better one on validation
is deployed.
"""

from __future__ import annotations

from collections.abc import Sequence

from pepr_edge.engine.engine import Engine
from pepr_edge.engine.job import CandidateFiles, CandidateJob, TeacherJob
from pepr_edge.errors import RecipeError
from pepr_edge.progress import ProgressView
from pepr_edge.records import Candidate, TrainResult
from pepr_edge.run_dir.current import current_repeats, deployed, read_failure
from pepr_edge.run_dir.keys import STUDENT, train_key
from pepr_edge.run_dir.layout import candidate_folder
from pepr_edge.run_dir.reader import Results
from pepr_edge.run_dir.store import log_event
from pepr_edge.search.jobs import make_job, run_jobs
from pepr_edge.search.repeats import is_left_out, is_trained, outcome

ALONE = 0


def train_students(results: Results, files: CandidateFiles, engine: Engine, view: ProgressView) -> None:
    """Train what is missing: every candidate alone, then the students. Nothing is exported.

    A training that failed before is tried again.

    Raises:
        RecipeError: an image may have several labels, whose probabilities do not sum to 1.
    """
    if results.info.data.kind == "multilabel":
        raise RecipeError('train.teacher = "best", but images have several labels. Remove the line.')
    alone = [
        candidate
        for candidate in results.info.candidates
        if not is_left_out(results, candidate)
        and not is_trained(results, candidate, _trainings(results, candidate).get(ALONE))
    ]
    jobs = [make_job(results, candidate, files, engine, "repeat", None, ALONE) for candidate in alone]
    _run(results, jobs, engine, view)
    teacher = best_alone(results)
    if teacher is None:
        return
    waiting = [
        candidate for candidate in students(results, teacher) if not _has_learnt(results, candidate, teacher)
    ]
    if waiting:
        view.say(f"teacher: {teacher.candidate.id}, of {len(waiting)} smaller candidates")
    learns_from = TeacherJob(
        folder=str(candidate_folder(results.folder, teacher.candidate)),
        data=str(files.images_of(teacher.candidate, results.recipe)),
        train_key=train_key(teacher.candidate, results.recipe, results.info.data),
    )
    jobs = []
    for candidate in waiting:
        key = train_key(
            candidate,
            results.recipe,
            results.info.data,
            repeat=STUDENT,
            teacher_sha256=teacher.checkpoint_sha256,
        )
        job = make_job(results, candidate, files, engine, "repeat", None, STUDENT)
        jobs.append(job.model_copy(update={"teacher": learns_from, "train_key": key}))
    _run(results, jobs, engine, view)


def best_alone(results: Results) -> TrainResult | None:
    """Return the training that is best on validation, of those without a teacher; None without any."""
    found = [_trainings(results, candidate).get(ALONE) for candidate in results.info.candidates]
    return deployed(trained for trained in found if trained is not None)


def students(results: Results, teacher: TrainResult) -> list[Candidate]:
    """Return the candidates with fewer parameters than the teacher, as far as they are trained alone."""
    smaller = []
    for candidate in results.info.candidates:
        alone = _trainings(results, candidate).get(ALONE)
        if alone is not None and alone.num_params < teacher.num_params:
            smaller.append(candidate)
    return smaller


def _has_learnt(results: Results, candidate: Candidate, teacher: TrainResult) -> bool:
    """True if a student is trained, and by this teacher: another one may be the best by now."""
    student = _trainings(results, candidate).get(STUDENT)
    if student is None or student.teacher is None:
        return False
    is_same = student.teacher.checkpoint_sha256 == teacher.checkpoint_sha256
    return is_same and is_trained(results, candidate, student)


def _trainings(results: Results, candidate: Candidate) -> dict[int, TrainResult]:
    folder = candidate_folder(results.folder, candidate)
    return current_repeats(folder, candidate, results.recipe, results.info.data)


def _run(results: Results, jobs: Sequence[CandidateJob], engine: Engine, view: ProgressView) -> None:
    """Run trainings, and say how each ended."""

    def on_done(job: CandidateJob) -> None:
        trained = _trainings(results, job.candidate).get(job.repeat)
        if trained is not None:
            line = outcome(trained)
        else:
            failure = read_failure(job.training_folder, {job.train_key})
            line = "failed" if failure is None else f"failed: {failure.reason}"
        how = "as a student" if job.repeat == STUDENT else "alone"
        log_event(results.folder, "trained", candidate=job.candidate.id, how=how, result=line)
        view.say(f"{job.candidate.id} {how}: {line}")

    if jobs:
        run_jobs(jobs, engine, "trainings", view, on_done)
