"""Both sides -> Comparison: what was found, in numbers and in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pepr_edge.compare import sentences
from pepr_edge.compare.findings import SIDES, findings
from pepr_edge.compare.groups import groupings
from pepr_edge.compare.measures import APART, Measures, measures
from pepr_edge.compare.model import ComparisonInput, Side
from pepr_edge.compare.pairs import Pairs
from pepr_edge.compare.record import PERFORMANCE, Comparison, Finding, LeftOut, SideInfo

FEW = 5
USELESS = " Most of these models learnt nothing of use, so this says little."


def compare(both: ComparisonInput, pairs: Pairs) -> Comparison:
    """Make every test, and put the answers into words.

    Args:
        both: the two sides.
        pairs: their common architectures, scored.
    """
    question = both.question
    tested = measures(pairs)
    found = findings(both, pairs, tested)
    asked = [finding for finding in found if finding.question == question.text]
    main = _main(
        [finding for finding in asked if finding.measure.removeprefix("PePR-") not in both.doubted],
        ("E", "edge"),
        1,
    )
    doubts = f" PePR-{both.doubted[0]} is not to be built on: see what to beware of." if both.doubted else ""
    left_out = tuple(LeftOut(candidate=absent.name, reason=absent.reason) for absent in pairs.left_out)
    return Comparison(
        a=_info(both.a, question.labels[0]),
        b=_info(both.b, question.labels[1]),
        question=question.text,
        headline=sentences.combined(main, question, pairs.weights)
        + (USELESS if _mostly_useless(both, pairs) else "")
        + doubts,
        differs=question.differs,
        metric=both.a.metric,
        edge_weights=dict(pairs.weights),
        pairs=len(pairs.a),
        left_out=left_out,
        tests=found,
        per_resource=tuple(
            sentences.brief(finding, question, pairs.weights) for finding in asked if finding not in main
        ),
        answers=tuple(_answers(found, pairs)),
        notes=tuple(_notes(pairs, tested)),
        warnings=tuple(_warnings(both, pairs)),
    )


def _info(side: Side, label: str) -> SideInfo:
    return SideInfo(source=side.source, label=label, models=len(side.models))


def _mostly_useless(both: ComparisonInput, pairs: Pairs) -> bool:
    """Whether more than half of the pairs' models on either side are no better than guessing."""
    for side, models in ((both.a, pairs.a), (both.b, pairs.b)):
        level = side.unskilled
        if level is not None and 2 * sum(model.performance <= level for model in models) > len(models):
            return True
    return False


def _main(found: Sequence[Finding], letters: Sequence[str], most: int) -> list[Finding]:
    """Performance, and after it the first scores that there are of these letters; of others where there are none of these."""
    scores = {
        finding.measure.removeprefix("PePR-"): finding for finding in found if finding.measure != PERFORMANCE
    }
    chosen = [scores[letter] for letter in letters if letter in scores] or list(scores.values())
    return [finding for finding in found if finding.measure == PERFORMANCE] + chosen[:most]


def _answers(found: Sequence[Finding], pairs: Pairs) -> Iterator[str]:
    """One answer for each question within each side."""
    for grouping in groupings():
        for side, _ in SIDES:
            asked = [
                finding for finding in found if finding.question == grouping.question and finding.side == side
            ]
            if asked[0].verdict == "untested":
                yield asked[0].sentence
            else:
                yield sentences.combined(_main(asked, ("E", "edge"), 2), None, pairs.weights)


def _notes(pairs: Pairs, tested: Measures) -> Iterator[str]:
    n = len(pairs.a)
    yield f"PePR: resources are scaled by min-max over the {2 * n} models of both sides as one set; alpha 1."
    yield (
        f"With {APART}: scaled over that side's models of the {n} architectures that both have, as in the paper. "
        "The questions within A and B rest on that too."
    )
    yield "Differences are B - A, their 95 % CI that of the paired t-test. d: Cohen's, of two groups; d_z: of the pairs."
    yield (
        "By Holm: p adjusted for several tests. Performance is adjusted apart from the scores: of A against B it is one test; within the "
        "sides its tests are adjusted as one family, and those of the scores as another. Scores of A against B: those over both sides "
        f"as one family, those with {APART} as another."
    )
    if tested.note:
        yield tested.note
    yield from pairs.reasons


def _warnings(both: ComparisonInput, pairs: Pairs) -> Iterator[str]:
    yield from both.warnings
    for letter, side in (("A", both.a), ("B", both.b)):
        yield from (
            f"{letter}: {warning}." if not warning.endswith(".") else f"{letter}: {warning}"
            for warning in side.warnings
        )
    if len(pairs.a) < FEW:
        yield f"Only {len(pairs.a)} pairs: the tests have little power, so that no difference shown says little."
    unknown = sorted({model.name for model in (*pairs.a, *pairs.b) if model.family is None})
    if unknown:
        named = ", ".join(unknown[:5]) + (f" and {len(unknown) - 5} more" if len(unknown) > 5 else "")
        yield f"Family and efficiency are not known of {named}: left out of those two questions."
