"""Export the best models of a finished run as bundles."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pepr_edge.bundle.write import write_bundles
from pepr_edge.errors import RunError
from pepr_edge.records import Ranking, RankingRow
from pepr_edge.run_dir.reader import load, read_ranking
from pepr_edge.signing.key_files import Signer
from pepr_edge.text.sentences import against_baseline
from pepr_edge.text.units import plural


class ExportedBundles(NamedTuple):
    """The ranking's rows that got a bundle, each with its folder, and warnings about their use."""

    bundles: list[tuple[RankingRow, Path]]
    warnings: tuple[str, ...]


def export_best(run_dir: Path, out: Path, top: int, signer: Signer | None = None) -> ExportedBundles:
    """Write the best `top` models of a run into a folder as bundles. Bundles in that folder are replaced.

    Args:
        run_dir: a finished run.
        out: the folder.
        top: number of models.
        signer: signs each bundle's manifest; None: nobody does.
    Raises:
        RunError: `run_dir` is no finished run directory, none of its models has a rank, or `out` holds
            something else than bundles.
    """
    results = load(run_dir)
    ranking = read_ranking(run_dir)
    check_any_ranked(ranking, run_dir)
    written = write_bundles(results, ranking, out, top, signer)
    bundles = [(row, out / Path(row.bundle).name) for row in written.rows if row.bundle]
    return ExportedBundles(bundles, warnings_of(ranking, len(bundles), top))


def check_any_ranked(ranking: Ranking, run_dir: Path) -> None:
    """Raise RunError for a run without a ranked model."""
    if all(row.rank is None for row in ranking.rows):
        raise RunError(
            f"{run_dir}: no model of this run has a rank, so there is nothing to export. "
            f"Run `pepr-edge rank {run_dir}` to see the reasons."
        )


def warnings_of(ranking: Ranking, exported: int, top: int) -> tuple[str, ...]:
    """Return what a person who exports the best `top` models must know of them."""
    warnings = [sentence for sentence in (against_baseline(ranking),) if sentence]
    if exported < top:
        warnings.append(
            f"{plural(exported, 'model')} instead of {top}: no more models of this run have a rank."
        )
    return tuple(warnings)
