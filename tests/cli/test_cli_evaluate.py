from __future__ import annotations

import json
from pathlib import Path

import command_line
import pytest
import tiny_bundle

from pepr_edge.field.report_checksum import is_intact
from pepr_edge.records import EvaluationReport


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for number in range(12):
        path = folder / tiny_bundle.LABELS[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        tiny_bundle.image(path, number)
    return folder


def test_the_report_is_written_and_shown(
    bundle: Path, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = data.with_name("site.json")
    done = command_line.run(capsys, monkeypatch, "evaluate", bundle, data, "--out", out)
    assert (done.status, done.err) == (0, "")
    assert "12 images" in done.out
    assert "positive is 'pneumonia', the second class" in done.out  # a bundle without a decision
    assert "95 % interval" in done.out
    report = EvaluationReport.model_validate_json(out.read_bytes())
    assert is_intact(report)
    # An earlier report is replaced, another file is not.
    (data / "normal" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    done = command_line.run(capsys, monkeypatch, "evaluate", "--json", bundle, data, "--out", out)
    assert done.status == 1
    assert "torn.png" in done.err
    assert json.loads(done.out) == json.loads(out.read_bytes())
    assert json.loads(done.out)["results"][0]["unreadable"] == 1
    out.write_text("mine")
    done = command_line.run(capsys, monkeypatch, "evaluate", bundle, data, "--out", out)
    assert (done.status, out.read_text()) == (1, "mine")


def test_faults_are_one_line(
    bundle: Path, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for words, status, keyword in (
        ((bundle, data.parent / "nothing"), 1, "comes last"),
        ((data, data), 1, "manifest.json"),
        ((bundle, data, "--fallback"), 1, "no float32 fallback"),
        ((bundle, data, "--subgroup", "sex"), 1, "'sex'"),
        ((bundle, data, "--out", bundle / "r.json"), 1, "inside the bundle"),
    ):
        done = command_line.run(capsys, monkeypatch, "evaluate", *words)
        assert (done.status, done.out) == (status, "")
        assert keyword in done.err
        assert done.err.count("\n") == 1
    for words in ((bundle,), (bundle, data, "--sign", "key"), (bundle, data, "--column", "x")):
        assert command_line.run(capsys, monkeypatch, "evaluate", *words).status == 2
