from __future__ import annotations

from pathlib import Path

import pytest
from simulated_run import NETS, MakeRun, Net, Run

from pepr_edge.search import candidate_search


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeRun:
    """Make a run whose workers are a fake."""

    def make(more: str, nets: dict[str, Net] = NETS, joules: bool = True) -> Run:
        run = Run(tmp_path, nets, more, joules)
        monkeypatch.setattr(candidate_search, "screen", run.screen)
        monkeypatch.setattr(candidate_search, "run_jobs", run.work)
        return run

    return make
