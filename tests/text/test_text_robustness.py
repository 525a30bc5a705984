"""How sound a ranking is, in words."""

from __future__ import annotations

import pytest
import report_records as records

from pepr_edge.records import Baseline, Lifetime, Outlier, Ranking, Stretch
from pepr_edge.report.terminal import dependence_table, lifetime_table, ranking_table
from pepr_edge.text.robustness import depends_on, images, life, listed, percent, soundness
from pepr_edge.text.tables import WIDTH


def ranking(**changes: object) -> Ranking:
    return records.run().ranking.model_copy(update=changes)


def first(found: Ranking, **changes: object) -> Ranking:
    row, *others = found.rows
    return found.model_copy(update={"rows": (row.model_copy(update=changes), *others)})


def test_a_first_place_that_chance_decides_is_said_to_be_unsettled() -> None:
    words = " ".join(soundness(first(ranking(), p_best=0.4, rank_ci=(1, 3))))
    assert (
        "The first place is not settled: with other images of the same kind it would be first in 40 % of draws"
        in words
    )
    assert "(its rank lies between 1 and 3)" in words


def test_a_settled_first_place_is_not_mentioned() -> None:
    assert "settled" not in " ".join(soundness(first(ranking(), p_best=0.96, rank_ci=(1, 1))))
    assert "settled" not in " ".join(soundness(first(ranking(), p_best=None, rank_ci=None)))


def test_outliers_by_name_in_the_singular_and_in_the_plural() -> None:
    one = Outlier(name="vgg11@64 fp32", enters=("a",), leaves=("b",))
    two = Outlier(name="vast@64 fp32", enters=("a", "b", "c"), leaves=("d", "e", "f"))
    words = soundness(ranking(outliers=(one, two)))
    assert any(
        "Leaving out vgg11@64 fp32 alone changes the best five: a enters, b leaves." in line for line in words
    )
    assert any(
        "Leaving out vast@64 fp32 alone changes the best five: a, b and c enter, d, e and f leave." in line
        for line in words
    )


def test_a_baseline_that_outranks_models_is_said_and_one_that_does_not_is_not() -> None:
    free = Baseline(label="pneumonia", performance=0.669, outranks=97, of=131)
    assert any(
        "better PePR edge than 97 of the 131 models" in line for line in soundness(ranking(baseline=free))
    )
    assert not any(
        "Always saying" in line
        for line in soundness(ranking(baseline=free.model_copy(update={"outranks": 0})))
    )


def test_nothing_ranked_says_nothing() -> None:
    empty = records.rank([])
    assert soundness(empty) == ()
    assert (dependence_table(empty), lifetime_table(empty)) == ("", "")


def test_what_the_winner_depends_on_as_a_table_within_the_width() -> None:
    rows = depends_on(ranking())
    assert rows[0] == ("latency weight", "0.33", "from 0.1 to 0.7", "below: resnet18d@64 fp32")
    assert rows[1] == ("declared watts", "x1", "from x0.25 to x4", "no other: all energies scale alike")
    assert rows[2][0] == "normalisation"
    assert rows[2][3] == "max: another@64 fp32"
    assert all(len(line) <= WIDTH for line in dependence_table(ranking()).splitlines())


def test_the_free_baseline_stands_at_its_place_in_the_table() -> None:
    found = ranking()
    assert found.baseline is not None
    lines = [
        line
        for line in ranking_table(found).splitlines()
        if line.split() and (line.split()[0].isdigit() or "always" in line)
    ]
    (place,) = [number for number, line in enumerate(lines) if "always" in line]
    assert place == found.baseline.of - found.baseline.outranks
    assert lines[place].endswith("free")
    assert "'pneumonia'" in lines[place]


def lived(*stretches: Stretch, **changes: object) -> Lifetime:
    found = Lifetime(
        images=10_000, stretches=stretches, methods={"training": "measured", "inference": "declared"}
    )
    return found.model_copy(update=changes)


def test_the_cheapest_over_a_life_in_a_sentence() -> None:
    (alone,) = life(lived(Stretch(name="a", start=1, until=None)))
    assert "a whatever their number." in alone
    several = life(
        lived(
            Stretch(name="a", start=1, until=36_234.5),
            Stretch(name="b", start=36_234.5, until=None),
            left_out=("c", "d"),
        )
    )
    assert (
        "a up to 36,200 images; b from 36,200 images on. Energies: training measured, inference declared."
        in several[0]
    )
    assert several[1].endswith("not known: c and d.")


def test_energy_over_a_life_that_is_not_known_says_why() -> None:
    assert life(lived(reason="nobody declared watts")) == (
        "Energy per image over 10,000 images: not known, since nobody declared watts.",
    )


def test_the_table_of_energies_has_the_least_first() -> None:
    rows = [
        row.model_copy(update={"inference_energy_j": 0.001, "lifetime_j_per_image": 1.0 / number})
        for number, row in enumerate(records.run().ranking.rows, 1)
    ]
    text = lifetime_table(ranking(rows=tuple(rows), lifetime=lived(Stretch(name="a", start=1, until=None))))
    values = [float(line.split()[-1]) for line in text.splitlines()[1 : len(rows) + 1]]
    assert values == sorted(values)
    assert all(len(line) <= WIDTH for line in text.splitlines())


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
def test_shares_in_per_cent(share: float | None, text: str) -> None:
    assert percent(share) == text


def test_names_in_a_row() -> None:
    assert [listed(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
    assert [images(number) for number in (1, 952.4, 36_234.5, 1e6)] == [
        "1 image",
        "952 images",
        "36,200 images",
        "1,000,000 images",
    ]
