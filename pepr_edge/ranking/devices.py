"""The winner on each class of devices, and the changes from the ranking at home."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pepr_edge.records import DeviceWinner, RankingRow

WORST_CASE = "worst case"


def device_winner(
    device: str,
    reports: Sequence[str],
    home: Sequence[RankingRow],
    home_subset: Sequence[RankingRow],
    field: Sequence[RankingRow],
) -> DeviceWinner:
    """Return the winner of a ranking by values from the field, and the changes from home.

    Args:
        device: name of the class of devices, or WORST_CASE.
        reports: files that the values come from.
        home: rows ranked by the values measured at home, best first.
        home_subset: the rows measured in the field, ranked among themselves by the values measured at home,
            because scores depend on the set.
        field: the rows of `home` ranked by the values from the field, best first.
    """
    winner = _first(field)
    home_winner = _first(home)
    return DeviceWinner(
        device=device,
        reports=tuple(reports),
        winner=_name(winner) if winner is not None else None,
        latency_s=winner.resources.get("latency") if winner is not None else None,
        peak_memory_bytes=winner.resources.get("peak_memory") if winner is not None else None,
        home_winner=_name(home_winner) if home_winner is not None else None,
        moved=tuple(_moves(home, home_subset, field)),
    )


def _first(rows: Sequence[RankingRow]) -> RankingRow | None:
    return next((row for row in rows if row.rank == 1), None)


def _name(row: RankingRow) -> str:
    return f"{row.candidate} {row.variant}"


def _moves(
    home: Sequence[RankingRow], home_subset: Sequence[RankingRow], field: Sequence[RankingRow]
) -> Iterator[str]:
    """Yield a sentence for each artifact with another rank, in the order of the ranks in the field."""
    ranks = {(row.candidate, row.variant): row.rank for row in (*home, *home_subset)}
    for row in field:
        before = ranks[row.candidate, row.variant]
        now = row.rank
        if before == now:
            continue
        if now is None:
            yield f"{_name(row)} has no rank here: {row.reason}"
        elif before is None:
            yield f"{_name(row)} has rank {now}, and none at home"
        else:
            direction = "rises" if now < before else "falls"
            yield f"{_name(row)} {direction} from {before} to {now}"
