"""Figures of a manifest on test and on validation, as a table of the model card."""

from __future__ import annotations

from collections.abc import Sequence

from pepr_edge.bundle.markdown import table_of
from pepr_edge.records import Manifest
from pepr_edge.text.units import MISSING, SPLIT_NAMES, count, metric, performance


def figures_table(manifest: Manifest, names: Sequence[str]) -> str:
    """Return some metrics of a manifest by split, in Markdown, with the number of images of each."""
    rows = []
    for split in ("test", "val"):
        for name in names:
            figure = manifest.performance.get(name if split == "test" else f"val_{name}")
            value = MISSING if figure is None else performance(figure.value, figure.ci)
            images = "0" if figure is None else count(figure.n)
            rows.append((metric(name), value, SPLIT_NAMES[split], images))
    return table_of(("figure", "value (95 % interval)", "split", "of images"), rows)
