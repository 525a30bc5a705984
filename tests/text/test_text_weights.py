"""What models began with, in words."""

from __future__ import annotations

import pytest
import report_records as records

from pepr_edge.records import InitialWeights, Ranking
from pepr_edge.report.terminal import ranking_table
from pepr_edge.text.sentences import caveats
from pepr_edge.text.weights import mixed_weights, origin, start_text


def begun(*weights: str) -> Ranking:
    """A ranking whose rows began with these, in turn."""
    ranking = records.run().ranking
    names = list(dict.fromkeys(row.candidate for row in ranking.rows))
    by_name = {name: weights[number % len(weights)] for number, name in enumerate(names)}
    rows = tuple(row.replace(weights=by_name[row.candidate]) for row in ranking.rows)
    return ranking.replace(rows=rows)


def test_candidates_that_began_differently_are_said_in_the_answer() -> None:
    ranking = begun("pretrained", "scratch")
    first = ranking.rows[0].candidate
    names = list(dict.fromkeys(row.candidate for row in ranking.rows))
    scratch = [name for number, name in enumerate(names) if number % 2]
    sentence = mixed_weights(ranking)
    assert f"{len(scratch)} of {len(names)} candidates from scratch" in sentence
    assert all(name in sentence for name in scratch[:4])
    assert first not in sentence
    assert sentence in caveats(ranking)


@pytest.mark.parametrize("weights", ["scratch", "pretrained", "mine.pth", ""])
def test_candidates_that_began_alike_need_no_caveat(weights: str) -> None:
    ranking = begun(weights)
    assert mixed_weights(ranking) == ""
    assert not any("begin" in sentence for sentence in caveats(ranking))


def test_many_names_are_counted() -> None:
    ranking = begun("pretrained", "scratch")
    row = ranking.rows[0]
    more = tuple(row.replace(candidate=f"a{number}@64", weights="scratch") for number in range(9))
    assert "more" in mixed_weights(ranking.replace(rows=(*ranking.rows, *more)))


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (("scratch",), "trained from scratch"),
        (("pretrained",), "pretrained"),
        (("mine.pth",), "weights of mine.pth"),
        (("scratch", "pretrained"), ""),
        (("",), ""),
    ],
)
def test_the_table_says_what_all_began_with(weights: tuple[str, ...], expected: str) -> None:
    ranking = begun(*weights)
    assert start_text(ranking) == expected
    assert expected in " ".join(ranking_table(ranking).split())


def test_the_table_marks_the_models_from_scratch_where_others_are_not() -> None:
    assert "trained from scratch" in ranking_table(begun("pretrained", "scratch"))
    assert "trained from scratch" not in ranking_table(begun("pretrained"))


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (InitialWeights(kind="scratch", reason="no network"), "from scratch"),
        (InitialWeights(kind="pretrained", name="a.in1k", licence="mit"), "pretrained: a.in1k, licence mit"),
        (InitialWeights(kind="pretrained"), "pretrained"),
        (InitialWeights(kind="file", name="mine.pth"), "file: mine.pth"),
    ],
)
def test_the_origin_of_weights_has_their_name_and_licence(weights: InitialWeights, expected: str) -> None:
    assert origin(weights) == expected
