"""`pepr-edge score`: PePR on any table of models."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pepr_edge.cli.common import common, print_json, say

if TYPE_CHECKING:
    from pepr_edge.scoring.pepr import Normalise
    from pepr_edge.tables import Group, ScoreTask

ByName = Mapping[str, str]  # a resource's column by its name
NAMES = ("name", "model", "candidate", "architecture")
SHOWN_GROUPS = 20
WIDTH = 100
NAME_WIDTH = 38
NUMBER_WORDS = ("", "", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@click.command("score")
@click.argument("table", type=click.Path(path_type=Path))
@click.argument("more", nargs=-1, metavar="")  # --resource A=a B=b: more than one after a single option
@click.option("--performance", required=True, metavar="COL", help="Column of the performance, in [0, 1].")
@click.option(
    "--resource",
    "resources",
    required=True,
    multiple=True,
    metavar="NAME=COL",
    help="A resource and its column, one or more.",
)
@click.option("--group", metavar="COL", help="Column of the sets: each is normalised and ranked by itself.")
@click.option(
    "--name",
    metavar="COL",
    help=f"Column of the models' names. Default: the first there is of {', '.join(NAMES)}.",
)
@click.option(
    "--method",
    "methods",
    multiple=True,
    metavar="NAME=COL",
    help="Column that says how a resource was obtained; repeatable.",
)
@click.option(
    "--normalise",
    type=click.Choice(["minmax", "max", "reference"]),
    help="How resources are scaled; minmax if not given.",
)
@click.option(
    "--reference",
    type=click.Path(path_type=Path),
    help="JSON file of bounds, such as another run's ranking.json.",
)
@click.option("--alpha", type=float, default=1.0, show_default=True, help="Emphasis on performance, >= 1.")
@click.option(
    "--weights",
    metavar="NAME=W,...",
    help="Weights of the resources in the combined score; equal if not given.",
)
@click.option(
    "--baseline",
    "baselines",
    multiple=True,
    metavar="[GROUP=]P",
    help="Performance of always saying the commonest class.",
)
@click.option(
    "--images",
    metavar="N|COL",
    help="Images that each performance rests on: gives rank intervals, by 1000 draws a model.",
)
@click.option(
    "--top", type=click.IntRange(min=1), default=5, show_default=True, help="How many of the best to show."
)
@click.option("--out", type=click.Path(path_type=Path), help="Write the table with its scores here, as CSV.")
@click.option("--force", is_flag=True, help="Replace an --out that is no table with scores, too.")
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
    top: int,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Score the models of TABLE, a CSV file, by PePR: performance per unit of each resource, and of all together.

    A model whose resource is empty, or infinite, has no score for it. Example:

    pepr-edge score results.csv --performance accuracy --resource energy=energy_kwh --group dataset
    """
    columns, ways = _resources(resources, more), _pairs("--method", methods)
    _check_usage(columns, ways, normalise, reference)
    task = _columns(table, performance, columns, ways, group, name, images)
    task = replace(
        task,
        alpha=alpha,
        top=top,
        weights=_weights(weights, columns),
        baselines=_baselines(baselines, group),
        out=out,
    )
    task = _with_bounds(task, normalise, reference)
    _check_out(task, force)
    _answer(task, as_json)


def _columns(
    path: Path,
    performance: str,
    resources: ByName,
    methods: ByName,
    group: str | None,
    name: str | None,
    images: str | None,
) -> ScoreTask:
    """The task as far as it says which column is what."""
    from pepr_edge.tables import ScoreTask, open_table

    table = open_table(path)
    position, taken = table.position, (group, performance, *resources.values())
    named = name or next((one for one in NAMES if one in table.columns and one not in taken), None)
    # A number is a number of images unless a column is called so.
    counted = _number(images) if images is not None and images not in table.columns else None
    return ScoreTask(
        table=table,
        performance=position(performance),
        resources={one: position(column) for one, column in resources.items()},
        weights=dict.fromkeys(resources, 1.0),
        group=None if group is None else position(group),
        name=None if named is None else position(named),
        methods={one: position(column) for one, column in methods.items()},
        images=counted,
        images_column=position(images) if images is not None and counted is None else None,
    )


def _with_bounds(task: ScoreTask, normalise: Normalise | None, reference: Path | None) -> ScoreTask:
    """The task with its normalisation."""
    from pepr_edge.scoring.bounds import read_reference

    bounds = read_reference(reference) if reference else None
    return replace(task, normalise="reference" if bounds else normalise or "minmax", reference=bounds)


def _check_out(task: ScoreTask, force: bool) -> None:
    from pepr_edge.errors import ScoreError
    from pepr_edge.tables import added_columns, check_out

    if task.out is None:
        return
    check_out(task.out, [task.table.path, *([task.reference.path] if task.reference else [])], force)
    if taken := [name for name in added_columns(task.resources) if name in task.table.columns]:
        raise ScoreError(
            f"{task.table.path}: has a column {taken[0]!r}, which --out would add. Rename it, or score without --out."
        )


def _answer(task: ScoreTask, as_json: bool) -> None:
    """Score, and say what was found."""
    from pepr_edge.cli.progress import TerminalView
    from pepr_edge.tables import score_table

    with TerminalView().bar("scoring") as bar:
        groups = score_table(task, bar.to)
    if as_json:
        print_json(_document(task, groups))
    else:
        click.echo("\n".join(_text(task, groups)))
    if task.out is not None:
        say(f"written: {task.out}")


def _resources(words: Sequence[str], more: Sequence[str]) -> dict[str, str]:
    """The column of each resource."""
    if strangers := [text for text in more if "=" not in text]:
        raise click.UsageError(
            f"{strangers[0]}: one table at a time. Resources are NAME=COL, after --resource."
        )
    return _pairs("--resource", (*words, *more))


def _pairs(option: str, words: Sequence[str]) -> dict[str, str]:
    """NAME=COL, each name once."""
    found: dict[str, str] = {}
    for word in words:
        name, _, column = word.partition("=")
        if not name or not column:
            raise click.UsageError(f"{option} {word!r}: expected NAME=COL, such as energy=energy_kwh.")
        if name in found:
            raise click.UsageError(f"{option} {name} is given twice. Give each resource a name of its own.")
        found[name] = column
    return found


def _check_usage(
    columns: ByName, methods: ByName, normalise: Normalise | None, reference: Path | None
) -> None:
    if len(columns) > 1 and "combined" in columns:
        raise click.UsageError(
            "--resource combined: that is the name of the score over all resources. Give another."
        )
    if unknown := [name for name in methods if name not in columns]:
        raise click.UsageError(
            f"--method {unknown[0]}: no such resource, expected one of {', '.join(columns)}."
        )
    if reference is not None and normalise not in (None, "reference"):
        raise click.UsageError(
            f"--normalise {normalise} and --reference exclude each other: the reference brings the bounds."
        )
    if reference is None and normalise == "reference":
        raise click.UsageError("--normalise reference needs --reference FILE, the bounds.")


def _weights(text: str | None, resources: ByName) -> dict[str, float]:
    """Of each resource, in the order of the resources; 0 where some are given and it is not."""
    from pepr_edge.cli.rank import parse_weights
    from pepr_edge.errors import ScoreError
    from pepr_edge.scoring.pepr import proportions

    given = dict.fromkeys(resources, 1.0) if text is None else parse_weights(text)
    if unknown := [name for name in given if name not in resources]:
        raise ScoreError(
            f"--weights {unknown[0]!r}: no such resource, expected one of {', '.join(resources)}."
        )
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


def _baselines(words: Sequence[str], group: str | None) -> dict[str | None, float]:
    """By group, None for all that are not named."""
    found: dict[str | None, float] = {}
    for word in words:
        name, mark, value = word.rpartition("=")
        if mark and group is None:
            raise click.UsageError(f"--baseline {word}: names a group, and there is no --group.")
        try:
            found[name if mark else None] = float(value)
        except ValueError:
            raise click.UsageError(f"--baseline {word!r}: expected P or GROUP=P, such as 0.669.") from None
    return found


def _document(task: ScoreTask, groups: Sequence[Group]) -> dict[str, Any]:
    """The JSON document."""
    columns = task.table.columns
    return {
        "schema_version": 1,
        "table": str(task.table.path),
        "performance": columns[task.performance],
        "resources": {name: columns[at] for name, at in task.resources.items()},
        "weights": dict(task.weights),
        "normalise": task.normalise,
        "alpha": task.alpha,
        "out": None if task.out is None else str(task.out),
        "groups": [_group_document(group) for group in groups],
    }


def _group_document(group: Group) -> dict[str, Any]:
    best = [
        {
            **{
                "rank": place.rank,
                "name": place.name,
                "performance": place.performance,
                "r": dict(place.r),
                "pepr": dict(place.pepr),
            },
            **{"rank_low": place.rank_low, "rank_high": place.rank_high, "p_best": place.p_best},
        }
        for place in group.best
    ]
    baseline, dependence = group.baseline, group.dependence
    return {
        "group": group.name,
        "models": group.models,
        "scored": group.scored,
        "set_id": group.set_id,
        "bounds": {name: bound and bound.model_dump() for name, bound in group.bounds.items()},
        "best": best,
        "outliers": [one.model_dump(mode="json") for one in group.outliers],
        "baseline": baseline
        and {"performance": baseline.performance, "outranks": baseline.outranks, "of": baseline.of},
        "sensitivity": dependence and [one.model_dump(mode="json") for one in dependence.sensitivity],
        "winners": dependence and dict(dependence.winners),
        "warnings": list(group.warnings),
    }


def _text(task: ScoreTask, groups: Sequence[Group]) -> list[str]:
    """What people read: what the ranking is by, and some groups, each with its best and what these hang on."""
    from pepr_edge.text.units import printable

    columns = task.table.columns
    weights = {
        name: f", weight {weight:g}" if len(task.weights) > 1 else "" for name, weight in task.weights.items()
    }
    named = [f"{name} ({columns[at]}{weights[name]})" for name, at in task.resources.items()]
    head = f"PePR of {columns[task.performance]} per unit of {', '.join(named)}; resources scaled by {task.normalise}."
    found = [printable(head)]
    for group in groups[:SHOWN_GROUPS]:
        found += ["", *_group_text(task, group)]
    if len(groups) > SHOWN_GROUPS:
        found += ["", f"and {len(groups) - SHOWN_GROUPS} more groups: --json or --out has them."]
    return [part for line in found for part in _wrapped(line)]


def _wrapped(line: str) -> list[str]:
    """A line in as many as fit the screen; those of tables fit as they are."""
    if len(line) <= WIDTH:
        return [line]
    return textwrap.wrap(line, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _group_text(task: ScoreTask, group: Group) -> list[str]:
    from pepr_edge.text.robustness import leaving_out
    from pepr_edge.text.units import plural, printable

    models = plural(group.models, "model")
    ranges = [
        f"{name} {bound.lo:.4g} to {bound.hi:.4g}" if bound else f"{name} not measured"
        for name, bound in group.bounds.items()
    ]
    title = models if group.name is None else f"{printable(group.name) or '(no group)'}: {models}"
    found = [printable(f"{title}; {', '.join(ranges)}"), *_best_table(group)]
    if group.scored > task.top and task.normalise != "reference":
        best = f"the best {NUMBER_WORDS[task.top] if task.top < len(NUMBER_WORDS) else task.top}".strip()
        found += [leaving_out(one, best) for one in group.outliers]
        if not group.outliers:
            found.append(f"No model alone changes {best} by being left out.")
    found += _dependence(task, group)
    if (one := group.baseline) is not None:
        found.append(
            f"Always saying the commonest class ({one.performance:.4g}, free) outranks {one.outranks} of {one.of} models."
        )
    return found + [printable(warning[0].upper() + warning[1:]) for warning in group.warnings]


def _dependence(task: ScoreTask, group: Group) -> list[str]:
    """What the winner depends on, a line for each setting; nothing where it has no rival or it was not computed."""
    from pepr_edge.text.robustness import DEPENDS_HEADER, NO_OTHER, listed, setting
    from pepr_edge.text.units import printable

    if group.dependence is None or group.scored < 2:
        return []
    rows = [setting(one, task.normalise != "reference") for one in group.dependence.sensitivity]
    winners, first = group.dependence.winners, group.best[0].name
    same = [how for how, name in winners.items() if name == first]
    others = [f"{how}: {name}" for how, name in winners.items() if name != first]
    rows.append(("normalisation", task.normalise, f"with {listed(same)}", "; ".join(others) or NO_OTHER))
    return [
        printable(f"{name} {now}: {DEPENDS_HEADER[2]} {where}{'' if beyond == NO_OTHER else f' ({beyond})'}.")
        for name, now, where, beyond in rows
    ]


def _best_table(group: Group) -> list[str]:
    """The best, in columns, and the free baseline at its place: after "..." where models that are not shown come between."""
    from pepr_edge.tables import BASELINE
    from pepr_edge.text.units import printable

    if not group.best:
        return ["No model has a score."]
    free = group.baseline
    names = [printable(place.name) for place in group.best]
    width = min(NAME_WIDTH, max(map(len, ("name", *names, *([BASELINE] if free else [])))))
    head = f"  rank  {'name':<{width}}  performance       R    PePR"
    found = [head if group.best[0].rank_low is None else f"{head}  rank interval  P(best)"]
    for name, place in zip(names, group.best, strict=True):
        line = _line(str(place.rank), name, width, place.performance, place.combined_r, place.score)
        found.append(
            line
            if place.rank_low is None
            else f"{line}  {f'{place.rank_low}-{place.rank_high}':>13}  {place.p_best:>7.2f}"
        )
    if free:
        ahead = free.of - free.outranks
        line = _line(
            "..." if ahead > len(names) else "", BASELINE, width, free.performance, 0.0, free.performance
        )
        found.insert(1 + min(ahead, len(names)), line)
    return found


def _line(rank: str, name: str, width: int, performance: float, r: float, score: float) -> str:
    shown = name if len(name) <= width else f"{name[: width - 3]}..."
    return f"  {rank:>4}  {shown:<{width}}  {performance:>11.4f}  {r:>6.4f}  {score:>6.4f}"
