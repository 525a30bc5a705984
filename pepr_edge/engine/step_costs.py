"""TrainResult -> StepCost: the training steps of a run's candidates, measured in turn in one process.

The process is `python -m pepr_edge.engine.step_costs`. A StepCostRequest comes on its stdin; the id of the
candidate of each finished block goes to its stdout.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Timer
from typing import Literal

from pydantic import BaseModel, ConfigDict

from pepr_edge.data import load
from pepr_edge.device.cpu import cpu_name
from pepr_edge.engine.engine import Engine
from pepr_edge.engine.job import CandidateFiles
from pepr_edge.engine.parent_death import die_with_parent
from pepr_edge.engine.worker_process import start_program
from pepr_edge.measure.process import describe_exit
from pepr_edge.progress import ProgressView
from pepr_edge.recipe.settings import ResolvedRecipe
from pepr_edge.records import Candidate, TrainResult
from pepr_edge.run_dir.keys import step_cost_key, train_key
from pepr_edge.run_dir.layout import STEP_COST, candidate_folder
from pepr_edge.run_dir.reader import Results, VariantState, reread
from pepr_edge.run_dir.store import write_record

# The process is killed after this long: the start, and so much for each candidate.
START_LIMIT_S = 120.0
CANDIDATE_LIMIT_S = 60.0
ROUNDS = 3


class StepCostSubject(BaseModel):
    """A trained candidate whose steps are to be measured: its prepared images, its folder, key and mode."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    candidate: Candidate
    data: str
    folder: str
    key: str
    layout: Literal["contiguous", "channels_last"]
    precision: Literal["float32", "bfloat16", "float16"]
    threads: int


class StepCostRequest(BaseModel):
    """Candidates to be measured in turn. `exclusive`: nothing else of the run is at work on this machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: ResolvedRecipe
    exclusive: bool
    subjects: tuple[StepCostSubject, ...]


def measure_step_costs(
    results: Results, files: CandidateFiles, engine: Engine, view: ProgressView
) -> Results:
    """Measure the steps of all trained candidates, unless all of them have a current cost.

    They are measured together, since costs of different minutes cannot be compared. A candidate that was
    trained on a GPU or on another processor has none, nor one whose steps are those of a classifier on cached
    features.
    """
    subjects = []
    is_complete = True
    for candidate in results.info.candidates:
        state = results.exports(candidate)[0]
        if state.trained is not None and _is_comparable(results.recipe, state.trained):
            subjects.append(_subject(results, state, state.trained, files))
            is_complete = is_complete and state.step_cost is not None
    if is_complete:
        return results
    request = StepCostRequest(recipe=results.recipe, exclusive=engine.exclusive, subjects=tuple(subjects))
    with view.bar("cost of training steps") as bar:
        done: list[str] = []

        def on_block(candidate: str) -> None:
            done.append(candidate)
            bar.update(len(done), ROUNDS * len(subjects), candidate)

        reason = _measure_in_process(request, on_block)
    if reason:
        view.say(f"note: training steps could not be measured in turn ({reason}); the cost is that of epochs")
    return reread(results, [subject.candidate for subject in subjects], verify=False)


def _is_comparable(recipe: ResolvedRecipe, trained: TrainResult) -> bool:
    environment = trained.environment
    keeps_features = recipe.train.mode == "head" and recipe.train.augment == "none"
    return not environment.accelerator and environment.cpu == cpu_name() and not keeps_features


def _subject(
    results: Results, state: VariantState, trained: TrainResult, files: CandidateFiles
) -> StepCostSubject:
    candidate = state.candidate
    of_training = train_key(candidate, results.recipe, results.info.data)
    return StepCostSubject(
        candidate=candidate,
        data=str(files.images_of(candidate, results.recipe)),
        folder=str(candidate_folder(results.folder, candidate)),
        key=step_cost_key(of_training, trained),
        layout=trained.layout,
        precision=trained.precision,
        threads=trained.environment.threads,
    )


def _measure_in_process(request: StepCostRequest, on_block: Callable[[str], None]) -> str:
    """Measure the candidates of a request, and write a cost.json into the folder of each.

    Args:
        request: what to measure.
        on_block: called with the id of a candidate after each of its blocks.
    Returns:
        Why the process failed, in a line; empty if it did not.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        process = start_program("pepr_edge.engine.step_costs", log)
        _converse(process, request, on_block)
        log.seek(0)
        lines = log.read().strip().splitlines()
    status = process.returncode
    if status == 0:
        return ""
    return lines[-1] if lines and status > 0 else f"its process {describe_exit(status)}"


def _converse(
    process: subprocess.Popen[str], request: StepCostRequest, on_block: Callable[[str], None]
) -> None:
    """Send the request, read what is done until the process ends, and end it if it takes too long."""
    limit = Timer(START_LIMIT_S + CANDIDATE_LIMIT_S * len(request.subjects), process.kill)
    limit.daemon = True
    limit.start()
    try:
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            with suppress(BrokenPipeError):  # it died before it read the request
                process.stdin.write(request.model_dump_json())
                process.stdin.close()
            for line in process.stdout:
                on_block(line.strip())
    except BaseException:
        process.kill()
        raise
    finally:
        limit.cancel()


def main() -> None:
    """Read the request, measure, write the records."""
    die_with_parent()
    blocks = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    from pepr_edge.train.step import ComputeMode
    from pepr_edge.train.step_cost import StepCostJob, step_costs

    request = StepCostRequest.model_validate_json(sys.stdin.read())
    folders = {subject.candidate.id: Path(subject.folder) for subject in request.subjects}
    jobs = [
        StepCostJob(
            candidate=subject.candidate,
            data=load(Path(subject.data)),
            mode=ComputeMode(subject.layout, subject.precision),
            threads=subject.threads,
            key=subject.key,
        )
        for subject in request.subjects
    ]

    def on_block(candidate: Candidate) -> None:
        blocks.write(f"{candidate.id}\n")
        blocks.flush()

    for cost in step_costs(jobs, request.recipe, request.exclusive, ROUNDS, on_block):
        write_record(folders[cost.candidate.id] / STEP_COST, cost)


if __name__ == "__main__":
    main()
