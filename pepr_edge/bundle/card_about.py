"""The section of the model card with what the makers of the model say of it."""

from __future__ import annotations

from pepr_edge.bundle.markdown import plain, table_of
from pepr_edge.records import ABOUT_TITLES, Manifest
from pepr_edge.text.units import listed


def about_section(manifest: Manifest) -> str:
    """Return the section in Markdown; empty if the makers say nothing."""
    if manifest.about is None:
        return ""
    said = manifest.about.said()
    rows = [(title, plain(said[name])) for name, title in ABOUT_TITLES.items() if name in said]
    text = (
        "## What its makers say\n\nFrom `[about]` in the recipe; pepr_edge checks none of it.\n\n"
        f"{table_of(('item', 'statement'), rows)}"
    )
    missing = [title for name, title in ABOUT_TITLES.items() if name not in said]
    return f"{text}\n\nNot said: {listed(missing)}." if missing else text
