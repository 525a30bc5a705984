"""`pepr-edge search`: search policies, replayed on published runs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pepr_edge.cli.common import INSTALL, common, print_json, say

if TYPE_CHECKING:
    from pepr_edge.search.published import Runs
    from pepr_edge.search.replay import Result
    from pepr_edge.search.state import PolicyName, Settings

NAMES = ("exhaustive", "random", "halving", "bounded")
NAME_WIDTH = 28


@click.group("search")
def command() -> None:
    """Which candidates to spend energy on."""


@command.command("replay")
@click.argument("table", type=click.Path(path_type=Path))
@click.option(
    "--policy", type=click.Choice(NAMES), default="bounded", show_default=True, help="How to search."
)
@click.option(
    "--seeds",
    type=click.IntRange(1, 1000),
    default=10,
    show_default=True,
    help="Searches a set, where the policy is random.",
)
@click.option(
    "--performance",
    metavar="PREFIX",
    help="How the columns of the learning curve begin. [default: val_, else test_]",
)
@click.option(
    "--energy",
    default="energy_kwh",
    show_default=True,
    metavar="COL",
    help="Column of the energy of the whole training.",
)
@click.option("--group", metavar="COL", help="Column of the sets. [default: dataset, where there is one]")
@click.option(
    "--name",
    metavar="COL",
    help="Column of the models' names. [default: model, name, candidate or architecture]",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the energy-regret curves here: CSV, SVG and PNG.",
)
@click.option(
    "--force", is_flag=True, help="Replace files of these names that are not of an earlier replay, too."
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
    """Replay a policy on TABLE, a CSV file of published runs: one row a model, the performance after each epoch, the energy.

    Says for each set what share of the sweep's energy the search would have spent, and by how much PePR of its choice falls short of the
    best. One set of parameters serves all sets: that of the defaults.
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
            "the curves are of the test split, so that the choices rest on it: only val_ columns would make them fair"
        )
    for warning in warnings:
        say(f"warning: {warning}")
    document = _document(settings, results, columns.prefix, warnings, seeds)
    if as_json:
        print_json(document)
    else:
        click.echo("\n".join(_text(document)))
    if out is not None:
        _write(sets, settings, seeds, out, force)


def _need_plots() -> None:
    import importlib.util

    from pepr_edge.errors import PeprError

    if importlib.util.find_spec("matplotlib") is None:
        raise PeprError(
            f"--out: drawing needs matplotlib, which is not installed. Leave --out away, or run: {INSTALL}"
        )


def _write(sets: Sequence[Runs], settings: Settings, seeds: int, out: Path, force: bool) -> None:
    """The curves, as CSV and as picture."""
    from pepr_edge.cli.progress import TerminalView
    from pepr_edge.report.figure import recognise
    from pepr_edge.run_dir.owned import write_all_owned
    from pepr_edge.search.regret_curve import as_csv, curves, picture

    with TerminalView().bar("replaying") as bar:
        points = curves(sets, settings, seeds, bar.to)
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
    """The JSON document."""
    import dataclasses

    from pepr_edge.search import POLICIES
    from pepr_edge.search.replay import PROBE

    policy = POLICIES[settings.policy]
    regrets = [one.regret for one in results if one.regret is not None]
    return {
        "schema_version": 1,
        "policy": settings.policy,
        "parameters": {
            **{name: getattr(settings, name) for name in policy.PARAMETERS},
            "probe": PROBE if policy.NEEDS_COSTS else 0.0,
            "seeds": seeds if policy.USES_SEED else 1,
        },
        "performance": prefix,
        "sets": [dataclasses.asdict(one) for one in results],
        "mean_energy_fraction": statistics.fmean(one.energy_fraction for one in results),
        "mean_regret": statistics.fmean(regrets) if len(regrets) == len(results) else None,
        "warnings": list(warnings),
    }


def _text(document: dict[str, Any]) -> list[str]:
    """What people read."""
    from pepr_edge.text.units import printable

    parameters = ", ".join(f"{name} {value:g}" for name, value in document["parameters"].items())
    width = max(len("set"), *(len(printable(one["set"])) for one in document["sets"]))
    found = [
        f"policy {document['policy']}: {parameters}",
        "",
        f"{'set':<{width}}  energy  regret  rank  started  finished  choice",
    ]
    for one in document["sets"]:
        row = f"{printable(one['set']):<{width}}  {one['energy_fraction']:>6.1%}  {_number(one['regret'], '.4f'):>6}  "
        row += f"{_number(one['rank'], 'g'):>4}  {one['started']:>7g}  {one['finished']:>8g}  "
        found.append(row + printable(one["choice"] or "none")[:NAME_WIDTH])
    found.append(
        f"{'mean':<{width}}  {document['mean_energy_fraction']:>6.1%}  {_number(document['mean_regret'], '.4f'):>6}"
    )
    return found


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
