from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from made_records import bench, entry, field_report, results

from pepr_edge.errors import ScoreError
from pepr_edge.field.report_checksum import with_checksum
from pepr_edge.ranking import rank, read_reports
from pepr_edge.records import FieldReport, Percentiles
from pepr_edge.run_dir.reader import Results
from pepr_edge.run_dir.store import write_record


@pytest.fixture
def run(tmp_path: Path) -> Results:
    return results(tmp_path, entry(tmp_path, "small"), entry(tmp_path, "large"))


WRONG = {
    "a partial report": field_report(bench("small"), partial=True),
    "partial report": field_report(bench("small", partial=True)),
    "altered": field_report(bench("small")).model_copy(update={"emulated": True}),
    "by an earlier pepr_edge": field_report(bench("small")).model_copy(update={"checksum": None}),
    "holds no artifact of .*another run": field_report(bench("foreign")),
    "holds no artifact of": field_report(),
    "without --fallback": field_report(bench("foreign", fallback=True)),
    "percentiles_s of small": field_report(
        bench("small", percentiles_s=Percentiles(p50=0.001, p90=0.001, p95=None, p99=None))
    ),
    "INVALID: small: drift: made$": field_report(bench("small", valid=False), bench("foreign")),
    "INVALID: small: drift: made .*other 1": field_report(
        bench("small", valid=False), bench("large", valid=False)
    ),
    "the same report as a_good.json": field_report(bench("small")),
}


@pytest.mark.parametrize("message", WRONG)
def test_unusable_reports_are_refused_by_name_in_one_line(run: Results, message: str) -> None:
    with pytest.raises(ScoreError, match=f"^--field clinic.json: .*{message}") as fault:
        rank(run, field={"a_good.json": field_report(bench("small")), "clinic.json": WRONG[message]})
    assert "\n" not in str(fault.value)


def test_all_bad_reports_are_named_at_once(run: Results) -> None:
    with pytest.raises(ScoreError) as fault:
        rank(
            run,
            field={
                "a": field_report(bench("foreign")),
                "b": field_report(bench("small"), cpu="B"),
                "c": field_report(partial=True),
            },
        )
    first, second = str(fault.value).splitlines()
    assert (first[:11], second[:11]) == ("--field a: ", "--field c: ")


def test_a_report_may_hold_a_fallback_beside_our_artifacts(run: Results) -> None:
    ranking = rank(
        run,
        field={
            "a": field_report(
                bench("foreign", fallback=True), bench("small", 0.3, fallback=True), bench("large")
            )
        },
    )
    assert {row.architecture: row.resources["latency"] for row in ranking.rows} == {
        "small": 0.3,
        "large": 0.01,
    }


def test_an_emulated_machine_may_be_invalid(run: Results) -> None:
    report = field_report(bench("small", 9.0, valid=False), bench("large", 9.0, valid=False), emulated=True)
    assert [row.rank for row in rank(run, field={"qemu.json": report}).rows] == [1, 2]


@pytest.mark.parametrize(
    "change", [{"threads": 2}, {"latencies_s": (0.0101,) * 128}, {"warnings": ("hot",)}, {"bundle": "other"}]
)
def test_every_change_of_a_report_is_noticed(run: Results, change: dict[str, object]) -> None:
    whole = field_report(bench("small"), bench("large"))
    altered = whole.model_copy(update={"results": (bench("small", **change), *whole.results[1:])})  # type: ignore[arg-type]
    with pytest.raises(ScoreError, match="altered"):
        rank(run, field={"a": altered})
    read = FieldReport.model_validate_json(whole.model_dump_json())
    assert len(rank(run, field={"a": read}).devices) == 1


def test_all_files_that_are_no_reports_are_named(run: Results, tmp_path: Path) -> None:
    good = tmp_path / "good.json"
    write_record(good, field_report(bench("small")))
    document = json.loads(good.read_text())
    texts = {
        "torn": good.read_text()[:99],
        "other": json.dumps(document | {"schema_version": 2, "new": 1}),
        "unlike": json.dumps(document | {"new": 1}),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "altered").write_text(good.read_text().replace('"emulated": false', '"emulated": true'))
    with pytest.raises(ScoreError) as fault:
        read_reports(
            [good, *(tmp_path / name for name in (*texts, "none", "good.json", "altered")), tmp_path], run
        )
    *lines, last = str(fault.value).splitlines()
    assert "altered" in last
    assert [line.split(": ")[0].rpartition("/")[2] for line in lines] == [
        "torn",
        "other",
        "unlike",
        "none",
        "good.json",
        tmp_path.name,
    ]
    keywords = (
        "not a report",
        "schema_version = 2",
        "new: Extra inputs",
        "no such file",
        "given twice",
        "cannot be read",
    )
    for line, keyword in zip(lines, keywords, strict=True):
        assert keyword in line


def test_reports_are_read_as_they_were_written(run: Results, tmp_path: Path) -> None:
    report = with_checksum(field_report(bench("small", 1 / 3)))
    write_record(tmp_path / "a.json", report)
    assert read_reports([tmp_path / "a.json"], run) == {"a.json": report}
    assert read_reports([], run) == {}


def test_reports_are_named_without_their_folders(run: Results, tmp_path: Path) -> None:
    paths = [tmp_path / "clinic a" / "r.json", tmp_path / "clinic b" / "r.json"]
    for number, path in enumerate(paths, start=1):
        path.parent.mkdir()
        write_record(path, field_report(bench("small", number / 100)))
    reports = read_reports(paths, run)
    assert list(reports) == ["r.json", "r-2.json"]
    assert str(tmp_path) not in rank(run, field=reports).model_dump_json()


@pytest.mark.parametrize(
    ("changes", "keyword"),
    [
        ({"peak_memory_bytes": -1}, "peak_memory_bytes"),
        ({"peak_memory_bytes": 10**400}, "64 bits"),
        ({"energy_j_per_inference": -0.1}, "energy_j_per_inference"),
        ({"threads": 0}, "threads"),
        ({"latencies_s": [1e308] * 70}, "latencies_s"),
        ({"latencies_s": [5e-324] * 70}, "below 1e-09 s"),
        ({"latencies_s": [-1.0] * 70}, "latencies_s"),
        ({"first_s": -1.0}, "first_s"),
        ({"steal_s": -1.0}, "steal_s"),
        ({"cpu_s_per_inference": -1.0}, "cpu_s_per_inference"),
    ],
)
def test_figures_that_cannot_be_are_refused_though_resealed(
    run: Results, tmp_path: Path, changes: dict[str, Any], keyword: str
) -> None:
    document = json.loads(field_report(bench("small")).model_dump_json())
    document["results"][0] |= changes
    del document["checksum"]
    content = json.dumps(document, sort_keys=True, separators=(",", ":"))
    sealed = document | {"checksum": hashlib.sha256(content.encode()).hexdigest()}
    (tmp_path / "r.json").write_text(json.dumps(sealed))
    with pytest.raises(ScoreError, match=keyword) as fault:
        read_reports([tmp_path / "r.json"], run)
    assert "\n" not in str(fault.value)
    assert len(str(fault.value)) < 1000


def test_cores_that_cannot_be_are_refused(run: Results, tmp_path: Path) -> None:
    document = json.loads(field_report(bench("small")).model_dump_json())
    document["device"]["cores"] = -2
    (tmp_path / "r.json").write_text(json.dumps(document))
    with pytest.raises(ScoreError, match="cores"):
        read_reports([tmp_path / "r.json"], run)
