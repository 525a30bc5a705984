"""The documentation holds together: links lead somewhere, and each page is in the site's navigation.

`make docs` renders it, and refuses broken links between pages and anchors; these tests check files.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    links = [
        link.partition("#")[0]
        for link in LINK.findall(page.read_text(encoding="utf-8"))
        if not link.startswith(("http", "#"))
    ]
    assert not [link for link in links if not (page.parent / link).exists()]
    if page.is_relative_to(ROOT / "docs"):
        outside = [link for link in links if not (page.parent / link).resolve().is_relative_to(ROOT / "docs")]
        assert not outside, "the site holds docs/ alone"


def test_each_page_is_in_the_navigation_once() -> None:
    named = re.findall(r"[\w/-]+\.md$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(named) == sorted(
        page.relative_to(ROOT / "docs").as_posix() for page in PAGES if page.is_relative_to(ROOT / "docs")
    )
