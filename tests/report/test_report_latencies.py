"""The figure of raw latencies: it holds every inference, also those of other devices."""

from __future__ import annotations

from collections import Counter

import pytest
import report_records as records
from made_records import bench, field_report

from pepr_edge.report import latencies as module
from pepr_edge.report.latencies import latencies
from pepr_edge.scoring.percentiles import early_stopping_percentile

RUN = records.run(("resnet18d", "dla46_c"), failed=())
FIRST = RUN.ranking.rows[0]
PROFILE = next(profile for profile in RUN.profiles if profile.artifact_sha256 == FIRST.artifact_sha256)


def test_every_inference_is_in_a_bin_and_p90_is_that_of_the_ranking() -> None:
    figure = latencies(RUN.ranking, RUN.profiles, {})
    assert figure.data is not None
    assert figure.picture is not None
    counts: Counter[object] = Counter()
    for candidate, variant, device, low, high, inferences in figure.data.rows:
        assert device == "AMD EPYC 9B14, 2 threads"
        assert high is None or float(low or 0) < float(high)
        counts[candidate, variant] += int(inferences or 0)
    assert set(counts.values()) == {200}
    p90_s = early_stopping_percentile(PROFILE.latencies_s, 0.9)
    assert p90_s is not None
    assert f"{FIRST.candidate} {FIRST.variant}: median" in figure.picture.alt
    assert f"p90 {1e3 * p90_s:.3f} ms" in figure.picture.alt


def test_the_plot_has_the_first_by_rank_and_the_data_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROWS", 2)
    figure = latencies(RUN.ranking, RUN.profiles, {"latency_p90_s": 9.0})
    assert "first 2 of 4" in figure.caption
    assert "far to the right, 9000 ms" in figure.caption
    assert figure.data is not None
    assert len({row[:2] for row in figure.data.rows}) == 4
    near = latencies(RUN.ranking, RUN.profiles, {"latency_p90_s": 0.002})
    assert "budget, 2.00 ms" in near.caption


def test_devices_of_the_field_have_their_own_rows_unless_they_are_emulated() -> None:
    measured = {"artifact_sha256": FIRST.artifact_sha256, "latencies_s": (0.004,) * 70}
    result = bench("resnet18d", 0.004, 2**20).model_copy(update=measured)
    reports = {
        "a.json": field_report(result, cpu="old cpu"),
        "b.json": field_report(result, cpu="none", emulated=True),
    }
    figure = latencies(RUN.ranking, RUN.profiles, {}, reports)
    assert figure.data is not None
    devices = {row[2] for row in figure.data.rows}
    assert devices == {"AMD EPYC 9B14, 2 threads", "old cpu, 1 thread"}


def test_without_measurements_nothing_is_drawn() -> None:
    figure = latencies(RUN.ranking, (), {})
    assert figure.picture is None
    assert "no ranked model was measured" in figure.caption


@pytest.mark.parametrize("values", [(0.0,) * 70, (0.002,) * 70, (0.0, 1e-7, 3.0), (0.002,)])
def test_unusual_latencies_can_be_drawn(values: tuple[float, ...]) -> None:
    figure = latencies(RUN.ranking, (PROFILE.model_copy(update={"latencies_s": values}),), {})
    assert figure.data is not None
    assert sum(int(row[-1] or 0) for row in figure.data.rows) == len(values)
