"""Which artifact wins on which device, and what changed against the ranking at home."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pepr_edge.records import DeviceWinner, RankingRow

WORST_CASE = "worst case"


def device_winner(
    device: str,
    reports: Sequence[str],
    home: Sequence[RankingRow],
    alike: Sequence[RankingRow],
    there: Sequence[RankingRow],
) -> DeviceWinner:
    """The winner of one ranking by figures of the field, and what changed.

    Args:
        device: name of the class of devices, or WORST_CASE.
        reports: the files that the figures are from.
        home: the rows ranked by the figures of home, best first.
        alike: those of them that were measured in the field, ranked by the figures of home among themselves: a score rests on its set.
        there: the rows of `home` ranked by the figures of the field, best first.
    """
    best, best_at_home = _first(there), _first(home)
    return DeviceWinner(
        device=device,
        reports=tuple(reports),
        winner=_name(best) if best is not None else None,
        latency_s=best.resources.get("latency") if best is not None else None,
        peak_memory_bytes=best.resources.get("peak_memory") if best is not None else None,
        home_winner=_name(best_at_home) if best_at_home is not None else None,
        moved=tuple(_moved(home, alike, there)),
    )


def _first(rows: Sequence[RankingRow]) -> RankingRow | None:
    return next((row for row in rows if row.rank == 1), None)


def _name(row: RankingRow) -> str:
    return f"{row.candidate} {row.variant}"


def _moved(
    home: Sequence[RankingRow], alike: Sequence[RankingRow], there: Sequence[RankingRow]
) -> Iterator[str]:
    """A sentence for each artifact whose rank is another, in the order of the ranks there."""
    ranks = {(row.candidate, row.variant): row.rank for row in (*home, *alike)}
    for row in there:
        before, now = ranks[row.candidate, row.variant], row.rank
        if before == now:
            continue
        if now is None:
            yield f"{_name(row)} has no rank here: {row.reason}"
        elif before is None:
            yield f"{_name(row)} has rank {now}, and none at home"
        else:
            yield f"{_name(row)} {'rises' if now < before else 'falls'} from {before} to {now}"
