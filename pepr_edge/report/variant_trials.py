"""The report's table of ladders: every variant that was tried for a candidate, and why it won or lost."""

from __future__ import annotations

from collections.abc import Sequence

from pepr_edge.export.options import words
from pepr_edge.records import Artifact, Quality, VariantTrial
from pepr_edge.report.tables import Cell, ReportTable, number
from pepr_edge.text.sentences import short_names
from pepr_edge.text.units import MISSING, metric, mib, ms, printable

KINDS = {"chosen": "good", "quality": "bad", "memory": "bad", "failed": "bad"}


def variant_trials_table(artifacts: Sequence[Artifact]) -> ReportTable | None:
    """All rungs of all ladders; None where the recipe names its variants."""
    climbed = [artifact for artifact in artifacts if artifact.rungs]
    if not climbed:
        return None
    names, _ = short_names([artifact.candidate.id for artifact in climbed])
    rows = [_row(names[artifact.candidate.id], rung) for artifact in climbed for rung in artifact.rungs]
    header = (
        "candidate",
        "variant",
        "outcome",
        "latency",
        "fastest with",
        "kept of float32",
        "decisions changed",
        "file size",
        "reason",
    )
    threshold = next(
        (rung.quality.threshold for artifact in climbed for rung in artifact.rungs if rung.quality), None
    )
    gate = (
        f" A variant has to keep {100 * threshold:.3g} % of float32's performance on validation."
        if threshold is not None
        else ""
    )
    caption = f"Latency: median on this device, measured in turn with the best so far.{gate} export.json holds every trial."
    return ReportTable("rungs", "How the variants were chosen", caption, header, tuple(rows))


def _row(name: str, rung: VariantTrial) -> tuple[Cell, ...]:
    ran = [trial for trial in rung.trials if trial.latency_s is not None]
    best = min(ran, key=lambda trial: trial.latency_s or 0.0, default=None)
    return (
        Cell(name),
        Cell(
            printable(rung.variant), detail=printable(rung.remedy or "") if rung.remedy != "as asked" else ""
        ),
        Cell(rung.outcome, KINDS.get(rung.outcome, "text")),
        number(best.latency_s if best else None, ms),
        Cell(printable(words(best.settings))) if best else Cell(MISSING, "missing"),
        _kept(rung.quality),
        Cell(f"{rung.quality.flips.count} of {rung.quality.flips.n}", "number", rung.quality.flips.count)
        if rung.quality
        else Cell(MISSING, "missing"),
        number(rung.size_bytes, mib),
        Cell(printable(rung.reason)),
    )


def _kept(quality: Quality | None) -> Cell:
    """The least share of float32's performance that is left, and of which metric."""
    if quality is None or not quality.kept:
        return Cell(MISSING, "missing")
    name, share = min(quality.kept.items(), key=lambda one: one[1])
    return Cell(f"{share:.1%}", "number" if quality.passed else "bad", share, detail=metric(name))
