"""Both sides -> Comparison: what was found, in numbers and in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pepr_edge.compare import words
from pepr_edge.compare.findings import APART, PERFORMANCE, SIDES, findings
from pepr_edge.compare.groups import groupings
from pepr_edge.compare.pairs import Pairs
from pepr_edge.compare.record import Comparison, Finding, LeftOut, SideInfo
from pepr_edge.compare.side import Both, Side

FEW = 5


def compare(both: Both, pairs: Pairs) -> Comparison:
    """Make every test, and put the answers into words.

    Args:
        both: the two sides.
        pairs: their common architectures, scored.
    """
    question = both.question
    found = findings(both, pairs)
    asked = [finding for finding in found if finding.question == question.text]
    main = _main(asked, ("E", "edge"), 1)
    left_out = tuple(LeftOut(candidate=absent.name, reason=absent.reason) for absent in pairs.left_out)
    return Comparison(
        a=_info(both.a, question.labels[0]),
        b=_info(both.b, question.labels[1]),
        question=question.text,
        headline=words.combined(main, question, pairs.weights),
        differs=question.differs,
        metric=both.a.metric,
        edge_weights=dict(pairs.weights),
        pairs=len(pairs.a),
        left_out=left_out,
        tests=found,
        per_resource=tuple(words.brief(finding, question, pairs.weights) for finding in asked if finding not in main),
        answers=tuple(_answers(found, pairs)),
        notes=tuple(_notes(pairs)),
        warnings=tuple(_warnings(both, pairs)),
    )


def _info(side: Side, label: str) -> SideInfo:
    return SideInfo(source=side.source, label=label, models=len(side.models))


def _main(found: Sequence[Finding], letters: Sequence[str], most: int) -> list[Finding]:
    """Performance, and after it the first scores that there are of these letters; of others where there are none of these."""
    scores = {finding.measure.removeprefix("PePR-"): finding for finding in found if finding.measure != PERFORMANCE}
    chosen = [scores[letter] for letter in letters if letter in scores] or list(scores.values())
    return [finding for finding in found if finding.measure == PERFORMANCE] + chosen[:most]


def _answers(found: Sequence[Finding], pairs: Pairs) -> Iterator[str]:
    """One answer for each question within each side."""
    for grouping in groupings():
        for side, _ in SIDES:
            asked = [finding for finding in found if finding.question == grouping.question and finding.side == side]
            if asked[0].verdict == "untested":
                yield asked[0].sentence
            else:
                yield words.combined(_main(asked, ("E", "edge"), 2), None, pairs.weights)


def _notes(pairs: Pairs) -> Iterator[str]:
    n = len(pairs.a)
    yield f"PePR: resources are scaled by min-max over the {2 * n} models of both sides as one set; alpha 1."
    yield f"With {APART}: scaled over the {n} models of that side, as in the paper. The questions within A and B rest on that too."
    yield "Differences are B - A, their 95 % CI that of the paired t-test. d: Cohen's, of two groups; d_z: of the pairs."
    yield "By Holm: p adjusted for all tests of one question."
    yield from pairs.reasons


def _warnings(both: Both, pairs: Pairs) -> Iterator[str]:
    yield from both.warnings
    for letter, side in (("A", both.a), ("B", both.b)):
        yield from (f"{letter}: {warning}." if not warning.endswith(".") else f"{letter}: {warning}" for warning in side.warnings)
    if len(pairs.a) < FEW:
        yield f"Only {len(pairs.a)} pairs: the tests have little power, so that no difference shown says little."
    unknown = sorted({model.name for model in (*pairs.a, *pairs.b) if model.family is None})
    if unknown:
        named = ", ".join(unknown[:5]) + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")
        yield f"Family and efficiency are not known of {named}: left out of those two questions."
