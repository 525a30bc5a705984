"""The statistical tests against scipy and by their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pepr_edge.compare.statistics import Independent, Paired, holm, independent, paired

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
    test = paired(a, b)
    swapped = paired(b, a)
    assert opposite(test.difference, swapped.difference)
    assert opposite(test.t, swapped.t)
    assert opposite(test.d_z, swapped.d_z)
    assert (test.higher, test.lower) == (swapped.lower, swapped.higher)
    of_groups = independent(a, b)
    of_groups_swapped = independent(b, a)
    assert opposite(of_groups.difference, of_groups_swapped.difference)
    assert opposite(of_groups.t, of_groups_swapped.t)
    for p, p_swapped in (
        (test.p, swapped.p),
        (test.wilcoxon_p, swapped.wilcoxon_p),
        (of_groups.p, of_groups_swapped.p),
    ):
        assert p == pytest.approx(p_swapped)
        assert p is None or 0 <= p <= 1


def opposite(value: float | None, other: float | None) -> bool:
    """Return True for two numbers of opposite sign and equal size, or for None twice."""
    if value is None or other is None:
        return value is other
    return value == pytest.approx(-other, rel=1e-6, abs=1e-9)


def test_constant_values_have_no_t() -> None:
    a = np.array([0.1, 0.2, 0.3, 0.4])
    assert paired(a, a.copy()) == Paired(0.0)
    wilcoxon_p = stats.wilcoxon(np.full(4, 0.1)).pvalue
    assert paired(a, a + 0.1) == Paired(pytest.approx(0.1), higher=4, wilcoxon_p=wilcoxon_p)
    constant = independent(np.array([0.5, 0.5]), np.array([0.7, 0.7, 0.7]))
    assert constant == Independent(pytest.approx(0.2))


@pytest.mark.parametrize("size", [0, 1])
def test_too_few_values_are_not_tested(size: int) -> None:
    few = np.full(size, 0.5)
    enough = np.array([0.1, 0.2])
    assert independent(few, enough).p is None
    assert independent(enough, few).p is None
    assert (paired(few, few).p, paired(few, few).wilcoxon_p) == (None, None)
    assert (independent(few, enough).difference is None) == (size == 0)


@given(st.lists(st.one_of(st.none(), unit), max_size=12))
def test_holm_by_its_definition(values: list[float | None]) -> None:
    known = sorted(value for value in values if value is not None)
    for value, adjusted in zip(values, holm(values), strict=True):
        if value is None:
            assert adjusted is None
        else:
            scaled = [(len(known) - rank) * p for rank, p in enumerate(known) if p <= value]
            assert adjusted == pytest.approx(min(1.0, max(scaled)))


def test_holm_on_an_example_computed_by_hand() -> None:
    assert holm([0.01, 0.04, None, 0.03, 0.005]) == pytest.approx([0.03, 0.06, None, 0.06, 0.02])
