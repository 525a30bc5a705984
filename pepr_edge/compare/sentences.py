"""One plain sentence for each finding, true whichever way it went, and several of them as one answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pepr_edge.compare.groups import Grouping
from pepr_edge.compare.model import RESOURCE_NAMES, ComparisonInput, Question
from pepr_edge.compare.pairs import Pairs
from pepr_edge.compare.record import PERFORMANCE, Finding, Verdict
from pepr_edge.scoring.pepr import RESOURCES
from pepr_edge.text import units
from pepr_edge.text.units import significant

OF_LETTER = {letter: RESOURCE_NAMES[name] for name, (letter, _) in RESOURCES.items()}
# What follows the subject, of one thing and of several; and where the question is not what pays.
PAYS: dict[Verdict, tuple[str, str]] = {
    "up": ("pays", "pay"),
    "maybe_up": ("may pay", "may pay"),
    "maybe_down": ("seems not to pay", "seem not to pay"),
    "down": ("does not pay", "do not pay"),
}
BETTER: dict[Verdict, str] = {
    "up": "is better",
    "maybe_up": "may be better",
    "maybe_down": "may be worse",
    "down": "is worse",
}


def of_pairs(finding: Finding, question: Question, metric: str, weights: Mapping[str, float]) -> str:
    """The sentence of a finding on A against B."""
    start, subject = _per_unit(finding, weights), question.subject
    claim = f"{subject} {_claim('up', question)}"
    n = finding.n[0]
    if finding.verdict == "untested":
        known = _count(n, "architectures")
        return capital(
            f"{start}whether {claim} could not be tested: {_what(finding, metric)} is known of {known} on both sides."
        )
    if finding.verdict == "identical":
        return capital(
            f"{start}{subject} changes nothing: {question.contrast}, {_what(finding, metric)} is identical in all {n} architectures."
        )
    if finding.verdict == "none":
        first = f"{start}it could not be shown that {claim}: {question.contrast},"
        return capital(
            f"{first} no difference in {_what(finding, metric)} could be shown over {n} architectures ({_figures(finding, question)})."
        )
    first = (
        f"{start}{subject} {_claim(finding.verdict, question)}: {question.contrast}, {_what(finding, metric)}"
    )
    return capital(
        f"{first} {_moved(finding, question)} over {n} architectures, {_counted(finding, question)} ({_paired_p(finding)})."
    )


def of_groups(finding: Finding, grouping: Grouping, both: ComparisonInput, pairs: Pairs) -> str:
    """The sentence of a finding on two groups of models within one side."""
    label = both.question.labels[finding.side == "B"]
    side = f"in {finding.side}" + (f" ({label})" if label != finding.side else "")
    start = f"{side}, of the {len(pairs.a)} architectures that both have, {_per_unit(finding, pairs.weights)}"
    what, (first, second) = _what(finding, both.a.metric), finding.n
    if finding.verdict == "untested":
        few = f"{what} is known of {_count(second, grouping.subject)} and {_count(first, f'{grouping.others} ones')}"
        why = (
            f"{few}, and a test needs 2 of each"
            if min(first, second) < 2
            else f"{what} does not vary within the groups"
        )
        return capital(f"{start}whether {grouping.subject} pay could not be tested: {why}.")
    assert finding.difference is not None
    numbers = f"{_count(second, grouping.subject)}, {_count(first, f'{grouping.others} ones')}"
    if finding.verdict == "none":
        more = f"{_higher(finding.difference)} on average{_interval(finding.ci, 1, ', ')}; {_independent_p(finding)}; {numbers}"
        return capital(
            f"{start}it could not be shown that {grouping.subject} pay: no difference in {what} could be shown ({more})."
        )
    more = f"{_interval(finding.ci, 1 if finding.difference > 0 else -1, '')}; {_independent_p(finding)}; {numbers}"
    pays = f"{grouping.subject} {PAYS[finding.verdict][1]}"
    return capital(
        f"{start}{pays}: {what} is {_higher(finding.difference)} on average than in {grouping.others} ones ({more})."
    )


def combined(findings: Sequence[Finding], question: Question | None, weights: Mapping[str, float]) -> str:
    """The first finding's sentence, and what follows of the others, as one: performance first, then per unit of what it costs."""
    if not findings:
        return ""
    clauses = [findings[0].sentence.rstrip(".")]
    clauses += [_short(finding, question, weights) for finding in findings[1:]]
    return "; ".join(clauses) + "."


def _claim(verdict: Verdict, question: Question) -> str:
    return PAYS[verdict][0] if question.pays else BETTER[verdict]


def brief(finding: Finding, question: Question, weights: Mapping[str, float]) -> str:
    """A finding on a score of A against B in a short sentence, to stand below one that says what is compared."""
    return f"{capital(_short(finding, question, weights))}."


def _short(finding: Finding, question: Question | None, weights: Mapping[str, float]) -> str:
    """What a further finding adds, in a clause."""
    start = _per_unit(finding, weights).rstrip(", ")
    plural = question is None
    if finding.verdict == "untested":
        return f"{start} this could not be tested"
    if finding.verdict == "identical":
        return f"{start} nothing changes: {finding.measure} is identical"
    sign = _sign(question) if question else 1
    p, by_holm = (
        (finding.p, finding.p_holm)
        if plural
        else (_first(finding.paired_p, finding.wilcoxon_p), finding.paired_p_holm)
    )
    difference = sign * (finding.difference or 0.0)
    if finding.verdict == "none":
        return f"{start} no difference could be shown ({finding.measure} {_higher(difference)}, {_p(p)})"
    sure = "" if finding.verdict in ("up", "down") else f", by Holm {_bare_p(by_holm)}"
    way = (
        _higher(difference)
        if plural
        else f"{'rose' if difference > 0 else 'fell'} by {number(abs(difference))}"
    )
    claim = f"it {_claim(finding.verdict, question)}" if question else f"they {PAYS[finding.verdict][1]}"
    return f"{start} {claim}: {finding.measure} {'is ' if plural else ''}{way} ({_p(p)}{sure})"


def _per_unit(finding: Finding, weights: Mapping[str, float]) -> str:
    """`per unit of training energy, `; nothing for performance itself."""
    if finding.measure == PERFORMANCE:
        return ""
    letter = finding.measure.removeprefix("PePR-")
    if letter == "edge":
        names = [RESOURCE_NAMES[name] for name in weights]
        return (
            f"per unit of {', '.join(names[:-1])} and {names[-1]} together, "
            if len(names) > 1
            else f"per unit of {names[0]}, "
        )
    return f"per unit of {OF_LETTER[letter]}, " if letter != "D" else "per training image, "


def _what(finding: Finding, metric: str) -> str:
    if finding.measure == PERFORMANCE:
        return f"test {units.metric(metric)}"
    # Within a side every score is of that side by itself.
    return (
        f"{finding.measure}, each side by itself,"
        if finding.side is None and "itself" in finding.question
        else finding.measure
    )


def _sign(question: Question) -> int:
    return 1 if question.treatment == 1 else -1


def _moved(finding: Finding, question: Question) -> str:
    difference = _sign(question) * (finding.difference or 0.0)
    way, turned = ("rose", _sign(question)) if difference > 0 else ("fell", -_sign(question))
    if finding.paired_p is None:
        return f"{way} by {number(abs(difference))}, by the same in each,"
    return f"{way} by {number(abs(difference))} on average{_interval(finding.ci, turned)}"


def _counted(finding: Finding, question: Question) -> str:
    """In how many it went the way that it went on average."""
    assert finding.better is not None
    assert finding.worse is not None
    up, down = (finding.better, finding.worse) if question.treatment == 1 else (finding.worse, finding.better)
    rose = _sign(question) * (finding.difference or 0.0) > 0
    return f"better in {up} of {finding.n[0]}" if rose else f"worse in {down} of {finding.n[0]}"


def _figures(finding: Finding, question: Question) -> str:
    difference = _sign(question) * (finding.difference or 0.0)
    mean = (
        f"{_higher(difference)} on average{_interval(finding.ci, _sign(question), ', ')}"
        if finding.paired_p is not None
        else _higher(difference)
    )
    up = finding.better if question.treatment == 1 else finding.worse
    return f"{mean}; better in {up} of {finding.n[0]}; {_paired_p(finding)}"


def _paired_p(finding: Finding) -> str:
    name, p = (
        ("paired t-test", finding.paired_p)
        if finding.paired_p is not None
        else ("Wilcoxon", finding.wilcoxon_p)
    )
    return f"{name} {_p(p)}{_by_holm(finding.paired_p_holm, finding)}"


def _independent_p(finding: Finding) -> str:
    return f"t-test {_p(finding.p)}{_by_holm(finding.p_holm, finding)}"


def _by_holm(p: float | None, finding: Finding) -> str:
    return f", by Holm over {finding.tests} tests {_bare_p(p)}" if finding.tests > 1 else ""


def _higher(difference: float) -> str:
    if difference == 0:
        return "equal"
    return f"{number(abs(difference))} {'higher' if difference > 0 else 'lower'}"


def _interval(ci: tuple[float, float] | None, sign: int, lead: str = " (") -> str:
    """The interval, turned round for the other side: ` (95 % CI 0.01 to 0.02)`."""
    if ci is None:
        return ""
    low, high = sorted(sign * end for end in ci)
    return f"{lead}95 % CI {number(low)} to {number(high)}{')' if lead == ' (' else ''}"


def number(value: float) -> str:
    """A difference of scores to three decimals, a smaller one to its first digit."""
    text = f"{value:.3f}"
    if float(text) == 0:
        return significant(value, 1) if abs(value) > 1e-9 else "0"
    return text


def _p(value: float | None) -> str:
    text = _bare_p(value)
    return f"p {text}" if text.startswith(("<", ">")) else f"p = {text}"


def _bare_p(value: float | None) -> str:
    text = p_value(value, "not defined")
    return f"{text[0]} {text[1:]}" if text.startswith(("<", ">")) else text


def p_value(value: float | None, undefined: str) -> str:
    """A p to three decimals where it is small, else to two; never 0, and 1 only where it is that."""
    if value is None:
        return undefined
    if value < 0.001:
        return "<0.001"
    return f"{value:.3f}" if value < 0.1 else ">0.99" if 0.99 < value < 1 else f"{value:.2f}"


def _count(number: int, plural: str) -> str:
    """`2 large models`, `1 large model`."""
    return f"{number} {plural.removesuffix('s') if number == 1 else plural}"


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def capital(text: str) -> str:
    """A sentence with a great first letter."""
    return text[:1].upper() + text[1:]
