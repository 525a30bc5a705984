from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pepr_edge.engine import fork_safety

linux = pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")


@given(st.lists(st.sampled_from(["absent", "anonymous", "of a file"]), max_size=40), st.integers(0, 1 << 40))
def test_runs_are_the_pages_of_files(pages: list[str], first: int) -> None:
    flags = {"absent": 0, "anonymous": fork_safety.PRESENT}
    of_a_file = fork_safety.PRESENT | fork_safety.OF_A_FILE | 5
    entries = np.array([flags.get(page, of_a_file) for page in pages], np.uint64).tobytes()
    runs = list(fork_safety._runs(entries, first))
    found = [number for start, count in runs for number in range(start, start + count)]
    assert found == [first + number for number, page in enumerate(pages) if page == "of a file"]
    assert all(start + count < after for (start, count), (after, _) in pairwise(runs))


@linux
def test_a_number_of_this_process() -> None:
    assert (fork_safety.status_number("Pid"), fork_safety.status_number("No such")) == (os.getpid(), None)


@pytest.mark.parametrize("before", [None, "4"])
def test_the_environment_is_the_same_after_an_import(
    monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    if before is not None:
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", before)
    with fork_safety.single_threaded_blas():
        assert os.environ["OPENBLAS_NUM_THREADS"] == "1"
    assert os.environ.get("OPENBLAS_NUM_THREADS") == before


PRELOADING = """
from pepr_edge.engine import fork_safety, worker_main
worker_main._preload("complete")
threads = fork_safety.status_number("Threads")
import torch
print(threads, fork_safety.may_fork(), torch.cuda.is_initialized())
"""


@linux
@pytest.mark.slow
def test_a_process_may_fork_after_its_imports() -> None:
    """A library that starts a thread, or a GPU's driver, when it is imported, would end the forking."""
    done = subprocess.run([sys.executable, "-c", PRELOADING], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "True", "False"]
