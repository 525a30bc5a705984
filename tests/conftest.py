from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pinned  # noqa: F401  # isort: skip
import command_line
import no_network  # noqa: F401
import pytest
import small_run
import tiny_bundle
from warm_workers import WarmWorkers

from pepr_edge.bundle.read import read_manifest
from pepr_edge.engine import this_machine
from pepr_edge.records import Manifest

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that hold slow tests: a long test at the end would keep one process busy alone."""
    slow = {item.path for item in items if item.get_closest_marker("slow") is not None}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the official MedMNIST files; skips where they are absent."""
    folder = (ROOT / os.environ.get("PEPR_TEST_DATA", "../shared") / "data").resolve()
    if not (folder / "breastmnist.npz").is_file():
        pytest.skip(f"no real data at {folder}: set PEPR_TEST_DATA")
    return folder


@pytest.fixture(scope="session", autouse=True)
def warm_workers() -> Iterator[None]:
    """Let the runs of all tests in this process share their workers."""
    workers = WarmWorkers()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(this_machine, "Workers", lambda: workers)
        yield
    workers.end()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a finished run of `small_run.RECIPE`; not to be changed."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    with pytest.MonkeyPatch.context() as patch:
        small_run.carry_out(folder, patch)
    return folder


@pytest.fixture(autouse=True)
def skill_of_small_runs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rank the models of small runs, also in commands that tests call on them."""
    if {"finished", "flawless", "own_run"} & set(request.fixturenames):
        small_run.assume_skill(monkeypatch)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> command_line.Run:
    """The command line as a function."""
    return partial(command_line.run, capsys, monkeypatch)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """The file of `small_run.RECIPE`, to be changed."""
    path = tmp_path / "recipe.toml"
    path.write_text(small_run.RECIPE)
    return path


@pytest.fixture
def own_run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run of the test's own, to be tampered with."""
    return small_run.copy(finished, tmp_path / "small")


@pytest.fixture(scope="session")
def flawless(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run with the architecture that works alone: nothing in it failed. Not to be changed."""
    folder = small_run.copy(finished, tmp_path_factory.mktemp("runs") / "flawless")
    with pytest.MonkeyPatch.context() as patch:
        small_run.carry_out(folder, patch, small_run.FLAWLESS)
    return folder


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole bundle; not to be changed."""
    return tiny_bundle.write(tmp_path_factory.mktemp("bundles") / "01-tiny@16-fp32")


@pytest.fixture
def own_bundle(tmp_path: Path) -> Path:
    """A whole bundle of the test's own, to be tampered with."""
    return tiny_bundle.write(tmp_path / "bundles" / "01-tiny@16-fp32")


@pytest.fixture
def manifest(bundle: Path) -> Manifest:
    return read_manifest(bundle)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both rules as short as a test may take."""
    tiny_bundle.measure_briefly(monkeypatch)
