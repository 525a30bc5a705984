"""`pepr-edge score`: compute PePR for any table of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pepr_edge.cli.common import FiniteType, OutFileType, PathType, common, echo, print_json, say

if TYPE_CHECKING:
    from pepr_edge.scoring.pepr import Normalise
    from pepr_edge.tables import ScoreTask

Columns = Mapping[str, str]  # column by resource
NAMES = ("name", "model", "candidate", "architecture")


@click.command("score")
@click.argument("table", type=PathType())
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
    type=PathType(),
    help="JSON file with bounds, such as the ranking.json of another run.",
)
@click.option(
    "--alpha", type=FiniteType(), default=1.0, show_default=True, help="Emphasis on performance, >= 1."
)
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
@click.option("--floor", type=FiniteType(), help="Models with a lower performance have no score.")
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
@click.option(
    "--out",
    type=OutFileType(dir_okay=True),
    help="Write the table with the scores here, as CSV.",
)
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
    from pepr_edge.cli.score_output import document, text_lines
    from pepr_edge.tables import score_table

    with TerminalView().bar("scoring") as bar:
        groups = score_table(task, bar.update)
    if as_json:
        print_json(document(task, groups))
    else:
        echo("\n".join(text_lines(task, groups)))
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
    from pepr_edge.tables import MAX_IMAGES

    try:
        value = float(text)
    except ValueError:
        return None
    if not 1 <= value <= MAX_IMAGES:
        raise click.UsageError(
            f"--images {text}: expected a number >= 1, at most {MAX_IMAGES:g}, or a column."
        )
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
