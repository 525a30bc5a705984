"""The report's table of autotune: every variant that was tried for a candidate, its outcome and reason."""

from __future__ import annotations

from collections.abc import Sequence

from pepr_edge.export.options import settings_text
from pepr_edge.records import Artifact, Quality, SettingsTrial, VariantTrial
from pepr_edge.report.tables import NOT_MEASURED, Cell, ReportTable, number
from pepr_edge.text.rows import short_names
from pepr_edge.text.units import metric, mib, ms, percent, printable

KINDS = {"chosen": "good", "quality": "bad", "memory": "bad", "failed": "bad"}
NO_REMEDY = "as asked"


def variant_trials_table(artifacts: Sequence[Artifact]) -> ReportTable | None:
    """Return all trials of all candidates; None if the recipe names its variants."""
    tuned = [artifact for artifact in artifacts if artifact.rungs]
    if not tuned:
        return None
    names, _ = short_names([artifact.candidate.id for artifact in tuned])
    rows = []
    thresholds = []
    for artifact in tuned:
        for trial in artifact.rungs:
            rows.append(_row(names[artifact.candidate.id], trial))
            if trial.quality is not None:
                thresholds.append(trial.quality.threshold)
    caption = (
        "Latency: median on this device, measured in turn with the best variant so far, or with the "
        "finalists at the end. Compare the ratios to float32: latencies were measured at different times."
    )
    if thresholds:
        caption += (
            f" A variant is rejected if it is shown to keep less than {100 * thresholds[0]:.3g} % "
            "of float32's performance on validation images (with 95 % confidence)."
        )
    caption += " export.json holds every trial."
    header = (
        "candidate",
        "variant",
        "outcome",
        "latency",
        "times float32",
        "fastest with",
        "kept of float32",
        "decisions changed",
        "file size",
        "reason",
    )
    return ReportTable("rungs", "How the variants were chosen", caption, header, tuple(rows))


def _row(name: str, trial: VariantTrial) -> tuple[Cell, ...]:
    timing = _fastest(trial)
    remedy = "" if trial.remedy == NO_REMEDY else printable(trial.remedy or "")
    flips = trial.quality.flips if trial.quality else None
    return (
        Cell(name),
        Cell(printable(trial.variant), detail=remedy),
        Cell(trial.outcome, KINDS.get(trial.outcome, "text")),
        number(timing.latency_s if timing else None, ms),
        number(timing.ratio_to_float32 if timing else None, "{:.2f}".format),
        Cell(printable(settings_text(timing.settings))) if timing else NOT_MEASURED,
        _kept(trial.quality),
        Cell(f"{flips.count} of {flips.n}", "number", flips.count) if flips else NOT_MEASURED,
        number(trial.size_bytes, mib),
        Cell(printable(trial.reason)),
    )


def _fastest(trial: VariantTrial) -> SettingsTrial | None:
    """Return the timing of the final race, else the fastest."""
    if trial.final is not None and trial.final.latency_s is not None:
        return trial.final
    measured = [timing for timing in trial.trials if timing.latency_s is not None]
    compared = [timing for timing in measured if timing.ratio_to_float32 is not None]
    if compared:
        return min(compared, key=lambda timing: timing.ratio_to_float32 or 0.0)
    return min(measured, key=lambda timing: timing.latency_s or 0.0, default=None)


def _kept(quality: Quality | None) -> Cell:
    """Return the smallest share of float32's performance that is kept, and its metric."""
    if quality is None or not quality.kept:
        return NOT_MEASURED
    name, share = min(quality.kept.items(), key=lambda item: item[1])
    return Cell(percent(share, 1), "number" if quality.passed else "bad", share, detail=metric(name))
