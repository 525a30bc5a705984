from __future__ import annotations

import json
from pathlib import Path

import command_line
import pytest

from pepr_edge.zoo.check import sweep
from pepr_edge.zoo.check.row import CheckJob, CheckRow

Capture, Patch = pytest.CaptureFixture[str], pytest.MonkeyPatch
KEYS = (
    *(
        "architecture",
        "status",
        "reason",
        "image_size_px",
        "num_params",
        "exporter",
        "dynamic_batch",
        "parity",
        "int8",
    ),
    *("decisions_agree", "fp32_latency_s", "int8_latency_s"),
)


@pytest.fixture
def made(monkeypatch: Patch) -> list[str]:
    """Replace the check: dla34 fails. Return the names of the checked architectures."""
    names: list[str] = []

    def fake(job: CheckJob, *_: object) -> CheckRow:
        names.append(job.architecture)
        if names.count("dla46_c") == 2:
            raise KeyboardInterrupt
        bad = job.architecture == "dla34"
        return CheckRow(
            key=job.key,
            architecture=job.architecture,
            in_zoo=True,
            image_size_px=job.image_size_px,
            status="failed" if bad else "ok",
            stage="export" if bad else "done",
            reason="no exporter" if bad else "",
            fp32_latency_s=None if bad else 2e-3,
        )

    monkeypatch.setattr(sweep, "check_in_process", fake)
    return names


def test_list_shows_all_and_filters(capsys: Capture, monkeypatch: Patch) -> None:
    done = command_line.run(capsys, monkeypatch, "zoo", "list")
    assert len(done.out.splitlines()) == 1 + 131
    small = json.loads(
        command_line.run(
            capsys, monkeypatch, "zoo", "list", "--max-params", 6, "--family", "cnn", "--efficient", "--json"
        ).out
    )["architectures"]
    names = [row["name"] for row in small]
    assert "mobilenetv2_050" in names
    assert all(row["family"] == "CNN" and row["efficient"] and row["num_params"] <= 6e6 for row in small)
    assert [row["num_params"] for row in small] == sorted(row["num_params"] for row in small)


def test_list_by_size_and_the_reasons_of_quirks(capsys: Capture, monkeypatch: Patch) -> None:
    done = command_line.run(capsys, monkeypatch, "zoo", "list", "--image-size-px", 64)
    names = [line.split()[0] for line in done.out.splitlines()[1:]]
    assert len(names) == 131 - 8
    assert "halonet26t" not in names
    assert "multiples of 32 px: dla46x_c, dla46_c," in done.err
    assert all(len(line) <= 100 for line in done.out.splitlines())
    everything = command_line.run(capsys, monkeypatch, "zoo", "list")
    assert "multiples of 256 px: halonet26t, sehalonet33ts, halonet50ts: halo attention" in everything.err


def test_check_shows_a_line_per_architecture_and_ends_with_3_after_a_failure(
    capsys: Capture, monkeypatch: Patch, tmp_path: Path, made: list[str]
) -> None:
    page = tmp_path / "zoo.md"
    arguments = (
        "--only",
        "resnet18d, dla34,resnet18d",
        "--out",
        tmp_path / "rows",
        "--markdown",
        page,
        "--force",
    )
    done = command_line.run(capsys, monkeypatch, "zoo", "check", *arguments)
    assert made == ["resnet18d", "dla34"]
    assert done.status == 3
    assert [line.split()[0] for line in done.out.splitlines()] == ["architecture", "resnet18d", "dla34", "1"]
    assert done.out.splitlines()[-1] == "1 of 2 passed every stage"
    assert "[2/2] dla34@64: FAILED at export: no exporter" in done.err
    assert done.err.splitlines()[-1] == "FAILED dla34: export: no exporter"
    assert "1 of 2 passed every stage" in page.read_text(encoding="utf-8")
    again = command_line.run(capsys, monkeypatch, "zoo", "check", *arguments)
    assert made == ["resnet18d", "dla34", "dla34"]
    assert "(kept)" in again.err


def test_check_as_json(capsys: Capture, monkeypatch: Patch, tmp_path: Path, made: list[str]) -> None:
    done = command_line.run(
        capsys,
        monkeypatch,
        "zoo",
        "check",
        "--only",
        "resnet18d",
        "--image-size-px",
        96,
        "--out",
        tmp_path,
        "--json",
        "-q",
    )
    assert (done.status, done.err) == (0, "")
    (row,) = json.loads(done.out)["rows"]
    assert set(KEYS) <= set(row)
    assert (row["architecture"], row["status"], row["image_size_px"]) == ("resnet18d", "ok", 96)


def test_an_interrupted_check_keeps_its_results(
    capsys: Capture, monkeypatch: Patch, tmp_path: Path, made: list[str]
) -> None:
    made.append("dla46_c")
    done = command_line.run(
        capsys, monkeypatch, "zoo", "check", "--only", "resnet18d,dla46_c", "--out", tmp_path
    )
    assert (done.status, done.out) == (130, "")
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["resnet18d@64.json"]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (
            ["--only", "resnet18dd"],
            1,
            "error: --only: resnet18dd: unknown architecture. Did you mean 'resnet18d'?",
        ),
        (["--only", " ,"], 2, "--only is empty"),
        (["--image-size-px", 0], 2, "--image-size-px"),
    ],
)
def test_check_reports_wrong_options(
    capsys: Capture, monkeypatch: Patch, tmp_path: Path, arguments: list[object], status: int, message: str
) -> None:
    done = command_line.run(capsys, monkeypatch, "zoo", "check", *arguments, "--out", tmp_path)
    assert (done.status, done.out) == (status, "")
    assert message in done.err


def test_rows_are_kept_in_the_users_cache_by_default(monkeypatch: Patch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert sweep.default_folder() == tmp_path / "pepr_edge" / "zoo_check"
