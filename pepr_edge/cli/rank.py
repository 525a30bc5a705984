"""`pepr-edge rank`: rank a run again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pepr_edge.cli.common import FiniteType, PathType, common, echo, print_json, read_trust, trust_option
from pepr_edge.errors import ScoreError
from pepr_edge.scoring.metrics import RANKED_BY

if TYPE_CHECKING:
    from pepr_edge.records import Ranking


@click.command("rank")
@click.argument("run_dir", type=PathType())
# Takes the rest of --field A.json B.json, as a shell's * gives them.
@click.argument("more", nargs=-1, type=PathType(), metavar="")
@click.option(
    "--field",
    "reports",
    multiple=True,
    type=PathType(),
    help="Reports of `pepr-edge bench --out` or `evaluate --out`, one or more.",
)
@click.option(
    "--weights", help="Weights of the resources, for example train_energy=1,latency=2,peak_memory=1."
)
@click.option(
    "--performance",
    "metric",
    metavar="METRIC",
    help=f"One of {', '.join(RANKED_BY)}; some take a level at the end, such as _0.95.",
)
@click.option(
    "--normalise",
    type=click.Choice(["minmax", "max"]),
    help="How resources are scaled. [default: as in the recipe]",
)
@click.option(
    "--reference",
    type=PathType(),
    help="A JSON file with bounds, such as the ranking.json of another run.",
)
@click.option(
    "--lifetime",
    type=FiniteType(),
    metavar="N",
    help="Show the energy per image over a lifetime of N images, training included.",
)
@trust_option("Accept only reports that one of these public keys signed (`bench --sign`).")
@common
def command(
    run_dir: Path,
    more: tuple[Path, ...],
    reports: tuple[Path, ...],
    weights: str | None,
    metric: str | None,
    normalise: str | None,
    reference: Path | None,
    lifetime: float | None,
    trust: Path | None,
    as_json: bool,
) -> None:
    """Rank the artifacts of RUN_DIR again: with other weights, another metric, or measurements in the field.

    The run directory is not changed. Reports of the same kind of device are merged by the median; across
    kinds of devices, the worst value of a model counts. An emulated device counts for the self-test and for
    memory, not for latency. Reports of `evaluate` say where a model does worse than at home.
    """
    _check_usage(more, reports, normalise, reference, trust)
    from pepr_edge.ranking import rank, read_reports
    from pepr_edge.run_dir.reader import load
    from pepr_edge.scoring.bounds import read_bounds

    trusted = read_trust(trust)
    results = load(run_dir)
    ranking = rank(
        results,
        weights=parse_weights(weights) if weights is not None else None,
        metric=metric,
        field=read_reports((*reports, *more), results, trusted),
        normalise=normalise,
        reference=read_bounds(reference) if reference else None,
        lifetime=lifetime,
    )
    if as_json:
        print_json(ranking.model_dump(mode="json"))
    else:
        _show(ranking)


def _check_usage(
    more: Sequence[Path],
    reports: Sequence[Path],
    normalise: str | None,
    reference: Path | None,
    trust: Path | None,
) -> None:
    if more and not reports:
        raise click.UsageError(f"{more[0]}: one run directory at a time. Field reports come after --field.")
    if trust and not reports:
        raise click.UsageError("--trust is for the signatures of field reports: give --field, too.")
    if normalise and reference:
        raise click.UsageError(
            "--normalise and --reference exclude each other: the reference contains the bounds."
        )


def _show(ranking: Ranking) -> None:
    from pepr_edge.report import terminal

    parts = [
        terminal.ranking_table(ranking),
        terminal.devices_table(ranking),
        terminal.sites_table(ranking),
        terminal.subgroups_table(ranking),
        terminal.conclusion(ranking),
        terminal.dependence_table(ranking),
        terminal.lifetime_table(ranking),
    ]
    echo("\n\n".join(part for part in parts if part))


def parse_weights(text: str) -> dict[str, float]:
    """Return weights from NAME=W,...

    Raises:
        ScoreError: the text has another form.
    """
    weights = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            number = float(value)
        except ValueError:
            raise ScoreError(
                f"--weights {part.strip()!r}: expected NAME=NUMBER, such as latency=2. Correct it."
            ) from None
        if name.strip() in weights:
            raise ScoreError(
                f"--weights {name.strip()} is given twice, expected each resource once. Remove one."
            )
        weights[name.strip()] = number
    return weights
