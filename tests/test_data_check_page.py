"""docs/data-check.md shows what the command says today."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import data_check_page  # noqa: E402


@pytest.mark.slow
def test_the_page_is_current() -> None:
    pytest.importorskip("torch")
    assert data_check_page.PAGE.read_text(encoding="utf-8") == data_check_page.page(), (
        "run: python tools/data_check_page.py"
    )


def test_the_page_shows_errors_warnings_and_notes() -> None:
    text = data_check_page.PAGE.read_text(encoding="utf-8")
    assert [f"## {example.title}" in text for example in data_check_page.EXAMPLES].count(False) == 0
    for severity in ("error", "warning", "note"):
        assert text.count(f"    {severity}: ") >= 5
