"""Every test of a comparison: A against B on the same architectures, and groups of architectures within each side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np

from pepr_edge.compare import sentences
from pepr_edge.compare.groups import Grouping, groupings
from pepr_edge.compare.measures import APART, Array, Measure, Measures
from pepr_edge.compare.model import ComparisonInput
from pepr_edge.compare.pairs import Pairs
from pepr_edge.compare.record import PERFORMANCE, Finding, SideName, Verdict
from pepr_edge.compare.statistics import holm, independent, paired

LEVEL = 0.05
SIDES: tuple[tuple[SideName, Literal[0, 1]], ...] = (("A", 0), ("B", 1))


def findings(both: ComparisonInput, pairs: Pairs, tested: Measures) -> tuple[Finding, ...]:
    """All tests, in the order of their questions.

    A against B rests on scores over both sides together and, as in the paper, over each side by itself; the questions within a side on the
    latter, as the models of that side are the set that one would choose from. p is adjusted by Holm within a family: performance, on which
    the answers rest first, apart from the scores; the scores of A against B as each question has them, those within the sides as one.
    """
    question = both.question.text
    found = _between(both, pairs, question, [tested.performance, *tested.together])
    found += _between(both, pairs, f"{question} With {APART}", tested.apart)
    return (*found, *_within(both, pairs, [tested.performance, *tested.own]))


def _between(
    both: ComparisonInput, pairs: Pairs, question: str, measures: Sequence[Measure]
) -> list[Finding]:
    tested = [_pair(question, measure) for measure in measures]
    led, made = _by_holm(tested, _leading)
    adjusted, _ = _by_holm(tested, lambda finding: finding.p)
    done = []
    for finding, p_holm, paired_p_holm, tests in zip(tested, adjusted, led, made, strict=True):
        # How the side fares that has more data, pretrained weights, ...: on whichever side it is.
        sign = 1 if both.question.treatment == 1 else -1
        same = finding.n[0] > 1 and not finding.better and not finding.worse
        verdict = (
            "identical" if same else _verdict(sign, finding.difference, _leading(finding), paired_p_holm)
        )
        changes = {"p_holm": p_holm, "paired_p_holm": paired_p_holm, "tests": tests, "verdict": verdict}
        finding = finding.model_copy(update=changes)
        sentence = sentences.of_pairs(finding, both.question, both.a.metric, pairs.weights)
        done.append(finding.model_copy(update={"sentence": sentence}))
    return done


def _by_holm(
    tested: Sequence[Finding], p: Callable[[Finding], float | None]
) -> tuple[list[float | None], list[int]]:
    """Of each finding its p, adjusted for the tests of its family, and how many these are: performance is one family, scores another."""
    adjusted: list[float | None] = [None] * len(tested)
    made = [0] * len(tested)
    for primary in (True, False):
        places = [
            place for place, finding in enumerate(tested) if (finding.measure == PERFORMANCE) is primary
        ]
        family = [p(tested[place]) for place in places]
        for place, value in zip(places, holm(family), strict=True):
            adjusted[place], made[place] = value, sum(one is not None for one in family)
    return adjusted, made


def _leading(finding: Finding) -> float | None:
    """The p that a verdict on pairs rests on: of the paired t-test, of Wilcoxon's where all differences are the same."""
    return finding.paired_p if finding.paired_p is not None else finding.wilcoxon_p


def _pair(question: str, measure: Measure) -> Finding:
    known = np.isfinite(measure.values).all(axis=0)
    a, b = measure.values[0, known], measure.values[1, known]
    alone, together = independent(a, b), paired(a, b)
    return Finding(
        question=question,
        side=None,
        measure=measure.name,
        groups=("A", "B"),
        n=(a.size, b.size),
        mean=(_mean(a), _mean(b)),
        difference=together.difference,
        ci=together.ci,
        t=alone.t,
        p=alone.p,
        paired_t=together.t,
        paired_p=together.p,
        wilcoxon_p=together.wilcoxon_p,
        cohen_d=alone.d,
        d_z=together.d_z,
        better=together.higher,
        worse=together.lower,
    )


def _within(both: ComparisonInput, pairs: Pairs, measures: Sequence[Measure]) -> list[Finding]:
    asked = [
        (grouping, finding) for grouping in groupings() for finding in _groups(pairs, grouping, measures)
    ]
    adjusted, made = _by_holm([finding for _, finding in asked], lambda finding: finding.p)
    done = []
    for (grouping, finding), p_holm, tests in zip(asked, adjusted, made, strict=True):
        verdict = _verdict(1, finding.difference, finding.p, p_holm)
        finding = finding.model_copy(update={"p_holm": p_holm, "tests": tests, "verdict": verdict})
        sentence = sentences.of_groups(finding, grouping, both, pairs)
        done.append(finding.model_copy(update={"sentence": sentence}))
    return done


def _groups(pairs: Pairs, grouping: Grouping, measures: Sequence[Measure]) -> Iterator[Finding]:
    for side, row in SIDES:
        member = grouping.members((pairs.a, pairs.b)[row])
        for measure in measures:
            values = measure.values[row]
            known = np.isfinite(values)
            first = values[known & np.array([is_in is False for is_in in member])]
            second = values[known & np.array([is_in is True for is_in in member])]
            found = independent(first, second)
            yield Finding(
                question=grouping.question,
                side=side,
                measure=measure.name,
                groups=grouping.groups,
                n=(first.size, second.size),
                mean=(_mean(first), _mean(second)),
                difference=found.difference,
                ci=found.ci,
                t=found.t,
                p=found.p,
                cohen_d=found.d,
            )


def _mean(values: Array) -> float | None:
    return float(values.mean()) if values.size else None


def _verdict(sign: int, difference: float | None, p: float | None, p_holm: float | None) -> Verdict:
    """What a test shows of the group that the question is of."""
    if difference is None or p is None or p_holm is None:
        return "untested"
    if p >= LEVEL:
        return "none"
    if p_holm >= LEVEL:
        return "maybe_up" if sign * difference > 0 else "maybe_down"
    return "up" if sign * difference > 0 else "down"
