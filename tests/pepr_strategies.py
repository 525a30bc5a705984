"""Hypothesis strategies for PePR scores."""

from __future__ import annotations

from hypothesis import strategies as st

from pepr_edge.records import Bound
from pepr_edge.scoring.pepr import (
    RESOURCES,
)

unit = st.floats(min_value=0, max_value=1)
alphas = st.floats(min_value=1, max_value=1e6)
amounts = st.floats(min_value=0, max_value=1e12)
models = st.lists(amounts, min_size=1, max_size=20)


def spans(lo: float = 0.0, hi: float = 10.0) -> dict[str, Bound]:
    return {name: Bound(lo=lo, hi=hi, unit=unit_name) for name, (_, unit_name) in RESOURCES.items()}
