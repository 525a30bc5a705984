"""What an engine is: where the candidates of a run are worked on, held open while the run lasts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pepr_edge.engine.job import CandidateJob, Step

OnStep = Callable[[CandidateJob, Step], None]
OnDone = Callable[[CandidateJob], None]
OnLost = Callable[
    [CandidateJob, str], None
]  # why, in words, where a job is begun again through no fault of its own


@dataclass(frozen=True)
class Engine:
    """An engine that is open.

    `threads`: of each job. `parallel`: about so many jobs are worked on at once. `exclusive`: the one that is has its machine alone.
    `run`: carries jobs out and returns once all are done; their results and failures are in their folders then, and callbacks come from
    the thread that called.
    """

    threads: int
    parallel: int
    exclusive: bool
    run: Callable[[Sequence[CandidateJob], OnStep, OnDone], None]
