"""A set of a published table as a side: the format of the PePR paper's results.

dataset,model,type,efficient,num_params,gpu_memory_gb,energy_kwh,co2eq_g,last_epoch_s,test_00,...: one row a model. Performance is the
last of the test columns, the accuracy on the test images after the last epoch.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

from pepr_edge.compare.model import Model, Question, Side
from pepr_edge.errors import ScoreError

METRIC = "accuracy"
NEEDED = (
    "dataset",
    "model",
    "type",
    "efficient",
    "num_params",
    "gpu_memory_gb",
    "energy_kwh",
    "co2eq_g",
    "last_epoch_s",
)
# Resource -> its column, and what its unit is in SI.
COLUMNS = {
    "train_energy": ("energy_kwh", 3.6e6),
    "train_co2eq": ("co2eq_g", 1.0),
    "train_time": ("last_epoch_s", 1.0),
    "train_memory": ("gpu_memory_gb", 1e9),
}
# Two trainings hardly ever take energies as near as this, relative to each other; judged from so many models on.
SAME, FEWEST = 1e-3, 5

PublishedRow = Mapping[str, str]


def read(source: str, path: Path, name: str | None) -> Side:
    """Read one set of a table.

    Args:
        source: as the user wrote it.
        path: of the table.
        name: of the set; None where the table holds one set only.
    Raises:
        ScoreError: no such table or set, a missing column, a model twice, or a cell that is no number.
    """
    rows = _rows(path)
    known = list(dict.fromkeys(row["dataset"] for row in rows))
    if name is None and len(known) != 1:
        raise ScoreError(
            f"{path}: holds several sets. Name one behind a colon, as in {path}:{known[0]}; there are {', '.join(known)}."
        )
    if name is not None and name not in known:
        raise ScoreError(f"{source}: no set {name!r} in that table, expected one of {', '.join(known)}.")
    chosen = [row for row in rows if name is None or row["dataset"] == name]
    names = [row["model"] for row in chosen]
    if twice := next((model for model in names if names.count(model) > 1), None):
        raise ScoreError(f"{source}: model {twice!r} has several rows, expected one. Remove all but one.")
    models = tuple(_model(source, row) for row in chosen)
    return Side(source, METRIC, models, {})


def _rows(path: Path) -> list[PublishedRow]:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        raise ScoreError(
            f"{path}: no such file, expected a run directory or a table of results, TABLE.csv:SET."
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise ScoreError(
            f"{path}: cannot be read ({type(fault).__name__}), expected a CSV text file."
        ) from None
    if not rows:
        raise ScoreError(f"{path}: no rows, expected a table with one row for each model.")
    missing = [column for column in NEEDED if column not in rows[0]]
    missing += [] if _test_columns(rows[0]) else ["test_00"]
    if missing:
        raise ScoreError(
            f"{path}: no column {', '.join(missing)}, expected those of the paper's published results."
        )
    if any(None in row or None in row.values() for row in rows):
        raise ScoreError(f"{path}: a row with more or fewer cells than the header. Mend that row.")
    return list(rows)


def _test_columns(row: PublishedRow) -> list[str]:
    """The columns of the performance after each epoch, first epoch first."""
    found = [column for column in row if column and column.startswith("test_") and column[5:].isdigit()]
    return sorted(found, key=lambda column: int(column[5:]))


def _model(source: str, row: PublishedRow) -> Model:
    last = _test_columns(row)[-1]
    performance = _number(source, row, last, most=1.0)
    if performance is None:
        raise ScoreError(
            f"{source}: {row['model']} has no {last}, expected a number from 0 to 1. Fill it in, or remove the row."
        )
    params = _number(source, row, "num_params")
    resources: dict[str, float | None] = {}
    for name, (column, unit) in COLUMNS.items():
        value = _number(source, row, column)
        resources[name] = None if value is None else value * unit
    return Model(
        name=row["model"],
        performance=performance,
        num_params=None if params is None else round(params),
        family=row["type"] or None,
        efficient={"1": True, "0": False}.get(row["efficient"]),
        resources=resources,
        methods={name: "published" for name, value in resources.items() if value is not None},
    )


def _number(source: str, row: PublishedRow, column: str, most: float = math.inf) -> float | None:
    """A cell's number; None where it is empty."""
    text = row[column].strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and 0 <= value <= most):
        expected = "a number >= 0" if math.isinf(most) else f"a number from 0 to {most:g}"
        raise ScoreError(
            f"{source}: {column} = {text!r} of {row['model']}, expected {expected}. Mend it, or leave it empty."
        )
    return value


def question(a: str, b: str) -> Question:
    """What two sets ask. A table does not say what differs between them, and their names are no evidence."""
    return Question(
        "Do A and B differ?",
        "B",
        1,
        f"with {b} instead of {a}",
        (a, b),
        (f"set: {a} in A, {b} in B",),
        pays=False,
    )


def caveats(a: str, b: str, sides: tuple[Side, Side]) -> tuple[str, ...]:
    """What a reader must know of two sets of such a table."""
    found = [
        f"The sets are {a} and {b}; the table does not say what differs between them, nor whether their test images are the same.",
        "In such a table the time (PePR-T) is that of the last epoch alone, and the memory (PePR-M) that of the GPU.",
    ]
    same, known = _repeated(sides)
    if doubted(sides):
        found.append(
            f"{same} of {known} models have the same training energy in both sets, within 0.1 %: these were not all measured. "
            "Do not build on PePR-E."
        )
    return tuple(found)


def doubted(sides: tuple[Side, Side]) -> tuple[str, ...]:
    """Letters of the scores that rest on energies which were not all measured; CO2eq comes from the energy."""
    same, known = _repeated(sides)
    return ("E", "C") if known >= FEWEST and same > known / 10 else ()


def _repeated(sides: tuple[Side, Side]) -> tuple[int, int]:
    """How many models have the same training energy in both sets, and of how many both are known."""
    first, second = ({model.name: model.resources["train_energy"] for model in side.models} for side in sides)
    pairs = [(first[name], second[name]) for name in first if name in second]
    known = [(one, other) for one, other in pairs if one is not None and other is not None]
    return sum(abs(one - other) <= SAME * max(one, other) for one, other in known), len(known)
