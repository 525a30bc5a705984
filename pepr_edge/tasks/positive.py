"""The positive of two classes: the one that sensitivity, specificity and predictive values speak of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

# Words of labels that name a finding, and words that name its absence, in lower case. Whole words count, so
# "normal" is not found in "abnormal".
# fmt: off
FINDINGS = frozenset(
    (
        "abnormal", "abscess", "adenocarcinoma", "affected", "anomaly", "aneurysm", "cancer",
        "cancerous", "carcinoma", "case", "cataract", "consolidation", "covid", "covid19", "defect",
        "disease", "diseased", "effusion", "finding", "findings", "fracture", "fractured",
        "glaucoma", "haemorrhage", "hemorrhage", "infected", "infection", "infiltration", "lesion",
        "malign", "malignancy", "malignant", "mass", "melanoma", "metastasis", "nodule", "opacity",
        "pathological", "pathology", "pneumonia", "pneumothorax", "polyp", "pos", "positive",
        "retinopathy", "sarcoma", "sick", "stroke", "tb", "tuberculosis", "tumor", "tumour",
        "ulcer", "unhealthy",
    )
)
ABSENCES = frozenset(
    (
        "absent", "benign", "clear", "control", "healthy", "neg", "negative", "no", "none",
        "normal", "not", "without", "non", "free",
    )
)
# fmt: on
PositiveBy = Literal["recipe", "name", "order"]


class PositiveClass(NamedTuple):
    """A label, and how it was chosen: as the recipe says, by its name, or as the second of the labels."""

    label: str
    by: PositiveBy


def positive_class(labels: Sequence[str], wanted: str | None = None) -> PositiveClass | None:
    """Return the positive of two classes; None for another number of classes.

    Args:
        labels: in the order of their class numbers.
        wanted: the label that the recipe names; None: by the labels' names, else the second one.
    Raises:
        ValueError: there is no such label, or there are not two classes. The text says what was expected.
    """
    if wanted is not None and len(labels) != 2:
        raise ValueError(f"no such line for {len(labels)} classes: only one of two can be positive")
    if wanted is not None and wanted not in labels:
        raise ValueError(f"one of {', '.join(map(repr, labels))}")
    if len(labels) != 2:
        return None
    if wanted is not None:
        return PositiveClass(wanted, "recipe")
    for is_likely in (_names_finding, _names_no_absence):
        likely = [label for label in labels if is_likely(label)]
        if len(likely) == 1:
            return PositiveClass(likely[0], "name")
    return PositiveClass(labels[1], "order")


def _names_finding(label: str) -> bool:
    """True if a label names a finding and no absence: "no_finding" and "non-malignant" do not."""
    return bool(_words(label) & FINDINGS) and _names_no_absence(label)


def _names_no_absence(label: str) -> bool:
    return not _words(label) & ABSENCES


def _words(label: str) -> set[str]:
    return set(re.findall(r"[^\W_]+", label.lower()))
