"""A set of a published table as a side, in the format of the PePR paper's results.

The columns are
dataset,model,type,efficient,num_params,gpu_memory_gb,energy_kwh,co2eq_g,last_epoch_s,test_00,..., with one
row for each model. Performance is the last test column: the accuracy on the test images after the last epoch.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from pepr_edge.compare.model import Model, Question, Side
from pepr_edge.errors import ScoreError
from pepr_edge.records import MAX_VALUE
from pepr_edge.untrusted.files import RECORD_BYTES
from pepr_edge.untrusted.read import read_file
from pepr_edge.untrusted.shown import excerpt, first_items, shown

METRIC = "accuracy"
TEST = "test_"
# After each epoch.
TEST_COLUMN = re.compile(rf"{TEST}[0-9]{{1,6}}")
EXPECTED = "a run directory or a table of results, TABLE.csv:SET."
REQUIRED_COLUMNS = (
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
# Column of each resource, and its unit in SI.
RESOURCE_COLUMNS = {
    "train_energy": ("energy_kwh", 3.6e6),
    "train_co2eq": ("co2eq_g", 1.0),
    "train_time": ("last_epoch_s", 1.0),
    "train_memory": ("gpu_memory_gb", 1e9),
}
# Two measured trainings hardly ever agree in energy to this relative difference.
EQUAL_ENERGY = 1e-3
# More than any zoo has. Each is a line of the pictures.
MAX_MODELS = 2_000
# With at least this many models, more than this share with equal energies is suspicious.
MIN_MODELS = 5
MAX_EQUAL_SHARE = 0.1

PublishedRow = Mapping[str, str]


def read(source: str, path: Path, name: str | None) -> Side:
    """Read one set of a table.

    Args:
        source: as the user wrote it.
        path: of the table.
        name: of the set; None if the table holds one set only.
    Raises:
        ScoreError: no such table or set, a missing column, a duplicate model, or a cell that is no number.
    """
    rows = _rows(path)
    sets = list(dict.fromkeys(row["dataset"] for row in rows))
    if name is None and len(sets) != 1:
        raise ScoreError(
            f"{path}: holds several sets, {_listed(sets)}. Add a colon and one name, as in "
            f"{path}:{shown(sets[0])}"
        )
    if name is not None and name not in sets:
        raise ScoreError(
            f"{shown(source)}: no set {shown(name)!r} in that table, expected one of {_listed(sets)}."
        )
    chosen = [row for row in rows if name is None or row["dataset"] == name]
    if len(chosen) > MAX_MODELS:
        raise ScoreError(
            f"{source}: {len(chosen):,} models, expected at most {MAX_MODELS:,}. Give a part of them."
        )
    for model, times in Counter(row["model"] for row in chosen).items():
        if times > 1:
            raise ScoreError(
                f"{source}: model {shown(model)!r} has several rows, expected one. Remove the others."
            )
    return Side(source, METRIC, tuple(_model(source, row) for row in chosen), {})


def _listed(sets: Sequence[str]) -> str:
    return ", ".join(first_items([excerpt(name) for name in sets]))


def _rows(path: Path) -> list[PublishedRow]:
    try:
        text = read_file(path, RECORD_BYTES, ScoreError, EXPECTED).decode("utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except (UnicodeDecodeError, csv.Error) as fault:
        raise ScoreError(
            f"{path}: cannot be read ({type(fault).__name__}), expected a CSV text file."
        ) from None
    if not rows:
        raise ScoreError(f"{path}: no rows, expected a table with one row for each model.")
    missing = [column for column in REQUIRED_COLUMNS if column not in rows[0]]
    if not _test_columns(rows[0]):
        missing.append("test_00")
    if missing:
        raise ScoreError(
            f"{path}: no column {', '.join(missing)}, expected those of the paper's published results."
        )
    if any(None in row or None in row.values() for row in rows):
        raise ScoreError(f"{path}: a row with more or fewer cells than the header. Correct that row.")
    return list(rows)


def _test_columns(row: PublishedRow) -> list[str]:
    """Return the columns of the performance after each epoch, in the order of the epochs."""
    columns = [column for column in row if column and TEST_COLUMN.fullmatch(column)]
    return sorted(columns, key=lambda column: int(column.removeprefix(TEST)))


def _model(source: str, row: PublishedRow) -> Model:
    last = _test_columns(row)[-1]
    performance = _number(source, row, last, maximum=1.0)
    if performance is None:
        raise ScoreError(
            f"{source}: {shown(row['model'])} has no {last}, expected a number from 0 to 1. "
            "Fill it in, or remove the row."
        )
    params = _number(source, row, "num_params")
    resources: dict[str, float | None] = {}
    for name, (column, unit) in RESOURCE_COLUMNS.items():
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


def _number(source: str, row: PublishedRow, column: str, maximum: float = MAX_VALUE) -> float | None:
    """Return a cell's number, or None if it is empty."""
    text = row[column].strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and 0 <= value <= maximum):
        raise ScoreError(
            f"{source}: {column} = {excerpt(text)!r} of {shown(row['model'])}, expected a number from 0 to "
            f"{maximum:g}. Correct it, or leave it empty."
        )
    return value


def question(a: str, b: str) -> Question:
    """Return the question about two sets: the table does not state how they differ."""
    contrast = f"with {b} instead of {a}"
    differs = (f"set: {a} in A, {b} in B",)
    return Question("Do A and B differ?", "B", 1, contrast, (a, b), differs, is_choice=False)


def caveats(a: str, b: str, sides: tuple[Side, Side]) -> tuple[str, ...]:
    """Return the caveats of two sets of such a table."""
    found = [
        f"The sets are {a} and {b}. The table does not state how they differ, "
        "or if they have the same test images.",
        "Its time (PePR-T) is that of the last epoch alone, and its memory (PePR-M) that of the GPU.",
    ]
    if unreliable_scores(sides):
        equal, known = _equal_energies(sides)
        found.append(
            f"{equal} of {known} models have the same training energy in both sets, within 0.1 %, so these "
            "energies were not all measured. Do not rely on PePR-E."
        )
    return tuple(found)


def unreliable_scores(sides: tuple[Side, Side]) -> tuple[str, ...]:
    """Return the letters of scores whose energies were not all measured; CO2eq follows from the energy."""
    equal, known = _equal_energies(sides)
    return ("E", "C") if known >= MIN_MODELS and equal > MAX_EQUAL_SHARE * known else ()


def _equal_energies(sides: tuple[Side, Side]) -> tuple[int, int]:
    """Return how many models have the same training energy in both sets, and for how many both are known."""
    others = {model.name: model.resources["train_energy"] for model in sides[1].models}
    equal = 0
    known = 0
    for model in sides[0].models:
        energy = model.resources["train_energy"]
        other = others.get(model.name)
        if energy is not None and other is not None:
            known += 1
            equal += abs(energy - other) <= EQUAL_ENERGY * max(energy, other)
    return equal, known
