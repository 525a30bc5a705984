"""The report of a run directory: what it holds, as the report's input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from pepr_edge.errors import RunError
from pepr_edge.records import FieldReport, Ranking
from pepr_edge.report.html import ReportInput, write
from pepr_edge.report.quantised import SHOWN, Answered
from pepr_edge.run_dir.reader import Results, VariantState, read_logits
from pepr_edge.text.sentences import ranked_rows


def write_report(
    results: Results,
    ranking: Ranking,
    path: Path,
    field: Mapping[str, FieldReport] | None = None,
    force: bool = False,
) -> None:
    """Write report.html and the files of its figures from what a run directory holds.

    Args:
        results: of the run.
        ranking: of the run, or one that rests on `field`.
        path: of the page.
        field: reports of devices by file.
        force: replace files that pepr_edge did not write, too.
    """
    trained = {entry.candidate.id: entry.trained for entry in results.entries if entry.trained is not None}
    content = ReportInput(
        title=results.recipe.name,
        device=results.recipe.device.name,
        budgets=results.recipe.limits(),
        data=results.info.data,
        ranking=ranking,
        trained=tuple(trained.values()),
        artifacts=tuple(entry.artifact for entry in results.entries if entry.artifact is not None),
        profiles=tuple(entry.profile for entry in results.entries if entry.profile is not None),
        failures=tuple(entry.failure for entry in results.entries if entry.failure is not None),
        search=results.search,
        answered=tuple(answered(results, ranking)),
        field=field or {},
    )
    write(content, path, force)


def answered(results: Results, ranking: Ranking) -> Iterator[Answered]:
    """What the first candidates by rank answered on the test split; those whose files are not there are left out."""
    ranks = {row.artifact_sha256: row.rank for row in ranked_rows(ranking)}
    for name in list(dict.fromkeys(row.candidate for row in ranked_rows(ranking)))[:SHOWN]:
        own = [
            entry for entry in results.entries if entry.candidate.id == name and entry.artifact is not None
        ]
        own.sort(
            key=lambda entry: ranks.get(entry.artifact.sha256 if entry.artifact else None) or len(ranks) + 1
        )
        if own:  # there are none where they were made from other inputs than the run directory's now
            with suppress(RunError):
                yield _answered(name, own)


def _answered(name: str, entries: list[VariantState]) -> Answered:
    files = {entry.variant: entry.predictions() for entry in entries}
    labels = next(iter(files.values()))["test_labels"].astype(np.int64)
    trained = read_logits(entries[0].folder.parent)["test"]
    return Answered(name, labels, trained, {variant: found["test"] for variant, found in files.items()})
