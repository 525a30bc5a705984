"""The local engine with scripts in place of its workers."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from pepr_edge.engine import local
from pepr_edge.engine.job import CandidateJob, Step
from pepr_edge.records import Failure
from pepr_edge.run_dir.store import read_record

MakeJob = Callable[..., CandidateJob]
WorkerIs = Callable[[str], None]
PARALLEL = pytest.mark.parametrize("parallel", [1, 2])
posix = pytest.mark.skipif(os.name != "posix", reason="the stand-in for the worker is a script")
PYTHON = sys.executable
# Stands in for a worker: `job` is what it was given, `step` says how far it is.
STAND_IN = """#!{python} -S
import json, os, signal, sys, time
def step(stage="train", done=1):
    print(json.dumps({{"stage": stage, "done": done, "total": 9}}), flush=True)
def given():
    return json.loads(sys.stdin.readline())
{script}
"""
FOREVER = "given(); step(); time.sleep(600)"


def run(
    jobs: list[CandidateJob],
    parallel: int = 1,
    on_step: Callable[[CandidateJob, Step], None] = lambda job, step: None,
) -> list[str]:
    """Run jobs; the names of their folders, in the order in which they were done."""
    done: list[str] = []
    local.run(jobs, parallel, on_step, lambda job: done.append(Path(job.folder).name))
    return done


def failed(job: CandidateJob) -> Failure:
    return read_record(Path(job.folder) / "failure.json", Failure)


def children() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)
