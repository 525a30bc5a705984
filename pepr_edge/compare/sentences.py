"""Findings as sentences: `<claim>: <evidence>.`, where the claim follows from the verdict by one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pepr_edge.compare.groups import Grouping
from pepr_edge.compare.model import RESOURCE_NAMES, ComparisonInput, Question
from pepr_edge.compare.pairs import EDGE, Pairs
from pepr_edge.compare.record import PERFORMANCE, Finding, Verdict
from pepr_edge.scoring.pepr import RESOURCES
from pepr_edge.text import units
from pepr_edge.text.units import capitalised, listed, plural, significant

# Claim by verdict: about one thing ("more data pays off"), about several ("large models pay off"), and about
# two sides between which one cannot choose ("B is better").
CLAIMS: dict[Verdict, tuple[str, str, str]] = {
    "up": ("pays off", "pay off", "is better"),
    "maybe_up": ("may pay off", "may pay off", "may be better"),
    "none": ("shows no clear effect", "show no clear effect", "shows no clear difference"),
    "maybe_down": ("may not pay off", "may not pay off", "may be worse"),
    "down": ("does not pay off", "do not pay off", "is worse"),
    "identical": ("changes nothing", "change nothing", "changes nothing"),
    "untested": ("could not be tested", "could not be tested", "could not be tested"),
}
COSTS = {letter: f"unit of {RESOURCE_NAMES[name]}" for name, (letter, _) in RESOURCES.items()}
COSTS["D"] = "training image"


def pair_sentence(finding: Finding, inputs: ComparisonInput, weights: Mapping[str, float]) -> str:
    """Return the sentence of a finding on A against B."""
    question = inputs.question
    n = finding.n[0]
    measure = _measure_name(finding, inputs.a.metric)
    if finding.verdict == "untested":
        evidence = f"{measure} is known of {plural(n, 'architecture')} on both sides"
    elif finding.verdict == "identical":
        evidence = f"{question.contrast}, {measure} is identical in all {n} {inputs.models_are}"
    else:
        change = _change(finding, question.sign)
        better = finding.better if question.treatment == 1 else finding.worse
        statistics = [*_interval(finding, question.sign), f"better in {better} of {n}", _pairs_p(finding)]
        evidence = (
            f"{question.contrast}, {measure} is {change} on average over {n} {inputs.models_are} "
            f"({'; '.join(statistics)})"
        )
    claim = _claim(finding, question)
    return capitalised(f"{_per_cost(finding, weights)}{question.subject} {claim}: {evidence}.")


def group_sentence(finding: Finding, grouping: Grouping, inputs: ComparisonInput, pairs: Pairs) -> str:
    """Return the sentence of a finding on two groups of models within one side."""
    measure = _measure_name(finding, inputs.a.metric)
    first, second = finding.n
    sizes = [_count(second, grouping.subject), _count(first, f"{grouping.others} ones")]
    if finding.verdict != "untested":
        statistics = [*_interval(finding, 1), _groups_p(finding), ", ".join(sizes)]
        evidence = (
            f"{measure} is {_change(finding, 1)} on average than in {grouping.others} ones "
            f"({'; '.join(statistics)})"
        )
    elif min(finding.n) < 2:
        evidence = f"{measure} is known of {' and '.join(sizes)}, and a test needs 2 of each"
    else:
        evidence = f"{measure} does not vary within the groups"
    label = inputs.question.labels[finding.side == "B"]
    side = f"in {finding.side}" if label == finding.side else f"in {finding.side} ({label})"
    start = f"{side}, of the {len(pairs.a)} architectures that both have, {_per_cost(finding, pairs.weights)}"
    return capitalised(f"{start}{grouping.subject} {_claim(finding, None)}: {evidence}.")


def combined_sentence(
    findings: Sequence[Finding], question: Question | None, weights: Mapping[str, float]
) -> str:
    """Return one sentence: the first finding's, with the others as clauses."""
    if not findings:
        return ""
    clauses = [findings[0].sentence.rstrip(".")]
    clauses += [_clause(finding, question, weights) for finding in findings[1:]]
    return "; ".join(clauses) + "."


def short_sentence(finding: Finding, question: Question, weights: Mapping[str, float]) -> str:
    """Return a short sentence on a score of A against B; the question stands above it."""
    return f"{capitalised(_clause(finding, question, weights))}."


def _clause(finding: Finding, question: Question | None, weights: Mapping[str, float]) -> str:
    """Return a finding in short. `question` is None for a question within a side."""
    subject = "they" if question is None else "it"
    claim = f"{_per_cost(finding, weights).rstrip(', ')} {subject} {_claim(finding, question)}"
    if finding.verdict == "untested":
        return claim
    if finding.verdict == "identical":
        return f"{claim}: {finding.measure} is identical"
    sign = 1 if question is None else question.sign
    p = finding.p if question is None else finding.p_of_pairs
    p_holm = finding.p_holm if question is None else finding.paired_p_holm
    adjusted = f", Holm-adjusted {_bare_p(p_holm)}" if finding.verdict in ("maybe_up", "maybe_down") else ""
    return f"{claim}: {finding.measure} is {_change(finding, sign)} ({_p(p)}{adjusted})"


def _claim(finding: Finding, question: Question | None) -> str:
    singular, several, no_choice = CLAIMS[finding.verdict]
    if question is None:
        return several
    return singular if question.is_choice else no_choice


def _per_cost(finding: Finding, weights: Mapping[str, float]) -> str:
    """Return `per unit of training energy, `, or nothing for the performance itself."""
    if finding.measure == PERFORMANCE:
        return ""
    if finding.letter != EDGE:
        return f"per {COSTS[finding.letter]}, "
    names = listed([RESOURCE_NAMES[name] for name in weights])
    return f"per unit of {names} together, " if len(weights) > 1 else f"per unit of {names}, "


def _measure_name(finding: Finding, metric: str) -> str:
    if finding.measure == PERFORMANCE:
        return f"test {units.metric(metric)}"
    # Within a side every score is of that side by itself.
    if finding.side is None and "itself" in finding.question:
        return f"{finding.measure}, each side by itself,"
    return finding.measure


def _change(finding: Finding, sign: int) -> str:
    difference = sign * (finding.difference or 0.0)
    if difference == 0:
        return "equal"
    return f"{number(abs(difference))} {'higher' if difference > 0 else 'lower'}"


def _interval(finding: Finding, sign: int) -> list[str]:
    """Return `95 % CI 0.010 to 0.020` of the signed difference in a list, which is empty if undefined."""
    if finding.ci is None:
        return []
    low, high = sorted(sign * end for end in finding.ci)
    return [f"95 % CI {number(low)} to {number(high)}"]


def _pairs_p(finding: Finding) -> str:
    name = "Wilcoxon" if finding.paired_p is None else "paired t-test"
    return f"{name} {_p(finding.p_of_pairs)}{_holm_adjusted(finding, finding.paired_p_holm)}"


def _groups_p(finding: Finding) -> str:
    return f"t-test {_p(finding.p)}{_holm_adjusted(finding, finding.p_holm)}"


def _holm_adjusted(finding: Finding, p: float | None) -> str:
    return f", Holm-adjusted over {finding.tests} tests {_bare_p(p)}" if finding.tests > 1 else ""


def number(value: float) -> str:
    """Return a difference of scores with three decimals, or with its first digit if it is smaller."""
    text = f"{value:.3f}"
    if float(text) != 0:
        return text
    return significant(value, 1) if abs(value) > 1e-9 else "0"


def _p(value: float | None) -> str:
    text = _bare_p(value)
    return f"p {text}" if text.startswith(("<", ">")) else f"p = {text}"


def _bare_p(value: float | None) -> str:
    text = p_value(value, "not defined")
    return f"{text[0]} {text[1:]}" if text.startswith(("<", ">")) else text


def p_value(value: float | None, undefined: str) -> str:
    """Return a p with three decimals if it is small, else with two; never 0, and 1 only if exactly 1."""
    if value is None:
        return undefined
    if value < 0.001:
        return "<0.001"
    if 0.99 < value < 1:
        return ">0.99"
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def _count(number: int, nouns: str) -> str:
    """Return `2 large models` or `1 large model`."""
    return f"{number} {nouns.removesuffix('s') if number == 1 else nouns}"
