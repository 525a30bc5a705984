"""Logits and labels of classifiers that were never trained: by hypothesis, and drawn."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from pepr_edge.scoring.metrics import METRICS

Logits = NDArray[np.float32]
Labels = NDArray[np.int64]

NAMES = (*METRICS, "sensitivity_at_specificity_0.8", "specificity_at_sensitivity_0.95")
CLASSES = st.integers(min_value=2, max_value=5)


@st.composite
def classified(draw: st.DrawFn, grid: bool = True) -> tuple[Logits, Labels]:
    """Logits on a coarse grid, so that ties are common, and labels in which every class occurs."""
    classes, n = draw(CLASSES), draw(st.integers(min_value=5, max_value=40))
    levels = (
        st.integers(min_value=-4, max_value=4) if grid else st.floats(min_value=-30, max_value=30, width=32)
    )
    logits = draw(hnp.arrays(np.float32, (n, classes), elements=levels))
    others = draw(st.lists(st.integers(0, classes - 1), min_size=n - classes, max_size=n - classes))
    return logits, np.array([*range(classes), *others])


def made(n: int = 300, classes: int = 3, seed: int = 0) -> tuple[Logits, Labels]:
    """Unequal classes, decided somewhat rightly."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(classes, n, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum())
    return (rng.normal(size=(n, classes)) + 1.5 * np.eye(classes)[labels]).astype(np.float32), labels


def found(n: int = 200, findings: int = 4, seed: int = 0, grid: bool = False) -> tuple[Logits, Labels]:
    """Several findings an image, the later the rarer, each seen somewhat rightly."""
    rng = np.random.default_rng(seed)
    shares = 0.5 / np.arange(1, findings + 1)
    labels = (rng.random((n, findings)) < shares).astype(np.int64)
    labels[0] = 1
    labels[1] = 0
    logits = rng.normal(size=(n, findings)) + 1.5 * labels - 1
    return (logits.round() if grid else logits).astype(np.float32), labels
