from __future__ import annotations

import pytest

from pepr_edge.export import options
from pepr_edge.measure.runtimes import RUNTIMES
from pepr_edge.recipe import Device
from pepr_edge.records import SessionSettings


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RUNTIMES["openvino"], "unavailable", lambda provider="cpu": None)


@pytest.mark.usefixtures("both")
def test_auto_tries_every_runtime_that_is_installed() -> None:
    assert options.runtimes(Device(name="d")) == ("onnxruntime", "openvino")
    assert options.runtimes(Device(name="d", runtime="onnxruntime")) == ("onnxruntime",)
    assert options.runtimes(Device(name="d", provider="cuda")) == ("onnxruntime",)


def test_a_runtime_that_is_not_installed_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        RUNTIMES["openvino"], "unavailable", lambda provider="cpu": "openvino cannot be imported"
    )
    assert options.runtimes(Device(name="d")) == ("onnxruntime",)


@pytest.mark.usefixtures("both")
def test_bfloat16_is_tried_only_where_the_recipe_allows_it() -> None:
    assert {settings.precision for settings in options.starts(Device(name="d"))} == {"float32"}
    allowed = options.starts(Device(name="d", threads=2, allow_bf16=True))
    assert [settings.runtime for settings in allowed if settings.precision == "bfloat16"] == [
        "openvino",
        "openvino",
    ]
    assert all(settings.batch == 1 for settings in allowed)


@pytest.mark.usefixtures("both")
def test_one_thread_is_tried_beside_many() -> None:
    assert [settings.threads for settings in options.starts(Device(name="d", threads=4))] == [4, 1, 4, 1]
    assert [settings.threads for settings in options.starts(Device(name="d", threads=1))] == [1, 1]


@pytest.mark.parametrize("threads", [1, 4])
def test_the_grid_varies_what_the_runtime_knows(threads: int) -> None:
    start = SessionSettings(threads=threads, batch=1)
    found = options.grid(start)
    assert start not in found
    assert len(set(found)) == len(found) == (7 if threads > 1 else 3)
    assert {settings.threads for settings in found} == {threads}
    assert any(settings.spinning for settings in found) == (threads > 1)
    assert options.grid(start.model_copy(update={"runtime": "openvino"})) == ()


def test_settings_in_words() -> None:
    assert options.words(SessionSettings(threads=2)) == "onnxruntime, 2 threads"
    assert (
        options.words(SessionSettings(runtime="openvino", precision="bfloat16"))
        == "openvino, bfloat16, 1 thread"
    )
    other = SessionSettings(provider="cuda", spinning=True, arena=False, graph_optimisation="extended")
    assert options.words(other) == "onnxruntime, cuda, 1 thread, spinning, no arena, optimisation extended"
