"""The report's section on a search: what became of each candidate, what it took, and what was saved."""

from __future__ import annotations

from pepr_edge.records import Searched, SearchLog
from pepr_edge.report.tables import Cell, Table, number
from pepr_edge.report.units import energy, ms, plural, printable, score

VERDICTS = {
    "open": "not begun or not ended",
    "finished": "trained to its end",
    "concluded": "ended early",
    "dropped": "given up",
    "skipped": "never begun",
    "rejected": "rejected by the device",
    "failed": "failed",
}


def searched(log: SearchLog) -> Table:
    """One row a candidate, in the order of the recipe."""
    header = (
        "candidate",
        "outcome",
        "epochs",
        "R before training",
        "latency before training",
        "energy spent",
        "energy of all epochs",
        "why",
    )
    rows = tuple(_row(one) for one in log.candidates)
    return Table("search", "Search", _caption(log), header, rows, frozenset(n for n, one in enumerate(log.candidates) if _spared(one)))


def _spared(one: Searched) -> bool:
    return one.verdict not in ("finished", "concluded")


def _caption(log: SearchLog) -> str:
    begun = sum(one.epochs > 0 for one in log.candidates)
    ended = sum(one.verdict == "finished" for one in log.candidates)
    words = f"Policy {log.policy}: of {plural(len(log.candidates), 'candidate')} {begun} begun, {ended} trained to the end."
    if log.saved_j is not None:
        words += (
            f" {energy(log.spent_j)} spent on training, cost probes included; about {energy(log.saved_j)} saved, as the probes estimate."
        )
    return f"{words} It stopped: {printable(log.stopped)}." if log.stopped else words


def _row(one: Searched) -> tuple[Cell, ...]:
    latencies = [latency for prospect in one.prospects if (latency := prospect.resources.get("latency")) is not None]
    return (
        Cell(printable(one.candidate)),
        Cell(VERDICTS[one.verdict]),
        Cell(str(one.epochs), "number", one.epochs),
        number(one.r, score),
        number(min(latencies, default=None), ms),
        number(one.spent_j, energy),
        number(one.full_j, energy),
        Cell(printable(one.reason)),
    )
