from __future__ import annotations

import json
from pathlib import Path

import command_line
import hostile_models
import pytest
import tiny_bundle

from pepr_edge.field import verify as bundle_verify
from pepr_edge.measure.runtimes import RUNTIMES


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle.write(tmp_path / "01-tiny@16-fp32")


def test_a_complete_bundle_passes(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = command_line.run(capsys, monkeypatch, "verify", bundle)
    assert (done.status, done.out, done.err) == (0, "01-tiny@16-fp32  passed\n", "")


def test_a_failed_bundle_does_not_hide_the_others(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tiny_bundle.write(bundle.parent / "02-tiny@16-other")
    (bundle / "model.onnx").write_bytes(b"altered")
    done = command_line.run(capsys, monkeypatch, "verify", bundle, other, "--json")
    assert done.status == 3
    first, second = json.loads(done.out)["bundles"]
    assert (first["bundle"], first["passed"]) == ("01-tiny@16-fp32", False)
    assert first["reasons"][0].startswith("model.onnx: sha256")
    assert {first[word] for word in ("selftest", "fallback", "race")} == {None}
    assert (second["bundle"], second["passed"], second["reasons"]) == ("02-tiny@16-other", True, [])
    assert second["selftest"]["passed"]
    assert (second["fallback"], second["race"]) == (None, None)
    assert "01-tiny@16-fp32: model.onnx: sha256" in done.err


def test_a_folder_that_is_no_bundle_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = command_line.run(capsys, monkeypatch, "verify", tmp_path)
    assert (done.status, done.out) == (1, "")
    assert "holds no manifest.json" in done.err
    assert done.err.count("\n") == 1


def test_a_folder_that_is_no_bundle_and_a_model_that_cannot_run_leave_the_others_their_turn(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = tiny_bundle.write(bundle.parent / "02-tiny@16-other")
    hostile_models.spoil(hostile, hostile_models.gather_outside())
    done = command_line.run(capsys, monkeypatch, "verify", bundle.parent, hostile, bundle)
    assert done.status == 1
    assert done.out.splitlines() == ["02-tiny@16-other  FAILED", "01-tiny@16-fp32   passed"]
    assert "holds no manifest.json" in done.err
    assert "02-tiny@16-other: self-test: model.onnx (onnxruntime): onnxruntime cannot run" in done.err


def test_a_damaged_manifest_does_not_hide_the_others(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tiny_bundle.write(bundle.parent / "02-tiny@16-other")
    (bundle / "manifest.json").write_bytes((bundle / "manifest.json").read_bytes()[:200])
    done = command_line.run(capsys, monkeypatch, "verify", bundle, other, "--json")
    assert done.status == 3
    assert [row["passed"] for row in json.loads(done.out)["bundles"]] == [False, True]
    assert "not a manifest" in done.err


def test_settings_that_differ_from_the_workstation_are_reported(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        RUNTIMES["openvino"], "unavailable", lambda provider="cpu": "openvino cannot be imported."
    )
    tiny_bundle.measured_with(bundle, runtime="openvino")
    done = command_line.run(capsys, monkeypatch, "verify", bundle, "--json")
    assert done.status == 0
    assert json.loads(done.out)["bundles"][0]["passed"]
    assert done.err.startswith("01-tiny@16-fp32 ")
    assert done.err.endswith("openvino cannot be imported.\n")
    assert command_line.run(capsys, monkeypatch, "verify", bundle, "-q").err == ""


def test_a_model_that_fails_names_its_fallback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tiny_bundle.write(tmp_path / "01-tiny@16-int8_static", fallback=True)
    tiny_bundle.spoil(made, "model.onnx")
    monkeypatch.setattr(bundle_verify, "_time_both", lambda *_: bundle_verify.FallbackTiming(0.001, 0.002))
    done = command_line.run(capsys, monkeypatch, "verify", made, "--json")
    assert done.status == 3
    (row,) = json.loads(done.out)["bundles"]
    assert set(row) == {"bundle", "passed", "reasons", "selftest", "fallback", "race", "signed_by"}
    assert (row["selftest"]["passed"], row["fallback"]["passed"]) == (False, True)
    assert row["race"] == {"model_s": 0.001, "fallback_s": 0.002}
    assert row["reasons"][0].endswith("pepr-edge predict --fallback")
