from __future__ import annotations

import command_line
import pytest

from pepr_edge import __version__
from pepr_edge.cli import COMMANDS


@pytest.mark.parametrize(
    "name",
    [
        *COMMANDS,
        "recipes list",
        "recipes show",
        "recipes copy",
        "recipes check",
        "recipes schema",
        "data check",
        "keys make",
        "keys show",
        "search replay",
        "weights fetch",
        "weights import",
        "zoo list",
        "zoo check",
    ],
)
def test_every_command_has_help_and_the_common_flags(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = command_line.run(capsys, monkeypatch, *name.split(), "--help")
    assert done.status == 0
    assert done.out.startswith("Usage: pepr-edge")
    if name not in ("data", "keys", "recipes", "search", "weights", "zoo"):
        assert all(flag in done.out for flag in ("--json", "--verbose", "--quiet"))


def test_the_overview_lists_every_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = command_line.run(capsys, monkeypatch, "--help")
    assert all(f"  {name} " in done.out for name in COMMANDS)
    assert all(len(line) <= 100 for line in done.out.splitlines())
    assert command_line.run(capsys, monkeypatch, "--version").out.strip().endswith(__version__)


@pytest.mark.parametrize(
    "words", [["rnu"], ["run"], ["run", "x.toml", "--nonsense"], ["zoo", "list", "--max-params", "many"]]
)
def test_wrong_usage_ends_with_2(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = command_line.run(capsys, monkeypatch, *words)
    assert (done.status, done.out) == (2, "")
    assert "Traceback" not in done.err
