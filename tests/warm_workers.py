"""Worker processes that stay from run to run: each new one imports PyTorch and timm, for some seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from pepr_edge.engine import worker_process
from pepr_edge.engine.job import CandidateJob
from pepr_edge.engine.worker_process import WorkerProcess, Workers, start_program, worker_environment


class WarmWorkers(Workers):
    """Workers of all runs in this process. One is used where a new one would have been started alike."""

    def __init__(self) -> None:
        """Start nothing yet."""
        super().__init__()
        self._surroundings: dict[WorkerProcess, object] = {}

    def release(self) -> None:
        """Let the processes stay. tests/engine covers that they end."""

    def end(self) -> None:
        """End all processes that wait."""
        super().release()

    def _waiting(self) -> WorkerProcess | None:
        others = [worker for worker in self._idle if self._surroundings[worker] != surroundings()]
        for worker in others:
            self._idle.remove(worker)
            worker.end()
        return super()._waiting()

    def _new(self, job: CandidateJob, log: int) -> WorkerProcess:
        path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", path)
            patch.setattr(worker_process, "start_program", start_briefly)
            worker = super()._new(job, log)
        self._surroundings[worker] = surroundings()
        return worker


def start_briefly(module: str, stderr: int | IO[str]) -> subprocess.Popen[str]:
    """Start the worker of tests in place of the one of runs."""
    return start_program("brief_worker", stderr)


def surroundings() -> object:
    """Return what a worker has from the process that starts it."""
    environment = {name: value for name, value in worker_environment().items() if "PYTEST" not in name}
    return sys.executable, Path.cwd(), environment, os.umask(os.umask(0o022))
