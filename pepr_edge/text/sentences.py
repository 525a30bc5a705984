"""The ranking in sentences: the answer, and its caveats. Needs no matplotlib or jinja2."""

from __future__ import annotations

from typing import NamedTuple

from pepr_edge.records import NOT_DONE, AnswerFigures, DataInfo, Ranking, RankingRow
from pepr_edge.scoring.metrics import DECISION_METRICS, guessing_level, is_one_sided
from pepr_edge.tasks import TaskKind
from pepr_edge.text.robustness import TIME_FOR_ENERGY, ranking_caveats
from pepr_edge.text.rows import ranked_rows, row_name
from pepr_edge.text.units import (
    SPLIT_NAMES,
    capitalised,
    duration,
    energy,
    listed,
    metric,
    mib,
    ms,
    performance,
    plural,
    printable,
    score,
)

MAX_NAMED_TIES = 4
REJECTED_BECAUSE = "over a budget or below the required quality"
# Status of a row without a rank -> its text in "of 3 models, 1 ...".
NOT_RANKED = {
    "failed": "failed",
    "over_budget": f"rejected ({REJECTED_BECAUSE})",
    "no_skill": "not shown to beat a model that looks at no image",
    "dropped": "not fully trained",
    "ok": "not ranked",
}

# How the positive class was chosen; a recipe that names it needs no remark.
POSITIVE_BY = {
    "name": ", chosen by its name: check it, and set [task] positive if it is the other class",
    "order": ", the second of the two classes: check it, and set [task] positive if it is the other class",
}
# What a label is called.
LABEL_NAMES: dict[TaskKind, str] = {
    "multiclass": "class",
    "binary": "class",
    "ordinal": "grade",
    "multilabel": "finding",
}
NO_SKILL_REMEDY = (
    "Check that the labels fit the images. If they do, use more images or larger ones "
    "(candidates.image_size_px), start from pretrained weights, or train for longer (train.epochs, "
    "train.patience)."
)
# The beginning of a note of rankings in which validation can show no skill; what follows says what to do.
TOO_FEW = "Too few validation images"


class BaselineCheck(NamedTuple):
    """The first model compared with a no-skill model, in the metric of the ranking."""

    baseline: float
    baseline_name: str
    value: float
    ci: tuple[float, float] | None


def answer(ranking: Ranking) -> str:
    """Say which model to deploy and its figures; or that there is none, and why.

    Of two classes, the positive comes first; without a model it does not matter.
    """
    if not ranked_rows(ranking):
        return _no_answer(ranking)
    return " ".join(text for text in (positive_sentence(ranking), _deploy(ranking)) if text)


def positive_sentence(ranking: Ranking) -> str:
    """Say which of two classes is positive, and how it was chosen; empty for more classes."""
    if ranking.positive is None:
        return ""
    how = POSITIVE_BY.get(ranking.positive_by or "order", "")
    return f"Positive is {printable(ranking.positive)!r}{how}."


def figures_sentence(ranking: Ranking) -> str:
    """Say how the first model does on test by what its task is judged by; empty where it is not known.

    Of two classes: sensitivity and specificity at the fixed decision. A metric that the answer has is absent.
    """
    known = ranking.answer_figures
    if known is None:
        return ""
    positive = f" for {printable(ranking.positive)!r}" if ranking.positive else ""
    figures = [
        f"{_short_name(name, positive)} {performance(figure.value, figure.ci, 2)}"
        for name, figure in known.figures.items()
        if name != ranking.performance_metric
    ]
    if not figures:
        return ""
    return f"Test {', '.join(figures)}{_decided_how(known)}."


def _short_name(name: str, positive: str) -> str:
    """Return a metric's name for people; the decision and the positive class stand once in the sentence."""
    if name == "sensitivity_at_decision":
        return f"sensitivity{positive}"
    return "specificity" if name == "specificity_at_decision" else metric(name)


def _decided_how(known: AnswerFigures) -> str:
    if known.target is None:
        return ""
    if known.threshold is None:
        return ", naming the more probable class"
    return f", with the threshold {score(known.threshold)} (target: {printable(known.target)})"


def _deploy(ranking: Ranking) -> str:
    best = ranked_rows(ranking)[0]
    where = f"On {ranking.device}{',' if ',' in ranking.device else ''}"
    figures = ", ".join(_figures(ranking, best))
    return f"{where} deploy {row_name(best)}: {figures}."


def _figures(ranking: Ranking, row: RankingRow) -> list[str]:
    """Return performance and costs of a row, each with its name."""
    name = metric(ranking.performance_metric)
    if row.test_performance is not None:
        quality = f"test {name} {performance(row.test_performance, row.test_performance_ci, 2)}"
    else:
        split = SPLIT_NAMES[ranking.performance_split]
        quality = f"{split} {name} {performance(row.performance, row.performance_ci, 2)}"
    latency_s = row.resources.get("latency")
    joules = row.resources.get("train_energy")
    method = row.methods.get("train_energy", "")
    latency = f"latency {ms(latency_s, 2)}"
    trained = f"training energy {energy(joules, 2)}"
    if latency_s is not None:
        latency += " at p90"
    if joules is not None and method:
        trained += f" ({method})"
    return [quality, latency, f"peak memory {mib(row.resources.get('peak_memory'), 2)}", trained]


def _no_answer(ranking: Ranking) -> str:
    none = f"There is no model to deploy on {ranking.device}"
    if not ranking.rows:
        return f"{none}: no candidate was tried."
    if any(row.reason == NOT_DONE for row in ranking.rows):
        return f"{none} yet: this run is not finished. Run the same command again."
    counts = {status: sum(row.status == status for row in ranking.rows) for status in NOT_RANKED}
    parts = [f"{counts[status]} {text}" for status, text in NOT_RANKED.items() if counts[status]]
    reason = f"{none}: of {plural(len(ranking.rows), 'model')}, {listed(parts)}."
    if not counts["no_skill"]:
        return reason
    too_few = next((note for note in ranking.notes if note.startswith(TOO_FEW)), NO_SKILL_REMEDY)
    return f"{reason} {too_few}"


def plural_of(kind: TaskKind) -> str:
    """Return what several labels are called."""
    noun = LABEL_NAMES[kind]
    return "classes" if noun == "class" else f"{noun}s"


def majority_sentence(data: DataInfo) -> str:
    """Say how often the more frequent answer is right on the test split."""
    reached = score(data.majority_baseline)
    if data.kind == "multilabel":
        return (
            f"The more frequent answer to each finding, present or absent, is right in {reached} of all "
            "answers on the test split."
        )
    noun = LABEL_NAMES[data.kind]
    return f"Always predicting the most frequent {noun} has accuracy {reached} on the test split."


def chance_level(metric_name: str, majority_baseline: float, classes: int | None) -> tuple[float, str] | None:
    """Return the value that a no-skill model reaches in a metric, and its name; None if unknown.

    Args:
        metric_name: of the ranking.
        majority_baseline: accuracy of always predicting the most frequent class.
        classes: number of classes; balanced accuracy needs it.
    """
    if metric_name == "accuracy":
        return majority_baseline, "always predicting the most frequent class"
    if metric_name == "balanced_accuracy" and classes:
        return 1 / classes, "always predicting one class"
    guessed = guessing_level(metric_name)
    return None if guessed is None else (guessed, "guessing")


def _check_baseline(ranking: Ranking, best: RankingRow, classes: int | None) -> BaselineCheck | None:
    """Compare a row with a no-skill model; None if either value is unknown."""
    chance = chance_level(ranking.performance_metric, ranking.majority_baseline, classes)
    if chance is None and ranking.baseline is not None:
        chance = (ranking.baseline.performance, f"always predicting {printable(ranking.baseline.label)!r}")
    value = best.test_performance
    ci = best.test_performance_ci
    if value is None:  # the baseline is that of the test split; on validation it is almost the same
        value = best.performance
        ci = best.performance_ci
    if chance is None or value is None:
        return None
    return BaselineCheck(chance[0], chance[1], value, ci)


def caveats(ranking: Ranking, classes: int | None = None) -> tuple[str, ...]:
    """Return what to know before relying on the answer, most serious first; empty without an answer.

    Args:
        ranking: the same as for the answer.
        classes: number of classes; guessing in balanced accuracy depends on it.
    """
    ranked = ranked_rows(ranking)
    if not ranked:
        return ()
    best = ranked[0]
    sentences = [
        against_baseline(ranking, classes),
        _close_to_baseline(ranking, best, classes),
        *(f"{capitalised(printable(warning)).rstrip('.')}." for warning in best.warnings),
        _measured_on(ranking),
        _positive_class(ranking),
        _better_but_costlier(ranking, ranked),
        _ties(ranking, ranked),
        *ranking_caveats(ranking),
        _choice_split(ranking, best),
        "" if TIME_FOR_ENERGY in ranking.notes else _energy_method(ranked),
        _choice_of_seed(best),
        knowing_cost(ranking),
    ]
    return tuple(dict.fromkeys(sentence for sentence in sentences if sentence))


def _measured_on(ranking: Ranking) -> str:
    """Name the processors that were measured; the device's name is free text of the recipe."""
    if not ranking.measured_on:
        return ""
    processors = printable(" and ".join(ranking.measured_on))
    return (
        f"Latency and memory were measured on {processors}, "
        f"which the recipe calls {printable(ranking.device)!r}."
    )


def against_baseline(ranking: Ranking, classes: int | None = None) -> str:
    """Say that the first model is no better than a no-skill model on the test images; empty if it is better.

    Without test images it is compared on validation.
    """
    ranked = ranked_rows(ranking)
    check = _check_baseline(ranking, ranked[0], classes) if ranked else None
    if check is None or check.value > check.baseline:
        return ""
    split = SPLIT_NAMES["val" if ranked[0].test_performance is None else "test"]
    return (
        f"On the {split} images the model is no better than {_reached(ranking, check)}: "
        "find out why before you deploy it."
    )


def _close_to_baseline(ranking: Ranking, best: RankingRow, classes: int | None) -> str:
    check = _check_baseline(ranking, best, classes)
    if check is None or check.ci is None or check.value <= check.baseline or check.ci[0] > check.baseline:
        return ""
    reached = _reached(ranking, check)
    return f"The model is not clearly better than {reached}: its 95 % interval includes that value."


def _reached(ranking: Ranking, check: BaselineCheck) -> str:
    return f"{check.baseline_name} ({metric(ranking.performance_metric)} {score(check.baseline)})"


def _better_but_costlier(ranking: Ranking, ranked: list[RankingRow]) -> str:
    """Name the model with the highest performance, if it is shown to be better than the first one."""
    best = ranked[0]
    top = max(ranked, key=lambda row: row.performance or 0.0)
    if top.tied_with_best is not False or (top.performance or 0.0) <= (best.performance or 0.0):
        return ""
    name = f"{SPLIT_NAMES[ranking.performance_split]} {metric(ranking.performance_metric)}"
    return (
        f"{row_name(top)} is better in {name} ({score(top.performance, 2)}), but costs more: "
        f"{row_name(best)} has the best PePR edge."
    )


def _ties(ranking: Ranking, ranked: list[RankingRow]) -> str:
    split = SPLIT_NAMES[ranking.performance_split]
    name = f"{split} {metric(ranking.performance_metric)}"
    tied = [row_name(row) for row in ranked[1:] if row.tied_with_best]
    if not tied:
        return ""
    if ranking.performance_metric != "accuracy":
        name = f"{split} decisions"  # the test compares decisions
    tie = f"Tied with this model in {name} (these images show no clear difference)"
    return f"{tie}: {listed(tied, MAX_NAMED_TIES)}. Costs decide their order."


def _positive_class(ranking: Ranking) -> str:
    """Name the class that a two-class metric refers to; for the other class its value would differ."""
    if ranking.positive is None or not is_one_sided(ranking.performance_metric):
        return ""
    name = capitalised(metric(ranking.performance_metric))
    positive = printable(ranking.positive)
    sentence = f"{name} refers to {positive!r}, the positive of the two classes"
    at_decision = ranking.performance_metric in DECISION_METRICS
    if ranking.performance_metric.startswith("sensitivity"):
        other = "specificity_at_decision" if at_decision else "specificity_at_sensitivity"
        return f"{sentence}: the share of its images that are found. For the other class, use {other}."
    if ranking.performance_metric.startswith("specificity"):
        other = "sensitivity_at_decision" if at_decision else "sensitivity_at_specificity"
        return (
            f"{sentence}: the share of the other class's images that raise no alarm. "
            f"For {positive!r} itself, use {other}."
        )
    return f"{sentence}."


def _choice_split(ranking: Ranking, best: RankingRow) -> str:
    name = metric(ranking.performance_metric)
    if ranking.performance_split == "test":
        return f"The choice was made on the test split itself, so the test {name} is optimistic."
    split = SPLIT_NAMES[ranking.performance_split]
    value = performance(best.performance, best.performance_ci, 2)
    return f"The choice rests on {split} {name}, {value}. The test split was not used to choose."


def _choice_of_seed(best: RankingRow) -> str:
    """Say that the deployed seed is the best of several, and what all of them reach."""
    if best.repeats < 2 or best.test_performance_mean is None:
        return ""
    mean = score(best.test_performance_mean)
    if best.test_performance_sd is not None:
        mean += f", with a standard deviation of {score(best.test_performance_sd)}"
    return (
        f"Of {best.repeats} seeds the best on validation is deployed, so its own validation figure is "
        f"optimistic. The mean test performance of all of them is {mean}."
    )


def knowing_cost(ranking: Ranking) -> str:
    """Say what all trainings of a run cost together, to know which model is best; empty if not known."""
    if ranking.spent_time_s is None or ranking.spent_time_s.value is None:
        return ""
    amounts = duration(ranking.spent_time_s.value)
    if ranking.spent_energy_j is not None and ranking.spent_energy_j.value is not None:
        amounts = f"{energy(ranking.spent_energy_j.value)} and {amounts}"
    return f"All trainings of this run together cost {amounts}, with repeats and pruned candidates."


def _energy_method(ranked: list[RankingRow]) -> str:
    if ranked[0].resources.get("train_energy") is None:
        return "Training energy was not measured, so the ranking does not include it."
    known = [row for row in ranked if row.resources.get("train_energy") is not None]
    methods = sorted({row.methods.get("train_energy", "") for row in known})
    if len(methods) > 1:
        return (
            f"Training energies were obtained in different ways ({', '.join(methods)}): do not compare them."
        )
    if methods == ["declared"]:
        return "Training energy was not read from a counter: it is declared watts times CPU seconds."
    return ""
