"""Sentences about how robust a ranking is."""

from __future__ import annotations

import pytest
import report_records as records

from pepr_edge.records import Baseline, Lifetime, Outlier, Ranking, RankingRow, Stretch
from pepr_edge.report.terminal import dependence_table, lifetime_table, ranking_table
from pepr_edge.text.robustness import dependence_rows, lifetime_sentences, ranking_caveats
from pepr_edge.text.rows import row_name
from pepr_edge.text.tables import WIDTH
from pepr_edge.text.units import image_count, listed, percent, probability


def ranking(**changes: object) -> Ranking:
    return records.run().ranking.model_copy(update=changes)


def with_row(base: Ranking, number: int, row: RankingRow) -> Ranking:
    rows = list(base.rows)
    rows[number] = row
    return base.replace(rows=tuple(rows))


def with_rank_intervals(*intervals: tuple[int, int], repeats: int = 2, settled: bool = False) -> Ranking:
    """The ranking whose first rows have these rank intervals; the others are far behind."""
    base = ranking()
    rows = []
    for number, row in enumerate(base.rows):
        if row.rank is None:
            rows.append(row)
            continue
        interval = intervals[number] if number < len(intervals) else (row.rank, row.rank)
        rows.append(row.replace(rank_ci=interval, p_best=1 / (number + 1), repeats=repeats))
    return base.replace(rows=tuple(rows), settled=settled)


def test_all_models_that_may_be_first_are_named_with_the_one_to_take() -> None:
    open_ranking = with_rank_intervals((1, 3), (1, 3), (1, 4))
    caveats = " ".join(ranking_caveats(open_ranking))
    assert "not settled" in caveats
    for row in open_ranking.rows[:3]:
        assert row_name(row) in caveats
    assert f"Take {row_name(open_ranking.rows[0])}" in caveats
    assert "100 %" not in caveats
    assert "One training" not in caveats


def test_a_settled_first_place_is_no_caveat() -> None:
    assert "not settled" not in " ".join(ranking_caveats(with_rank_intervals((1, 1), settled=True)))


def test_one_training_of_each_model_is_a_caveat() -> None:
    assert "each model" in " ".join(ranking_caveats(with_rank_intervals((1, 1), repeats=1)))
    assert "another seed" not in " ".join(ranking_caveats(with_rank_intervals((1, 1), repeats=2)))


def test_models_that_were_trained_once_are_named_if_others_were_not() -> None:
    base = with_rank_intervals((1, 3), (1, 3), (1, 4), repeats=2)
    once = base.rows[1].replace(candidate="once@64", repeats=1)
    (sentence,) = [text for text in ranking_caveats(with_row(base, 1, once)) if "another seed" in text]
    assert "once@64" in sentence
    assert "each model" not in sentence


def test_a_first_place_that_another_run_may_change_is_a_caveat() -> None:
    caveats = " ".join(ranking_caveats(with_rank_intervals((1, 1), repeats=2)))
    assert "not settled" in caveats
    assert "another run" in caveats
    once = " ".join(ranking_caveats(with_rank_intervals((1, 1), repeats=1)))
    assert "another run" not in once


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.0, ">99 %"), (0.996, ">99 %"), (0.99, "99 %"), (0.4, "40 %"), (0.001, "<1 %"), (None, "<1 %")],
)
def test_a_probability_never_reads_as_certain(share: float | None, text: str) -> None:
    assert probability(share) == text


def test_outliers_are_named_in_the_singular_and_in_the_plural() -> None:
    small = Outlier(name="vgg11@64 fp32", enters=("a",), leaves=("b",))
    large = Outlier(name="vast@64 fp32", enters=("a", "b", "c"), leaves=("d", "e", "f"))
    caveats = " ".join(ranking_caveats(ranking(outliers=(small, large))))
    assert "vgg11@64 fp32 alone changes the best five: a enters, b leaves." in caveats
    assert "vast@64 fp32 alone changes the best five: a, b and c enter, d, e and f leave." in caveats


def test_a_baseline_is_a_caveat_only_if_it_outranks_models() -> None:
    baseline = Baseline(label="pneumonia", performance=0.669, outranks=97, of=131)
    assert "97 of the 131 models" in " ".join(ranking_caveats(ranking(baseline=baseline)))
    beaten = baseline.model_copy(update={"outranks": 0})
    assert "'pneumonia'" not in " ".join(ranking_caveats(ranking(baseline=beaten)))


def test_without_a_ranked_row_there_is_nothing_to_say() -> None:
    empty = records.rank([])
    assert ranking_caveats(empty) == ()
    assert dependence_table(empty) == ""
    assert lifetime_table(empty) == ""


def test_the_dependence_table_fits_the_width() -> None:
    rows = dependence_rows(ranking())
    assert rows[0] == ("latency weight", "0.33", "from 0.1 to 0.7", "below: resnet18d@64 fp32")
    assert rows[1][:3] == ("declared watts", "x1", "from x0.25 to x4")
    assert rows[1][3].startswith("none: ")
    assert rows[2][0] == "normalisation"
    assert rows[2][3] == "max: another@64 fp32"
    assert all(len(line) <= WIDTH for line in dependence_table(ranking()).splitlines())


def test_the_majority_class_baseline_is_at_its_place_in_the_table() -> None:
    base = ranking()
    assert base.baseline is not None
    lines = []
    for line in ranking_table(base).splitlines():
        first, _, _ = line.strip().partition(" ")
        if first.isdigit() or "always" in line:
            lines.append(line)
    (place,) = [number for number, line in enumerate(lines) if "always" in line]
    assert place == base.baseline.of - base.baseline.outranks
    assert "no cost" in lines[place]
    assert "'pneumonia'" in lines[place]


def lifetime(*stretches: Stretch, **changes: object) -> Lifetime:
    base = Lifetime(
        images=10_000, stretches=stretches, methods={"training": "measured", "inference": "declared"}
    )
    return base.model_copy(update=changes)


def test_the_model_with_the_least_energy_is_named() -> None:
    (alone,) = lifetime_sentences(lifetime(Stretch(name="a", start=1, until=None)))
    assert "a for any number of images." in alone
    stretches = (Stretch(name="a", start=1, until=36_234.5), Stretch(name="b", start=36_234.5, until=None))
    several = lifetime_sentences(lifetime(*stretches, left_out=("c", "d")))
    assert "a up to 36,200 images; b from 36,200 images on." in several[0]
    assert "training measured, inference declared." in several[0]
    assert several[1].endswith("not known: c and d.")


def test_unknown_energy_over_a_lifetime_has_its_reason() -> None:
    (sentence,) = lifetime_sentences(lifetime(reason="no watts were declared"))
    assert "10,000 images: not known" in sentence
    assert sentence.endswith("no watts were declared.")


def test_the_table_of_energies_is_sorted() -> None:
    rows = []
    for number, row in enumerate(records.run().ranking.rows, 1):
        energies = {"inference_energy_j": 0.001, "lifetime_j_per_image": 1.0 / number}
        rows.append(row.model_copy(update=energies))
    always_a = lifetime(Stretch(name="a", start=1, until=None))
    lines = lifetime_table(ranking(rows=tuple(rows), lifetime=always_a)).splitlines()
    values = [float(line.split()[-1]) for line in lines[1 : len(rows) + 1]]
    assert values == sorted(values)
    assert all(len(line) <= WIDTH for line in lines)


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (None, "0 %"),
        (0.0, "0 %"),
        (0.001, "<1 %"),
        (0.006, "<1 %"),
        (0.014, "1 %"),
        (0.5, "50 %"),
        (1.0, "100 %"),
    ],
)
def test_percent(share: float | None, text: str) -> None:
    assert percent(share) == text


def test_listed() -> None:
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert listed(["a", "b", "c"]) == "a, b and c"


@pytest.mark.parametrize(
    ("number", "text"),
    [(1, "1 image"), (952.4, "952 images"), (36_234.5, "36,200 images"), (1e6, "1,000,000 images")],
)
def test_image_count(number: float, text: str) -> None:
    assert image_count(number) == text
