"""The decisions of files that give several findings an image are compared at thresholds that name them."""

from __future__ import annotations

import numpy as np
from made_logits import found

from pepr_edge.export.check import flips
from pepr_edge.export.quality_gate import LogitPair, add_agreement, assess_quality
from pepr_edge.records import SessionSettings
from pepr_edge.scoring.findings import fit_findings
from pepr_edge.scoring.rule import rule_of
from pepr_edge.tasks import Rule

SETTINGS = SessionSettings(threads=1)


def test_a_flip_is_any_finding_that_is_decided_otherwise() -> None:
    expected = np.array([[-3.0, -1.0], [-3.0, 2.0]], np.float32)
    changed = np.array([[-2.0, -1.0], [-3.0, 2.0]], np.float32)
    assert flips(changed, expected, rule=Rule(kind="multilabel")).count == 0
    low = Rule(kind="multilabel", thresholds=(0.1, 0.5))
    assert flips(changed, expected, rule=low).count == 1


def test_a_file_that_loses_the_order_of_images_is_rejected() -> None:
    logits, labels = found(n=400)
    rule = rule_of(fit_findings(logits, labels, "f1"), ())
    same = assess_quality(logits, logits, labels, "mean_auroc", 0.99, SETTINGS, rule=rule)
    assert same.passed
    assert set(same.kept) == {"mean_auroc", "mean_average_precision"}
    noise = np.random.default_rng(1).normal(size=logits.shape).astype(np.float32)
    lost = assess_quality(noise, logits, labels, "mean_auroc", 0.99, SETTINGS, rule=rule)
    assert not lost.passed
    pair = LogitPair(noise, logits)
    agreed = add_agreement(lost, pair, LogitPair(noise[:0], logits[:0]), rule)
    assert agreed.agreement is not None
    assert agreed.agreement.validation_flips == lost.flips.count > 0
