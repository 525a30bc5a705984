"""Folders that processes of pepr_edge were making when they ended."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pepr_edge.run_dir.owned import UNFINISHED, staging_folder

ENDED = 2**22 + 1  # Linux gives no process a higher number than 2^22


@pytest.mark.parametrize(
    ("process", "stays"),
    [
        # Its number differs between the processes that share the tests.
        pytest.param(os.getpid(), True, id="this process"),
        (ENDED, False),
        (2**40, False),
        (2**62, False),
        (-1, False),
        (1e300, False),
        ("x", True),
        ([], True),
        (None, True),
    ],
)
def test_only_what_a_process_of_ours_left_behind_is_removed(
    process: object, stays: bool, tmp_path: Path
) -> None:
    left = tmp_path / ".out.1.tmp"
    left.mkdir()
    (left / UNFINISHED).write_text(json.dumps({"pepr_edge_process": process}))
    with staging_folder(tmp_path / "out"):
        assert left.exists() == stays
