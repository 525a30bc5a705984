"""Manifests that say much, or hold what somebody put there to harm a reader."""

from __future__ import annotations

from pepr_edge.records import About, DataFacts, Decision, Estimate, Manifest, SplitInfo

NASTY = "<script>alert('x')</script> & \"quoted\" =cmd()"
ABOUT = About(
    intended_use="Second reader of chest images.",
    population="Adults in outpatient care.",
    setting="Primary care.",
    do_not_use_when="The patient is a child.",
    reference_standard="Two radiologists, a third for ties.",
    acquisition="Digital radiography, two sites, 2019 to 2021.",
    inclusion="All frontal images of adults.",
    licence="CC BY 4.0",
    contact="imaging@example.org",
    version="3",
    review_date="2027-01-31",
)
DATA = DataFacts(
    format="folder",
    splits={
        "train": SplitInfo(images=900, class_counts=(500, 400)),
        "val": SplitInfo(images=100, class_counts=(60, 40)),
        "test": SplitInfo(images=211, class_counts=(111, 100)),
    },
    majority_baseline=0.526,
    skipped_images=2,
    notes=("Images of one patient are in one split.",),
    positive_by="recipe",
)
DECISION = Decision(
    kind="threshold",
    positive="pneumonia",
    temperature=1.73,
    threshold=0.31,
    threshold_ci=(0.2, 0.4),
    target="sensitivity >= 0.90",
)
AT_DECISION = {
    name: Estimate(value=value, ci=(value - 0.05, value + 0.05), split="test", n=n)
    for name, value, n in (
        ("sensitivity_at_decision", 0.91, 100),
        ("specificity_at_decision", 0.811, 111),
        ("ppv_at_decision", 0.8125, 112),
        ("npv_at_decision", 0.9091, 99),
    )
}
PROVENANCE = {
    "recipe": "chest",
    "data": "chest",
    "data_sha256": "a" * 64,
    "seed": 0,
    "protocol": "default",
    "initial_weights": {"kind": "pretrained", "name": "lite0", "licence": "Apache 2.0", "sha256": "b" * 64},
    "training": {"mode": "full", "epochs": "12", "selected_epoch": "9", "class_balanced": "true"},
    "commit": "c" * 40,
    "versions": {"pepr_edge": "0.2.0", "torch": "2.9.0+cpu", "typing_extensions": "4.15"},
}


def full(manifest: Manifest) -> Manifest:
    """A manifest with all that a dossier can say."""
    return manifest.replace(
        about=ABOUT,
        data=DATA,
        decision=DECISION,
        performance={**manifest.performance, **AT_DECISION},
        provenance=PROVENANCE,
    )


def nasty(manifest: Manifest) -> Manifest:
    """A manifest whose texts would be markup, a formula or a flood."""
    many = {f"{NASTY} {number}": "y" * 300 for number in range(300)}
    figure = Estimate(value=0.5, ci=(0.4, 0.6), split="test", n=3)
    return full(manifest).replace(
        architecture="x" * 100_000,
        about=About(**dict.fromkeys(("intended_use", "population", "inclusion"), f"={NASTY}"), licence=NASTY),
        performance={f"{NASTY} {number}": figure for number in range(300)},
        provenance={
            **PROVENANCE,
            "data": NASTY,
            "data_sha256": "no hash",
            "versions": many,
            "training": many,
        },
        data=DATA.replace(notes=tuple(f"{NASTY} {number}" for number in range(300))),
    )
