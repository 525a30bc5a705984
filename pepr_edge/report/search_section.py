"""The report's section on a search: the outcome and the energy of each candidate, as a table and a figure."""

from __future__ import annotations

from pepr_edge.records import SearchedCandidate, SearchLog
from pepr_edge.report import plots
from pepr_edge.report.figure import FigureData, ReportFigure
from pepr_edge.report.tables import Cell, ReportTable, number
from pepr_edge.text.units import energy, ms, plural, printable, score

OUTCOMES = {
    "open": "not decided",
    "finished": "fully trained",
    "concluded": "ended early",
    "dropped": "stopped",
    "skipped": "not started",
    "rejected": "rejected before training",
    "failed": "failed",
}
TRAINED = ("finished", "concluded")


def search_table(log: SearchLog) -> ReportTable:
    """Return one row per candidate, in the order of the recipe."""
    header = (
        "candidate",
        "outcome",
        "epochs",
        "R before training",
        "latency before training",
        "energy spent",
        "energy of full training",
        "reason",
    )
    rows = tuple(_row(candidate) for candidate in log.candidates)
    pruned = [index for index, candidate in enumerate(log.candidates) if candidate.verdict not in TRAINED]
    return ReportTable("search", "Search", _caption(log), header, rows, frozenset(pruned))


def _caption(log: SearchLog) -> str:
    started = sum(candidate.epochs > 0 for candidate in log.candidates)
    finished = sum(candidate.verdict == "finished" for candidate in log.candidates)
    caption = (
        f"Policy {log.policy}: of {plural(len(log.candidates), 'candidate')}, {started} started and "
        f"{finished} fully trained."
    )
    if log.saved_j is not None:
        caption += (
            f" {energy(log.spent_j)} spent on training, including cost probes; about {energy(log.saved_j)} "
            "saved, as estimated by the probes."
        )
    if log.stopped:
        caption += f" The search stopped: {printable(log.stopped)}."
    return caption


def _row(candidate: SearchedCandidate) -> tuple[Cell, ...]:
    latencies = [prospect.resources.get("latency") for prospect in candidate.prospects]
    known = [latency for latency in latencies if latency is not None]
    return (
        Cell(printable(candidate.candidate)),
        Cell(OUTCOMES[candidate.verdict]),
        number(candidate.epochs, str),
        number(candidate.r, score),
        number(min(known, default=None), ms),
        number(candidate.spent_j, energy),
        number(candidate.full_j, energy),
        Cell(printable(candidate.reason)),
    )


def spent_and_saved(log: SearchLog) -> ReportFigure:
    """Return the energy spent on each candidate and the energy saved, highest first."""
    title = "Energy spent and saved by the search"
    bars = []
    for candidate in log.candidates:
        if candidate.spent_j is not None and candidate.full_j is not None:
            bars.append((candidate.full_j, _bar(candidate, candidate.spent_j, candidate.full_j)))
    if not bars:
        return ReportFigure("spared", title, "Not drawn: the energy of training is not known.")
    bars.sort(key=lambda item: -item[0])
    shown = [bar for _, bar in bars]
    caption = (
        "Per candidate: the energy spent, including the cost probe, and in the lighter part the energy that "
        "its remaining epochs would have needed."
    )
    left_out = len(log.candidates) - len(shown)
    if left_out:
        caption += f" Not drawn, because one of the two is not known: {plural(left_out, 'candidate')}."
    spent_wh = sum(bar.value for bar in shown)
    saved_wh = sum(bar.extra or 0.0 for bar in shown)
    alt = (
        f"Bar plot of {plural(len(shown), 'candidate')}: {energy(3600 * spent_wh)} spent, "
        f"{energy(3600 * saved_wh)} saved. {caption}"
    )
    header = ("candidate", "spent_wh", "unspent_wh", "outcome")
    data = FigureData(header, tuple((bar.label, bar.value, bar.extra, bar.group) for bar in shown))
    picture = plots.energy_bars(shown, "spared", alt, ("{}", ""))
    return ReportFigure("spared", title, caption, picture, data)


def _bar(candidate: SearchedCandidate, spent_j: float, full_j: float) -> plots.Bar:
    saved_j = 0.0 if candidate.verdict == "finished" else max(0.0, full_j - spent_j)
    return plots.Bar(
        printable(candidate.candidate), spent_j / 3600, saved_j / 3600, OUTCOMES[candidate.verdict]
    )
