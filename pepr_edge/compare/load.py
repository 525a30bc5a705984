"""Read the two arguments, a run directory or TABLE.csv:SET each, into two sides and their question."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pepr_edge.compare import differences, published, runs
from pepr_edge.compare.model import ComparisonInput
from pepr_edge.compare.seeds import by_seed
from pepr_edge.errors import RunError, ScoreError
from pepr_edge.run_dir.reader import load


@dataclass(frozen=True)
class Argument:
    """One argument: a directory, or a table and one of its sets."""

    text: str
    path: Path
    set_name: str | None

    @property
    def is_folder(self) -> bool:
        """True for a directory, which may still be no run directory."""
        return self.path.is_dir()


def read(a: str, b: str, metric: str | None = None, variant: str | None = None) -> ComparisonInput:
    """Read both sides.

    Args:
        a, b: as the user wrote them.
        metric: of runs; None takes that of both recipes.
        variant: of runs; None takes fp32.
    Raises:
        RunError: neither a run nor a table.
        ScoreError: the sides are the same, or cannot be compared.
    """
    first = parse(a)
    second = parse(b)
    if (first.path.resolve(), first.set_name) == (second.path.resolve(), second.set_name):
        raise ScoreError(f"{a} and {b} are the same. Give two runs, or two sets of a table.")
    if first.is_folder != second.is_folder:
        raise ScoreError(
            f"{a} and {b}: a run and a table, whose costs were not obtained in the same way. "
            "Give two runs, or two sets of a table."
        )
    if first.is_folder:
        return _read_runs(first, second, metric, variant)
    if metric not in (None, published.METRIC):
        raise ScoreError(
            f"--performance {metric!r}: a table holds test {published.METRIC} alone. Leave the option out."
        )
    if variant is not None:
        raise ScoreError(f"--variant {variant!r}: a table has no variants. Leave the option out.")
    return _read_tables(first, second)


def _read_runs(first: Argument, second: Argument, metric: str | None, variant: str | None) -> ComparisonInput:
    results_a = load(first.path)
    results_b = load(second.path)
    a, b = runs.sides(results_a, results_b, (first.text, second.text), metric, variant)
    question = differences.question(results_a, results_b)
    warnings = differences.caveats(results_a, results_b)
    # The files of a variant that the user names are there of one seed alone.
    of_seeds = by_seed(results_a, results_b, (a, b)) if variant is None else None
    if of_seeds is None:
        return ComparisonInput(a, b, question, warnings)
    name, a, b = of_seeds
    return ComparisonInput(a, b, question, warnings, seeds_of=name)


def _read_tables(first: Argument, second: Argument) -> ComparisonInput:
    a = published.read(first.text, first.path, first.set_name)
    b = published.read(second.text, second.path, second.set_name)
    a_name = first.set_name or first.path.stem
    b_name = second.set_name or second.path.stem
    if a_name == b_name:
        a_name = f"{first.path.stem} {a_name}"
        b_name = f"{second.path.stem} {b_name}"
    return ComparisonInput(
        a,
        b,
        published.question(a_name, b_name),
        published.caveats(a_name, b_name, (a, b)),
        published.unreliable_scores((a, b)),
    )


def parse(text: str) -> Argument:
    """Split an argument into its path and the name of the set.

    Raises:
        RunError: there is no such directory or file.
    """
    path = Path(text)
    if path.exists():
        return Argument(text, path, None)
    # Split at the last colon: others may belong to the path.
    table, colon, name = text.rpartition(":")
    if colon and Path(table).is_file():
        return Argument(text, Path(table), name)
    raise RunError(
        f"{text}: no such run directory or table. "
        "Give the directory of a run, or a table and its set, TABLE.csv:SET."
    )
