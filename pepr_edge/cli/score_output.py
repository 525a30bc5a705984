"""The output of `pepr-edge score`: a JSON document, or lines for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import chain
from typing import Any

from pepr_edge.tables import BASELINE, Group, Place, ScoreTask
from pepr_edge.text.robustness import DEPENDENCE_HEADER, NO_OTHER, outlier_sentence, sensitivity_row
from pepr_edge.text.tables import WIDTH, aligned_table, clip
from pepr_edge.text.units import capitalised, listed, plural, printable, probability

SHOWN_GROUPS = 20
NAME_WIDTH = 38
NUMBER_WORDS = ("", "", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def document(task: ScoreTask, groups: Sequence[Group]) -> dict[str, Any]:
    """Return the JSON document."""
    columns = task.table.columns
    return {
        "schema_version": 1,
        "table": str(task.table.path),
        "performance": columns[task.performance],
        "resources": {name: columns[position] for name, position in task.resources.items()},
        "weights": dict(task.weights),
        "normalise": task.normalise,
        "alpha": task.alpha,
        "floor": task.floor,
        "ranked_by_skill": task.by_skill,
        "sources": ["images"] if task.has_intervals else [],
        "out": None if task.out is None else str(task.out),
        "groups": [_group_document(group) for group in groups],
    }


def _group_document(group: Group) -> dict[str, Any]:
    baseline = None
    if group.baseline is not None:
        baseline = {
            "performance": group.baseline.performance,
            "outranks": group.baseline.outranks,
            "of": group.baseline.of,
        }
    sensitivity = winners = None
    if group.dependence is not None:
        sensitivity = [setting.model_dump(mode="json") for setting in group.dependence.sensitivity]
        winners = dict(group.dependence.winners)
    return {
        "group": group.name,
        "models": group.models,
        "scored": group.scored,
        "set_id": group.set_id,
        "bounds": {name: bound and bound.model_dump() for name, bound in group.bounds.items()},
        "best": [_model_document(model) for model in group.best],
        "outliers": [outlier.model_dump(mode="json") for outlier in group.outliers],
        "baseline": baseline,
        "no_skill": group.baseline and group.baseline.not_beaten_by,
        "sensitivity": sensitivity,
        "winners": winners,
        "warnings": list(group.warnings),
    }


def _model_document(model: Place) -> dict[str, Any]:
    return {
        "rank": model.rank,
        "name": model.name,
        "performance": model.performance,
        "r": dict(model.r),
        "pepr": dict(model.pepr),
        "rank_low": model.rank_low,
        "rank_high": model.rank_high,
        "p_best": model.p_best,
    }


def text_lines(task: ScoreTask, groups: Sequence[Group]) -> list[str]:
    """Return the lines for the terminal: the method, then some groups with their best models."""
    columns = task.table.columns
    resources = []
    for name, position in task.resources.items():
        weight = f", weight {task.weights[name]:g}" if len(task.weights) > 1 else ""
        resources.append(f"{name} ({columns[position]}{weight})")
    performance = columns[task.performance]
    head = f"PePR of {performance} per unit of {', '.join(resources)}; resources scaled by {task.normalise}."
    lines = [printable(head)]
    for group in groups[:SHOWN_GROUPS]:
        lines += ["", *_group_text(task, group)]
    if len(groups) > SHOWN_GROUPS:
        lines += ["", f"and {len(groups) - SHOWN_GROUPS} more groups: see --json or --out."]
    return list(chain.from_iterable(_wrapped(line) for line in lines))


def _wrapped(line: str) -> list[str]:
    """Wrap a sentence to the width of the screen; lines of tables fit already."""
    if len(line) <= WIDTH:
        return [line]
    return textwrap.wrap(line, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _group_text(task: ScoreTask, group: Group) -> list[str]:
    models = plural(group.models, "model")
    ranges = [
        f"{name} {bound.lo:.4g} to {bound.hi:.4g}" if bound else f"{name} not measured"
        for name, bound in group.bounds.items()
    ]
    title = models if group.name is None else f"{printable(group.name) or '(no group)'}: {models}"
    lines = [printable(f"{title}; {', '.join(ranges)}"), *_best_table(group)]
    if group.scored > task.top and task.normalise != "reference":
        number = NUMBER_WORDS[task.top] if task.top < len(NUMBER_WORDS) else str(task.top)
        best = f"the best {number}".strip()
        lines += [outlier_sentence(outlier, best) for outlier in group.outliers]
        if not group.outliers:
            lines.append(f"Leaving out any single model does not change {best}.")
    lines += _dependence(task, group)
    baseline = group.baseline
    if baseline is not None:
        lines.append(
            f"Always answering the most frequent class ({baseline.performance:.4g}, free) "
            f"outranks {baseline.outranks} of {baseline.of} models."
        )
        if baseline.not_beaten_by:
            lines.append(
                f"{baseline.not_beaten_by} of {baseline.of} models are not shown to beat it: "
                "--only-skilled leaves them out."
            )
    if task.has_intervals and group.scored > 1:
        lines.append("Rank intervals draw the images again. Seeds and costs are taken as certain.")
    return lines + [printable(capitalised(warning)) for warning in group.warnings]


def _dependence(task: ScoreTask, group: Group) -> list[str]:
    """Return a line for each setting that the winner depends on; none without a second model."""
    if group.dependence is None or group.scored < 2:
        return []
    same_set = task.normalise != "reference"
    rows = [sensitivity_row(setting, same_set) for setting in group.dependence.sensitivity]
    first = group.best[0].name
    winners = group.dependence.winners
    same = [method for method, name in winners.items() if name == first]
    others = [f"{method}: {name}" for method, name in winners.items() if name != first]
    rows.append(("normalisation", task.normalise, f"with {listed(same)}", "; ".join(others) or NO_OTHER))
    lines = []
    for name, value, where, other_winner in rows:
        suffix = "" if other_winner == NO_OTHER else f" ({other_winner})"
        lines.append(printable(f"{name} {value}: {DEPENDENCE_HEADER[2]} {where}{suffix}."))
    return lines


def _best_table(group: Group) -> list[str]:
    """Return the best models and the baseline as a table; "..." marks models that are left out."""
    if not group.best:
        return ["No model has a score."]
    header = ["rank", "name", "performance", "R", "PePR"]
    if group.best[0].rank_low is not None:
        header += ["rank interval", "P(best)"]
    rows = [header]
    for model in group.best:
        row = _cells(str(model.rank), printable(model.name), model.performance, model.combined_r, model.score)
        if model.rank_low is not None:
            row += [f"{model.rank_low}-{model.rank_high}", probability(model.p_best)]
        rows.append(row)
    baseline = group.baseline
    if baseline:
        ahead = baseline.of - baseline.outranks
        rank = "..." if ahead > len(group.best) else ""
        row = _cells(rank, BASELINE, baseline.performance, 0.0, baseline.score)
        rows.insert(1 + min(ahead, len(group.best)), row)
    return aligned_table(rows, "rlrrrrr", indent="  ")


def _cells(rank: str, name: str, performance: float, r: float, score: float) -> list[str]:
    return [rank, clip(name, NAME_WIDTH), f"{performance:.4f}", f"{r:.4f}", f"{score:.4f}"]
