"""Write a comparison to a folder: comparison.json, comparison.csv and the figures.

Figures of an earlier comparison that this one lacks are removed. Files of others stay.
"""

from __future__ import annotations

import csv
import io
from functools import partial
from pathlib import Path

import numpy as np

from pepr_edge.compare.model import ComparisonInput, Model
from pepr_edge.compare.pairs import EDGE, LETTERS, Pairs
from pepr_edge.compare.pictures import NAMES, pictures
from pepr_edge.compare.record import Comparison
from pepr_edge.report.figure import recognise
from pepr_edge.run_dir.owned import remove_owned, write_all_owned
from pepr_edge.run_dir.store import read_record
from pepr_edge.scoring.pepr import RESOURCES
from pepr_edge.untrusted.shown import cell

JSON = "comparison.json"
CSV = "comparison.csv"


def write(
    comparison: Comparison, inputs: ComparisonInput, pairs: Pairs, out: Path, force: bool = False
) -> Comparison:
    """Write everything into a folder, which is created if it is missing.

    Args:
        comparison: the result.
        inputs: the two sides.
        pairs: the rows.
        out: the folder.
        force: also replace files of these names that are not of an earlier comparison.

    Returns:
        The comparison as it was written, with the paths of its plots.
    Raises:
        OSError: the folder cannot be created or written to.
        OutputError: a file that is not ours has one of the names; nothing was written.
    """
    contents: dict[str, bytes] = {}
    for picture in pictures(inputs, pairs):
        contents[f"{picture.name}.svg"] = f"{picture.svg}\n".encode()
        contents[f"{picture.name}.png"] = picture.png
    plots = tuple(str(out / name) for name in contents)
    written = comparison.model_copy(update={"plots": plots})
    contents[CSV] = to_csv(inputs, pairs).encode()
    contents[JSON] = f"{written.model_dump_json(indent=1)}\n".encode()
    write_all_owned(out, contents, _recognise, force)
    figures = [f"{name}.svg" for name in NAMES] + [f"{name}.png" for name in NAMES]
    outdated = [name for name in figures if name not in contents]
    remove_owned(out, outdated, partial(_recognise, b""))
    return written


def _recognise(content: bytes, path: Path) -> bool:
    """True if the content is that of an earlier comparison: version 0.1 kept no record of files."""
    if path.name == JSON:
        return read_record(path, Comparison) is not None
    return recognise(content, path)


def to_csv(inputs: ComparisonInput, pairs: Pairs) -> str:
    """Return one row for each architecture and side.

    Columns: performance, resources with units and methods, scores over both sides and over each by itself.
    """
    letters = [letter for letter in (*LETTERS.values(), EDGE) if letter in pairs.joint]
    header = ["side", "candidate", "num_params", "family", "efficient", f"test_{inputs.a.metric}"]
    header += [f"{name}_{unit.lower()}" for name, (_, unit) in RESOURCES.items()]
    header += [f"{name}_method" for name in RESOURCES]
    header += [f"pepr_{letter}" for letter in letters]
    header += [f"pepr_{letter}_by_itself" for letter in letters]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    for row, (side, models) in enumerate((("A", pairs.a), ("B", pairs.b))):
        for column, model in enumerate(models):
            cells = [side, *_model_cells(model)]
            for scores in (pairs.joint, pairs.separate):
                cells += [_finite(scores[letter][row, column]) for letter in letters]
            writer.writerow(["" if value is None else cell(value) for value in cells])
    return out.getvalue()


def _model_cells(model: Model) -> list[object]:
    cells: list[object] = [model.name, model.num_params, model.family, model.efficient, model.performance]
    cells += [model.resources.get(name) for name in RESOURCES]
    cells += [model.methods.get(name) for name in RESOURCES]
    return cells


def _finite(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None
