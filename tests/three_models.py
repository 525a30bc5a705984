"""A run of three models, and rows of its ranking."""

from __future__ import annotations

from pathlib import Path

import made_records
from made_records import entry, results

from pepr_edge.records import Failure, Ranking, RankingRow
from pepr_edge.run_dir.reader import Results, VariantState

MIB = 2**20


def three(folder: Path, more: str = "") -> Results:
    """Three models with accuracies 0.95 (large), 0.8 (small) and 0.9 (middle)."""
    return results(
        folder,
        entry(folder, "large", right=190, joules=400.0, latency_s=0.05, memory_bytes=400 * MIB),
        entry(folder, "small", right=160, joules=100.0, latency_s=0.01, memory_bytes=200 * MIB),
        entry(folder, "middle", right=180, joules=200.0, latency_s=0.02, memory_bytes=300 * MIB),
        more=more,
    )


def failed(name: str, reason: str | None = "the pixels run out") -> VariantState:
    made = made_records.candidate(name)
    failure = Failure(key="", candidate=made, stage="train", reason=reason) if reason else None
    return VariantState(made, "fp32", Path("nowhere"), None, None, None, failure)


def names(ranking: Ranking) -> list[str]:
    return [row.architecture for row in ranking.rows]


def row_of(ranking: Ranking, name: str) -> RankingRow:
    return next(row for row in ranking.rows if row.architecture == name)
