from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pepr_edge.engine import this_machine
from pepr_edge.measure import settings
from pepr_edge.measure.interleaved_profiles import Subject, Watch
from pepr_edge.records import ProfileRequest, SessionSettings

MODEL = Path("model.onnx")
REQUEST = ProfileRequest(
    sha256="0" * 64,
    settings=SessionSettings(runtime="openvino", threads=8),
    rules="look",
    input_shape=(1, 3, 32, 32),
)


def test_it_measures_with_the_threads_that_the_runtime_starts_here(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[ProfileRequest] = []

    def profile(model: Path, request: ProfileRequest, progress: Any = None) -> Any:
        measured.append(request)

    def profile_interleaved(subjects: Any, watch: Watch) -> None:
        measured.extend(subject.request for subject in subjects)

    monkeypatch.setattr(settings, "usable_cores", lambda: 2)
    monkeypatch.setattr(this_machine, "profile", profile)
    monkeypatch.setattr(this_machine, "profile_interleaved", profile_interleaved)
    host = this_machine.measurement_host()
    host.profile(MODEL, REQUEST)
    assert host.profile_interleaved is not None
    watch = Watch(lambda number, outcome: None, lambda *progress: None, lambda known: ())
    host.profile_interleaved([Subject(MODEL, REQUEST)], watch)
    assert [request.settings.threads for request in measured] == [2, 2]
