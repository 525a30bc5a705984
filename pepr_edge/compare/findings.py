"""Every test of a comparison: A against B on the same architectures, and groups of architectures within each side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pepr_edge.compare import words
from pepr_edge.compare.groups import Grouping, groupings
from pepr_edge.compare.pairs import Pairs
from pepr_edge.compare.record import Finding, SideName, Verdict
from pepr_edge.compare.side import Both
from pepr_edge.compare.statistics import holm, independent, paired

Array = NDArray[np.float64]
LEVEL = 0.05
PERFORMANCE = "performance"
APART = "each side by itself"
SIDES: tuple[tuple[SideName, Literal[0, 1]], ...] = (("A", 0), ("B", 1))


@dataclass(frozen=True)
class Measure:
    """A performance or a score: its name, and its values, shape (2, n), NaN where a model has none."""

    name: str
    values: Array


def findings(both: Both, pairs: Pairs) -> tuple[Finding, ...]:
    """All tests, in the order of their questions; p adjusted within each question.

    A against B rests on scores over both sides together and, as in the paper, over each side by itself; the questions within a side on the
    latter, as the models of that side are the set that one would choose from.
    """
    question = both.question.text
    performance = Measure(PERFORMANCE, pairs.performance)
    together = [performance, *(Measure(f"PePR-{letter}", values) for letter, values in pairs.together.items())]
    apart = [Measure(f"PePR-{letter}", values) for letter, values in pairs.apart.items()]
    found = _between(both, pairs, question, together) + _between(both, pairs, f"{question} With {APART}", apart)
    for grouping in groupings():
        found += _within(both, pairs, grouping, [performance, *apart])
    return tuple(found)


def _between(both: Both, pairs: Pairs, question: str, measures: Sequence[Measure]) -> list[Finding]:
    tested = [_pair(question, measure) for measure in measures]
    led = holm([_leading(finding) for finding in tested])
    adjusted = holm([finding.p for finding in tested])
    made = sum(p is not None for p in led)
    done = []
    for finding, p_holm, paired_p_holm in zip(tested, adjusted, led, strict=True):
        # How the side fares that has more data, pretrained weights, ...: on whichever side it is.
        sign = 1 if both.question.treatment == 1 else -1
        same = finding.n[0] > 1 and not finding.better and not finding.worse
        verdict = "identical" if same else _verdict(sign, finding.difference, _leading(finding), paired_p_holm)
        changes = {"p_holm": p_holm, "paired_p_holm": paired_p_holm, "tests": made, "verdict": verdict}
        finding = finding.model_copy(update=changes)
        sentence = words.of_pairs(finding, both.question, both.a.metric, pairs.weights)
        done.append(finding.model_copy(update={"sentence": sentence}))
    return done


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


def _within(both: Both, pairs: Pairs, grouping: Grouping, measures: Sequence[Measure]) -> list[Finding]:
    tested = list(_groups(pairs, grouping, measures))
    adjusted = holm([finding.p for finding in tested])
    made = sum(p is not None for p in adjusted)
    done = []
    for finding, p_holm in zip(tested, adjusted, strict=True):
        verdict = _verdict(1, finding.difference, finding.p, p_holm)
        finding = finding.model_copy(update={"p_holm": p_holm, "tests": made, "verdict": verdict})
        label = both.question.labels[finding.side == "B"]
        sentence = words.of_groups(finding, grouping, label, both.a.metric, pairs.weights)
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
