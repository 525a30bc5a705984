"""`pepr-edge search`: replay search policies on published runs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pepr_edge.cli.common import INSTALL, OutFolderType, PathType, common, echo, print_json, say

if TYPE_CHECKING:
    from pepr_edge.search.published import Runs
    from pepr_edge.search.replay import Result
    from pepr_edge.search.state import PolicyName, Settings

NAMES = ("exhaustive", "random", "halving", "bounded")
NAME_WIDTH = 28


@click.group("search")
def command() -> None:
    """Decide which candidates to spend training energy on."""


@command.command("replay")
@click.argument("table", type=PathType())
@click.option(
    "--policy", type=click.Choice(NAMES), default="bounded", show_default=True, help="The search policy."
)
@click.option(
    "--seeds",
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    help="Number of searches per set, if the policy is random.",
)
@click.option(
    "--performance",
    metavar="PREFIX",
    help="Prefix of the columns of the learning curve. [default: val_, else test_]",
)
@click.option(
    "--energy",
    default="energy_kwh",
    show_default=True,
    metavar="COL",
    help="Column with the energy of the complete training.",
)
@click.option("--group", metavar="COL", help="Column with the set of a row. [default: dataset, if it exists]")
@click.option(
    "--name",
    metavar="COL",
    help="Column with the models' names. [default: model, name, candidate or architecture]",
)
@click.option(
    "--out",
    type=OutFolderType(),
    help="Write the curves of regret by energy here: CSV, SVG and PNG.",
)
@click.option(
    "--force", is_flag=True, help="Also replace files of the same names that are not from an earlier replay."
)
@common
def replay(
    table: Path,
    policy: PolicyName,
    seeds: int,
    performance: str | None,
    energy: str,
    group: str | None,
    name: str | None,
    out: Path | None,
    force: bool,
    as_json: bool,
) -> None:
    """Replay a policy on TABLE, a CSV of published runs: per model its energy and performance per epoch.

    For each set it shows the share of the energy of all trainings that the search would have used, and the
    regret: the PePR of the best model minus that of the chosen one. The policy runs with its default
    parameters on all sets.
    """
    from pepr_edge.search.published import read_runs
    from pepr_edge.search.replay import repeat
    from pepr_edge.search.state import Settings

    if out is not None:
        _need_plots()
    sets, columns = read_runs(table, performance, energy, group, name)
    settings = Settings(policy=policy)
    results = [repeat(runs, settings, seeds) for runs in sets]
    warnings = [
        f"{runs.name}: {runs.left_out} rows lack their energy or an epoch and are left out"
        for runs in sets
        if runs.left_out
    ]
    if columns.prefix == "test_":
        warnings.append(
            "the curves are of the test split, so the policy chooses by it: "
            "only val_ columns give a fair result"
        )
    for warning in warnings:
        say(f"warning: {warning}")
    document = _document(settings, results, columns.prefix, warnings, seeds)
    if as_json:
        print_json(document)
    else:
        echo("\n".join(_text(document)))
    if out is not None:
        _write(sets, settings, seeds, out, force)


def _need_plots() -> None:
    import importlib.util

    from pepr_edge.errors import PeprError

    if importlib.util.find_spec("matplotlib") is None:
        raise PeprError(
            f"--out: plots need matplotlib, which is not installed. Leave out --out, or run: {INSTALL}"
        )


def _write(sets: Sequence[Runs], settings: Settings, seeds: int, out: Path, force: bool) -> None:
    """Write the curves as CSV, SVG and PNG."""
    from pepr_edge.cli.progress import TerminalView
    from pepr_edge.report.figure import recognise
    from pepr_edge.run_dir.owned import write_all_owned
    from pepr_edge.search.regret_curve import as_csv, curves, picture

    with TerminalView().bar("replaying") as bar:
        points = curves(sets, settings, seeds, bar.update)
    drawn = picture(points)
    contents = {
        "search.csv": as_csv(points).encode(),
        "search.svg": f"{drawn.svg}\n".encode(),
        "search.png": drawn.png,
    }
    write_all_owned(out, contents, recognise, force)
    say(f"written: {out}")


def _document(
    settings: Settings, results: Sequence[Result], prefix: str, warnings: Sequence[str], seeds: int
) -> dict[str, Any]:
    """Return the JSON document."""
    import dataclasses

    from pepr_edge.search import POLICIES
    from pepr_edge.search.replay import PROBE

    policy = POLICIES[settings.policy]
    parameters = {name: getattr(settings, name) for name in policy.PARAMETERS}
    parameters["probe"] = PROBE if policy.NEEDS_COSTS else 0.0
    parameters["seeds"] = seeds if policy.USES_SEED else 1
    regrets = [result.regret for result in results if result.regret is not None]
    return {
        "schema_version": 1,
        "policy": settings.policy,
        "parameters": parameters,
        "performance": prefix,
        "sets": [dataclasses.asdict(result) for result in results],
        "mean_energy_fraction": statistics.fmean(result.energy_fraction for result in results),
        "mean_regret": statistics.fmean(regrets) if len(regrets) == len(results) else None,
        "warnings": list(warnings),
    }


def _text(document: dict[str, Any]) -> list[str]:
    """Return the lines for the terminal."""
    from pepr_edge.text.tables import aligned_table
    from pepr_edge.text.units import percent, printable

    parameters = ", ".join(f"{name} {value:g}" for name, value in document["parameters"].items())
    rows = [("set", "energy", "regret", "rank", "started", "finished", "choice")]
    for row in document["sets"]:
        cells = (
            printable(row["set"]),
            percent(row["energy_fraction"], 1),
            _number(row["regret"], ".4f"),
            _number(row["rank"], "g"),
            f"{row['started']:g}",
            f"{row['finished']:g}",
            printable(row["choice"] or "none")[:NAME_WIDTH],
        )
        rows.append(cells)
    mean_regret = _number(document["mean_regret"], ".4f")
    mean = ("mean", percent(document["mean_energy_fraction"], 1), mean_regret)
    lines = aligned_table([*rows, mean], "lrrrrrl")
    return [f"policy {document['policy']}: {parameters}", "", *lines]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
