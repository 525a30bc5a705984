from __future__ import annotations

import csv
import gc
import math
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import made_records
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pepr_edge.errors import ScoreError
from pepr_edge.records import Bound
from pepr_edge.scoring.pepr import Models, Normalise, Scoring, normalised, scores
from pepr_edge.scoring.robustness import best, outliers, weight_sensitivity, winners_by_normalisation
from pepr_edge.tables import Group, ScoreTask, open_table, score_table
from pepr_edge.tables.csv_rows import CsvTable, chunks
from pepr_edge.tables.groups import (
    INTERVAL_MODELS,
    SENSITIVITY_GROUPS,
    SENSITIVITY_MODELS,
    SENSITIVITY_ROWS,
)

Cells = Sequence[Sequence[object]]


def written(path: Path, header: Sequence[str], rows: Cells) -> CsvTable:
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return open_table(path)


def task(table: CsvTable, *resources: str, **more: object) -> ScoreTask:
    """A task for the columns P, and model and group if there are any."""
    positions = {name: table.position(name) for name in table.columns}
    columns = ScoreTask(
        table=table,
        performance=positions["P"],
        resources={name: positions[name] for name in resources},
        weights=dict.fromkeys(resources, 1.0),
        group=positions.get("group"),
        name=positions.get("model"),
    )
    return replace(columns, **more)  # type: ignore[arg-type]


def read_back(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def number(text: str) -> float:
    return float(text) if text else math.nan


# --- the same results as pepr.py and robustness.py on arrays


@dataclass(frozen=True)
class Case:
    """Two sets with mixed rows (`order` gives the set of each row), and their scoring."""

    sets: tuple[Models, Models]
    order: tuple[int, ...]
    scoring: Scoring
    top: int
    chunk_rows: int


@st.composite
def cases(draw: st.DrawFn) -> Case:
    names = ["A", "B", "C"][: draw(st.integers(1, 3))]
    amount = st.one_of(
        st.sampled_from([math.nan, math.inf]),
        st.integers(0, 6).map(float),
        st.floats(0, 1e6, allow_subnormal=False),
    )
    unit = st.one_of(st.sampled_from([0.0, 0.5, 1.0]), st.floats(0, 1), st.just(math.nan))
    made = []
    for mark in "xy":
        n = draw(st.integers(1, 9))
        performance = np.array(draw(st.lists(unit, min_size=n, max_size=n)))
        values = {name: np.array(draw(st.lists(amount, min_size=n, max_size=n))) for name in names}
        made.append(Models(tuple(f"{mark}{place}" for place in range(n)), performance, values))
    order = [0] * len(made[0].names) + [1] * len(made[1].names)
    weights = {name: draw(st.sampled_from([0.0, 1.0, 2.5])) for name in names}
    weights[names[0]] = weights[names[0]] or 1.0
    how: Normalise = draw(st.sampled_from(["minmax", "max"]))
    scoring = Scoring(weights, how, draw(st.sampled_from([1.0, 3.0])))
    mixed = tuple(draw(st.permutations(order)))
    return Case((made[0], made[1]), mixed, scoring, draw(st.integers(1, 5)), draw(st.integers(1, 7)))


def scored(case: Case, folder: Path) -> tuple[tuple[Group, ...], list[dict[str, str]]]:
    names = list(case.scoring.weights)
    remaining = [iter(range(len(models.names))) for models in case.sets]
    rows = []
    for set_number in case.order:
        models = case.sets[set_number]
        index = next(remaining[set_number])
        resources = [models.resources[name][index] for name in names]
        rows.append(["xy"[set_number], models.names[index], models.performance[index], *resources])
    table = written(folder / "t.csv", ["group", "model", "P", *names], rows)
    more = {
        "weights": case.scoring.weights,
        "normalise": case.scoring.normalise,
        "alpha": case.scoring.alpha,
        "top": case.top,
    }
    groups = score_table(task(table, *names, out=folder / "o.csv", **more), chunk_rows=case.chunk_rows)
    return groups, read_back(folder / "o.csv")


@settings(deadline=None)
@given(cases())
def test_a_table_is_scored_like_arrays(case: Case) -> None:
    with tempfile.TemporaryDirectory() as folder:
        groups, rows = scored(case, Path(folder))
    for group in groups:
        models = case.sets["xy".index(group.name or "")]
        # A model without a performance takes no part in the bounds.
        counted = {
            name: np.where(np.isnan(models.performance), np.nan, values)
            for name, values in models.resources.items()
        }
        models = replace(models, resources=counted)
        expected = scores(models, case.scoring)
        column = "pepr_combined" if len(counted) > 1 else "pepr_A"
        assert np.array_equal(
            [number(row[column]) for row in rows if row["group"] == group.name], expected, equal_nan=True
        )
        assert [place.name for place in group.best] == best(models.names, expected, case.top)
        assert group.outliers == outliers(models, case.scoring, case.top)
        assert (group.models, group.scored) == (len(models.names), int((~np.isnan(expected)).sum()))
        for name, values in counted.items():
            bound = group.bounds[name]
            whole = case.scoring.bound(name, values)
            assert (bound and (bound.lo, bound.hi)) == (whole and (whole.lo, whole.hi))
            if whole is not None:
                r = normalised(np.where(np.isfinite(values), values, np.nan), whole)
                assert np.array_equal(
                    [number(row[f"r_{name}"]) for row in rows if row["group"] == group.name],
                    r,
                    equal_nan=True,
                )


@given(
    st.floats(0, 1e6, allow_subnormal=False),
    st.floats(0, 1e6, allow_subnormal=False),
    st.floats(0, 1e6, allow_subnormal=False),
)
def test_a_number_is_normalised_like_an_array(value: float, a: float, b: float) -> None:
    bound = Bound(lo=min(a, b), hi=max(a, b), unit="")
    in_array = normalised(np.array([value, math.nan]), bound)
    assert np.array_equal(in_array, [normalised(value, bound), math.nan], equal_nan=True)


# --- the figures of the paper


def test_all_scores_of_the_paper_equal_a_plain_calculation(tmp_path: Path) -> None:
    rows = made_records.paper("published_results.csv")
    columns = {"E": "energy_kwh", "C": "co2eq_g", "T": "last_epoch_s", "M": "gpu_memory_gb"}
    table = written(
        tmp_path / "t.csv",
        ["group", "model", "P", *columns],
        [[r["dataset"], r["model"], r["test_09"], *(r[c] for c in columns.values())] for r in rows],
    )
    score_table(task(table, *columns, out=tmp_path / "o.csv"), chunk_rows=100)
    scored = read_back(tmp_path / "o.csv")
    assert len(scored) == 524
    checked = 0
    for row, result in zip(rows, scored, strict=True):
        mean = 0.0
        for name, column in columns.items():
            values = [float(other[column]) for other in rows if other["dataset"] == row["dataset"]]
            r = (float(row[column]) - min(values)) / (max(values) - min(values))
            mean += r / 4
            assert float(result[f"r_{name}"]) == pytest.approx(r, abs=1e-12)
            assert float(result[f"pepr_{name}"]) == pytest.approx(float(row["test_09"]) / (1 + r), abs=1e-12)
            checked += 1
        assert float(result["pepr_combined"]) == pytest.approx(float(row["test_09"]) / (1 + mean), abs=1e-12)
    assert checked == 524 * 4


# --- invariances


def small(rng: random.Random, n: int = 30) -> list[list[object]]:
    return [
        [rng.choice("uvw"), f"m{i}", rng.random(), rng.lognormvariate(0, 2), rng.lognormvariate(0, 1)]
        for i in range(n)
    ]


def by_model(path: Path) -> dict[str, list[float]]:
    return {
        row["model"]: [number(row[c]) for c in ("r_E", "pepr_E", "r_L", "pepr_L", "pepr_combined")]
        for row in read_back(path)
    }


@pytest.mark.parametrize("seed", range(3))
def test_scores_do_not_depend_on_order_or_unit(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    rows = small(rng)
    header = ["group", "model", "P", "E", "L"]
    first = score_table(task(written(tmp_path / "a.csv", header, rows), "E", "L", out=tmp_path / "a_out.csv"))
    mixed = rng.sample(rows, len(rows))
    again = score_table(
        task(written(tmp_path / "b.csv", header, mixed), "E", "L", out=tmp_path / "b_out.csv"), chunk_rows=4
    )
    assert by_model(tmp_path / "a_out.csv") == by_model(tmp_path / "b_out.csv")
    assert {group.name: group.set_id for group in first} == {group.name: group.set_id for group in again}
    scaled = [[*row[:3], float(str(row[3])) * 1000, row[4]] for row in rows]
    score_table(task(written(tmp_path / "c.csv", header, scaled), "E", "L", out=tmp_path / "c_out.csv"))
    for name, values in by_model(tmp_path / "c_out.csv").items():
        assert values == pytest.approx(by_model(tmp_path / "a_out.csv")[name], rel=1e-9, abs=1e-12)


def test_a_set_id_depends_on_name_size_and_bounds(tmp_path: Path) -> None:
    def ids(rows: Cells, **more: object) -> list[str]:
        return [
            group.set_id
            for group in score_table(
                task(written(tmp_path / "t.csv", ["group", "P", "E"], rows), "E", **more)
            )
        ]

    rows = [["a", 0.5, 1], ["a", 0.5, 2], ["a", 0.5, 3]]
    same = ids(rows)
    assert ids([["a", 0.9, 1], ["a", 0.1, 2.5], ["a", 0.5, 3]]) == same
    assert ids([*rows, ["a", 0.5, 2]]) != same
    assert ids([["a", 0.5, 1], ["a", 0.5, 2], ["a", 0.5, 4]]) != same
    assert ids([["b", *row[1:]] for row in rows]) != same
    assert ids(rows, normalise="max") != same


# --- chunks, memory and faults in between


def test_chunks_hold_all_rows(tmp_path: Path) -> None:
    rows = [[f"a\n{i}", i] for i in range(23)]
    table = written(tmp_path / "t.csv", ["model", "P"], rows)
    seen: list[tuple[str, ...]] = []
    for chunk in chunks(table, lambda done, total: None, 5):
        assert chunk.start == len(seen)
        seen += zip(*chunk.cells, strict=True)
    assert seen == [(str(a), str(b)) for a, b in rows]


def test_a_table_that_grows_while_it_is_read_is_refused(tmp_path: Path) -> None:
    table = written(tmp_path / "t.csv", ["group", "P", "E"], [["a", 0.5, 1], ["a", 0.5, 2]])

    def grow(done: int, total: int) -> None:
        if table.unchanged():
            with open(table.path, "a", encoding="utf-8") as file:
                file.write("b,0.5,3\n")

    with pytest.raises(ScoreError, match="changed while it was read"):
        score_table(task(table, "E", out=tmp_path / "o.csv"), grow, chunk_rows=1)
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_an_interruption_leaves_nothing_behind(tmp_path: Path) -> None:
    table = written(tmp_path / "t.csv", ["P", "E"], [[0.5, place] for place in range(100)])
    (tmp_path / "o.csv").write_text("of before")

    def interrupt(done: int, total: int) -> None:
        if done > total // 2:
            assert len(list(tmp_path.iterdir())) == 3
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_table(task(table, "E", out=tmp_path / "o.csv"), interrupt, chunk_rows=10)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.csv", "t.csv"]
    assert (tmp_path / "o.csv").read_text() == "of before"
    assert gc.isenabled()


def test_the_best_of_many_rows_may_be_the_last(tmp_path: Path) -> None:
    rows = [[index / 20000, 1 + index % 7] for index in range(20000)]
    (group,) = score_table(task(written(tmp_path / "t.csv", ["P", "E"], rows), "E"), chunk_rows=100)
    assert group.best[0].name == "row 20000"


def test_rank_intervals_narrow_with_the_images(tmp_path: Path) -> None:
    rows = [[0.5 + place / 100, 1] for place in range(40)]
    table = written(tmp_path / "t.csv", ["P", "E"], rows)
    few, many = (score_table(task(table, "E", images=images))[0] for images in (50.0, 50000.0))
    assert few.best[0].rank_high is not None
    assert many.best[0].rank_high is not None
    assert few.best[0].rank_high > many.best[0].rank_high
    assert many.best[0].p_best == pytest.approx(1.0, abs=0.05)
    assert sum(place.p_best or 0 for place in few.best) <= 1


def test_a_large_group_gets_no_intervals_but_a_warning(tmp_path: Path) -> None:
    rows = [["big", 0.5, 1]] * (INTERVAL_MODELS + 1) + [["small", 0.5, 1]] * 2
    big, little = score_table(task(written(tmp_path / "t.csv", ["group", "P", "E"], rows), "E", images=100.0))
    assert big.best[0].rank_low is None
    assert any("no rank intervals" in warning for warning in big.warnings)
    assert (little.best[0].rank_low, little.warnings) == (1, ())


def test_dependence_is_that_of_arrays(tmp_path: Path) -> None:
    rng = random.Random(7)
    # Several models have the same name: the winner is identified by its row.
    rows = [
        [group, f"m{place % 3}", rng.random(), rng.lognormvariate(0, 2), rng.random()]
        for group in "uv"
        for place in range(40)
    ]
    rows[3][3] = math.inf
    table = written(tmp_path / "t.csv", ["group", "model", "P", "E", "L"], rng.sample(rows, len(rows)))
    hows: tuple[Normalise, ...] = ("minmax", "max")
    for how in hows:
        for group in score_table(task(table, "E", "L", normalise=how, alpha=2.0), chunk_rows=7):
            mine = [row for row in read_back(table.path) if row["group"] == group.name]
            values = {name: np.array([number(row[name]) for row in mine]) for name in ("P", "E", "L")}
            models = Models(tuple(map(str, range(len(mine)))), values.pop("P"), values)
            scoring = Scoring({"E": 1.0, "L": 1.0}, how, 2.0)

            def named(row: str | None, mine: list[dict[str, str]] = mine) -> str | None:
                return None if row is None else mine[int(row)]["model"]

            assert group.dependence is not None
            expected = [
                (setting.setting, setting.stays, named(setting.winner_below), named(setting.winner_above))
                for setting in weight_sensitivity(models, scoring)
            ]
            assert [
                (setting.setting, setting.stays, setting.winner_below, setting.winner_above)
                for setting in group.dependence.sensitivity
            ] == expected
            assert group.dependence.winners == {
                which: named(row) for which, row in winners_by_normalisation(models, scoring).items()
            }


def test_models_with_the_same_name_are_different_models(tmp_path: Path) -> None:
    table = written(tmp_path / "t.csv", ["model", "P", "E", "L"], [["same", 0.8, 1, 2], ["same", 0.8, 2, 1]])
    (group,) = score_table(task(table, "E", "L", weights={"E": 3.0, "L": 2.0}))
    assert group.dependence is not None
    assert group.dependence.sensitivity[0].stays == (0.5, 1.0)
    assert group.dependence.sensitivity[0].winner_below == "same"


@pytest.mark.parametrize(
    ("rows", "computed"),
    [
        ([["big"]] * (SENSITIVITY_MODELS + 1) + [["small"]] * 2, [False, True]),
        ([[f"g{place % 11}"] for place in range(SENSITIVITY_ROWS + 1)], [False] * 11),
        ([[f"g{place}"] for place in range(SENSITIVITY_GROUPS + 1)], [False] * (SENSITIVITY_GROUPS + 1)),
    ],
)
def test_large_tables_get_no_dependence(tmp_path: Path, rows: Cells, computed: list[bool]) -> None:
    table = written(tmp_path / "t.csv", ["group", "P", "E", "L"], [[*row, 0.5, 1, 1] for row in rows])
    found = score_table(task(table, "E", "L"))
    assert [group.dependence is not None for group in found] == computed
