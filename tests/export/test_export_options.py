from __future__ import annotations

from types import SimpleNamespace

import pytest

from pepr_edge.export import options
from pepr_edge.measure import settings as measure_settings
from pepr_edge.measure.runtimes import RUNTIMES
from pepr_edge.recipe import Device
from pepr_edge.records import SessionSettings

pytestmark = pytest.mark.usefixtures("two_runtimes")


def test_auto_tries_every_runtime_that_is_installed() -> None:
    assert options.runtimes(Device(name="d")) == ("onnxruntime", "openvino")
    assert options.runtimes(Device(name="d", runtime="onnxruntime")) == ("onnxruntime",)
    assert options.runtimes(Device(name="d", provider="cuda")) == ("onnxruntime",)


def test_a_runtime_that_is_not_installed_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        RUNTIMES["openvino"], "unavailable", lambda provider="cpu": "openvino cannot be imported"
    )
    assert options.runtimes(Device(name="d")) == ("onnxruntime",)


def test_bfloat16_is_tried_only_if_the_recipe_allows_it() -> None:
    assert {settings.precision for settings in options.trial_settings(Device(name="d"))} == {"float32"}
    allowed = options.trial_settings(Device(name="d", threads=2, allow_bf16=True))
    assert [settings.runtime for settings in allowed if settings.precision == "bfloat16"] == [
        "openvino",
        "openvino",
    ]
    assert all(settings.batch == 1 for settings in allowed)


def test_one_thread_is_tried_besides_all_threads() -> None:
    assert [settings.threads for settings in options.trial_settings(Device(name="d", threads=4))] == [
        4,
        1,
        4,
        1,
    ]
    assert [settings.threads for settings in options.trial_settings(Device(name="d", threads=1))] == [1, 1]


def test_openvino_is_tried_with_no_more_threads_than_this_machine_has_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(measure_settings, "usable_cores", lambda: 2)
    tried = {
        (settings.runtime, settings.threads)
        for settings in options.trial_settings(Device(name="d", threads=4))
    }
    assert tried == {("onnxruntime", 4), ("onnxruntime", 1), ("openvino", 2), ("openvino", 1)}


@pytest.mark.parametrize("threads", [1, 4])
def test_the_grid_varies_the_options_of_the_runtime(threads: int) -> None:
    start = SessionSettings(threads=threads, batch=1)
    grid = options.option_grid(start)
    assert start not in grid
    assert len(set(grid)) == len(grid) == (7 if threads > 1 else 3)
    assert {settings.threads for settings in grid} == {threads}
    assert any(settings.spinning for settings in grid) == (threads > 1)
    assert options.option_grid(start.model_copy(update={"runtime": "openvino"})) == ()


def test_settings_as_text() -> None:
    assert options.settings_text(SessionSettings(threads=2)) == "onnxruntime, 2 threads"
    assert (
        options.settings_text(SessionSettings(runtime="openvino", precision="bfloat16"))
        == "openvino, bfloat16, 1 thread"
    )
    other = SessionSettings(provider="cuda", spinning=True, arena=False, graph_optimisation="extended")
    assert (
        options.settings_text(other)
        == "onnxruntime, cuda, 1 thread, spinning, no arena, optimisation extended"
    )


@pytest.mark.parametrize("name", RUNTIMES)
def test_every_runtime_offers_settings_of_its_own(name: str) -> None:
    start = SessionSettings(runtime=name, threads=2, batch=1)
    trials = RUNTIMES[name].trial_settings(start)
    assert not trials or trials[0] == start
    for settings in (*trials, *RUNTIMES[name].option_grid(start)):
        assert (settings.runtime, settings.threads, settings.batch) == (name, 2, 1)


def test_a_new_runtime_takes_part_with_its_line_in_the_dict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RUNTIMES, "another", RUNTIMES["onnxruntime"])
    assert options.runtimes(Device(name="d")) == ("onnxruntime", "openvino", "another")
    assert "another" in {settings.runtime for settings in options.trial_settings(Device(name="d"))}


def test_autotuning_is_refused_for_a_runtime_without_trial_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    another = SimpleNamespace(
        trial_settings=lambda settings: (),
        threads_on=lambda cores, threads: threads,
        unavailable=lambda provider="cpu": None,
    )
    monkeypatch.setitem(RUNTIMES, "another", another)
    assert options.runtimes(Device(name="d")) == ("onnxruntime", "openvino")
    device = Device(name="d").model_copy(update={"runtime": "another"})
    assert options.trial_settings(device) == ()
    assert 'device.runtime = "another"' in str(options.autotuning_fault(device))
    assert options.autotuning_fault(Device(name="d")) is None
