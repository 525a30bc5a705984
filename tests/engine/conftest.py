from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from local_engine import STAND_IN, WorkerIs

from pepr_edge.data import DataSettings, prepare
from pepr_edge.engine import worker_process
from pepr_edge.engine.job import CandidateJob
from pepr_edge.recipe.settings import ResolvedRecipe
from pepr_edge.records import Candidate


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantom images at 32 px, ready for training."""
    folder = tmp_path_factory.mktemp("prepared")
    prepare(DataSettings("phantom", 32, phantom_images=60, seed=1), folder)
    return folder


@pytest.fixture
def make_job(prepared: Path, tmp_path: Path) -> Callable[..., CandidateJob]:
    """Make a job in a folder of its own below `tmp_path`: a tiny architecture, one epoch, both variants."""

    def make(
        name: str = "job", architecture: str = "test_efficientnet", train_key: str = "a key", **tables: Any
    ) -> CandidateJob:
        values: dict[str, Any] = {
            "name": "test",
            "device": {"name": "test"},
            "candidates": {"architectures": [architecture], "image_size_px": 32},
            "train": {"epochs": 1, "device": "cpu"},
        }
        return CandidateJob(
            candidate=Candidate(architecture=architecture, image_size_px=32, in_channels=1, num_classes=2),
            recipe=ResolvedRecipe.model_validate({**values, **tables}),
            data=str(prepared),
            folder=str(tmp_path / name),
            train_key=train_key,
            threads=1,
            exclusive=True,
        )

    return make


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head that works on nothing."""
    utils = pytest.importorskip("ray.cluster_utils")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    made = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    yield made
    made.shutdown()


@pytest.fixture
def worker_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WorkerIs:
    """Put a script into the worker's place."""

    def put(script: str) -> None:
        path = tmp_path / "worker.py"
        path.write_text(STAND_IN.format(python=sys.executable, script=script), encoding="utf-8")
        path.chmod(0o755)
        monkeypatch.setattr(worker_process.sys, "executable", str(path))  # type: ignore[attr-defined]

    return put
