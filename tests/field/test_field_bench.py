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
from pepr_edge.field import bench as field_bench
from pepr_edge.field.bench import Interrupted, Plan, Subject, bench
from pepr_edge.field.report_checksum import is_whole
from pepr_edge.measure.rules import sustained
from pepr_edge.records import FieldReport, Manifest, Preprocessing, SessionSettings, ThreadTiming, Throughput
from pepr_edge.scoring.percentiles import percentiles

pytestmark = pytest.mark.usefixtures("fast")

QUICK = Plan("quick")


def test_a_report_of_two_bundles(bundle: Path, manifest: Manifest, tmp_path: Path) -> None:
    other = tiny_bundle.write(tmp_path / "02-tiny@16-other", seed=1)
    told: list[tuple[int, float, float]] = []
    report = bench(
        [
            Subject(bundle, manifest, SessionSettings()),
            Subject(other, read_manifest(other), SessionSettings(threads=2)),
        ],
        QUICK,
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
    assert is_whole(report)
    whole, torn = report.results
    assert whole.validity.valid
    assert not whole.partial
    assert torn.partial
    assert torn.latencies_s
    assert torn.validity.reasons[0].startswith(f"cut short: {len(torn.latencies_s)} latencies in ")
    assert torn.peak_memory_bytes is None


@pytest.mark.parametrize("at_once", [True, False])
def test_what_is_measured_is_on_the_disk_before_a_bundle_is_done(
    bundle: Path, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    tiny_bundle.play(monkeypatch)
    monkeypatch.setattr(field_bench, "FIRST_S", 0.0 if at_once else 60.0)
    out, found = tmp_path / "report.json", []

    def look(*_: object) -> None:
        found.append(FieldReport.model_validate_json(out.read_bytes()) if out.exists() else None)

    done = bench([Subject(bundle, manifest, SessionSettings())], QUICK, out=out, progress=look)
    assert not done.partial
    if not at_once:
        assert set(found) == {None}
        return
    first = found[0]
    assert first is not None
    assert first.partial
    assert is_whole(first)
    (torn,) = first.results
    assert torn.latencies_s == done.results[0].latencies_s[: len(torn.latencies_s)] != ()


def test_an_interrupt_before_anything_was_measured_leaves_no_report(
    bundle: Path, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(field_bench.selftest, "run", interrupt)
    with pytest.raises(Interrupted) as caught:
        bench([Subject(bundle, manifest, SessionSettings())], QUICK, out=tmp_path / "report.json")
    assert caught.value.report is None
    assert list(tmp_path.iterdir()) == []


def test_a_report_that_cannot_be_written_is_found_before_measuring(
    bundle: Path, manifest: Manifest, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MeasurementError, match=r"the report cannot be written .* Give another --out"):
        bench([Subject(bundle, manifest, SessionSettings())], QUICK, out=tmp_path / "file" / "report.json")


def test_paced_load_is_named(bundle: Path, manifest: Manifest) -> None:
    result = bench([Subject(bundle, manifest, SessionSettings())], QUICK._replace(paced_s=0.002)).results[0]
    assert (result.scenario, result.paced_s) == ("paced", 0.002)


def test_the_fallback_is_measured_in_the_models_place(tmp_path: Path) -> None:
    made = tiny_bundle.write(tmp_path / "01-tiny@16-int8_static", fallback=True)
    manifest = read_manifest(made)
    result = bench([Subject(made, manifest, SessionSettings(), fallback=True)], QUICK).results[0]
    assert result.artifact_sha256 == manifest.files["fallback.onnx"]
    assert result.fallback
    assert result.selftest is not None
    assert result.selftest.passed


def test_extras_come_after_what_they_must_not_disturb_and_keep_it(
    bundle: Path, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, seen = tmp_path / "report.json", []

    def timed(number: int, answer: object) -> object:
        def measure(*_: object) -> object:
            seen.append((number, FieldReport.model_validate_json(out.read_bytes())))
            return answer

        return measure

    tiny_bundle.play(monkeypatch)
    made = Preprocessing(median_s=0.01, n=30, source_px=1024)
    rates, timings = (Throughput(batch=4, images_per_s=9.0, n=5),), (ThreadTiming(threads=1, p50_s=0.1, n=5),)
    monkeypatch.setattr(field_bench, "preprocessing", timed(0, made))
    monkeypatch.setattr(field_bench, "throughput", timed(1, rates))
    monkeypatch.setattr(field_bench, "thread_sweep", timed(2, timings))
    subject = Subject(bundle, manifest, SessionSettings())
    done = bench([subject], QUICK._replace(extras=True, sweep=True), out=out)
    (result,) = done.results
    assert (result.preprocessing, result.throughput, result.thread_sweep) == (made, rates, timings)
    assert [number for number, _ in seen] == [0, 1, 2]
    # Whoever ends it now keeps a whole result, in a report that is not.
    for _, report in seen:
        assert report.partial
        assert report.results[0].latencies_s == result.latencies_s
        assert report.results[0].validity.valid
        assert not report.results[0].partial
    assert FieldReport.model_validate_json(out.read_bytes()) == done
    seen.clear()
    assert bench([subject], QUICK, out=out).results[0].preprocessing is None
    assert seen == []


def test_warnings_are_told_once_and_kept_with_each_result(
    bundle: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_bundle.play(monkeypatch)
    monkeypatch.setattr(interference, "on_battery", lambda: True)
    monkeypatch.setattr(interference, "busy", lambda cores: "other programs are at work")
    told: list[str] = []
    report = bench([Subject(bundle, manifest, SessionSettings())] * 2, QUICK, warn=told.append)
    assert told.count("on battery: plug the device in and measure again") == 1
    assert told.count("other programs are at work: close them and measure again") == 1
    first, second = ([words.split(":")[0] for words in result.warnings] for result in report.results)
    assert {"on battery", "other programs are at work"} <= set(first)
    assert "on battery" in second
    # The second one's load would be the first one's work.
    assert "other programs are at work" not in second


def test_a_bundle_that_cannot_be_measured_leaves_the_others_their_turn(
    bundle: Path, manifest: Manifest, tmp_path: Path
) -> None:
    cannot = Subject(bundle, manifest, SessionSettings(provider="cuda"))
    can, failed = Subject(bundle, manifest, SessionSettings()), list[str]()
    report = bench([cannot, can, cannot], QUICK, out=tmp_path / "report.json", fail=failed.append)
    assert FieldReport.model_validate_json((tmp_path / "report.json").read_bytes()) == report
    assert not report.partial
    assert len(report.results) == 1
    assert [fault.partition(": ")[0] for fault in failed] == [bundle.name, bundle.name]
    with pytest.raises(MeasurementError, match="no CUDAExecutionProvider"):
        bench([cannot, can], QUICK)


def test_a_whole_report_of_before_stays_until_the_new_one_is_whole(
    bundle: Path, manifest: Manifest, tmp_path: Path
) -> None:
    out, aside = tmp_path / "report.json", tmp_path / "report.before.json"
    subject = Subject(bundle, manifest, SessionSettings())
    before = bench([subject], QUICK, out=out)
    assert not aside.exists()

    def interrupt_the_second(number: int, share: float, median_s: float) -> None:
        if number == 1:
            raise KeyboardInterrupt

    for _ in range(2):  # The partial one that the first leaves is no report to be kept.
        with pytest.raises(KeyboardInterrupt):
            bench([subject] * 2, QUICK, out=out, progress=interrupt_the_second)
        assert FieldReport.model_validate_json(out.read_bytes()).partial
        assert FieldReport.model_validate_json(aside.read_bytes()) == before
    bench([subject], QUICK, out=out)
    assert not aside.exists()


def test_a_report_that_cannot_be_written_for_a_moment_ends_no_measurement(
    bundle: Path, manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, write = list[FieldReport](), field_bench.write_record
    monkeypatch.setattr(field_bench, "FIRST_S", 0.0)

    def once_in_use(path: Path, report: FieldReport) -> None:
        written.append(report)
        if len(written) == 1:
            raise PermissionError(13, "in use")
        write(path, report)

    monkeypatch.setattr(field_bench, "write_record", once_in_use)
    report = bench([Subject(bundle, manifest, SessionSettings())], QUICK, out=tmp_path / "report.json")
    assert written[0].partial
    assert FieldReport.model_validate_json((tmp_path / "report.json").read_bytes()) == report
