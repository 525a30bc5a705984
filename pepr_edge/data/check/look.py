"""Look at a dataset without keeping its pixels, as `data check` and `init` do."""

from __future__ import annotations

from collections.abc import Callable

from pepr_edge.data import check
from pepr_edge.data.check.evidence import Evidence, Scan
from pepr_edge.data.formats import open_source, recognise
from pepr_edge.data.pixels import ImagePass
from pepr_edge.data.source import DataSettings
from pepr_edge.data.splits import assign_splits
from pepr_edge.errors import DataError, DatasetError
from pepr_edge.records import DataCheck, Problem
from pepr_edge.untrusted.shown import shown

Progress = Callable[[int, int], None]


def look(settings: DataSettings, progress: Progress | None = None) -> DataCheck:
    """Decode every image, and return what was understood of a dataset and what looks wrong.

    Args:
        settings: which data, and how a run would prepare it.
        progress: called with the number of images done and the total.
    Returns:
        What a run would find. A fault for which it would refuse the data is a problem of severity "error".
    Raises:
        DataError: the source is not found, or a package that its images need is not installed.
    """
    recognise(settings.source)
    try:
        source = open_source(settings)
        splits = assign_splits(source, settings)
    except DataError as error:
        return DataCheck(name=shown(settings.source), problems=(_as_problem(settings.source, error),))
    image_pass = ImagePass(source, splits, settings)
    scan = Scan()
    for done, decoded in enumerate(image_pass.decoded(), 1):
        scan.add(decoded)
        if progress is not None:
            progress(done, image_pass.total)
    return check.understood(Evidence.of(image_pass, scan))


def _as_problem(source: str, error: DataError) -> Problem:
    remedy = str(error).removeprefix(f"{source}: ")  # said before each problem
    if isinstance(error, DatasetError):
        return Problem(
            kind=error.kind,
            severity="error",
            count=error.count,
            examples=error.examples,
            remedy=remedy,
        )
    return Problem(kind="not_usable", severity="error", count=1, remedy=remedy)
