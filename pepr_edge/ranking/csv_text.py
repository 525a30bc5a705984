"""The ranking as CSV."""

from __future__ import annotations

import csv
import io
from typing import Any

from pepr_edge.records import Ranking, RankingRow
from pepr_edge.scoring.pepr import RESOURCES
from pepr_edge.untrusted.shown import cell

LETTERS = [letter for letter, _ in RESOURCES.values()] + ["edge"]


def to_csv(ranking: Ranking) -> str:
    """Return the ranking as CSV: columns for each resource with its unit and method, and for each score."""
    out = io.StringIO()
    rows = [_columns(row) for row in ranking.rows]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(rows[0] if rows else [])
    for row in rows:
        writer.writerow(["" if value is None else cell(value) for value in row.values()])
    return out.getvalue()


def _columns(row: RankingRow) -> dict[str, Any]:
    """Return a row's cells by column; None for an empty cell."""
    performance_low, performance_high = row.performance_ci or (None, None)
    test_low, test_high = row.test_performance_ci or (None, None)
    rank_low, rank_high = row.rank_ci or (None, None)
    cells: dict[str, Any] = {
        "rank": row.rank,
        "candidate": row.candidate,
        "architecture": row.architecture,
        "variant": row.variant,
        "status": row.status,
        "reason": row.reason,
        "num_params": row.num_params,
        "trained_params": row.trained_params,
        "performance": row.performance,
        "performance_low": performance_low,
        "performance_high": performance_high,
        "performance_sd": row.performance_sd,
        "repeats": row.repeats,
        "skill": row.skill,
        "test_performance": row.test_performance,
        "test_low": test_low,
        "test_high": test_high,
        "rank_low": rank_low,
        "rank_high": rank_high,
        "p_best": row.p_best,
        "size_bytes": row.size_bytes,
    }
    for name, (_, unit) in RESOURCES.items():
        cells[f"{name}_{unit.lower()}"] = row.resources.get(name)
    for name in RESOURCES:
        cells[f"{name}_method"] = row.methods.get(name)
    for letter in LETTERS:
        cells[f"pepr_{letter}"] = row.pepr.get(letter)
    cells["inference_energy_j"] = row.inference_energy_j
    cells["inference_energy_method"] = row.methods.get("inference_energy")
    cells["lifetime_j_per_image"] = row.lifetime_j_per_image
    cells["tied_with_best"] = row.tied_with_best
    cells["bundle"] = row.bundle
    cells["weights"] = row.weights
    return cells
