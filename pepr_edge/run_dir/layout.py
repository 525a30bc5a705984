"""The files of a run directory by their names: which are ours, and how they are written and cleared.

Stage files of a candidate lie in `candidates/<architecture>@<px>/` and are known by their names; documents, which users open and may
replace, are known by their content (`pepr_edge.run_dir.owned`); prepared pixels lie in `.pepr_edge/pixels-<px>/`, which carries a marker.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from pepr_edge.errors import RunError
from pepr_edge.records import Ranking, Record, RunInfo, SearchLog
from pepr_edge.run_dir.owned import (
    check_owned,
    is_os_metadata,
    is_owned,
    is_owned_folder,
    remove_known,
    remove_owned,
    set_aside,
    start_record,
    write_owned,
)
from pepr_edge.run_dir.store import PRIVATE, TEMPORARY, read_record, write_text
from pepr_edge.untrusted import documents

RUN, SEARCH, RANKING = "run.json", "search.json", "ranking.json"
RECIPE, TABLE, REPORT, SKIPPED, EVENTS = (
    "recipe.toml",
    "ranking.csv",
    "report.html",
    "skipped_images.csv",
    "events.jsonl",
)
CANDIDATES, BUNDLES, FIGURES, SELFTEST_IMAGES = "candidates", "bundles", "report", "selftest_images"
RECORDS: dict[str, type[Record]] = {RUN: RunInfo, RANKING: Ranking, SEARCH: SearchLog}
PIXELS, MARKER = "pixels-", "pixels.json"
PIXEL_FILES = re.compile(
    r"(\.partial-\d+/)?((train|val|test)_(pixels|labels)\.npy(\.shorter)?|skipped_images\.csv|source\.txt|info\.json|pixels\.json"
    r"|" + TEMPORARY.pattern + r")"
)
# Of bundles that were being written when the process was killed.
UNFINISHED_BUNDLES = re.compile(
    r"bundles/[^/]+/((manifest|config|preprocessor_config)\.json|MODEL_CARD\.md|(model|fallback)\.onnx|selftest\.npz"
    r"|" + TEMPORARY.pattern + r")"
)
# Within the folder of a candidate, of a variant, and of a variant's screening.
STAGE_FILES = re.compile(
    r"((train|failure|probe|training|spent)\.json|checkpoint\.safetensors|logits\.npz|log\.txt|training-\d+\.pt"
    r"|(looks/)?[^/]+/(model(\.part|\.simpler)?\.onnx|(export|profile|failure|look)\.json|predictions\.npz|program\.pt2(\.part)?)"
    r"|([^/]+/){0,2}" + TEMPORARY.pattern + r")"
)  # fmt: skip


def check_run_dir(run_dir: Path) -> None:
    """Refuse a folder that is neither free for a run nor a run directory, before anything in it is touched.

    Raises:
        RunError: it holds something else, such as the images themselves.
    """
    if not run_dir.is_dir():
        return
    names = {path.name for path in run_dir.iterdir() if not is_os_metadata(path.name)}
    # A process that is just beginning has made its lock and nothing else.
    if names <= {PRIVATE} or _is_record(run_dir / RUN, RunInfo):
        return
    ours = {
        PRIVATE,
        RUN,
        SEARCH,
        RANKING,
        RECIPE,
        TABLE,
        REPORT,
        SKIPPED,
        EVENTS,
        CANDIDATES,
        BUNDLES,
        FIGURES,
        SELFTEST_IMAGES,
    }
    if not is_owned_folder(run_dir) or not names <= ours:
        raise RunError(
            f"{run_dir}: not empty, and no run directory (no run.json). Give an --out that is empty or new."
        )


def check_apart(source: str, run_dir: Path) -> None:
    """Refuse images inside the run directory, and a run directory inside the folder of the images.

    Args:
        source: the recipe's data source; names of datasets are no paths and always apart.
        run_dir: the run directory, which need not be there yet.
    Raises:
        RunError: one lies inside the other.
    """
    images = Path(source)
    if not images.exists():
        return
    images, out = images.resolve(), run_dir.resolve()
    if images == out or out in images.parents:
        raise RunError(
            f"--data {source}: lies inside --out {run_dir}. Images and results need folders of their own: give another --out."
        )
    if images.is_dir() and images in out.parents:
        raise RunError(
            f"--out {run_dir}: lies inside --data {source}, where the next run would take it for images. Give another --out."
        )


def check_documents(run_dir: Path, tell: Callable[[str], None]) -> None:
    """Make sure that the names of our documents are free or ours, before a run does anything.

    Records that cannot be read (a power cut may leave them so) are set aside and made again; any other file that is not ours is refused.

    Args:
        run_dir: a folder that `check_run_dir` let through.
        tell: called with what was set aside.
    Raises:
        OutputError: a document was not written by pepr_edge, or was changed since.
    """
    check_documents_free(run_dir, [TABLE, REPORT, SKIPPED])
    for name, kind in RECORDS.items():
        path = run_dir / name
        if (path.exists() or path.is_symlink()) and not _is_record(path, kind):
            tell(f"{path}: not a {kind.__name__} record, kept as {set_aside(path).name} and made again")


def check_documents_free(run_dir: Path, names: Iterable[str]) -> None:
    """Raise OutputError if one of the documents' names is taken by a file that is not ours."""
    check_owned(run_dir, names, recognise)


def write_document(run_dir: Path, name: str, text: str, force: bool = False) -> None:
    """Write one of the documents of a run directory.

    Raises:
        OutputError: the name is taken by a file that is not ours.
    """
    write_owned(run_dir, name, text.encode(), recognise, force)


def write_recipe(run_dir: Path, text: str, tell: Callable[[str], None]) -> None:
    """Keep a run's recipe in its directory. One that was edited there since is kept beside it."""
    path = run_dir / RECIPE
    if path.is_file() and path.read_bytes() == text.encode():
        return
    if path.exists() and not is_owned(run_dir, RECIPE, recognise):
        tell(f"{path}: was edited since the last run, kept as {set_aside(path).name}")
    write_document(run_dir, RECIPE, text)


def remove_document(run_dir: Path, name: str) -> None:
    """Delete one of the documents of a run directory if it is there and ours."""
    remove_owned(run_dir, [name], recognise)


def clear(run_dir: Path) -> None:
    """Delete what a run made, for --fresh: records, stage files of the candidates that it names, and pixels. Other files stay."""
    with suppress(RunError):
        for candidate in read_record(run_dir / RUN, RunInfo).candidates:
            remove_known(run_dir / CANDIDATES / candidate.id, STAGE_FILES)
    remove_pixels(run_dir)
    for name in RECORDS:
        (run_dir / name).unlink(missing_ok=True)


def pixels_folder(run_dir: Path, px: int) -> Path:
    """Where a run keeps its images, decoded and resized to a size in pixels, until it ends."""
    return run_dir / PRIVATE / f"{PIXELS}{px}"


def start_pixels(run_dir: Path, px: int) -> Path:
    """Make the folder of a run's pixels, with the marker by which it is known to be ours.

    Raises:
        RunError: there is a folder of that name without the marker.
    """
    folder = pixels_folder(run_dir, px)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARKER).is_file():
        raise RunError(f"{folder}: was not made by pepr_edge, as it holds no {MARKER}. Move it away.")
    start_record(run_dir)
    document = {
        "schema_version": 1,
        "about": f"images of the run in {run_dir.resolve().name}, deleted when it ends",
    }
    write_text(folder / MARKER, json.dumps(document) + "\n")
    return folder


def remove_pixels(run_dir: Path) -> None:
    """Delete the pixels of a run: only files of our names, in folders that carry our marker."""
    for folder in (run_dir / PRIVATE).glob(f"{PIXELS}*"):
        if (folder / MARKER).is_file():
            remove_known(folder, PIXEL_FILES)


def remove_unfinished(run_dir: Path) -> None:
    """Delete bundles that were being written when an earlier process was killed."""
    for folder in (run_dir / PRIVATE).glob(f".{BUNDLES}.*.tmp"):
        remove_known(folder, UNFINISHED_BUNDLES)


def recognise(path: Path) -> bool:
    """True if a document of a run directory was written by pepr_edge, told by its content: version 0.1 kept no record of files."""
    head = documents.content(path, documents.RECORD_BYTES)[:4096]
    if path.name == REPORT:
        return b"pepr_edge report</title>" in head
    if path.name == TABLE:
        return head.startswith(b"rank,candidate,architecture,variant,status,reason,")
    if path.name == SKIPPED:
        return head.startswith(b"image,reason\n")
    if path.name == RECIPE:
        return b"[candidates]" in documents.content(path, documents.TOML_BYTES)
    return False


def _is_record(path: Path, kind: type[Record]) -> bool:
    try:
        read_record(path, kind)
    except RunError:
        return False
    return not path.is_symlink()
