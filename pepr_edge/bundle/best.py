"""The best models of a finished run, handed over as bundles."""

from __future__ import annotations

from pathlib import Path

from pepr_edge.bundle.write import write_all
from pepr_edge.errors import RunError
from pepr_edge.records import Ranking, RankingRow
from pepr_edge.results import load
from pepr_edge.store import read_record


def hand_over(run_dir: Path, out: Path, top: int) -> list[tuple[RankingRow, Path]]:
    """Write the best `top` models of a run into a folder as bundles; those that are there already are replaced.

    Returns:
        The ranking's rows that got one, each with its folder.
    Raises:
        RunError: not a run directory, nothing in it has a rank, or `out` holds something else than bundles.
    """
    results = load(run_dir)
    ranking = read_record(run_dir / "ranking.json", Ranking)
    if not any(row.rank is not None for row in ranking.rows):
        raise RunError(f"{run_dir}: no model of this run has a rank, so there is nothing to export. `pepr-edge rank {run_dir}` says why.")
    return [(row, out / Path(row.bundle).name) for row in write_all(results, ranking, out, top).rows if row.bundle]
