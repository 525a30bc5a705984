"""tools/bench_recipes.py: the page of the device recipes is what the tool makes of its record."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_the_page_is_made_from_its_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    page = ROOT / "docs" / "benchmarks" / "recipes.md"
    document = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
    made = importlib.import_module("bench_recipes").as_markdown(document)
    assert made == page.read_text(encoding="utf-8")
