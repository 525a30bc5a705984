"""What a comparison leaves in its folder: comparison.json, comparison.csv and the figures.

Those of an earlier comparison are removed: it may have had figures that this one has not. Files that it did not write stay as they are.
"""

from __future__ import annotations

import csv
import io
from functools import partial
from pathlib import Path

import numpy as np

from pepr_edge.compare.model import ComparisonInput
from pepr_edge.compare.pairs import EDGE, Pairs
from pepr_edge.compare.pictures import NAMES, pictures
from pepr_edge.compare.record import Comparison
from pepr_edge.report.figure import recognise
from pepr_edge.run_dir.owned import remove_owned, write_all_owned
from pepr_edge.run_dir.store import read_record
from pepr_edge.scoring.pepr import RESOURCES

JSON, CSV = "comparison.json", "comparison.csv"


def write(
    comparison: Comparison, both: ComparisonInput, pairs: Pairs, out: Path, force: bool = False
) -> Comparison:
    """Write everything into a folder, which is made.

    Args:
        comparison: the result.
        both: what was compared.
        pairs: the rows.
        out: the folder.
        force: replace files of these names that are not of an earlier comparison, too.

    Returns:
        The comparison as it was written, with the paths of its plots.
    Raises:
        OSError: the folder cannot be made or written to.
        OutputError: a name is taken by a file that is not ours; nothing was written.
    """
    contents: dict[str, bytes] = {}
    for picture in pictures(both, pairs):
        contents[f"{picture.name}.svg"] = f"{picture.svg}\n".encode()
        contents[f"{picture.name}.png"] = picture.png
    done = comparison.model_copy(update={"plots": tuple(str(out / name) for name in contents)})
    contents[CSV] = to_csv(both, pairs).encode()
    contents[JSON] = f"{done.model_dump_json(indent=1)}\n".encode()
    write_all_owned(out, contents, _recognise, force)
    earlier = [f"{name}{suffix}" for name in NAMES for suffix in (".svg", ".png")]
    remove_owned(out, [name for name in earlier if name not in contents], partial(_recognise, b""))
    return done


def _recognise(content: bytes, path: Path) -> bool:
    """True if a file is of an earlier comparison by its content: version 0.1 kept no record of files."""
    if path.name == JSON:
        return read_record(path, Comparison) is not None
    return recognise(content, path)


def to_csv(both: ComparisonInput, pairs: Pairs) -> str:
    """One row for each architecture and side: performance, resources with their units and methods, scores over both sides and by itself."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    letters = [
        letter for letter in (*(letter for letter, _ in RESOURCES.values()), EDGE) if letter in pairs.together
    ]
    head = ["side", "candidate", "num_params", "family", "efficient", f"test_{both.a.metric}"]
    head += [f"{name}_{unit.lower()}" for name, (_, unit) in RESOURCES.items()] + [
        f"{name}_method" for name in RESOURCES
    ]
    writer.writerow(
        [
            *head,
            *(f"pepr_{letter}" for letter in letters),
            *(f"pepr_{letter}_by_itself" for letter in letters),
        ]
    )
    for row, (letter, models) in enumerate((("A", pairs.a), ("B", pairs.b))):
        for number, model in enumerate(models):
            cells: list[object] = [
                letter,
                model.name,
                model.num_params,
                model.family,
                model.efficient,
                model.performance,
            ]
            cells += [model.resources.get(name) for name in RESOURCES] + [
                model.methods.get(name) for name in RESOURCES
            ]
            cells += [
                _known(scores[score][row, number])
                for scores in (pairs.together, pairs.apart)
                for score in letters
            ]
            writer.writerow(["" if cell is None else cell for cell in cells])
    return out.getvalue()


def _known(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None
