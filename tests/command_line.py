"""Run the command line in this process, as a person would."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from pepr_edge.cli import entry


class Outcome(NamedTuple):
    """How a command ended, and what it said."""

    status: int
    out: str
    err: str


Run = Callable[..., Outcome]


def words_of(line: str) -> list[str]:
    """Return the words of a command line as a shell hands them on."""
    words = []
    for word in shlex.split(line):
        words += sorted(map(str, Path().glob(word))) if "*" in word else [word]
    return words


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object) -> Outcome:
    """Run `pepr-edge` with these words."""
    monkeypatch.setattr("sys.argv", ["pepr-edge", *map(str, words)])
    status = 0
    try:
        entry()
    except SystemExit as ended:
        status = int(ended.code or 0)
    said = capsys.readouterr()
    return Outcome(status, said.out, said.err)
