"""The ranking as a flat table, CSV."""

from __future__ import annotations

import csv
import io

from pepr_edge.records import Ranking
from pepr_edge.score import RESOURCES


def to_csv(ranking: Ranking) -> str:
    """The ranking as a flat table: a column for each resource with its unit, and for each score."""
    out = io.StringIO()
    fixed = [
        "rank",
        "candidate",
        "architecture",
        "variant",
        "status",
        "reason",
        "num_params",
        "performance",
        "performance_low",
        "performance_high",
    ]
    fixed += ["test_performance", "test_low", "test_high", "rank_low", "rank_high", "p_best"]
    units = {name: f"{name}_{unit.lower()}" for name, (_, unit) in RESOURCES.items()}
    letters = [letter for letter, _ in RESOURCES.values()] + ["edge"]
    last = ["inference_energy_j", "lifetime_j_per_image", "tied_with_best", "bundle"]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*fixed, "size_bytes", *units.values(), *(f"pepr_{letter}" for letter in letters), *last])
    for row in ranking.rows:
        low, high = row.performance_ci or (None, None)
        test_low, test_high = row.test_performance_ci or (None, None)
        values = [
            row.rank,
            row.candidate,
            row.architecture,
            row.variant,
            row.status,
            row.reason,
            row.num_params,
            row.performance,
            low,
            high,
        ]
        values += [row.test_performance, test_low, test_high, *(row.rank_ci or (None, None)), row.p_best, row.size_bytes]
        values += [row.resources.get(name) for name in RESOURCES] + [row.pepr.get(letter) for letter in letters]
        values += [row.inference_energy_j, row.lifetime_j_per_image, row.tied_with_best, row.bundle]
        writer.writerow(["" if value is None else value for value in values])
    return out.getvalue()
