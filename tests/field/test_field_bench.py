from __future__ import annotations

import getpass
import platform
import re
from pathlib import Path

import pytest
import tiny_bundle

from pepr_edge.bundle.read import read_manifest
from pepr_edge.errors import MeasurementError
from pepr_edge.field.bench import Subject, bench
from pepr_edge.field.rules import percentiles, sustained
from pepr_edge.field.seal import is_whole
from pepr_edge.records import FieldReport, Manifest, SessionSettings

pytestmark = pytest.mark.usefixtures("fast")


def test_a_report_of_two_bundles(bundle: Path, manifest: Manifest, tmp_path: Path) -> None:
    other = tiny_bundle.write(tmp_path / "02-tiny@16-other", seed=1)
    told: list[tuple[int, float, float]] = []
    report = bench(
        [Subject(bundle, manifest, SessionSettings()), Subject(other, read_manifest(other), SessionSettings(threads=2))],
        rules="quick",
        out=tmp_path / "report.json",
        progress=lambda *step: told.append(step),
    )
    assert FieldReport.model_validate_json((tmp_path / "report.json").read_bytes()) == report
    assert not report.partial
    assert not report.emulated
    assert [result.bundle for result in report.results] == ["01-tiny@16-fp32", "02-tiny@16-other"]
    first = report.results[0]
    assert first.artifact_sha256 == manifest.files["model.onnx"]
    assert first.percentiles_s == percentiles(first.latencies_s)
    assert first.sustained == sustained(first.latencies_s)
    assert not first.fallback
    assert is_whole(report)
    assert first.selftest is not None
    assert first.selftest.passed
    assert first.settings == SessionSettings()
    assert report.results[1].settings == SessionSettings(threads=2)
    assert {number for number, _, _ in told} == {0, 1}


def test_a_report_names_no_person_machine_or_folder(bundle: Path, manifest: Manifest, tmp_path: Path) -> None:
    report = bench([Subject(bundle, manifest, SessionSettings())], rules="quick", out=tmp_path / "report.json")
    text = (tmp_path / "report.json").read_text()
    secrets = {platform.node().lower(), getpass.getuser().lower()} - {"", *report.device.os.lower().split()}
    assert not [secret for secret in secrets if re.search(rf"\b{re.escape(secret)}\b", text.lower())]
    assert str(bundle.parent) not in text
    assert str(Path.home()) not in text
    assert str(tmp_path) not in text


def test_an_interrupt_leaves_the_report_so_far(bundle: Path, manifest: Manifest, tmp_path: Path) -> None:
    out = tmp_path / "report.json"

    def interrupt_the_second(number: int, share: float, median_s: float) -> None:
        if number == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench([Subject(bundle, manifest, SessionSettings())] * 2, rules="quick", out=out, progress=interrupt_the_second)
    report = FieldReport.model_validate_json(out.read_bytes())
    assert report.partial
    assert is_whole(report)
    assert len(report.results) == 1


def test_an_interrupt_before_anything_was_measured_leaves_no_report(bundle: Path, manifest: Manifest, tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench([Subject(bundle, manifest, SessionSettings())], rules="quick", out=tmp_path / "report.json", progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_report_that_cannot_be_written_is_found_before_measuring(bundle: Path, manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MeasurementError, match=r"the report cannot be written .* Give another --out"):
        bench([Subject(bundle, manifest, SessionSettings())], rules="quick", out=tmp_path / "file" / "report.json")


def test_paced_load_is_named(bundle: Path, manifest: Manifest) -> None:
    result = bench([Subject(bundle, manifest, SessionSettings())], rules="quick", paced_s=0.002).results[0]
    assert (result.scenario, result.paced_s) == ("paced", 0.002)


def test_the_fallback_is_measured_in_the_models_place(tmp_path: Path) -> None:
    made = tiny_bundle.write(tmp_path / "01-tiny@16-int8_static", fallback=True)
    manifest = read_manifest(made)
    result = bench([Subject(made, manifest, SessionSettings(), fallback=True)], rules="quick").results[0]
    assert result.artifact_sha256 == manifest.files["fallback.onnx"]
    assert result.fallback
    assert result.selftest is not None
    assert result.selftest.passed
