"""The ranking in words: the answer in one sentence, and its caveats. Needs no matplotlib or jinja2."""

from __future__ import annotations

from collections.abc import Sequence

from pepr_edge.records import NOT_DONE, Ranking, RankingRow
from pepr_edge.scoring.metrics import LEVEL
from pepr_edge.text.robustness import soundness
from pepr_edge.text.units import SPLIT_NAMES, energy, metric, mib, ms, performance, printable, score

NAMED_TIES = 4


def entry(row: RankingRow) -> str:
    """What a row is of: `mobilenetv2_050@64 int8_static`."""
    return f"{row.candidate} {row.variant}" if row.variant else row.candidate


def short_names(candidates: Sequence[str]) -> tuple[dict[str, str], str]:
    """Candidates' names, and their size in pixels, which is left out of the names where all have the same; else it is empty."""
    sizes = {name.rpartition("@")[2] for name in candidates}
    if len(sizes) != 1 or any("@" not in name for name in candidates):
        return {name: printable(name) for name in candidates}, ""
    return {name: printable(name.rpartition("@")[0]) for name in candidates}, sizes.pop()


def ranked_rows(ranking: Ranking) -> list[RankingRow]:
    """The rows that have a rank, best first."""
    return sorted((row for row in ranking.rows if row.rank is not None), key=lambda row: row.rank or 0)


def unranked_rows(ranking: Ranking) -> list[RankingRow]:
    """The rows without a rank, in their order."""
    return [row for row in ranking.rows if row.rank is None]


def answer(ranking: Ranking) -> str:
    """Which model to deploy and what it costs, in one sentence; or that there is none, and why."""
    ranked = ranked_rows(ranking)
    if not ranked:
        return _no_answer(ranking)
    best = ranked[0]
    name = metric(ranking.performance_metric)
    if best.test_performance is not None:
        parts = [f"test {name} {performance(best.test_performance, best.test_performance_ci, 2)}"]
    else:
        split = SPLIT_NAMES[ranking.performance_split]
        parts = [f"{split} {name} {performance(best.performance, best.performance_ci, 2)}"]
    resources = best.resources
    latency, memory, joules = (
        resources.get(resource) for resource in ("latency", "peak_memory", "train_energy")
    )
    parts.append("latency not measured" if latency is None else f"{ms(latency, 2)} at p90")
    parts.append("peak memory not measured" if memory is None else f"{mib(memory, 2)} peak")
    method = best.methods.get("train_energy", "")
    parts.append(
        "training energy not measured"
        if joules is None
        else f"trained for {energy(joules, 2)}{f' ({method})' if method else ''}"
    )
    where = f"On {ranking.device}{',' if ',' in ranking.device else ''}"
    if learnt_nothing(ranking):
        return f"{where} deploy none of these yet: the first of them, {entry(best)}, learnt nothing of use: {', '.join(parts)}."
    return f"{where} deploy {entry(best)}: {', '.join(parts)}."


def learnt_nothing(ranking: Ranking) -> bool:
    """Whether the first model does no better than guessing, so that none is to be deployed."""
    ranked = ranked_rows(ranking)
    known = _beside_guessing(ranking, ranked[0], None) if ranked else None
    return known is not None and known[2] <= known[0]


def _no_answer(ranking: Ranking) -> str:
    if not ranking.rows:
        return f"There is no model to deploy on {ranking.device}: no candidate was tried."
    if any(row.reason == NOT_DONE for row in ranking.rows):
        return f"There is no model to deploy on {ranking.device} yet: this run is not finished. Run the same command again."
    parts = []
    names = {
        "failed": "failed",
        "over_budget": "broke a budget",
        "dropped": "were not trained to their end",
        "ok": "could not be ranked",
    }
    for status, words in names.items():
        if number := sum(row.status == status for row in ranking.rows):
            parts.append(f"{number} {words}")
    return f"There is no model to deploy on {ranking.device}: of {len(ranking.rows)} tried, {' and '.join(parts)}."


def caveats(ranking: Ranking, classes: int | None = None) -> tuple[str, ...]:
    """What a reader must know before relying on the answer, the gravest first; empty where there is no answer.

    Args:
        ranking: as the answer's.
        classes: number of classes, which says what guessing reaches in balanced accuracy.
    """
    ranked = ranked_rows(ranking)
    if not ranked:
        return ()
    best = ranked[0]
    found = [_against_guessing(ranking, best, classes), *map(_sentence, best.warnings), _where(ranking)]
    found += [
        _positive(ranking),
        _ties(ranking, ranked),
        *soundness(ranking),
        _basis(ranking, best),
        _energy_method(ranked),
    ]
    return tuple(dict.fromkeys(sentence for sentence in found if sentence))


def _where(ranking: Ranking) -> str:
    """What was measured on: the device's name is only what the recipe calls it."""
    if not ranking.measured_on:
        return ""
    processors = printable(" and ".join(ranking.measured_on))
    return f"Latency and memory were measured on {processors}, which stands for {printable(ranking.device)}."


def _sentence(warning: str) -> str:
    """A row's note as a sentence of its own."""
    words = printable(warning)
    return words[:1].upper() + words[1:].rstrip(".") + "."


def guessing(metric_name: str, majority_baseline: float, classes: int | None) -> tuple[float, str] | None:
    """What a model without any skill reaches in a metric, and the words for it; None where that is not known."""
    if metric_name == "accuracy":
        return majority_baseline, "always saying the commonest class"
    if metric_name == "auroc":
        return 0.5, "guessing"
    if metric_name == "balanced_accuracy" and classes:
        return 1 / classes, "always saying one class"
    if metric_name.startswith(("sensitivity_at_specificity", "specificity_at_sensitivity")):
        level = metric_name.rpartition("_")[2]
        return 1 - (float(level) if level[0].isdigit() else LEVEL), "guessing"
    return None


def _beside_guessing(
    ranking: Ranking, best: RankingRow, classes: int | None
) -> tuple[float, str, float, tuple[float, float] | None] | None:
    """What guessing reaches and its words, then what the model does and its interval; None where either is not known."""
    baseline = guessing(ranking.performance_metric, ranking.majority_baseline, classes)
    if baseline is None and ranking.baseline is not None:
        baseline = ranking.baseline.performance, f"always saying {printable(ranking.baseline.label)!r}"
    value, ci = best.test_performance, best.test_performance_ci
    if value is None:  # the baseline is the test split's, and that of validation is close to it
        value, ci = best.performance, best.performance_ci
    return None if baseline is None or value is None else (*baseline, value, ci)


def _against_guessing(ranking: Ranking, best: RankingRow, classes: int | None) -> str:
    known = _beside_guessing(ranking, best, classes)
    if known is None:
        return ""
    baseline, words, value, ci = known
    reached = f"{words} ({metric(ranking.performance_metric)} {score(baseline)})"
    if value <= baseline:
        return (
            f"The model does not beat {reached}: it has learnt nothing of use, do not deploy it. Few images need many epochs of small "
            "batches, and patience: `pepr-edge init` chooses these by the images."
        )
    if ci is not None and ci[0] <= baseline:
        return f"The model is not clearly better than {reached}: its interval reaches down to that."
    return ""


def _ties(ranking: Ranking, ranked: list[RankingRow]) -> str:
    name = f"{SPLIT_NAMES[ranking.performance_split]} {metric(ranking.performance_metric)}"
    best, *others = ranked
    if best.tied_with_best is False:
        top = max(ranked, key=lambda row: row.performance or 0.0)
        reached = f"{entry(top)} reaches {score(top.performance, 2)}"
        return f"Others are better in {name} ({reached}), but at more cost: this one has the best PePR edge."
    tied = [entry(row) for row in others if row.tied_with_best]
    if not tied:
        return ""
    shown = ", ".join(tied[:NAMED_TIES]) + (
        f" and {len(tied) - NAMED_TIES} more" if len(tied) > NAMED_TIES else ""
    )
    if ranking.performance_metric != "accuracy":
        name = f"{SPLIT_NAMES[ranking.performance_split]} decisions"  # which is what the test compares
    return f"Tied in {name}, as far as these images can tell: {shown}. The choice between them rests on their resources."


def _positive(ranking: Ranking) -> str:
    """Which class a metric is of that tells two classes apart: the other reading is another figure."""
    if ranking.positive is None:
        return ""
    of = f"{metric(ranking.performance_metric).capitalize()} is that of {printable(ranking.positive)!r}, the second of the two classes"
    if ranking.performance_metric.startswith("sensitivity"):
        return f"{of}: how many of its images are found. For the other class take specificity_at_sensitivity."
    if ranking.performance_metric.startswith("specificity"):
        return f"{of}: how many images of the other class are left alone. For that class take sensitivity_at_specificity."
    return f"{of}."


def _basis(ranking: Ranking, best: RankingRow) -> str:
    name = metric(ranking.performance_metric)
    if ranking.performance_split == "test":
        return f"The choice was made on the test split itself, so the test {name} is optimistic."
    figure = performance(best.performance, best.performance_ci, 2)
    return f"The choice rests on {SPLIT_NAMES[ranking.performance_split]} {name}, {figure}. Nothing was chosen on the test split."


def _energy_method(ranked: list[RankingRow]) -> str:
    best = ranked[0]
    methods = {
        row.methods.get("train_energy", "") for row in ranked if row.resources.get("train_energy") is not None
    }
    if best.resources.get("train_energy") is None:
        return "Training energy was not measured, so nothing here accounts for it."
    if len(methods) > 1:
        return f"Training energies were obtained in different ways ({', '.join(sorted(methods))}): do not compare them."
    if methods == {"declared"}:
        return "Training energy is declared watts times CPU seconds, not a counter's reading."
    return ""
