"""The section of the model card on decisions: temperature, threshold, and the figures at that threshold."""

from __future__ import annotations

from pepr_edge.bundle.card_figures import figures_table
from pepr_edge.bundle.markdown import plain, table_of
from pepr_edge.records import Decision, Manifest
from pepr_edge.scoring.findings import OF_FINDINGS
from pepr_edge.scoring.operating_point import AT_DECISION, CALIBRATED, predictive_values
from pepr_edge.scoring.refer import REFER_FIGURES
from pepr_edge.text.units import MISSING, metric, performance, score

# Shares of positive images for which predictive values are given.
PREVALENCES = (0.01, 0.05, 0.2)
# Figures of this section and of the one on referred images, which the table of all metrics leaves out.
FIGURES = (*AT_DECISION, *OF_FINDINGS, CALIBRATED, *REFER_FIGURES)


def is_of_decision(name: str) -> bool:
    """True if a metric of the manifest is shown in one of these sections."""
    return name.removeprefix("val_") in FIGURES


def without_threshold(manifest: Manifest) -> str:
    """Return a line on the figures that leave the threshold aside; empty if there is none."""
    if manifest.decision is None or manifest.decision.threshold is None:
        return ""
    return (
        "Accuracy, balanced accuracy, Cohen's kappa and F1 in this table count the more probable class. "
        "`predict` decides by the threshold below, and so does the table by class.\n"
    )


def decision_section(manifest: Manifest) -> str:
    """Return the section in Markdown; empty for a bundle of an earlier version."""
    decision = manifest.decision
    if decision is None:
        return ""
    text = f"## Decisions\n\n{_rule(decision)} {_calibration(manifest, decision)}"
    if decision.kind == "thresholds":
        return f"{text}\n\n{_means(manifest)}\n\n{_findings(manifest, decision)}"
    if decision.positive is None:
        return text
    table = figures_table(manifest, AT_DECISION)
    return f"{text}\n\n{table}{_prevalences(manifest)}"


def _means(manifest: Manifest) -> str:
    rows = []
    for name in OF_FINDINGS:
        figure = manifest.performance.get(name)
        value = MISSING if figure is None else performance(figure.value, figure.ci)
        rows.append((metric(name), value))
    return table_of(("figure on test", "value (95 % interval)"), rows)


def _findings(manifest: Manifest, decision: Decision) -> str:
    """Return each finding with its threshold and its figures on test."""
    names = ("auroc", "average_precision", "sensitivity_at_decision", "specificity_at_decision")
    rows = []
    numbers = zip(manifest.labels, decision.temperatures or (), decision.thresholds or (), strict=True)
    for label, temperature, threshold in numbers:
        figures = manifest.findings.get(label, {})
        values = [figures.get(name) for name in names]
        texts = [MISSING if value is None else performance(value.value, value.ci) for value in values]
        rows.append((plain(label), f"{temperature:.3g}", score(threshold), *texts))
    titles = ("AUROC", "average precision", "sensitivity", "specificity")
    return table_of(("finding", "temperature", "threshold", *titles), rows)


def _rule(decision: Decision) -> str:
    if decision.kind == "median":
        return (
            "The lowest grade is named that has, with those below it, a probability of one half: the median. "
            "It is taken from the logits as they are, without the temperature."
        )
    if decision.kind == "thresholds":
        return (
            "Each finding is named from its own threshold on its probability, the sigmoid of its logit. The "
            f"thresholds were chosen on validation for: {plain(decision.target)}. No test image was used."
        )
    if decision.threshold is None or decision.positive is None:
        return "The class with the highest probability is named (`[decision] target` chooses another rule)."
    interval = ""
    if decision.threshold_ci is not None:
        low, high = decision.threshold_ci
        interval = f" (95 % interval over validation images: {score(low)} to {score(high)})"
    return (
        f"{plain(decision.positive)} is named from a probability of {score(decision.threshold)} on{interval}."
        f" This threshold was chosen on validation for: {plain(decision.target)}. No test image was used."
    )


def _calibration(manifest: Manifest, decision: Decision) -> str:
    before = manifest.performance.get("expected_calibration_error")
    after = manifest.performance.get(CALIBRATED)
    text = f"Logits are divided by the temperature {decision.temperature:.3g}, fitted on validation."
    if decision.kind == "thresholds":
        text = "Each logit is divided by a temperature of its own, fitted on validation."
    if before is None or after is None:
        return text
    return (
        f"{text} The expected calibration error on test is {performance(before.value, before.ci)} without "
        f"and {performance(after.value, after.ci)} with it."
    )


def _prevalences(manifest: Manifest) -> str:
    """Return the predictive values where the finding is rarer or more frequent than in the test images."""
    sensitivity = manifest.performance.get("sensitivity_at_decision")
    specificity = manifest.performance.get("specificity_at_decision")
    if sensitivity is None or specificity is None:
        return ""
    rows = []
    for prevalence in PREVALENCES:
        ppv, npv = predictive_values(sensitivity.value, specificity.value, prevalence)
        rows.append((f"{100 * prevalence:g} %", score(ppv), score(npv)))
    table = table_of(("positive images", "positive predictive value", "negative predictive value"), rows)
    return f"\n\nAt other shares of positive images, with the same sensitivity and specificity:\n\n{table}"
