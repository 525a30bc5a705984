"""Statements about each of several findings an image; empty for other tasks."""

from __future__ import annotations

from pepr_edge.records import Manifest
from pepr_edge.text.units import metric, performance, score
from pepr_edge.untrusted.shown import first_items, shown

# Findings in one sentence; ChestMNIST has 14.
MAX_FINDINGS = 24
FIGURES = ("auroc", "average_precision", "sensitivity_at_decision", "specificity_at_decision")


def thresholds(manifest: Manifest) -> str:
    """Return the threshold of each finding."""
    found = () if manifest.decision is None else manifest.decision.thresholds or ()
    texts = [
        f"{shown(label, 60)} {score(value)}" for label, value in zip(manifest.labels, found, strict=False)
    ]
    return ", ".join(first_items(texts, MAX_FINDINGS))


def figures(manifest: Manifest) -> str:
    """Return the figures of each finding on test, those that are defined."""
    texts = []
    for label, of_label in manifest.findings.items():
        known = [(name, of_label[name]) for name in FIGURES if name in of_label]
        values = [f"{metric(name)} {performance(value.value, value.ci)}" for name, value in known]
        if values:
            texts.append(f"{shown(label, 60)}: {', '.join(values)}")
    if not texts:
        return ""
    return f"By finding, on test images: {'; '.join(first_items(texts, MAX_FINDINGS))}."
