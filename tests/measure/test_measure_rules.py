from __future__ import annotations

import math
import random
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pepr_edge.errors import MeasurementError
from pepr_edge.measure.job import MeasurementRules
from pepr_edge.measure.rules import (
    ADAPTIVE,
    FULL,
    MIN_BLOCKS,
    QUICK,
    RULES,
    SCREENING,
    ended_by,
    reference_drift,
    relative_width,
    share_measured,
    sustained,
    validity,
)
from pepr_edge.scoring.percentiles import early_stopping_percentile, overlatency_allowed, percentiles

PERCENTILES = {
    "p50": Fraction(1, 2),
    "p90": Fraction(9, 10),
    "p95": Fraction(19, 20),
    "p99": Fraction(99, 100),
}
latency = st.floats(min_value=0, max_value=100, allow_nan=False)


def allowed_by_brute_force(n: int, percentile: Fraction) -> int:
    """Return the largest t with P[Binom(n, 1 - p) <= t] <= 0.01, in whole numbers: no rounding anywhere."""
    good = percentile.numerator
    whole = percentile.denominator
    bad = whole - good
    total = 0
    t = -1
    for k in range(n + 1):
        total += math.comb(n, k) * bad**k * good ** (n - k)
        if total * 100 > whole**n:
            break
        t = k
    return t


@pytest.mark.parametrize("name", PERCENTILES)
def test_percentiles_equal_a_brute_force_reference(name: str) -> None:
    percentile = PERCENTILES[name]
    for n in [*range(1, 140), *range(140, 700, 31), *range(655, 670), 1023, 1024, 1500, 2000]:
        latencies = [float(value) for value in range(n)]
        random.Random(n).shuffle(latencies)
        t = allowed_by_brute_force(n, percentile)
        assert early_stopping_percentile(latencies, float(percentile)) == (
            float(n - t) if t >= 1 else None
        ), n


@pytest.mark.slow
@pytest.mark.parametrize("name", PERCENTILES)
def test_percentiles_equal_scipys_binomial_up_to_5000(name: str) -> None:
    from scipy.stats import binom

    percentile = float(PERCENTILES[name])
    n = np.arange(1, 5001)
    # The smallest t whose probability reaches 0.01. Where it exceeds 0.01, the t before is the last below it.
    smallest = binom.ppf(0.01, n, 1 - percentile)
    expected = np.where(binom.cdf(smallest, n, 1 - percentile) <= 0.01, smallest, smallest - 1)
    assert [overlatency_allowed(int(count), percentile) for count in n] == expected.astype(int).tolist()


@pytest.mark.parametrize(("name", "smallest"), [("p50", 11), ("p90", 64), ("p95", 130), ("p99", 662)])
def test_smallest_number_of_latencies(name: str, smallest: int) -> None:
    assert getattr(percentiles([1.0] * (smallest - 1)), name) is None
    assert getattr(percentiles([1.0] * smallest), name) == 1.0


def test_no_latency_at_all() -> None:
    assert percentiles([]).p50 is None


def test_large_numbers_neither_underflow_nor_take_long() -> None:
    # Normal approximation: 10 % of a million, less 2.326 standard deviations of 300.
    assert overlatency_allowed(1_000_000, 0.9) == pytest.approx(100_000 - 2.326 * 300, abs=5)


@given(st.lists(latency, min_size=1, max_size=800))
def test_percentiles_are_latencies_in_order(latencies: list[float]) -> None:
    result = [value for value in percentiles(latencies).model_dump().values() if value is not None]
    assert result == sorted(result)
    assert set(result) <= set(latencies)
    # An estimate that holds with confidence is never below the plain percentile.
    for name, value in percentiles(latencies).model_dump().items():
        if value is not None:
            assert value >= sorted(latencies)[int(len(latencies) * PERCENTILES[name]) - 1]


@pytest.mark.parametrize("wrong", [-1e-9, math.nan, math.inf])
def test_an_impossible_latency_is_refused(wrong: float) -> None:
    with pytest.raises(MeasurementError, match="negative or not finite"):
        percentiles([0.001, wrong])


def test_rules_are_those_of_measurement_md() -> None:
    assert tuple(FULL) == (10, 2.0, 1024, 60.0, 600.0)
    assert tuple(QUICK) == (10, 2.0, 128, 10.0, 600.0)
    assert tuple(ADAPTIVE) == (10, 2.0, 1024, 0.0, 600.0)
    assert {"adaptive": ADAPTIVE, "full": FULL, "quick": QUICK, "look": SCREENING} == RULES


def test_a_steady_measurement_is_valid() -> None:
    assert validity([0.01] * 1024, 60.0, FULL).valid


@pytest.mark.parametrize(
    ("latencies", "duration_s", "reason"),
    [
        ([0.01] * 1024, 59.9, "minimum time: 59.9 s, .* 60 s"),
        ([0.6] * 1000, 600.0, "minimum queries: 1000 .* 1024"),
        ([20.0] * 30, 600.0, "early stopping: 30 .* 64"),
        (
            [0.01] * 500 + [0.012] * 524,
            60.0,
            r"drift: .* 10 ms .* 12 ms .*\(\+20 %",
        ),
        ([0.012] * 500 + [0.01] * 524, 60.0, r"drift: .*\(-17 %"),
    ],
)
def test_each_rule_gives_its_reason(latencies: list[float], duration_s: float, reason: str) -> None:
    result = validity(latencies, duration_s, FULL)
    assert not result.valid
    assert any(re.search(reason, line) for line in result.reasons), result.reasons


def test_sustained_is_the_first_third_against_the_last() -> None:
    result = sustained([0.01, 0.01, 0.05, 0.02, 0.04, 0.02, 0.02])
    assert result is not None
    assert (result.first_third_s, result.last_third_s) == (0.01, 0.02)
    assert sustained([0.01, 0.02]) is None


def test_a_drift_within_the_limit_is_valid() -> None:
    assert validity([0.0100] * 500 + [0.0114] * 524, 60.0, FULL).valid


def test_a_single_outlier_is_no_drift_and_is_kept() -> None:
    assert validity([0.01] * 1023 + [9.0], 60.0, FULL).valid


def test_a_device_that_cannot_keep_the_pace_is_invalid() -> None:
    mixed = [0.05, 0.05, 0.05, 0.2] * 32
    assert validity(mixed, 20.0, QUICK).valid
    (reason,) = validity(mixed, 20.0, QUICK, paced_s=0.1).reasons
    assert re.search(r"pace: 32 of 128 .* 100 ms", reason)


@given(st.lists(latency, max_size=400), st.floats(min_value=0, max_value=700), st.sampled_from([FULL, QUICK]))
def test_validity_and_its_reasons_agree(
    latencies: list[float], duration_s: float, rules: MeasurementRules
) -> None:
    result = validity(latencies, duration_s, rules)
    assert result.valid == (not result.reasons)
    if duration_s < rules.duration_s or len(latencies) < rules.queries:
        assert not result.valid
    assert all(reason.count("\n") == 0 and reason.endswith(".") for reason in result.reasons)


BLOCKS = (128,) * MIN_BLOCKS


def test_an_adaptive_measurement_ends_when_the_interval_is_narrow() -> None:
    steady = [0.004, 0.00401] * 512
    assert ended_by(steady, BLOCKS, 4.0) == "interval"
    assert ended_by(steady[:1000], (125,) * 8, 4.0) is None
    assert ended_by(steady, (256,) * 4, 4.0) is None


def test_a_wide_interval_ends_only_where_nothing_hangs_on_it_or_by_time() -> None:
    spread = list(np.random.default_rng(0).uniform(0.004, 0.008, 1024))
    width = relative_width(spread, BLOCKS)
    assert width is not None
    assert 0.02 < width < 0.1
    assert ended_by(spread, BLOCKS, 4.0) is None
    assert ended_by(spread, BLOCKS, 4.0, is_certain=True) == "place"
    assert ended_by(spread, BLOCKS, 60.0) == "time"


def test_too_few_queries_are_measured_up_to_the_cap() -> None:
    assert ended_by([1.0] * 599, (1,) * 599, 599.0, is_certain=True) is None
    assert ended_by([1.0] * 600, (1,) * 600, 600.0) == "time"


def test_a_measurement_that_drifts_goes_on() -> None:
    drifting = [0.004] * 512 + [0.005] * 512
    assert ended_by(drifting, BLOCKS, 4.0, is_certain=True) is None
    assert ended_by(drifting, BLOCKS, 60.0) == "time"
    assert not validity(drifting, 4.0, ADAPTIVE, blocks=BLOCKS).valid
    assert validity([0.004] * 1024, 4.0, ADAPTIVE, blocks=BLOCKS).valid


def test_thirds_are_whole_blocks() -> None:
    latencies = [0.001] * 10 + [0.002] * 90 + [0.003] * 10 + [0.004] * 10
    thirds = sustained(latencies, (10, 90, 20))
    assert thirds is not None
    assert (thirds.first_third_s, thirds.last_third_s) == (0.001, 0.0035)
    assert sustained(latencies, (100, 20)) == sustained(latencies)
    assert sustained([0.001] * 2) is None


def test_the_share_measured_rises_with_queries_blocks_and_precision() -> None:
    steady = [0.004] * 1024
    assert share_measured(steady, BLOCKS, 4.0) == 1.0
    assert share_measured(steady[:512], BLOCKS[:4], 2.0) == 0.5
    assert share_measured([], (), 0.0) == 0.0
    spread = list(np.random.default_rng(0).uniform(0.004, 0.008, 1024))
    assert 0.1 < share_measured(spread, BLOCKS, 4.0) < 0.9
    assert share_measured(spread, BLOCKS, 57.0) == 0.95


def test_a_reference_that_changed_is_a_reason() -> None:
    assert reference_drift(0.010, 0.0114) is None
    assert "10 ms" in str(reference_drift(0.010, 0.012))
