from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path

import made_records
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_records import entry, results

from pepr_edge.measure.interleaved_profiles import Standing
from pepr_edge.ranking.certain_places import Member, Places, certain_places, places_of
from pepr_edge.run_dir.reader import Results
from pepr_edge.scoring.pepr import pepr

MIB = 2**20


def waiting(folder: Path, more: str = "") -> Results:
    """Three models that wait for their measurement; the first is the best and the cheapest to train."""
    made = results(
        folder,
        entry(folder, "best", right=190, joules=100.0),
        entry(folder, "twin", right=189, joules=102.0),
        entry(folder, "worst", right=130, joules=400.0),
        more=more,
    )
    return replace(made, entries=tuple(replace(each, profile=None) for each in made.entries))


def ranges(*ends_ms: tuple[float, float], memory_mib: int | None = 100) -> dict[int, Standing]:
    memory_bytes = None if memory_mib is None else memory_mib * MIB
    return {
        number: Standing((low / 1e3, high / 1e3), memory_bytes) for number, (low, high) in enumerate(ends_ms)
    }


def test_a_place_is_certain_if_no_value_in_the_ranges_changes_it(tmp_path: Path) -> None:
    places = places_of(waiting(tmp_path))
    assert set(places.members) == {0, 1, 2}
    # The third is behind whatever its latency is; the first two are near each other.
    assert certain_places(places, ranges((10, 12), (10, 12), (10, 12))) == {2}
    assert certain_places(places, ranges((10, 10.1), (18, 18.1), (19, 20))) == {0, 1, 2}


def test_the_order_behind_the_models_handed_over_does_not_matter(tmp_path: Path) -> None:
    three = waiting(tmp_path)
    known = ranges((10, 10.1), (18, 20), (19, 21))
    performances = {"best": 0.9, "twin": 0.8, "worst": 0.8}
    places = replace(
        places_of(three),
        members=dict(enumerate(Member(value, {}) for value in performances.values())),
        weights={"latency": 1.0},
    )
    assert certain_places(places, known) == {0}
    assert certain_places(replace(places, handed_over=1), known) == {0, 1, 2}
    assert certain_places(replace(places, handed_over=2), known) == {0}


def test_nothing_is_certain_while_a_latency_is_unknown(tmp_path: Path) -> None:
    places = places_of(waiting(tmp_path))
    known = ranges((10, 10.1), (18, 18.1), (19, 20))
    del known[1]
    assert certain_places(places, known) == set()


def test_a_latency_without_weight_is_certain_at_once(tmp_path: Path) -> None:
    places = places_of(waiting(tmp_path, "[score.weights]\ntrain_energy = 1.0\n"))
    assert certain_places(places, ranges((1, 90), (1, 90), (1, 90))) == {0, 1, 2}


def test_a_model_over_its_budget_is_certain_and_one_near_it_is_not(tmp_path: Path) -> None:
    places = places_of(waiting(tmp_path, "[budgets]\nlatency_p90_ms = 20\n"))
    assert certain_places(places, ranges((10, 10.1), (18, 18.1), (21, 30))) == {0, 1, 2}
    assert 2 not in certain_places(places, ranges((10, 10.1), (15, 15.1), (19, 21)))


def test_memory_over_its_budget_is_certain(tmp_path: Path) -> None:
    places = places_of(waiting(tmp_path, "[budgets]\npeak_memory_mib = 50\n"))
    assert certain_places(places, ranges((1, 90), (1, 90), (1, 90))) == {0, 1, 2}
    assert certain_places(places, ranges((1, 90), (1, 90), (1, 90), memory_mib=40)) == {2}


def test_a_memory_budget_that_cannot_be_checked_counts_as_broken(tmp_path: Path) -> None:
    budget = "[budgets]\npeak_memory_mib = 50\n[score.weights]\nlatency = 1.0\n"
    places = places_of(waiting(tmp_path, budget))
    known = ranges((1, 90), (1, 90), (1, 90), memory_mib=40)
    assert certain_places(places, known) == set()
    assert certain_places(places, known | {2: Standing((0.001, 0.09), None)}) == {2}


def test_models_that_cannot_be_ranked_do_not_count(tmp_path: Path) -> None:
    made = waiting(tmp_path)
    entries = list(made.entries)
    entries[1] = replace(entries[1], artifact=None)
    places = places_of(replace(made, entries=tuple(entries)))
    known = ranges((10, 12), (0, 0), (10, 12))
    del known[1]
    assert places.unranked == {1}
    assert certain_places(places, known) == {0, 1, 2}


def test_a_model_without_a_weighted_resource_has_no_place(tmp_path: Path) -> None:
    places = places_of(waiting(tmp_path))
    assert certain_places(places, ranges((10, 12), (10, 12), (10, 12), memory_mib=None)) == {0, 1, 2}


def test_earlier_measurements_are_known(tmp_path: Path) -> None:
    made = waiting(tmp_path)
    entries = list(made.entries)
    profile = made_records.profile("best").model_copy(
        update={"latencies_s": (0.01,) * 1024, "blocks": (128,) * 8}
    )
    entries[0] = replace(entries[0], profile=profile)
    places = places_of(replace(made, entries=tuple(entries)))
    assert places.known == {0: Standing((0.01, 0.01), 100_000_000)}
    known = ranges((1, 1), (18, 18.1), (19, 20))
    del known[0]
    assert certain_places(places, known) == {0, 1, 2}


def rank_of(places: Places, latencies_s: Mapping[int, float]) -> dict[int, int]:
    """Rank by PePR, with each latency known exactly."""
    low_s = min(latencies_s.values())
    width_s = max(latencies_s.values()) - low_s
    scores = {}
    for number, latency_s in latencies_s.items():
        r = (latency_s - low_s) / width_s if width_s else 0.0
        scores[number] = pepr(places.members[number].performance, r)
    return {number: sum(other > score for other in scores.values()) for number, score in scores.items()}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0.3, 1.0), st.floats(1.0, 20.0), st.floats(0.0, 3.0)), min_size=3, max_size=5
    )
)
@pytest.mark.filterwarnings("error")
def test_a_certain_place_is_the_same_for_all_values_in_the_ranges(
    models: list[tuple[float, float, float]],
) -> None:
    members = {number: Member(performance, {}) for number, (performance, _, _) in enumerate(models)}
    places = Places(members, {}, frozenset(), (), {"latency": 1.0}, False, 1.0, {})
    known = {number: Standing((low, low + width), None) for number, (_, low, width) in enumerate(models)}
    certain = certain_places(places, known)
    assert certain <= set(members)
    seen: dict[int, set[int]] = {number: set() for number in members}
    for ends in product((0, 1), repeat=len(models)):
        latencies_s = {number: known[number].p90_s[end] for number, end in enumerate(ends)}
        for number, rank in rank_of(places, latencies_s).items():
            seen[number].add(rank)
    assert all(len(seen[number]) == 1 for number in certain)
