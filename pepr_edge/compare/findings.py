"""Every test of a comparison: A against B on the same architectures, and groups within each side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np

from pepr_edge.compare import sentences
from pepr_edge.compare.groups import Grouping, groupings
from pepr_edge.compare.measures import SEPARATELY, Array, Measure, Measures
from pepr_edge.compare.model import ComparisonInput
from pepr_edge.compare.pairs import Pairs
from pepr_edge.compare.record import PERFORMANCE, Finding, SideName, Verdict
from pepr_edge.compare.statistics import holm, independent, paired

SIGNIFICANCE = 0.05
SIDES: tuple[tuple[SideName, Literal[0, 1]], ...] = (("A", 0), ("B", 1))


def findings(inputs: ComparisonInput, pairs: Pairs, to_test: Measures) -> tuple[Finding, ...]:
    """Return all tests in the order of their questions.

    A against B is tested on scores over both sides as one set and, as in the paper, on scores over each side
    by itself. The questions within a side use the latter: the models of that side are the set to choose from.

    p is adjusted by Holm within families. Performance, which the answers state first, is always a family of
    its own. The scores of A against B are one family for each of the two ways to scale them; those within the
    sides are one.
    """
    question = inputs.question.text
    joint = _between(inputs, pairs, question, [to_test.performance, *to_test.joint])
    separate = _between(inputs, pairs, f"{question} With {SEPARATELY}", to_test.separate)
    if inputs.seeds_of is not None:  # one architecture is in no two groups
        return tuple(joint)
    within = _within(inputs, pairs, [to_test.performance, *to_test.within])
    return (*joint, *separate, *within)


def _between(
    inputs: ComparisonInput, pairs: Pairs, question: str, measures: Sequence[Measure]
) -> list[Finding]:
    tests = [_test_pairs(question, measure) for measure in measures]
    p_holm, _ = _by_holm(tests, lambda finding: finding.p)
    paired_p_holm, family_sizes = _by_holm(tests, lambda finding: finding.p_of_pairs)
    done = []
    for number, finding in enumerate(tests):
        if finding.n[0] > 1 and not finding.better and not finding.worse:
            verdict: Verdict = "identical"
        else:
            verdict = _verdict(
                inputs.question.sign, finding.difference, finding.p_of_pairs, paired_p_holm[number]
            )
        changes = {
            "p_holm": p_holm[number],
            "paired_p_holm": paired_p_holm[number],
            "tests": family_sizes[number],
            "verdict": verdict,
        }
        finding = finding.model_copy(update=changes)
        sentence = sentences.pair_sentence(finding, inputs, pairs.weights)
        done.append(finding.model_copy(update={"sentence": sentence}))
    return done


def _by_holm(
    tests: Sequence[Finding], p_of: Callable[[Finding], float | None]
) -> tuple[list[float | None], list[int]]:
    """Return the adjusted p of each finding and the number of tests in its family (performance or scores)."""
    adjusted: list[float | None] = [None] * len(tests)
    family_sizes = [0] * len(tests)
    for is_performance in (True, False):
        numbers = [
            number
            for number, finding in enumerate(tests)
            if (finding.measure == PERFORMANCE) is is_performance
        ]
        family = [p_of(tests[number]) for number in numbers]
        size = sum(p is not None for p in family)
        for number, p in zip(numbers, holm(family), strict=True):
            adjusted[number] = p
            family_sizes[number] = size
    return adjusted, family_sizes


def _test_pairs(question: str, measure: Measure) -> Finding:
    known = np.isfinite(measure.values).all(axis=0)
    a = measure.values[0, known]
    b = measure.values[1, known]
    of_groups = independent(a, b)
    of_pairs = paired(a, b)
    return Finding(
        question=question,
        side=None,
        measure=measure.name,
        groups=("A", "B"),
        n=(a.size, b.size),
        mean=(_mean(a), _mean(b)),
        difference=of_pairs.difference,
        ci=of_pairs.ci,
        t=of_groups.t,
        p=of_groups.p,
        paired_t=of_pairs.t,
        paired_p=of_pairs.p,
        wilcoxon_p=of_pairs.wilcoxon_p,
        cohen_d=of_groups.d,
        d_z=of_pairs.d_z,
        better=of_pairs.higher,
        worse=of_pairs.lower,
    )


def _within(inputs: ComparisonInput, pairs: Pairs, measures: Sequence[Measure]) -> list[Finding]:
    tests = []
    asked = []
    for grouping in groupings():
        of_grouping = list(_test_groups(pairs, grouping, measures))
        tests += of_grouping
        asked += [grouping] * len(of_grouping)
    adjusted, family_sizes = _by_holm(tests, lambda finding: finding.p)
    done = []
    for grouping, finding, p_holm, size in zip(asked, tests, adjusted, family_sizes, strict=True):
        verdict = _verdict(1, finding.difference, finding.p, p_holm)
        finding = finding.model_copy(update={"p_holm": p_holm, "tests": size, "verdict": verdict})
        sentence = sentences.group_sentence(finding, grouping, inputs, pairs)
        done.append(finding.model_copy(update={"sentence": sentence}))
    return done


def _test_groups(pairs: Pairs, grouping: Grouping, measures: Sequence[Measure]) -> Iterator[Finding]:
    for side, row in SIDES:
        members = grouping.members((pairs.a, pairs.b)[row])
        in_first = np.array([member is False for member in members])
        in_second = np.array([member is True for member in members])
        for measure in measures:
            values = measure.values[row]
            known = np.isfinite(values)
            first = values[known & in_first]
            second = values[known & in_second]
            test = independent(first, second)
            yield Finding(
                question=grouping.question,
                side=side,
                measure=measure.name,
                groups=grouping.groups,
                n=(first.size, second.size),
                mean=(_mean(first), _mean(second)),
                difference=test.difference,
                ci=test.ci,
                t=test.t,
                p=test.p,
                cohen_d=test.d,
            )


def _mean(values: Array) -> float | None:
    return float(values.mean()) if values.size else None


def _verdict(sign: int, difference: float | None, p: float | None, p_holm: float | None) -> Verdict:
    """Return the verdict about the second group, or with sign -1 about the first."""
    if difference is None or p is None or p_holm is None:
        return "untested"
    if p >= SIGNIFICANCE:
        return "none"
    is_higher = sign * difference > 0
    if p_holm >= SIGNIFICANCE:
        return "maybe_up" if is_higher else "maybe_down"
    return "up" if is_higher else "down"
