from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
WORKER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pepr_edge.engine.parent_death import die_with_parent
die_with_parent()
print("at work", flush=True)
time.sleep(60)
"""
PARENT = """
import subprocess, sys, time
worker = subprocess.Popen([sys.executable, "-S", "-c", sys.argv[1], sys.argv[2]], stdout=subprocess.PIPE)
worker.stdout.readline()
print(worker.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a worker notices by its next step")
@pytest.mark.parametrize("by", [pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGKILL])
@pytest.mark.slow
def test_a_worker_ends_with_its_parent(by: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-S", "-c", PARENT, WORKER, str(ROOT)], stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        worker = psutil.Process(int(parent.stdout.readline()))
        assert worker.is_running()
        parent.send_signal(by)
        parent.wait(30)
    gone, alive = psutil.wait_procs([worker], timeout=30)
    assert (len(gone), alive) == (1, [])
