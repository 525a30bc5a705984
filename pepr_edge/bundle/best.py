"""The best models of a finished run, handed over as bundles."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pepr_edge.bundle.write import write_all
from pepr_edge.errors import RunError
from pepr_edge.records import RankingRow
from pepr_edge.run_dir.reader import load, read_ranking
from pepr_edge.text.sentences import answer, learnt_nothing


class HandedOver(NamedTuple):
    """The ranking's rows that got a bundle, each with its folder; and what to know before one is deployed, a sentence each."""

    bundles: list[tuple[RankingRow, Path]]
    warnings: tuple[str, ...]


def hand_over(run_dir: Path, out: Path, top: int) -> HandedOver:
    """Write the best `top` models of a run into a folder as bundles; those that are there already are replaced.

    Raises:
        RunError: not a run directory, an unfinished one, nothing in it has a rank, or `out` holds something else than bundles.
    """
    results = load(run_dir)
    ranking = read_ranking(run_dir)
    if not any(row.rank is not None for row in ranking.rows):
        raise RunError(
            f"{run_dir}: no model of this run has a rank, so there is nothing to export. `pepr-edge rank {run_dir}` says why."
        )
    made = [
        (row, out / Path(row.bundle).name) for row in write_all(results, ranking, out, top).rows if row.bundle
    ]
    warnings = [answer(ranking)] if learnt_nothing(ranking) else []
    if len(made) < top:
        warnings.append(f"{len(made)} of the {top} asked for: no more models of this run have a rank.")
    return HandedOver(made, tuple(warnings))
