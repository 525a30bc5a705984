"""The section of the model card on subgroups of the test images."""

from __future__ import annotations

from pepr_edge.bundle.markdown import plain, table_of
from pepr_edge.records import Manifest
from pepr_edge.text.subgroups import HEADER, group_rows, hidden_sentence, metric_of
from pepr_edge.text.units import MISSING, capitalised


def subgroups_section(manifest: Manifest) -> str:
    """Return the section in Markdown; empty without subgroups."""
    columns = manifest.subgroups
    if not columns:
        return ""
    rows = [tuple(plain(cell) for cell in row) for row in group_rows(columns)]
    named = [f"{plain(column.column)}: {plain(column.worst)}" for column in columns if column.worst]
    worst = f" The worst group of each column: {'; '.join(named)}." if named else ""
    text = f"{capitalised(metric_of(columns))} on the test images.{worst} {hidden_sentence(columns)}".rstrip()
    table = f"\n\n{table_of(HEADER, rows)}" if rows else ""
    return f"## By subgroup\n\n{text}{table}"


def by_group(manifest: Manifest) -> str:
    """Return a sentence on the performance by group of patients: where it is, or that it is not known."""
    if manifest.subgroups:
        return "Performance by group of patients: see below."
    return f"Performance by group of patients: {MISSING}."
