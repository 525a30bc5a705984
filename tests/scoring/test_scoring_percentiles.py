from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pepr_edge.scoring.percentiles import MIN_GROUPS, p90_interval

BLOCK = 100


def bursts(seed: int, blocks: int, memory: float, repeats: int = 1) -> NDArray[np.float64]:
    """Return latencies of a model that other programs slow down for a while, shape (repeats, latencies).

    `memory`: the number of latencies over which a disturbance fades (AR(1)); 0: each is independent.
    """
    rng = np.random.default_rng(seed)
    level = rng.standard_normal((blocks * BLOCK, repeats))
    noise = np.abs(rng.standard_normal(level.shape))
    factor = math.exp(-1 / memory) if memory else 0.0
    for index in range(1, len(level)):
        level[index] = factor * level[index - 1] + math.sqrt(1 - factor**2) * level[index]
    return 0.005 * np.exp(0.2 * np.maximum(level, 0.0) + 0.02 * noise).T


def coverage(memory: float, blocks: int) -> float:
    """Return in what share of 200 repeats the interval holds the true p90."""
    true_s = float(np.quantile(bursts(1, 100, memory, 400), 0.9))
    held = 0
    for latencies_s in bursts(0, blocks, memory, 200):
        interval = p90_interval(latencies_s.tolist(), (BLOCK,) * blocks)
        assert interval is not None
        held += interval[0] <= true_s <= interval[1]
    return held / 200


@pytest.mark.parametrize(
    ("memory", "blocks"),
    [(0.0, 8), (0.0, 40), (0.3 * BLOCK, 12), (0.3 * BLOCK, 40), (BLOCK, 40), (3 * BLOCK, 80)],
)
def test_the_interval_holds_the_true_p90_under_bursts(memory: float, blocks: int) -> None:
    # With 200 repeats 95 % is seen as 92 to 98 %.
    assert coverage(memory, blocks) >= 0.92


def test_bursts_make_the_interval_wider() -> None:
    blocks = (BLOCK,) * 40
    steady = p90_interval(bursts(1, 40, 0)[0].tolist(), blocks)
    burst = p90_interval(bursts(1, 40, BLOCK)[0].tolist(), blocks)
    assert steady is not None
    assert burst is not None
    assert burst[1] - burst[0] > 3 * (steady[1] - steady[0])


def test_the_interval_narrows_with_the_number_of_latencies() -> None:
    widths = []
    for blocks in (10, 40, 160):
        interval = p90_interval(bursts(2, blocks, 0)[0].tolist(), (BLOCK,) * blocks)
        assert interval is not None
        widths.append(interval[1] - interval[0])
    assert widths[0] > 1.5 * widths[1] > 2 * widths[2]


def test_too_few_latencies_or_blocks_have_no_interval() -> None:
    assert p90_interval([]) is None
    assert p90_interval([0.01] * 20) is None
    assert p90_interval([0.01] * 300, (100,) * (MIN_GROUPS - 1)) is None


@given(
    st.lists(st.floats(0.001, 1.0), min_size=400, max_size=600),
    st.lists(st.integers(1, 40), min_size=4, max_size=10),
)
def test_the_interval_holds_the_p90_of_the_latencies(latencies_s: list[float], lengths: list[int]) -> None:
    lengths.append(len(latencies_s) - sum(lengths))
    interval = p90_interval(latencies_s, lengths)
    assert interval is not None
    assert interval[0] <= sorted(latencies_s)[math.ceil(0.9 * len(latencies_s)) - 1] <= interval[1]


def test_equal_latencies_have_an_interval_without_width() -> None:
    assert p90_interval([0.01] * 1000, (100,) * 10) == (0.01, 0.01)
