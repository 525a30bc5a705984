"""The report's section on a search: what became of each candidate, what it took, and what was saved, as a table and a figure."""

from __future__ import annotations

from pepr_edge.records import SearchedCandidate, SearchLog
from pepr_edge.report import plots
from pepr_edge.report.figure import Figure, FigureData
from pepr_edge.report.tables import Cell, ReportTable, number
from pepr_edge.text.units import energy, ms, plural, printable, score

VERDICTS = {
    "open": "not begun or not ended",
    "finished": "trained to its end",
    "concluded": "ended early",
    "dropped": "given up",
    "skipped": "never begun",
    "rejected": "rejected by the device",
    "failed": "failed",
}


def search_table(log: SearchLog) -> ReportTable:
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
    return ReportTable(
        "search",
        "Search",
        _caption(log),
        header,
        rows,
        frozenset(n for n, one in enumerate(log.candidates) if _is_pruned(one)),
    )


def _is_pruned(one: SearchedCandidate) -> bool:
    return one.verdict not in ("finished", "concluded")


def _caption(log: SearchLog) -> str:
    begun = sum(one.epochs > 0 for one in log.candidates)
    ended = sum(one.verdict == "finished" for one in log.candidates)
    words = f"Policy {log.policy}: of {plural(len(log.candidates), 'candidate')} {begun} begun, {ended} trained to the end."
    if log.saved_j is not None:
        words += f" {energy(log.spent_j)} spent on training, cost probes included; about {energy(log.saved_j)} saved, as the probes estimate."
    return f"{words} It stopped: {printable(log.stopped)}." if log.stopped else words


def _row(one: SearchedCandidate) -> tuple[Cell, ...]:
    latencies = [
        latency for prospect in one.prospects if (latency := prospect.resources.get("latency")) is not None
    ]
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


def spent_and_saved(log: SearchLog) -> Figure:
    """What each candidate's training took of what the whole of it would have, the greatest first."""
    title = "Energy spent and saved by the search"
    known = [one for one in log.candidates if one.spent_j is not None and one.full_j is not None]
    if not known:
        return Figure("spared", title, "Not drawn: the energy of the trainings is not known.")
    known.sort(key=lambda one: -(one.full_j or 0.0))
    bars = [_bar(one) for one in known]
    caption = "By candidate: spent on it, cost probe included, and in the lighter part what the rest of its epochs would have taken."
    if left_out := len(log.candidates) - len(known):
        caption += f" Not drawn, since one of the two is not known: {left_out}."
    spent, saved = sum(bar.value for bar in bars), sum(bar.evaluation or 0.0 for bar in bars)
    alt = f"Bar plot of {plural(len(bars), 'candidate')}: {energy(3600 * spent)} spent, {energy(3600 * saved)} left unspent. {caption}"
    rows = tuple((bar.label, bar.value, bar.evaluation, bar.method) for bar in bars)
    data = FigureData(("candidate", "spent_wh", "unspent_wh", "outcome"), rows)
    return Figure("spared", title, caption, plots.energy_bars(bars, "spared", alt, ("{}", "")), data)


def _bar(one: SearchedCandidate) -> plots.Bar:
    spent, full = one.spent_j or 0.0, one.full_j or 0.0
    unspent = max(0.0, full - spent) if _is_pruned(one) or one.verdict == "concluded" else 0.0
    return plots.Bar(printable(one.candidate), spent / 3600, unspent / 3600, VERDICTS[one.verdict])
