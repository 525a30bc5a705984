from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_bundle

from pepr_edge.field import bench
from pepr_edge.measure import inference_process
from pepr_edge.measure.inference_process import InferenceProcess


class SharedProcess(InferenceProcess):
    """A process that stays for the next command: starting one takes longer than a row may."""

    def __exit__(self, *error: object) -> None:
        pass


@pytest.fixture(scope="module")
def shared_process() -> Iterator[SharedProcess]:
    process = SharedProcess()
    yield process
    process.close()


@pytest.fixture
def one_process(shared_process: SharedProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every command run models in the same process, and `bench` measure nothing."""
    monkeypatch.setattr(inference_process, "InferenceProcess", lambda: shared_process)
    monkeypatch.setattr(bench, "InferenceProcess", lambda: shared_process)
    tiny_bundle.fake_profile(monkeypatch)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a fallback, and an image, not to be changed."""
    folder = tmp_path_factory.mktemp("hostile")
    tiny_bundle.write(folder / "01-tiny@16-fp32", fallback=True)
    tiny_bundle.image(folder / "good.png")
    return folder
