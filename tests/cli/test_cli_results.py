"""`pepr-edge rank`, `export` and `report` on a finished run."""

from __future__ import annotations

import json
import re
from pathlib import Path

import command_line
import pytest
import tiny_bundle
from small_run import GOOD

from pepr_edge.field.report_checksum import with_checksum
from pepr_edge.field.verify import check
from pepr_edge.records import FieldReport, Ranking, SessionSettings
from pepr_edge.run_dir.store import read_record, write_record
from pepr_edge.scoring.percentiles import percentiles


def test_rank_repeats_the_ranking_of_the_run(
    finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = command_line.run(capsys, monkeypatch, "rank", finished, "--json")
    kept = json.loads((finished / "ranking.json").read_text())
    again = json.loads(done.out)
    assert [row["pepr"] for row in again["rows"]] == [row["pepr"] for row in kept["rows"]]
    words = command_line.run(capsys, monkeypatch, "rank", finished)
    assert words.status == 0
    assert "Ranked by PePR edge" in words.out


def test_rank_by_other_weights_and_metric(
    finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = command_line.run(
        capsys, monkeypatch, "rank", finished, "--weights", "latency=1", "--performance", "auroc", "--json"
    )
    ranking = json.loads(done.out)
    assert (ranking["weights"], ranking["performance_metric"]) == ({"latency": 1.0}, "auroc")
    for row in ranking["rows"][:2]:
        assert row["pepr"]["edge"] == row["pepr"]["L"]


def test_rank_by_bounds_of_another_run(
    finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = command_line.run(
        capsys, monkeypatch, "rank", finished, "--reference", finished / "ranking.json", "--json"
    )
    kept, again = json.loads((finished / "ranking.json").read_text()), json.loads(done.out)
    assert again["normalise"] == "reference"
    assert [row["pepr"] for row in again["rows"]] == [row["pepr"] for row in kept["rows"]]
    largest = json.loads(
        command_line.run(capsys, monkeypatch, "rank", finished, "--normalise", "max", "--json").out
    )
    assert {bound["lo"] for bound in largest["bounds"].values()} == {0.0}
    for words, status, reason in (
        (("--reference", "nowhere.json"), 1, "nowhere.json: no such file"),
        (("--reference", finished / "ranking.json", "--normalise", "max"), 2, "exclude each other"),
        (("somewhere",), 2, "one run directory at a time"),
        (("--weights", "latency=1,latency=2"), 1, "latency is given twice"),
        (("--weights", ""), 1, "expected NAME=NUMBER"),
    ):
        done = command_line.run(capsys, monkeypatch, "rank", finished, *words)
        assert done.status == status
        assert reason in done.err


def test_rank_over_a_lifetime(
    finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ranking = json.loads(
        command_line.run(capsys, monkeypatch, "rank", finished, "--lifetime", "1000", "--json").out
    )
    for row in ranking["rows"][:2]:
        assert row["lifetime_j_per_image"] == pytest.approx(
            row["resources"]["train_energy"] / 1000 + row["inference_energy_j"]
        )
    assert ranking["lifetime"]["stretches"][0]["start"] == 1
    words = command_line.run(capsys, monkeypatch, "rank", finished, "--lifetime", "1000").out
    assert "Lowest total energy" in words
    assert "winner unchanged" in words
    assert all(len(line) <= 100 for line in words.splitlines())
    done = command_line.run(capsys, monkeypatch, "rank", finished, "--lifetime", "0")
    assert (done.status, done.err) == (1, "error: lifetime of 0 images, expected a number >= 1.\n")


def test_rank_by_a_field_report(
    own_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_bundle.measure_briefly(monkeypatch)
    report = own_run / "clinic.json"
    bundles = sorted((own_run / "bundles").iterdir())
    assert command_line.run(capsys, monkeypatch, "bench", "--quick", *bundles, "--out", report).status == 0
    slow = {"latencies_s": (0.5,) * 100, "percentiles_s": percentiles((0.5,) * 100)}
    measured = read_record(report, FieldReport)
    changed = measured.model_copy(
        update={"results": tuple(one.model_copy(update=slow) for one in measured.results)}
    )
    write_record(report, changed)
    done = command_line.run(capsys, monkeypatch, "rank", own_run, "--field", report)
    assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
    assert f"--field {report.name}: altered since bench wrote it" in done.err
    write_record(report, with_checksum(changed))
    before = (own_run / "ranking.json").read_bytes()
    ranking = json.loads(
        command_line.run(capsys, monkeypatch, "rank", own_run, "--field", report, "--json").out
    )
    assert [row["resources"]["latency"] for row in ranking["rows"][:2]] == [0.5, 0.5]
    (device,) = ranking["devices"]
    assert (device["reports"], device["latency_s"], device["device"]) == (
        [report.name],
        0.5,
        ranking["device"],
    )
    assert (own_run / "ranking.json").read_bytes() == before
    words = command_line.run(capsys, monkeypatch, "rank", own_run, "--field", report).out
    assert "On the devices:" in words
    assert "500 ms at p90" in words
    assert all(len(line) <= 100 for line in words.splitlines())


def test_export_writes_the_best_bundles(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "handed" / "over"
    done = command_line.run(capsys, monkeypatch, "export", finished, "--top", 1, "--out", out)
    assert done.status == 0, done.err
    (bundle,) = out.iterdir()
    assert done.out.strip() == str(bundle)
    assert bundle.name.startswith(f"01-{GOOD}@48-")
    assert check(bundle, SessionSettings()).reasons == []
    rows = json.loads(
        command_line.run(capsys, monkeypatch, "export", finished, "--top", 2, "--out", out, "--json").out
    )["bundles"]
    assert [row["rank"] for row in rows] == [1, 2]


def test_export_prints_the_paths(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = command_line.run(capsys, monkeypatch, "export", finished, "--top", 1, "--json")
    (row,) = json.loads(done.out)["bundles"]
    assert row["bundle"] == str(Path("bundles", finished.name, Path(row["bundle"]).name))
    assert (tmp_path / row["bundle"] / "manifest.json").is_file()
    Path("here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert command_line.run(capsys, monkeypatch, "export", finished, "--top", 1, "--out", ".").status == 0


def test_export_of_a_run_that_changed_is_refused(
    own_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = own_run / "candidates" / f"{GOOD}@48" / "fp32" / "model.onnx"
    model.write_bytes(model.read_bytes() + b" ")
    done = command_line.run(capsys, monkeypatch, "export", own_run, "--out", tmp_path / "out")
    assert (done.status, done.out) == (1, "")
    assert "changed since its ranking was made" in done.err
    assert not (tmp_path / "out").exists()


def test_an_os_error_is_reported_in_one_line(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    done = command_line.run(capsys, monkeypatch, "export", finished, "--out", tmp_path / "file" / "out")
    assert (done.status, done.out) == (1, "")
    assert done.err.count("\n") == 1
    assert f"{tmp_path / 'file' / 'out'}:" in done.err


def test_a_model_that_fails_its_self_test_in_the_field_gets_no_rank(
    own_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_bundle.measure_briefly(monkeypatch)
    report = own_run / "clinic.json"
    command_line.run(
        capsys, monkeypatch, "bench", "--quick", *sorted((own_run / "bundles").iterdir()), "--out", report
    )
    measured = read_record(report, FieldReport)
    first = measured.results[0]
    assert first.selftest is not None
    wrong = first.model_copy(update={"selftest": first.selftest.model_copy(update={"passed": False})})
    results = (wrong, *measured.results[1:])
    changed = measured.model_copy(update={"emulated": True, "results": results})
    write_record(report, with_checksum(changed))
    rows = json.loads(
        command_line.run(capsys, monkeypatch, "rank", own_run, "--field", report, "--json").out
    )["rows"]
    assert rows[0]["rank"] == 1
    assert "emulated" in rows[0]["warnings"][-1]
    failed = next(row for row in rows if "self-test failed" in row["reason"])
    assert (failed["rank"], failed["status"], failed["artifact_sha256"]) == (
        None,
        "failed",
        first.artifact_sha256,
    )


def test_export_of_a_run_without_a_ranked_model_is_a_fault(
    own_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ranking = read_record(own_run / "ranking.json", Ranking)
    rows = tuple(row for row in ranking.rows if row.rank is None)
    write_record(own_run / "ranking.json", ranking.model_copy(update={"rows": rows}))
    done = command_line.run(capsys, monkeypatch, "export", own_run, "--out", tmp_path / "out")
    assert (done.status, done.out) == (1, "")
    assert "nothing to export" in done.err
    assert not (tmp_path / "out").exists()


def test_export_replaces_only_bundles(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    done = command_line.run(capsys, monkeypatch, "export", finished, "--out", tmp_path)
    assert done.status == 1
    assert "holds 'thesis.txt', which is no bundle" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_report_is_written_again(
    own_run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (own_run / "report.html").unlink()
    done = command_line.run(capsys, monkeypatch, "report", own_run)
    assert done.status == 0
    text = (own_run / "report.html").read_text(encoding="utf-8")
    assert text.count("<svg") >= 4
    # Nothing is downloaded: the names of the SVG and metadata vocabularies are not links.
    assert not re.findall(r"(?:src|href|url)\W{1,3}https?:", text)


@pytest.mark.parametrize("name", ["rank", "export", "report"])
def test_faults_are_reported_in_one_line(
    name: str,
    own_run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = command_line.run(capsys, monkeypatch, name, tmp_path)
    assert (done.status, done.out) == (1, "")
    assert "not a run directory (no run.json)" in done.err
    assert done.err.count("\n") == 1
    if name == "rank":
        assert (
            "unknown resource"
            in command_line.run(capsys, monkeypatch, name, own_run, "--weights", "speed=1").err
        )
        assert (
            "expected NAME=NUMBER"
            in command_line.run(capsys, monkeypatch, name, own_run, "--weights", "latency").err
        )
        assert (
            "expected one of accuracy"
            in command_line.run(capsys, monkeypatch, name, own_run, "--performance", "f2").err
        )
        done = command_line.run(capsys, monkeypatch, name, own_run, "--field", tmp_path / "none.json")
        assert (done.status, "no such file" in done.err) == (1, True)
        done = command_line.run(capsys, monkeypatch, name, own_run, "--field", own_run / "ranking.csv")
        assert (done.status, "not a report of `pepr-edge bench --out`" in done.err, "Delete" in done.err) == (
            1,
            True,
            False,
        )
    else:
        (own_run / "ranking.json").write_text('{"schema_version": 1, "ro')
        assert "not a Ranking record" in command_line.run(capsys, monkeypatch, name, own_run).err
