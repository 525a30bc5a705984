"""Make every test of a comparison and state the results in numbers and in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pepr_edge.compare import sentences
from pepr_edge.compare.findings import SIDES, findings
from pepr_edge.compare.groups import groupings
from pepr_edge.compare.measures import SEPARATELY, Measures, measures
from pepr_edge.compare.model import ComparisonInput, Side
from pepr_edge.compare.pairs import EDGE, Pairs
from pepr_edge.compare.record import PERFORMANCE, Comparison, Finding, SideInfo
from pepr_edge.text.units import listed

# With fewer pairs a test can hardly show a difference.
MIN_PAIRS = 5
MAX_NAMES = 5
LEARNT_NOTHING = " Most of these models are no better than guessing, so this comparison says little."


def compare(inputs: ComparisonInput, pairs: Pairs) -> Comparison:
    """Return all tests and the answers in words.

    Args:
        inputs: the two sides.
        pairs: their common architectures with scores.
    """
    question = inputs.question
    to_test = measures(pairs)
    tests = findings(inputs, pairs, to_test)
    between = [finding for finding in tests if finding.question == question.text]
    reliable = [finding for finding in between if finding.letter not in inputs.unreliable_scores]
    main = _main_findings(reliable, max_scores=1)
    headline = sentences.combined_sentence(main, question, pairs.weights)
    if _mostly_no_better_than_chance(inputs, pairs):
        headline += LEARNT_NOTHING
    if inputs.unreliable_scores:
        headline += f" Do not rely on PePR-{inputs.unreliable_scores[0]}: see the warnings."
    return Comparison(
        a=_side_info(inputs.a, question.labels[0]),
        b=_side_info(inputs.b, question.labels[1]),
        question=question.text,
        headline=headline,
        differs=question.differs,
        metric=inputs.a.metric,
        edge_weights=dict(pairs.weights),
        pairs=len(pairs.a),
        left_out=pairs.left_out,
        tests=tests,
        per_resource=tuple(
            sentences.short_sentence(finding, question, pairs.weights)
            for finding in between
            if finding not in main
        ),
        answers=tuple(_answers(tests, pairs)),
        notes=tuple(_notes(inputs, pairs, to_test)),
        warnings=tuple(_warnings(inputs, pairs)),
    )


def _side_info(side: Side, label: str) -> SideInfo:
    return SideInfo(source=side.source, label=label, models=len(side.models))


def _mostly_no_better_than_chance(inputs: ComparisonInput, pairs: Pairs) -> bool:
    """True if more than half of the paired models of either side are no better than guessing."""
    for side, models in ((inputs.a, pairs.a), (inputs.b, pairs.b)):
        level = side.chance_level
        if level is not None and 2 * sum(model.performance <= level for model in models) > len(models):
            return True
    return False


def _main_findings(tests: Sequence[Finding], max_scores: int) -> list[Finding]:
    """Return performance and the main scores: PePR-E and PePR-edge, or if both are missing the first ones."""
    performance = [finding for finding in tests if finding.measure == PERFORMANCE]
    scores = [finding for finding in tests if finding.measure != PERFORMANCE]
    by_letter = {finding.letter: finding for finding in scores}
    main_scores = [by_letter[letter] for letter in ("E", EDGE) if letter in by_letter]
    return performance + (main_scores or scores)[:max_scores]


def _answers(tests: Sequence[Finding], pairs: Pairs) -> Iterator[str]:
    """Yield one answer for each question within each side."""
    for grouping in groupings():
        for side, _ in SIDES:
            group = [
                finding for finding in tests if finding.question == grouping.question and finding.side == side
            ]
            if not group:
                continue
            if group[0].verdict == "untested":
                yield group[0].sentence
            else:
                yield sentences.combined_sentence(_main_findings(group, max_scores=2), None, pairs.weights)


def _notes(inputs: ComparisonInput, pairs: Pairs, to_test: Measures) -> Iterator[str]:
    if inputs.seeds_of is None:
        yield from _notes_on_scores(len(pairs.a))
    yield (
        "Differences are B - A, with the 95 % CI of the paired t-test. "
        "d is Cohen's d of two groups, d_z that of the pairs."
    )
    if to_test.note:
        yield to_test.note
    yield from pairs.reasons


def _notes_on_scores(n: int) -> Iterator[str]:
    yield f"PePR: resources are scaled by min-max over the {2 * n} models of both sides as one set; alpha 1."
    yield (
        f"With {SEPARATELY}: resources are scaled over that side's models of the {n} architectures that both "
        "have, as in the paper. The questions within A and B use these scores too."
    )
    yield (
        "Holm-adjusted: p adjusted for several tests, in families. A against B has three families: "
        f"performance, the scores over both sides, and the scores with {SEPARATELY}. "
        "The questions within the sides have "
        "two: performance, and the scores."
    )


def _warnings(inputs: ComparisonInput, pairs: Pairs) -> Iterator[str]:
    yield from inputs.warnings
    for letter, side in (("A", inputs.a), ("B", inputs.b)):
        for warning in side.warnings:
            yield f"{letter}: {warning.rstrip('.')}."
    if len(pairs.a) < MIN_PAIRS:
        yield f"Only {len(pairs.a)} pairs: the tests have little power and can miss a difference."
    unknown = sorted({model.name for model in (*pairs.a, *pairs.b) if model.family is None})
    if unknown and inputs.seeds_of is None:
        names = listed(unknown, MAX_NAMES)
        yield f"Family and efficiency are unknown for {names}: those two questions leave them out."
