"""An engine: where the candidates of a run are trained and exported, open while the run lasts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pepr_edge.engine.job import CandidateJob, Step

OnStep = Callable[[CandidateJob, Step], None]
OnDone = Callable[[CandidateJob], None]
# Called with the reason when a job starts again through no fault of its own.
OnLost = Callable[[CandidateJob, str], None]


@dataclass(frozen=True)
class Engine:
    """An open engine.

    `threads`: of each job. `parallel`: about how many jobs run at once. `exclusive`: a job has its machine to
    itself. `run`: carries out jobs and returns when all are done; their results and failures are then in
    their folders. It calls back from the thread that called it.
    """

    threads: int
    parallel: int
    exclusive: bool
    run: Callable[[Sequence[CandidateJob], OnStep, OnDone], None]
