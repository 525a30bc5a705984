from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import command_line
import pytest

from pepr_edge.kit import make as module
from pepr_edge.kit.make import Kit, Wheel

WHEEL = Wheel("numpy-2-cp311-cp311-manylinux_2_28_x86_64.whl", "0" * 64, 16_000_000)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Record the calls of `make`, which makes nothing."""
    recorded: list[dict[str, Any]] = []

    def make(run_dir: Path, out: Path, **arguments: Any) -> Kit:
        recorded.append(arguments)
        arguments["progress"](1, 3, "numpy")
        return Kit(
            out.resolve(),
            arguments["platform"],
            arguments["pythons"],
            ("01-a@32-fp32",),
            (WHEEL,),
            48_000_000,
            ("they learnt nothing.",),
        )

    monkeypatch.setattr(module, "make", make)
    return recorded


def test_the_kit_and_the_next_steps_are_printed(
    calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (
        "kit",
        "run",
        "--platform",
        "linux-x86_64",
        "--python",
        "3.11",
        "--python",
        "3.12",
        "--python",
        "3.11",
        "--dicom",
        "--out",
        "usb",
    )
    done = command_line.run(capsys, monkeypatch, *words)
    assert (done.status, done.err) == (0, "warning: they learnt nothing.\n")
    assert done.out.startswith(
        "kit      usb, 48 MB\nfor      linux-x86_64, Python 3.11 or 3.12\nbundle   01-a@32-fp32\n"
    )
    assert "START.txt" in done.out
    assert (calls[0]["pythons"], calls[0]["top"], calls[0]["extras"]) == (("3.11", "3.12"), 3, ("dicom",))


def test_json_follows_the_contract(
    calls: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = command_line.run(
        capsys, monkeypatch, "kit", "run", "--platform", "win-amd64", "--top", 1, "--out", "usb", "--json"
    )
    assert json.loads(done.out) == {
        "kit": "usb",
        "platform": "win-amd64",
        "python": ["3.11"],
        "bundles": ["01-a@32-fp32"],
        "wheels": [{"name": WHEEL.name, "sha256": "0" * 64, "size_bytes": 16_000_000}],
        "size_bytes": 48_000_000,
        "signed_by": None,
    }
    assert calls[0]["top"] == 1


@pytest.mark.parametrize(
    ("python", "message"),
    [
        ("3.9", "needs Python 3.10 or later"),
        ("3.11.7", "without the patch level"),
        ("new", "such as 3.11"),
        ("2.7", "3.10"),
    ],
)
def test_an_unsupported_python_is_refused_at_once(
    python: str,
    message: str,
    calls: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = command_line.run(
        capsys, monkeypatch, "kit", "run", "--platform", "linux-x86_64", "--python", python, "--out", "usb"
    )
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith(f"error: --python {python}: ")
    assert message in done.err
    assert calls == []


def test_a_folder_that_is_no_run_is_reported_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "usb"
    done = command_line.run(capsys, monkeypatch, "kit", tmp_path, "--platform", "linux-x86_64", "--out", out)
    assert (done.status, done.out) == (1, "")
    assert "not a run directory (no run.json)" in done.err
    assert done.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words", [("--platform", "vax", "--out", "usb"), ("--platform", "linux-x86_64"), ("--out", "usb")]
)
def test_wrong_usage(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command_line.run(capsys, monkeypatch, "kit", "run", *words).status == 2
