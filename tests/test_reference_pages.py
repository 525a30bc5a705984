"""The reference under docs/reference is what the code says."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import reference  # noqa: E402


@pytest.mark.parametrize(
    ("path", "text"), [pytest.param(path, text, id=path.name) for path, text in reference.pages().items()]
)
def test_a_page_is_current(path: Path, text: str) -> None:
    assert path.read_text(encoding="utf-8") == text, "run: python tools/reference.py"


def test_every_command_and_option_has_its_words() -> None:
    text = reference.commands_page()
    assert "## pepr-edge init" in text
    assert "### pepr-edge recipes schema" in text
    rows = [line for line in text.splitlines() if line.startswith("| `-")]
    assert rows
    assert not [row for row in rows if row.split("|")[-3].strip() == ""]
