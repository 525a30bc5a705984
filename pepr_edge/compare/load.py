"""What the user gave, a run directory or TABLE.csv:SET, to two sides and their question."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pepr_edge.compare import differences, published, runs
from pepr_edge.compare.model import ComparisonInput
from pepr_edge.errors import RunError, ScoreError
from pepr_edge.run_dir.reader import load


@dataclass(frozen=True)
class Given:
    """One argument: a directory, or a table and one of its sets."""

    text: str
    path: Path
    set_name: str | None

    @property
    def is_run(self) -> bool:
        """Whether it is a directory; whether that is a run's shows when it is read."""
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
    first, second = parse(a), parse(b)
    if (first.path.resolve(), first.set_name) == (second.path.resolve(), second.set_name):
        raise ScoreError(f"{a} and {b} are the same. Give two runs, or two sets of a table.")
    if first.is_run != second.is_run:
        raise ScoreError(
            f"{a} and {b}: a run and a table, whose costs were not obtained in one way. Give two runs, or two sets of a table."
        )
    if first.is_run:
        results = load(first.path), load(second.path)
        left, right = runs.sides(*results, (a, b), metric, variant)
        return ComparisonInput(left, right, differences.question(*results), differences.caveats(*results))
    if metric not in (None, published.METRIC):
        raise ScoreError(
            f"--performance {metric!r}: a table holds test {published.METRIC} alone. Leave the option out."
        )
    if variant is not None:
        raise ScoreError(f"--variant {variant!r}: a table has no variants. Leave the option out.")
    left, right = (published.read(given.text, given.path, given.set_name) for given in (first, second))
    names = [given.set_name or given.path.stem for given in (first, second)]
    if names[0] == names[1]:
        names = [f"{given.path.stem} {name}" for given, name in zip((first, second), names, strict=True)]
    return ComparisonInput(
        left,
        right,
        published.question(names[0], names[1]),
        published.caveats(names[0], names[1], (left, right)),
        published.doubted((left, right)),
    )


def parse(text: str) -> Given:
    """Take an argument apart.

    Raises:
        RunError: there is no such directory or file.
    """
    path = Path(text)
    if path.exists():
        return Given(text, path, None)
    # The last colon: others may belong to the path.
    table, colon, name = text.rpartition(":")
    if colon and Path(table).is_file():
        return Given(text, Path(table), name)
    raise RunError(
        f"{text}: no such run directory or table. Give the directory of a run, or a table and its set, TABLE.csv:SET."
    )
