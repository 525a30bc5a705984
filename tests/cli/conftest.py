from __future__ import annotations

from pathlib import Path

import command_line
import pytest
from score_command import Score


@pytest.fixture
def score(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Score:
    """Run `pepr-edge score` in a temporary folder, on a table given as text or by its path."""
    monkeypatch.chdir(tmp_path)

    def run(table: str | bytes | Path, *words: object) -> command_line.Outcome:
        if not isinstance(table, Path):
            path = tmp_path / "t.csv"
            path.write_bytes(table.encode() if isinstance(table, str) else table)
            table = Path("t.csv")
        return command_line.run(capsys, monkeypatch, "score", table, *words)

    return run
