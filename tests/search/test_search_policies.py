"""Search policies: the bound, the stop rules, what is spent, and the replay on a small table."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pepr_edge.errors import ScoreError
from pepr_edge.search import POLICIES, Cost, Limits, SearchCandidate, Settings, State, decide
from pepr_edge.search.halving import rung_epochs, survivors
from pepr_edge.search.published import Runs, read_runs
from pepr_edge.search.replay import PROBE, final_scores, repeat, replay
from pepr_edge.search.state import NO_COST

EPOCHS = 4


@st.composite
def tables(draw: st.DrawFn) -> Runs:
    count = draw(st.integers(1, 7))
    share = st.floats(0, 1, allow_subnormal=False)
    energy = draw(st.lists(st.floats(0.1, 100), min_size=count, max_size=count))
    curves = draw(st.lists(st.lists(share, min_size=EPOCHS, max_size=EPOCHS), min_size=count, max_size=count))
    return Runs("made", tuple(f"m{number}" for number in range(count)), np.array(energy), np.array(curves))


SURE = Settings(confidence=1.0, share=1.0)


@settings(max_examples=40, deadline=None)
@given(tables())
def test_full_confidence_chooses_the_same_as_the_sweep(runs: Runs) -> None:
    assert replay(runs, SURE).regret == pytest.approx(0, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(tables())
def test_candidates_pruned_by_the_bound_could_not_win(runs: Runs) -> None:
    best = final_scores(runs).max()
    for decision in replay(runs, SURE).decisions:
        if decision.action in ("drop", "skip"):
            assert decision.candidate is not None
            assert 1 / (1 + runs.r[runs.models.index(decision.candidate)]) <= best + 1e-12


@settings(max_examples=20, deadline=None)
@given(tables(), st.sampled_from(sorted(POLICIES)), st.integers(0, 3), st.floats(0.05, 1.0))
def test_energy_is_that_of_probe_and_epochs_and_keeps_the_limit(
    runs: Runs, name: str, seed: int, budget: float
) -> None:
    own = Settings(policy=name, seed=seed)  # type: ignore[arg-type]
    done = replay(runs, own, max_energy=budget)
    assert done == replay(runs, own, max_energy=budget)
    part = dict(zip(runs.models, runs.energy / runs.energy.sum() / EPOCHS, strict=True))
    trained = sum(
        part[decision.candidate]
        for decision in done.decisions
        if decision.action == "train" and decision.candidate
    )
    assert done.energy_fraction == pytest.approx(trained + (0 if name == "exhaustive" else PROBE))
    assert done.energy_fraction <= budget + 1e-9
    assert done.decisions[-1].action == "stop"
    assert all(decision.reason for decision in done.decisions)


def test_the_sweep_spends_all_and_has_no_regret() -> None:
    runs = Runs("made", ("a", "b"), np.array([1.0, 3.0]), np.array([[0.5, 0.6], [0.9, 0.9]]))
    sweep = repeat(runs, Settings(policy="exhaustive"), 3)
    # a: R = 0, PePR 0.6; b: R = 1, PePR 0.45
    assert (sweep.choice, sweep.energy_fraction) == ("a", 1.0)
    assert (sweep.regret, sweep.rank, sweep.finished) == (0.0, 1.0, 2)


def state(**more: object) -> State:
    candidates = (
        SearchCandidate("expensive", 1.0, Cost(4.0, 8.0, 1.0)),
        SearchCandidate("cheap", 0.0, Cost(1.0, 2.0, 0.5)),
    )
    return State(candidates, 2, **more)  # type: ignore[arg-type]


def test_the_cheapest_is_trained_first_and_the_expensive_one_never_starts() -> None:
    now = state()
    decisions = []
    for performance in (0.5, 0.7):
        decisions.append(decide(now, Settings()))
        now = now.after_epoch("cheap", performance, Cost(1.0, 2.0, 0.5))
    trained = [(decision.action, decision.candidate, decision.to_epoch) for decision in decisions]
    assert trained == [("train", "cheap", 1), ("train", "cheap", 2)]
    third = decide(now, Settings())
    assert (third.action, third.candidate) == ("skip", "expensive")
    assert "0.5000, cheap has 0.7000" in third.reason
    assert decide(now.without("expensive", third.reason), Settings()).action == "stop"
    assert now.spent == Cost(2.0, 4.0, 1.0)


@pytest.mark.parametrize("limit", [Limits(max_energy_j=1.5), Limits(max_time_s=3.0), Limits(max_co2eq_g=0.7)])
@pytest.mark.parametrize("name", ["bounded", "halving"])
def test_a_stop_rule_ends_the_search_before_the_epoch_that_breaks_it(limit: Limits, name: str) -> None:
    now = State((SearchCandidate("cheap", 0.0, Cost(1.0, 2.0, 0.5)),), 2, limits=limit)
    first = decide(now, Settings(policy=name))  # type: ignore[arg-type]
    assert first.action == "train"
    now = now.after_epoch("cheap", 0.5, Cost(1.0, 2.0, 0.5))
    second = decide(now, Settings(policy=name))  # type: ignore[arg-type]
    assert second.action == "stop"
    assert "max_" in second.reason
    choice = now.choice()
    assert choice is not None
    assert choice.name == "cheap"


def test_a_limit_on_an_unknown_cost_is_an_error() -> None:
    now = State((SearchCandidate("a", 0.0, Cost(energy_j=1.0)),), 2, limits=Limits(max_time_s=3600))
    with pytest.raises(ScoreError, match="max_time_h = 1,"):
        decide(now, Settings())


def test_early_stopping_finishes_a_training_with_its_best_epoch() -> None:
    now = state(kept_epoch="best")
    for performance, ended in ((0.8, False), (0.6, True)):
        now = now.after_epoch("cheap", performance, Cost(1, 1, 1), ended)
    assert now.finished == {"cheap"}
    assert now.performance("cheap") == 0.8


def test_a_pruned_candidate_is_not_trained_again() -> None:
    now = state(pruned={"cheap": "out of memory"})
    assert decide(now, Settings()).candidate == "expensive"


def test_rungs() -> None:
    assert rung_epochs(10, 3) == (1, 3, 10)
    assert [survivors(20, rung, 3) for rung in range(3)] == [20, 6, 2]


@pytest.mark.parametrize(
    ("name", "value"),
    [("confidence", 1.1), ("share", 0.0), ("eta", 1), ("least_trainings", -1.0), ("seed", -1)],
)
def test_settings_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ScoreError, match=f"search.{name} = "):
        Settings(**{name: value})  # type: ignore[arg-type]


def test_the_published_runs() -> None:
    folder = Path(__file__).resolve().parents[2] / os.environ.get("PEPR_TEST_DATA", "../shared")
    path = (folder / "paper" / "published_results.csv").resolve()
    if not path.is_file():
        pytest.skip(f"no figures of the paper at {path.parent}: set PEPR_TEST_DATA")
    sets, columns = read_runs(path, None, "energy_kwh", None, None)
    results = [repeat(runs, Settings(), 1) for runs in sets]
    assert columns.prefix == "test_"
    assert len(results) == 4
    assert np.mean([result.energy_fraction for result in results]) <= 0.06
    assert max(result.energy_fraction for result in results) <= 0.12
    assert np.mean([result.regret or 0 for result in results]) <= 0.008


def test_a_cheap_model_without_skill_does_not_end_the_search() -> None:
    """The useless model costs next to nothing: its PePR, 0.73, would be above that of every other."""
    candidates = (
        SearchCandidate("useless", 0.0, Cost(1.0, 1.0, 1.0)),
        SearchCandidate("good", 0.5, Cost(50.0, 50.0, 50.0)),
        SearchCandidate("large", 1.0, Cost(100.0, 100.0, 100.0)),
    )
    ends = {"useless": 0.73, "good": 0.93, "large": 0.94}
    state = State(candidates, epochs=2, kept_epoch="best", min_performance=0.85)
    policy = Settings(least_trainings=0.0, share=0.001)
    decision = decide(state, policy)
    while decision.action != "stop":
        assert decision.candidate is not None
        if decision.action == "train":
            cost = next(item.epoch for item in candidates if item.name == decision.candidate)
            state = state.after_epoch(decision.candidate, ends[decision.candidate], cost)
        else:
            state = state.without(decision.candidate, decision.reason)
        decision = decide(state, policy)
    best = state.best()
    assert best is not None
    assert best.name == "good"


@given(st.floats(0.01, 0.9), st.floats(0, 1), st.floats(0.05, 1), st.floats(1, 5))
def test_the_needed_performance_reaches_the_score(
    baseline: float, r: float, score: float, alpha: float
) -> None:
    candidate = SearchCandidate("a", r, NO_COST)
    state = State((candidate,), epochs=1, alpha=alpha, baseline=baseline)
    needed = state.needed(candidate, score)
    if needed <= 1:
        reached = state.after_epoch("a", needed, NO_COST)
        assert reached.pepr(candidate) == pytest.approx(score)
