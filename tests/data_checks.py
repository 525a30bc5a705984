"""Run `pepr-edge data check` as a person would, and look up a kind of problem in what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import command_line
import pytest


class Checked(NamedTuple):
    """How the command ended, and its document."""

    status: int
    document: dict[str, Any]
    err: str

    @property
    def kinds(self) -> dict[str, str]:
        """The severity of each kind of problem."""
        return {problem["kind"]: problem["severity"] for problem in self.document["problems"]}

    @property
    def counts(self) -> dict[str, int]:
        """The images of each class."""
        return dict(zip(self.document["labels"], self.document["class_counts"], strict=True))

    def problem(self, kind: str) -> dict[str, Any]:
        """Return the only problem of a kind."""
        [problem] = [problem for problem in self.document["problems"] if problem["kind"] == kind]
        return dict(problem)


def check(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, path: Path | str) -> Checked:
    """Run `pepr-edge data check PATH --json`."""
    done = command_line.run(capsys, monkeypatch, "data", "check", path, "--json")
    return Checked(done.status, json.loads(done.out), done.err)
