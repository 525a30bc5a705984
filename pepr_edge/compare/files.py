"""What a comparison leaves in its folder: comparison.json, comparison.csv and the figures.

Those of an earlier comparison go first: it may have had figures that this one has not. Files of other names stay as they are.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from pepr_edge.compare.model import ComparisonInput
from pepr_edge.compare.pairs import EDGE, Pairs
from pepr_edge.compare.pictures import NAMES, pictures
from pepr_edge.compare.record import Comparison
from pepr_edge.run_dir.store import write_bytes, write_record, write_text
from pepr_edge.scoring.pepr import RESOURCES

JSON, CSV = "comparison.json", "comparison.csv"


def write(comparison: Comparison, both: ComparisonInput, pairs: Pairs, out: Path) -> Comparison:
    """Write everything into a folder, which is made.

    Returns:
        The comparison as it was written, with the paths of its plots.
    Raises:
        OSError: the folder cannot be made or written to.
    """
    drawn = list(pictures(both, pairs))
    out.mkdir(parents=True, exist_ok=True)
    _remove_earlier(out)
    plots = []
    for picture in drawn:
        write_text(out / f"{picture.name}.svg", picture.svg + "\n")
        write_bytes(out / f"{picture.name}.png", picture.png)
        plots += [str(out / f"{picture.name}.svg"), str(out / f"{picture.name}.png")]
    done = comparison.model_copy(update={"plots": tuple(plots)})
    write_text(out / CSV, to_csv(both, pairs))
    write_record(out / JSON, done)
    return done


def _remove_earlier(out: Path) -> None:
    for name in (JSON, CSV, *(f"{name}{suffix}" for name in NAMES for suffix in (".svg", ".png"))):
        if (out / name).is_file():
            (out / name).unlink()


def to_csv(both: ComparisonInput, pairs: Pairs) -> str:
    """One row for each architecture and side: performance, resources with their units and methods, scores over both sides and by itself."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    letters = [letter for letter in (*(letter for letter, _ in RESOURCES.values()), EDGE) if letter in pairs.together]
    head = ["side", "candidate", "num_params", "family", "efficient", f"test_{both.a.metric}"]
    head += [f"{name}_{unit.lower()}" for name, (_, unit) in RESOURCES.items()] + [f"{name}_method" for name in RESOURCES]
    writer.writerow([*head, *(f"pepr_{letter}" for letter in letters), *(f"pepr_{letter}_by_itself" for letter in letters)])
    for row, (letter, models) in enumerate((("A", pairs.a), ("B", pairs.b))):
        for number, model in enumerate(models):
            cells: list[object] = [letter, model.name, model.num_params, model.family, model.efficient, model.performance]
            cells += [model.resources.get(name) for name in RESOURCES] + [model.methods.get(name) for name in RESOURCES]
            cells += [_known(scores[score][row, number]) for scores in (pairs.together, pairs.apart) for score in letters]
            writer.writerow(["" if cell is None else cell for cell in cells])
    return out.getvalue()


def _known(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None
