"""Limits of referred images, fitted on validation alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_logits import made

from pepr_edge.records import ImageLimits, Split
from pepr_edge.scoring.operating_point import fit_decision
from pepr_edge.scoring.refer import Observed, at_refer, coverage_curve, fit_refer, reasons
from pepr_edge.tasks.refer import referable

NAMES = ("normal", "pneumonia")


def observed(seed: int, n: int = 300) -> Observed:
    logits, labels = made(n, 2, seed)
    rng = np.random.default_rng(seed)
    return Observed(logits, labels, rng.gamma(2, size=n), rng.uniform(20, 60, n))


@settings(max_examples=8, deadline=None)
@given(
    st.integers(0, 1000),
    st.sampled_from(["argmax", "sensitivity >= 0.90"]),
    st.sampled_from([(0.1, None), (None, 0.05)]),
)
def test_the_test_labels_change_no_limit(
    seed: int, target: str, asked: tuple[float | None, float | None]
) -> None:
    splits: dict[Split, Observed] = {"val": observed(seed), "test": observed(seed + 1)}
    flipped = splits | {"test": splits["test"]._replace(labels=1 - splits["test"].labels)}
    decisions = []
    figures = []
    for given_splits in (splits, flipped):
        validation = given_splits["val"]
        decision = fit_decision(validation.logits, validation.labels, NAMES, 1, target)
        decision = decision.replace(refer=fit_refer(decision, validation, NAMES, *asked))
        decisions.append(decision)
        figures.append(at_refer(decision, given_splits, NAMES))
    assert decisions[0] == decisions[1]
    of_val = [{name: value for name, value in found.items() if name.startswith("val_")} for found in figures]
    assert of_val[0] == of_val[1]
    assert figures[0]["referred_share"] == figures[1]["referred_share"]
    assert figures[0]["accuracy_if_answered"] != figures[1]["accuracy_if_answered"]


@pytest.mark.parametrize(("share", "referred"), [(0.01, 0), (0.1, 20), (0.3, 75)])
def test_few_enough_of_validation_are_referred(share: float, referred: int) -> None:
    validation = observed(0)
    decision = fit_decision(validation.logits, validation.labels, NAMES, 1, "argmax")
    refer = fit_refer(decision, validation, NAMES, share, None, ImageLimits(colour="grey"))
    found = reasons(decision.replace(refer=refer), validation, NAMES)
    assert (found != "").sum() == referred == referable(share, 300, 2)
    assert (found == "novelty").sum() == int(0.8 * referred)
    assert (refer.asked, refer.images.colour) == (f"refer_share = {share:g}", "grey")
    assert refer.images.min_contrast == pytest.approx(np.quantile(validation.contrast, 0.01) / 2)


def test_the_error_on_the_others_is_kept() -> None:
    validation = observed(0)
    decision = fit_decision(validation.logits, validation.labels, NAMES, 1, "argmax")
    before = at_refer(decision, {"val": validation}, NAMES)["val_accuracy_if_answered"].value
    refer = fit_refer(decision, validation, NAMES, None, 0.05)
    figures = at_refer(decision.replace(refer=refer), {"val": validation}, NAMES)
    assert before < 0.95 <= figures["val_accuracy_if_answered"].value
    coverage, risk = coverage_curve(decision.replace(refer=refer), validation, NAMES)
    assert risk[-1] == pytest.approx(1 - before)
    assert risk[round(len(risk) * (1 - figures["val_referred_share"].value)) - 1] <= 0.05
    assert coverage[-1] == 1


@pytest.mark.parametrize(("n", "share"), [(40, 0.3), (78, 0.1), (300, 0.1)])
def test_of_other_images_no_more_than_the_share_are_referred(n: int, share: float) -> None:
    """The share that the limits of a validation set refer of all images, in 200 draws of such sets."""
    everyone = observed(0, 2500)
    decision = fit_decision(everyone.logits, everyone.labels, NAMES, 1, "argmax")
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(200):
        drawn = rng.choice(2500, n)
        validation = Observed(*(np.asarray(values)[drawn] for values in everyone))
        refer = fit_refer(decision, validation, NAMES, share, None)
        shares.append((reasons(decision.replace(refer=refer), everyone, NAMES) != "").mean())
    assert np.mean(np.array(shares) <= share) >= 0.95
    assert np.mean(shares) >= 0.3 * share


def test_a_file_without_novelty_refers_by_confidence_alone() -> None:
    validation = observed(0)._replace(novelty=None, contrast=None)
    decision = fit_decision(validation.logits, validation.labels, NAMES, 1, "argmax")
    refer = fit_refer(decision, validation, NAMES, 0.1, None, no_novelty="two inputs")
    found = reasons(decision.replace(refer=refer), validation, NAMES)
    assert set(found) == {"", "confidence"}
    assert (refer.max_novelty, refer.no_novelty) == (None, "two inputs")
    assert (found != "").sum() == referable(0.1, 300, 1) == 21
