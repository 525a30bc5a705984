from __future__ import annotations

import getpass
import platform
import re
from pathlib import Path

import pytest
import tiny_bundle

from pepr_edge.bundle.read import read_manifest
from pepr_edge.device import interference
from pepr_edge.errors import MeasurementError
from pepr_edge.field import bench as bench_module
from pepr_edge.field.bench import Interrupted, Plan, Subject, bench
from pepr_edge.field.report_checksum import is_intact
from pepr_edge.measure.rules import sustained
from pepr_edge.records import FieldReport, Manifest, Preprocessing, SessionSettings, ThreadTiming, Throughput
from pepr_edge.scoring.percentiles import percentiles

pytestmark = pytest.mark.usefixtures("fast")

QUICK = Plan("quick")


def test_a_report_of_two_bundles(bundle: Path, manifest: Manifest, tmp_path: Path) -> None:
    other = tiny_bundle.write(tmp_path / "02-tiny@16-other", seed=1)
    steps: list[tuple[int, float, float]] = []
    report = bench(
        [
            Subject(bundle, manifest, SessionSettings()),
            Subject(other, read_manifest(other), SessionSettings(threads=2)),
        ],
        QUICK,
        out=tmp_path / "report.json",
        progress=lambda *step: steps.append(step),
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
    assert is_intact(report)
    assert first.selftest is not None
    assert first.selftest.passed
    assert first.settings == SessionSettings()
    assert report.results[1].settings == SessionSettings(threads=2)
    assert {number for number, _, _ in steps} == {0, 1}


def test_a_report_names_no_person_machine_or_folder(bundle: Path, manifest: Manifest, tmp_path: Path) -> None:
    report = bench([Subject(bundle, manifest, SessionSettings())], QUICK, out=tmp_path / "report.json")
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

    with pytest.raises(Interrupted) as caught:
        bench(
            [Subject(bundle, manifest, SessionSettings())] * 2, QUICK, out=out, progress=interrupt_the_second
        )
    report = FieldReport.model_validate_json(out.read_bytes())
    assert report == caught.value.report
    assert report.partial
    assert is_intact(report)
    complete, cut_short = report.results
    assert complete.validity.valid
    assert not complete.partial
    assert cut_short.partial
    assert cut_short.latencies_s
    assert cut_short.validity.reasons[0].startswith(f"cut short: {len(cut_short.latencies_s)} ")
    assert cut_short.peak_memory_bytes is None


@pytest.mark.parametrize("at_once", [True, False])
def test_partial_results_are_on_the_disk_before_a_bundle_is_done(
    bundle: Path, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    tiny_bundle.fake_profile(monkeypatch)
    monkeypatch.setattr(bench_module, "FIRST_WRITE_S", 0.0 if at_once else 60.0)
    out = tmp_path / "report.json"
    reports = list[FieldReport | None]()

    def read_report(*_: object) -> None:
        reports.append(FieldReport.model_validate_json(out.read_bytes()) if out.exists() else None)

    done = bench([Subject(bundle, manifest, SessionSettings())], QUICK, out=out, progress=read_report)
    assert not done.partial
    if not at_once:
        assert reports == [None]
        return
    first = reports[0]
    assert first is not None
    assert first.partial
    assert is_intact(first)
    (result,) = first.results
    assert result.latencies_s == done.results[0].latencies_s[: len(result.latencies_s)] != ()


def test_an_interrupt_before_anything_was_measured_leaves_no_report(
    bundle: Path, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench_module.selftest, "run", interrupt)
    with pytest.raises(Interrupted) as caught:
        bench([Subject(bundle, manifest, SessionSettings())], QUICK, out=tmp_path / "report.json")
    assert caught.value.report is None
    assert list(tmp_path.iterdir()) == []


def test_a_report_that_cannot_be_written_is_found_before_measuring(
    bundle: Path, manifest: Manifest, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MeasurementError, match=r"cannot be written .* --out"):
        bench([Subject(bundle, manifest, SessionSettings())], QUICK, out=tmp_path / "file" / "report.json")


def test_paced_load_is_recorded(bundle: Path, manifest: Manifest) -> None:
    result = bench([Subject(bundle, manifest, SessionSettings())], QUICK._replace(paced_s=0.002)).results[0]
    assert (result.scenario, result.paced_s) == ("paced", 0.002)


def test_the_fallback_is_measured_in_place_of_the_model(tmp_path: Path) -> None:
    made = tiny_bundle.write(tmp_path / "01-tiny@16-int8_static", fallback=True)
    manifest = read_manifest(made)
    result = bench([Subject(made, manifest, SessionSettings(), fallback=True)], QUICK).results[0]
    assert result.artifact_sha256 == manifest.files["fallback.onnx"]
    assert result.fallback
    assert result.selftest is not None
    assert result.selftest.passed


def test_secondary_metrics_come_after_the_latency_and_keep_it(
    bundle: Path, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "report.json"
    reports = list[tuple[int, FieldReport]]()

    def returns(number: int, value: object) -> object:
        def measure(*_: object) -> object:
            reports.append((number, FieldReport.model_validate_json(out.read_bytes())))
            return value

        return measure

    tiny_bundle.fake_profile(monkeypatch)
    preprocessing = Preprocessing(median_s=0.01, n=30, source_px=1024)
    throughput = (Throughput(batch=4, images_per_s=9.0, n=5),)
    timings = (ThreadTiming(threads=1, p50_s=0.1, n=5),)
    monkeypatch.setattr(bench_module, "preprocessing", returns(0, preprocessing))
    monkeypatch.setattr(bench_module, "throughput", returns(1, throughput))
    monkeypatch.setattr(bench_module, "thread_sweep", returns(2, timings))
    subject = Subject(bundle, manifest, SessionSettings())
    done = bench([subject], QUICK._replace(extras=True, sweep=True), out=out)
    (result,) = done.results
    assert result.preprocessing == preprocessing
    assert (result.throughput, result.thread_sweep) == (throughput, timings)
    assert [number for number, _ in reports] == [0, 1, 2]
    # An interrupt at this point keeps a complete result, in a partial report.
    for _, report in reports:
        assert report.partial
        assert report.results[0].latencies_s == result.latencies_s
        assert report.results[0].validity.valid
        assert not report.results[0].partial
    assert FieldReport.model_validate_json(out.read_bytes()) == done
    reports.clear()
    assert bench([subject], QUICK, out=out).results[0].preprocessing is None
    assert reports == []


def test_warnings_are_given_once_and_kept_with_each_result(
    bundle: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_bundle.fake_profile(monkeypatch)
    monkeypatch.setattr(interference, "on_battery", lambda: True)
    monkeypatch.setattr(interference, "busy_message", lambda cores: "other programs use the CPU")
    given: list[str] = []
    report = bench([Subject(bundle, manifest, SessionSettings())] * 2, QUICK, warn=given.append)
    kinds = [warning.split(":")[0] for warning in given]
    assert kinds.count("on battery") == kinds.count("other programs use the CPU") == 1
    first, second = ("; ".join(result.warnings) for result in report.results)
    assert "on battery" in first
    assert "other programs use the CPU" in first
    assert "on battery" in second
    # Load during the second measurement may come from the first.
    assert "other programs use the CPU" not in second


def test_after_a_bundle_that_cannot_be_measured_the_others_follow(
    bundle: Path, manifest: Manifest, tmp_path: Path
) -> None:
    bad = Subject(bundle, manifest, SessionSettings(provider="cuda"))
    good = Subject(bundle, manifest, SessionSettings())
    failed = list[str]()
    report = bench([bad, good, bad], QUICK, out=tmp_path / "report.json", fail=failed.append)
    assert FieldReport.model_validate_json((tmp_path / "report.json").read_bytes()) == report
    assert not report.partial
    assert len(report.results) == 1
    assert [reason.partition(": ")[0] for reason in failed] == [bundle.name, bundle.name]
    with pytest.raises(MeasurementError, match="CUDAExecutionProvider"):
        bench([bad, good], QUICK)


@pytest.mark.slow
def test_an_earlier_complete_report_stays_until_the_new_one_is_complete(
    bundle: Path, manifest: Manifest, tmp_path: Path
) -> None:
    out = tmp_path / "report.json"
    backup = tmp_path / "report.before.json"
    subject = Subject(bundle, manifest, SessionSettings())
    before = bench([subject], QUICK, out=out)
    assert not backup.exists()

    def interrupt_the_second(number: int, share: float, median_s: float) -> None:
        if number == 1:
            raise KeyboardInterrupt

    for _ in range(2):  # The second time a partial report is there, which is not kept.
        with pytest.raises(KeyboardInterrupt):
            bench([subject] * 2, QUICK, out=out, progress=interrupt_the_second)
        assert FieldReport.model_validate_json(out.read_bytes()).partial
        assert FieldReport.model_validate_json(backup.read_bytes()) == before
    # The backup may be a file of the user: only the process that made one deletes it.
    bench([subject], QUICK, out=out)
    assert FieldReport.model_validate_json(backup.read_bytes()) == before
    bench([subject], QUICK, out=out)
    assert [path.name for path in tmp_path.glob("report*")] == [backup.name, out.name]


def test_a_write_that_fails_once_ends_no_measurement(
    bundle: Path, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = list[FieldReport]()
    write = bench_module.write_record
    monkeypatch.setattr(bench_module, "FIRST_WRITE_S", 0.0)

    def once_in_use(path: Path, report: FieldReport) -> None:
        written.append(report)
        if len(written) == 1:
            raise PermissionError(13, "in use")
        write(path, report)

    monkeypatch.setattr(bench_module, "write_record", once_in_use)
    report = bench([Subject(bundle, manifest, SessionSettings())], QUICK, out=tmp_path / "report.json")
    assert written[0].partial
    assert FieldReport.model_validate_json((tmp_path / "report.json").read_bytes()) == report
