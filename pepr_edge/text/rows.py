"""Rows of a ranking: which have a rank, and how they are named."""

from __future__ import annotations

from collections.abc import Sequence

from pepr_edge.records import Ranking, RankingRow, TrainResult
from pepr_edge.text.units import printable


def ranked_rows(ranking: Ranking) -> list[RankingRow]:
    """Return the rows that have a rank, best first."""
    return sorted((row for row in ranking.rows if row.rank is not None), key=lambda row: row.rank or 0)


def unranked_rows(ranking: Ranking) -> list[RankingRow]:
    """Return the rows without a rank, in the order of the ranking."""
    return [row for row in ranking.rows if row.rank is None]


def row_name(row: RankingRow) -> str:
    """Return candidate and variant: `mobilenetv2_050@64 int8_static`."""
    return printable(f"{row.candidate} {row.variant or ''}")


def training_names(trained: Sequence[TrainResult]) -> list[str]:
    """Return the name of each training: its candidate, with the seed if it was trained with several."""
    candidates = [result.candidate.id for result in trained]
    names = []
    for result in trained:
        name = result.candidate.id
        names.append(printable(f"{name} seed {result.seed}" if candidates.count(name) > 1 else name))
    return names


def short_names(candidates: Sequence[str]) -> tuple[dict[str, str], str]:
    """Return the names to show by candidate, and the image size in pixels that they omit.

    The names omit the size if all candidates have the same; else the second value is "".
    """
    sizes = {name.rpartition("@")[2] for name in candidates}
    if len(sizes) != 1 or any("@" not in name for name in candidates):
        return {name: printable(name) for name in candidates}, ""
    return {name: printable(name.rpartition("@")[0]) for name in candidates}, sizes.pop()
