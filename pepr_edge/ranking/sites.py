"""Where a model does worse on the images of a site than at home, by more than chance.

Home and site have different images, so nothing is paired: each figure has an interval of its own, and the
interval of their difference follows from the two (MOVER). Source: Newcombe 1998, Interval estimation for the
difference between independent proportions, method 10; for any figure Zou and Donner 2008.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from pepr_edge.records import (
    Decision,
    Estimate,
    EvaluationReport,
    EvaluationResult,
    Figure,
    RankingRow,
    SiteComparison,
    SiteFigure,
)
from pepr_edge.run_dir.decisions import decide_for
from pepr_edge.run_dir.reader import Results, VariantState
from pepr_edge.scoring.operating_point import CALIBRATED
from pepr_edge.text.sites import worse_sentence

LOWER_IS_BETTER = (CALIBRATED, "mean_absolute_error", "referred_share")
# Predictive values change with the share of positive images. The calibrated error is compared in place of the
# other one.
NOT_COMPARED = ("ppv_at_decision", "npv_at_decision", "expected_calibration_error")
OTHER_DECISION = (
    "its decision at home is not the one of the evaluated bundle any more: figures at the decision are not "
    "compared. Export the bundle again"
)


def compare_sites(sites: Mapping[str, EvaluationReport], results: Results) -> tuple[SiteComparison, ...]:
    """Return the figures of each evaluated artifact beside those of the test images at home.

    Args:
        sites: reports of `evaluate` by file name; results of other runs are ignored.
        results: of the run.
    """
    entries = {entry.artifact.sha256: entry for entry in results.entries if entry.artifact is not None}
    comparisons = []
    for name, report in sites.items():
        for result in report.results:
            entry = entries.get(result.artifact_sha256)
            if entry is not None:
                comparisons.append(_compared(name, result, entry, results))
    return tuple(comparisons)


def with_site_warnings(row: RankingRow, comparisons: tuple[SiteComparison, ...]) -> RankingRow:
    """Return a row with a warning for each site on which its model does worse."""
    warnings = []
    for comparison in comparisons:
        is_of_row = (comparison.candidate, comparison.variant) == (row.candidate, row.variant)
        if is_of_row and any(figure.worse for figure in comparison.figures):
            warnings.append(worse_sentence(comparison))
    return row.replace(warnings=(*row.warnings, *warnings)) if warnings else row


def _compared(name: str, result: EvaluationResult, entry: VariantState, results: Results) -> SiteComparison:
    assert entry.artifact is not None
    home: dict[str, Estimate] = dict(entry.artifact.performance)
    decided = decide_for(results, entry)
    note = ""
    if _rule(decided.decision) == _rule(result.decision):
        home |= decided.performance
    elif decided.decision is not None:
        note = OTHER_DECISION
    figures = []
    for metric, site in result.metrics.items():
        at_home = home.get(metric)
        if site is not None and at_home is not None and metric not in NOT_COMPARED:
            figures.append(site_figure(metric, Figure(value=at_home.value, ci=at_home.ci), site))
    return SiteComparison(
        report=name,
        candidate=entry.candidate.id,
        variant=entry.variant,
        images=result.n,
        figures=tuple(figures),
        note=note,
    )


def _rule(decision: Decision | None) -> tuple[object, ...] | None:
    """Return the parts of a decision on which its figures depend."""
    if decision is None:
        return None
    of_one_label = decision.positive, decision.temperature, decision.threshold
    of_findings = decision.temperatures, decision.thresholds
    return decision.kind, of_one_label, of_findings, decision.refer


def site_figure(metric: str, home: Figure, site: Figure) -> SiteFigure:
    """Return a figure of two independent sets of images, with the interval of their difference.

    It is worse by more than chance if that 95 % interval lies on the worse side of 0.
    """
    difference = site.value - home.value
    low = difference - math.hypot(site.value - site.ci[0], home.ci[1] - home.value)
    high = difference + math.hypot(site.ci[1] - site.value, home.value - home.ci[0])
    worse = low > 0 if metric in LOWER_IS_BETTER else high < 0
    return SiteFigure(metric=metric, home=home, site=site, difference_ci=(low, high), worse=worse)
