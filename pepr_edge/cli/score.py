"""`pepr-edge score`: compute PePR for any table of models."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pepr_edge.cli.common import common, print_json, say

if TYPE_CHECKING:
    from pepr_edge.scoring.pepr import Normalise
    from pepr_edge.tables import Group, Place, ScoreTask

Columns = Mapping[str, str]  # column by resource
NAMES = ("name", "model", "candidate", "architecture")
SHOWN_GROUPS = 20
WIDTH = 100
NAME_WIDTH = 38
NUMBER_WORDS = ("", "", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@click.command("score")
@click.argument("table", type=click.Path(path_type=Path))
@click.argument("more", nargs=-1, metavar="")  # takes the rest of --resource A=a B=b
@click.option("--performance", required=True, metavar="COL", help="Column with the performance, in [0, 1].")
@click.option(
    "--resource",
    "resources",
    required=True,
    multiple=True,
    metavar="NAME=COL",
    help="A resource and its column, one or more.",
)
@click.option(
    "--group", metavar="COL", help="Column with the group: each group is normalised and ranked separately."
)
@click.option(
    "--name",
    metavar="COL",
    help=f"Column with the models' names. [default: the first of {', '.join(NAMES)} that exists]",
)
@click.option(
    "--method",
    "methods",
    multiple=True,
    metavar="NAME=COL",
    help="Column with the method by which a resource was obtained; repeatable.",
)
@click.option(
    "--normalise",
    type=click.Choice(["minmax", "max", "reference"]),
    help="How resources are scaled. [default: minmax]",
)
@click.option(
    "--reference",
    type=click.Path(path_type=Path),
    help="JSON file with bounds, such as the ranking.json of another run.",
)
@click.option("--alpha", type=float, default=1.0, show_default=True, help="Emphasis on performance, >= 1.")
@click.option(
    "--weights",
    metavar="NAME=W,...",
    help="Weights of the resources in the combined score. [default: equal]",
)
@click.option(
    "--baseline",
    "baselines",
    multiple=True,
    metavar="[GROUP=]P",
    help="Performance of the majority class: always answering the most frequent class.",
)
@click.option(
    "--images",
    metavar="N|COL",
    help="Number of images behind each performance: adds rank intervals, from 1000 draws per model.",
)
@click.option("--floor", type=float, help="Models with a lower performance have no score.")
@click.option(
    "--only-skilled",
    is_flag=True,
    help="Models that are not shown to beat the --baseline on their --images have no score.",
)
@click.option(
    "--skill",
    is_flag=True,
    help="Score (P - P0) / (1 - P0) in place of the performance P; P0 is the --baseline.",
)
@click.option(
    "--top", type=click.IntRange(min=1), default=5, show_default=True, help="Number of best models to show."
)
@click.option("--out", type=click.Path(path_type=Path), help="Write the table with the scores here, as CSV.")
@click.option("--force", is_flag=True, help="Also replace an --out that is not a table with scores.")
@common
def command(
    table: Path,
    more: tuple[str, ...],
    performance: str,
    resources: tuple[str, ...],
    group: str | None,
    name: str | None,
    methods: tuple[str, ...],
    normalise: Normalise | None,
    reference: Path | None,
    alpha: float,
    weights: str | None,
    baselines: tuple[str, ...],
    images: str | None,
    floor: float | None,
    only_skilled: bool,
    skill: bool,
    top: int,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Score the models of TABLE, a CSV file, by PePR: performance per unit of resource, each and combined.

    A model with an empty or infinite resource has no score for this resource. Example:

    pepr-edge score results.csv --performance accuracy --resource energy=energy_kwh --group dataset
    """
    columns = _resources(resources, more)
    method_columns = _pairs("--method", methods)
    _check_usage(columns, method_columns, normalise, reference)
    _check_floor(floor)
    if skill and not baselines:
        raise click.UsageError("--skill needs --baseline P, the performance that counts as 0.")
    if only_skilled and not (baselines and images):
        raise click.UsageError("--only-skilled needs --baseline P and --images N, to compare them.")
    task = _task(table, performance, columns, method_columns, group, name, images)
    task = replace(
        task,
        alpha=alpha,
        top=top,
        weights=_weights(weights, columns),
        baselines=_baselines(baselines, group),
        floor=floor,
        only_skilled=only_skilled,
        by_skill=skill,
        out=out,
    )
    task = _with_bounds(task, normalise, reference)
    _check_out(task, force)
    _score(task, as_json)


def _task(
    path: Path,
    performance: str,
    resources: Columns,
    methods: Columns,
    group: str | None,
    name: str | None,
    images: str | None,
) -> ScoreTask:
    """Open the table and return a task with the positions of all columns."""
    from pepr_edge.tables import ScoreTask, open_table

    table = open_table(path)
    position = table.position
    used = (group, performance, *resources.values())
    if name is None:
        name = next((column for column in NAMES if column in table.columns and column not in used), None)
    # A number is a number of images, unless a column has this name.
    number = _number(images) if images is not None and images not in table.columns else None
    return ScoreTask(
        table=table,
        performance=position(performance),
        resources={resource: position(column) for resource, column in resources.items()},
        weights=dict.fromkeys(resources, 1.0),
        group=None if group is None else position(group),
        name=None if name is None else position(name),
        methods={resource: position(column) for resource, column in methods.items()},
        images=number,
        images_column=position(images) if images is not None and number is None else None,
    )


def _with_bounds(task: ScoreTask, normalise: Normalise | None, reference: Path | None) -> ScoreTask:
    """Return the task with its normalisation."""
    from pepr_edge.scoring.bounds import read_reference

    bounds = read_reference(reference) if reference else None
    return replace(task, normalise="reference" if bounds else normalise or "minmax", reference=bounds)


def _check_out(task: ScoreTask, force: bool) -> None:
    from pepr_edge.errors import ScoreError
    from pepr_edge.tables import added_columns, check_out

    if task.out is None:
        return
    inputs = [task.table.path]
    if task.reference:
        inputs.append(task.reference.path)
    check_out(task.out, inputs, force)
    for name in added_columns(task.resources):
        if name in task.table.columns:
            raise ScoreError(
                f"{task.table.path}: has a column {name!r}, which --out would add. "
                "Rename it, or score without --out."
            )


def _score(task: ScoreTask, as_json: bool) -> None:
    """Score the table and print the result."""
    from pepr_edge.cli.progress import TerminalView
    from pepr_edge.tables import score_table

    with TerminalView().bar("scoring") as bar:
        groups = score_table(task, bar.update)
    if as_json:
        print_json(_document(task, groups))
    else:
        click.echo("\n".join(_text(task, groups)))
    if task.out is not None:
        say(f"written: {task.out}")


def _resources(values: Sequence[str], more: Sequence[str]) -> dict[str, str]:
    """Return the column of each resource."""
    for text in more:
        if "=" not in text:
            raise click.UsageError(f"{text}: one table at a time. Resources are NAME=COL, after --resource.")
    return _pairs("--resource", (*values, *more))


def _pairs(option: str, values: Sequence[str]) -> dict[str, str]:
    """Return columns by name from NAME=COL, each name once."""
    columns: dict[str, str] = {}
    for value in values:
        name, _, column = value.partition("=")
        if not name or not column:
            raise click.UsageError(f"{option} {value!r}: expected NAME=COL, such as energy=energy_kwh.")
        if name in columns:
            raise click.UsageError(f"{option} {name} is given twice. Give each resource its own name.")
        columns[name] = column
    return columns


def _check_usage(
    columns: Columns, methods: Columns, normalise: Normalise | None, reference: Path | None
) -> None:
    if len(columns) > 1 and "combined" in columns:
        raise click.UsageError("--resource combined: this name is for the combined score. Use another name.")
    for name in methods:
        if name not in columns:
            raise click.UsageError(
                f"--method {name}: no such resource, expected one of {', '.join(columns)}."
            )
    if reference is not None and normalise not in (None, "reference"):
        raise click.UsageError(
            f"--normalise {normalise} and --reference exclude each other: the reference contains the bounds."
        )
    if reference is None and normalise == "reference":
        raise click.UsageError("--normalise reference needs --reference FILE, the bounds.")


def _check_floor(floor: float | None) -> None:
    if floor is not None and not 0 <= floor <= 1:
        raise click.UsageError(f"--floor {floor:g}: expected a performance in [0, 1].")


def _weights(text: str | None, resources: Columns) -> dict[str, float]:
    """Return the weight of each resource, in their order; 0 for a resource that the option leaves out."""
    from pepr_edge.cli.rank import parse_weights
    from pepr_edge.errors import ScoreError
    from pepr_edge.scoring.pepr import proportions

    given = dict.fromkeys(resources, 1.0) if text is None else parse_weights(text)
    for name in given:
        if name not in resources:
            raise ScoreError(f"--weights {name!r}: no such resource, expected one of {', '.join(resources)}.")
    proportions(given)
    return {name: given.get(name, 0.0) for name in resources}


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    if not (math.isfinite(value) and value >= 1):
        raise click.UsageError(f"--images {text}: expected a number >= 1, or a column.")
    return value


def _baselines(values: Sequence[str], group: str | None) -> dict[str | None, float]:
    """Return the baseline by group; None is the key for all other groups."""
    baselines: dict[str | None, float] = {}
    for value in values:
        name, separator, number = value.rpartition("=")
        if separator and group is None:
            raise click.UsageError(f"--baseline {value}: names a group, but there is no --group.")
        try:
            baselines[name if separator else None] = float(number)
        except ValueError:
            raise click.UsageError(f"--baseline {value!r}: expected P or GROUP=P, such as 0.669.") from None
    return baselines


def _document(task: ScoreTask, groups: Sequence[Group]) -> dict[str, Any]:
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


def _text(task: ScoreTask, groups: Sequence[Group]) -> list[str]:
    """Return the lines for the terminal: the method, then some groups with their best models."""
    from pepr_edge.text.units import printable

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
    from pepr_edge.text.robustness import outlier_sentence
    from pepr_edge.text.units import capitalised, plural, printable

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
    from pepr_edge.text.robustness import DEPENDENCE_HEADER, NO_OTHER, sensitivity_row
    from pepr_edge.text.units import listed, printable

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
    from pepr_edge.tables import BASELINE
    from pepr_edge.text.tables import aligned_table
    from pepr_edge.text.units import printable, probability

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
    from pepr_edge.text.tables import clip

    return [rank, clip(name, NAME_WIDTH), f"{performance:.4f}", f"{r:.4f}", f"{score:.4f}"]
