"""The test performance of ranked models by subgroup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pepr_edge.records import Estimate, RankingRow
from pepr_edge.run_dir.decisions import decide_for
from pepr_edge.run_dir.reader import Results, VariantState
from pepr_edge.scoring.file_figures import group_figures
from pepr_edge.scoring.subgroups import subgroups
from pepr_edge.tasks import Mask


def with_subgroups(rows: Sequence[RankingRow], results: Results, metric: str) -> tuple[RankingRow, ...]:
    """Return the rows, those with a rank with their test performance by subgroup.

    Args:
        rows: of a ranking.
        results: of the run; its data has the subgroups of the test images.
        metric: of the ranking.
    Raises:
        RunError: predictions cannot be read.
    """
    columns = {
        name: [values.names[number] for number in values.test]
        for name, values in results.info.data.subgroups.items()
    }
    if not columns:
        return tuple(rows)
    entries = {(entry.candidate.id, entry.variant): entry for entry in results.entries}
    made = []
    for row in rows:
        entry = entries.get((row.candidate, row.variant or ""))
        made.append(row if row.rank is None or entry is None else _row(row, entry, results, columns, metric))
    return tuple(made)


def _row(
    row: RankingRow,
    entry: VariantState,
    results: Results,
    columns: Mapping[str, Sequence[str]],
    metric: str,
) -> RankingRow:
    predictions = entry.predictions()
    decision = decide_for(results, entry).decision
    if decision is None:
        return row
    logits = predictions["test"]
    labels = predictions["test_labels"].astype(np.int64)
    whole = {name: values for name, values in columns.items() if len(values) == len(labels)}

    def of_some(images: Mask) -> Mapping[str, Estimate | None]:
        return group_figures(decision, logits[images], labels[images], results.info.data.labels, metric)

    return row.replace(subgroups=subgroups(whole, of_some, metric))
