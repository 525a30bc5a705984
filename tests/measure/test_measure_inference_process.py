from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hostile_models
import numpy as np
import psutil
import pytest
import tiny_bundle

from pepr_edge.bundle.read import read_manifest
from pepr_edge.errors import MeasurementError, NoAnswerError
from pepr_edge.images.preprocess import to_tensor
from pepr_edge.measure import bundle_model, inference_process, memory_limit
from pepr_edge.measure.bundle_model import BundleModel, Limits, limits_of
from pepr_edge.measure.inference_process import MAX_ENDS, InferenceProcess
from pepr_edge.records import Manifest, SessionSettings

IMAGE = np.random.default_rng(0).integers(0, 256, (1, tiny_bundle.PX, tiny_bundle.PX, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def process() -> Iterator[InferenceProcess]:
    """One process for all tests of the module, as for all bundles of a command."""
    with InferenceProcess() as started:
        yield started


def model_of(bundle: Path) -> BundleModel:
    return bundle_model.bundle_model(bundle, read_manifest(bundle), SessionSettings())


def test_logits_are_those_of_this_process(
    process: InferenceProcess, bundle: Path, manifest: Manifest
) -> None:
    process.open(model_of(bundle))
    expected = tiny_bundle.logits_of(bundle / "model.onnx", IMAGE, manifest.preprocess)
    np.testing.assert_array_equal(process.logits(to_tensor(IMAGE, manifest.preprocess)), expected)


@pytest.mark.parametrize("name", hostile_models.REFUSED)
def test_a_model_with_other_inputs_or_outputs_is_refused(
    process: InferenceProcess, own_bundle: Path, name: str
) -> None:
    build, keyword = hostile_models.REFUSED[name]
    hostile_models.spoil(own_bundle, build())
    with pytest.raises(MeasurementError) as caught:
        process.open(model_of(own_bundle))
    assert keyword in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", hostile_models.NO_ANSWER)
def test_what_is_no_answer_is_none(
    process: InferenceProcess, own_bundle: Path, manifest: Manifest, name: str
) -> None:
    build, keyword = hostile_models.NO_ANSWER[name]
    hostile_models.spoil(own_bundle, build())
    process.open(model_of(own_bundle))
    with pytest.raises(NoAnswerError) as caught:
        process.logits(to_tensor(IMAGE, manifest.preprocess))
    assert keyword in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_only_the_image_without_an_answer_has_none(
    process: InferenceProcess, own_bundle: Path, manifest: Manifest, value: float
) -> None:
    hostile_models.spoil(own_bundle, hostile_models.nan_on_black(value))
    process.open(model_of(own_bundle))
    with pytest.raises(NoAnswerError, match="not finite"):
        process.logits(to_tensor(np.zeros_like(IMAGE), manifest.preprocess))
    assert np.isfinite(process.logits(to_tensor(IMAGE, manifest.preprocess))).all()


def test_an_endless_loop_is_ended_and_run_again_a_few_times_only(
    own_bundle: Path, manifest: Manifest, bundle: Path
) -> None:
    hostile_models.spoil(own_bundle, hostile_models.endless())
    model = model_of(own_bundle)._replace(limits=Limits(20.0, 0.3, None))
    tensor = to_tensor(IMAGE, manifest.preprocess)
    with InferenceProcess() as process:
        process.open(model)
        for _ in range(MAX_ENDS):
            with pytest.raises(NoAnswerError, match="no answer within"):
                process.logits(tensor)
        with pytest.raises(NoAnswerError, match="not run any more"):
            process.logits(tensor)
        process.open(model_of(bundle))
        assert process.logits(tensor).shape == (1, 2)


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_crash_costs_one_image_its_answer(bundle: Path, manifest: Manifest) -> None:
    tensor = to_tensor(IMAGE, manifest.preprocess)
    before = psutil.Process().children()
    with InferenceProcess() as process:
        process.open(model_of(bundle))
        (child,) = set(psutil.Process().children()) - set(before)
        child.send_signal(signal.SIGSEGV)
        with pytest.raises(NoAnswerError, match="SIGSEGV"):
            process.logits(tensor)
        assert process.logits(tensor).shape == (1, 2)
    assert psutil.Process().children() == before


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such limit")
def test_a_model_cannot_take_more_memory_than_its_limit(
    process: InferenceProcess, own_bundle: Path, manifest: Manifest, bundle: Path
) -> None:
    tensor = to_tensor(IMAGE, manifest.preprocess)
    hostile_models.spoil(own_bundle, hostile_models.huge_tensor(10**8))
    model = model_of(own_bundle)
    process.open(model._replace(limits=Limits(20.0, 20.0, 200 << 20)))
    with pytest.raises(NoAnswerError, match="cannot run"):
        process.logits(tensor)
    process.open(model._replace(limits=Limits(20.0, 20.0, 1 << 30)))
    assert process.logits(tensor).shape == (1, 2)


def test_a_process_started_for_another_runtime_imports_that_of_the_model(bundle: Path) -> None:
    with InferenceProcess() as process:
        process.start("openvino")
        process.open(model_of(bundle))
        assert process._imported == "onnxruntime"


def test_the_memory_of_a_process_is_watched_where_the_system_has_no_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: list[int] = []
    monkeypatch.setattr(memory_limit.os, "_exit", ended.append)
    memory_limit.watch_memory(-1)
    for _ in range(100):
        if ended:
            break
        time.sleep(0.01)
    assert ended == [memory_limit.EXCEEDED_STATUS]


def test_the_watch_of_an_earlier_model_ends_with_the_next_limit() -> None:
    memory_limit.watch_memory(1 << 40)
    (watch,) = [thread for thread in threading.enumerate() if thread.name == "memory limit"]
    memory_limit.lift_watch()
    watch.join(5.0)
    assert not watch.is_alive()


def test_data_bytes_are_read_from_the_status_of_a_process() -> None:
    assert memory_limit.parse_data_bytes("Name:\tx\nVmData:\t    3 kB\n") == 3072
    assert memory_limit.parse_data_bytes("VmData:\n") is None
    assert memory_limit.parse_data_bytes("") is None


def test_limits_grow_with_the_model_and_end_somewhere() -> None:
    home = tiny_bundle.profile("0" * 64)
    brief = limits_of(home, SessionSettings(), 1000)
    assert brief.answer_s == pytest.approx(5.2)
    assert brief.load_s == pytest.approx(7.0)
    slow = home.model_copy(update={"latencies_s": (1.0,) * 3, "load_s": -1.0})
    assert limits_of(slow, SessionSettings(), 1000).answer_s == pytest.approx(205.0)
    assert limits_of(slow, SessionSettings(), 1000).load_s == bundle_model.BASE_S
    endless = home.model_copy(update={"latencies_s": (1e308,), "peak_memory_bytes": None})
    assert limits_of(endless, SessionSettings(), 1000).answer_s == bundle_model.MAX_S
    assert (
        (brief.memory_bytes or 0)
        > (limits_of(endless, SessionSettings(), 1000).memory_bytes or 0)
        > 500 << 20
    )
    assert limits_of(home, SessionSettings(provider="cuda"), 1000).memory_bytes is None


def test_a_missing_model_is_one_line(own_bundle: Path, manifest: Manifest) -> None:
    (own_bundle / "model.onnx").unlink()
    with pytest.raises(Exception, match=r"model\.onnx: cannot be read"):
        bundle_model.bundle_model(own_bundle, manifest, SessionSettings())


@pytest.mark.parametrize(
    "rows", [[[0.5], [0.5, 1.0]], [1.0, [0.5]], [[0.5], 1.0], [["0.5"]], [[float("nan")]], [[None]]]
)
def test_rows_that_are_no_array_are_none(rows: list[Any]) -> None:
    assert inference_process._array(rows) is None
