"""The tests against scipy's, and by their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pepr_edge.compare.statistics import holm, independent, paired

stats = pytest.importorskip("scipy.stats")
unit = st.floats(min_value=0, max_value=1)


def test_the_papers_t_test_is_scipys() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(9), rng.random(12)
    found, expected = independent(a, b), stats.ttest_ind(b, a, equal_var=True)
    assert (found.t, found.p) == (expected.statistic, expected.pvalue)
    pooled = np.sqrt((8 * a.var(ddof=1) + 11 * b.var(ddof=1)) / 19)
    assert found.d == pytest.approx((b.mean() - a.mean()) / pooled)
    assert found.difference == b.mean() - a.mean()
    half = stats.t.ppf(0.975, 19) * pooled * np.sqrt(1 / 9 + 1 / 12)
    assert found.ci == pytest.approx((found.difference - half, found.difference + half))


def test_the_paired_tests_are_scipys() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.random(10), rng.random(10)
    found = paired(a, b)
    assert (found.t, found.p) == pytest.approx(tuple(stats.ttest_rel(b, a)))
    assert found.wilcoxon_p == pytest.approx(stats.wilcoxon(b - a).pvalue)
    assert found.d_z == pytest.approx((b - a).mean() / (b - a).std(ddof=1))
    assert found.ci == pytest.approx(tuple(stats.ttest_rel(b, a).confidence_interval(0.95)))
    assert (found.higher, found.lower) == (int((b > a).sum()), int((b < a).sum()))


@settings(deadline=None, max_examples=15)
@given(st.lists(st.tuples(unit, unit), min_size=2, max_size=12))
def test_swapping_the_sides_flips_every_sign(values: list[tuple[float, float]]) -> None:
    a, b = np.array(values).T
    there, back = paired(a, b), paired(b, a)
    for one, other in ((there.difference, back.difference), (there.t, back.t), (there.d_z, back.d_z)):
        assert (one is None) == (other is None)
        assert one is None or other is None or one == pytest.approx(-other, abs=1e-9)
    assert (there.higher, there.lower) == (back.lower, back.higher)
    alone, turned = independent(a, b), independent(b, a)
    assert alone.difference == pytest.approx(-(turned.difference or 0.0), abs=1e-12)
    assert (alone.t is None) == (turned.t is None)
    assert alone.t is None or alone.t == pytest.approx(-(turned.t or 0.0))
    for p in (there.p, there.wilcoxon_p, alone.p):
        assert p is None or 0 <= p <= 1
    assert (there.p, there.wilcoxon_p, alone.p) == pytest.approx((back.p, back.wilcoxon_p, turned.p))


def test_what_does_not_vary_has_no_t() -> None:
    a = np.array([0.1, 0.2, 0.3, 0.4])
    same = paired(a, a.copy())
    assert (same.difference, same.t, same.p, same.wilcoxon_p, same.d_z, same.higher, same.lower) == (
        0,
        None,
        None,
        None,
        None,
        0,
        0,
    )
    constant = paired(a, a + 0.1)
    assert (constant.difference, constant.t, constant.p, constant.d_z, constant.ci) == (
        pytest.approx(0.1),
        None,
        None,
        None,
        None,
    )
    assert constant.wilcoxon_p == stats.wilcoxon(np.full(4, 0.1)).pvalue
    flat = independent(np.array([0.5, 0.5]), np.array([0.7, 0.7, 0.7]))
    assert (flat.t, flat.p, flat.d, flat.ci, flat.difference) == (None, None, None, None, pytest.approx(0.2))


@pytest.mark.parametrize("size", [0, 1])
def test_too_few_values_are_not_tested(size: int) -> None:
    few, enough = np.full(size, 0.5), np.array([0.1, 0.2])
    assert independent(few, enough).p is None
    assert independent(enough, few).p is None
    assert (paired(few, few).p, paired(few, few).wilcoxon_p) == (None, None)
    assert (independent(few, enough).difference is None) == (size == 0)


@given(st.lists(st.one_of(st.none(), unit), max_size=12))
def test_holm_by_its_definition(values: list[float | None]) -> None:
    known = sorted(value for value in values if value is not None)
    expected = [
        None
        if value is None
        else min(1.0, max((len(known) - rank) * p for rank, p in enumerate(known) if p <= value))
        for value in values
    ]
    assert holm(values) == pytest.approx(expected)


def test_holm_on_figures_done_by_hand() -> None:
    assert holm([0.01, 0.04, None, 0.03, 0.005]) == pytest.approx([0.03, 0.06, None, 0.06, 0.02])
