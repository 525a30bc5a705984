"""Documents, stage files and pixels of a run directory: checked before a run, written and cleared.

Stage files of a candidate are known by their names. Documents, which users open and may replace, are known by
their content (`pepr_edge.run_dir.owned`). Prepared pixels lie in folders that carry a marker.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from pepr_edge.errors import RunError
from pepr_edge.recipe import AUTO
from pepr_edge.recipe.variants import names
from pepr_edge.records import Interpolation, Ranking, Record, RunInfo, SearchLog
from pepr_edge.run_dir.layout import (
    BUNDLES,
    CANDIDATES,
    DATA_CHECK,
    EVENTS,
    FIGURES,
    OUTPUTS,
    PIXEL_FILES,
    PIXELS,
    PIXELS_MARKER,
    PRIVATE,
    RANKING,
    RECIPE,
    REPORT,
    RUN,
    SEARCH,
    SELFTEST_IMAGES,
    SKIPPED,
    TABLE,
    TEMPORARY,
    candidate_folder,
    pixels_folder,
    stage_files,
)
from pepr_edge.run_dir.owned import (
    check_owned,
    is_os_metadata,
    is_owned,
    is_owned_folder,
    remove_matching,
    remove_owned,
    start_record,
    write_owned,
)
from pepr_edge.run_dir.store import read_record, set_aside, write_text
from pepr_edge.untrusted import files
from pepr_edge.untrusted.paths import exists
from pepr_edge.untrusted.shown import shown

RECORDS: dict[str, type[Record]] = {RUN: RunInfo, RANKING: Ranking, SEARCH: SearchLog}


def check_run_dir(run_dir: Path) -> None:
    """Refuse a folder that is neither free for a run nor a run directory, before anything in it is touched.

    Raises:
        RunError: it holds something else, such as the images themselves.
    """
    if run_dir.is_symlink() and not run_dir.exists():
        raise RunError(f"{run_dir}: a link that leads nowhere. Give another --out.")
    if not run_dir.is_dir():
        return
    _check_no_links(run_dir)
    present = set()
    for path in run_dir.iterdir():
        # A process that was killed at its start leaves a file that was being written.
        if not is_os_metadata(path) and not TEMPORARY.fullmatch(path.name):
            present.add(path.name)
    # A process that is just starting has made its lock and nothing else.
    if present <= {PRIVATE} or _is_record(run_dir / RUN, RunInfo):
        return
    if not is_owned_folder(run_dir) or not present <= OUTPUTS:
        raise RunError(
            f"{run_dir}: not empty, and no run directory (no {RUN}). Give an --out that is empty or new."
        )


def _check_no_links(run_dir: Path) -> None:
    """Refuse links to folders among our own folders: what they lead to would be written to and cleared."""
    for name in (PRIVATE, CANDIDATES, BUNDLES, FIGURES, SELFTEST_IMAGES):
        if (run_dir / name).is_symlink():
            raise _link_error(run_dir / name)
        for root, folders, _ in os.walk(run_dir / name):
            for folder in folders:
                if Path(root, folder).is_symlink():
                    raise _link_error(Path(root, folder))


def _link_error(path: Path) -> RunError:
    return RunError(f"{path}: a link, expected a folder. Put the folder itself there, or give another --out.")


def check_source_separate(source: str, run_dir: Path) -> None:
    """Refuse images inside the run directory, and a run directory inside the folder of the images.

    Args:
        source: the recipe's data source; names of datasets are no paths and always apart.
        run_dir: the run directory, which need not exist yet.
    Raises:
        RunError: one lies inside the other.
    """
    if not exists(source):
        return
    images = Path(source).resolve()
    out = run_dir.resolve()
    if images == out or out in images.parents:
        raise RunError(
            f"--data {source} lies inside --out {run_dir}: images and results need separate folders. "
            "Give another --out."
        )
    if images.is_dir() and images in out.parents:
        raise RunError(
            f"--out {run_dir} lies inside --data {source}: the next run would read results as images. "
            "Give another --out."
        )


def check_weights_separate(weights: Iterable[str | None], run_dir: Path) -> None:
    """Refuse weights among the files of the candidates, which a run replaces and `--fresh` deletes.

    Args:
        weights: paths of a file and of a folder of weights; None: the recipe names none.
        run_dir: the run directory, which need not exist yet.
    Raises:
        RunError: one lies there.
    """
    candidates = Path(os.path.realpath(run_dir / CANDIDATES))
    for path in weights:
        place = None if path is None else Path(os.path.realpath(path))
        if place is not None and candidates in (place, *place.parents):
            raise RunError(
                f"{shown(str(path))} lies inside {candidates.parent.name}/{CANDIDATES}, whose files this run "
                "replaces. Copy the weights elsewhere, or give another --out."
            )


def check_images_separate(files: Iterable[Path], run_dir: Path, by_folder: bool) -> None:
    """Refuse a run directory that holds images of the dataset, or lies inside a folder of images.

    Args:
        files: the image files, by the paths that the dataset names, which may lead through links.
        run_dir: the run directory, which need not exist yet.
        by_folder: every image of a folder belongs to the dataset.
    Raises:
        RunError: it does.
    """
    out = run_dir.resolve()
    for folder in {file.parent for file in files}:
        images = folder.resolve()
        if images == out or out in images.parents:
            raise RunError(
                f"{folder} lies inside --out {run_dir}: images and results need separate folders. "
                "Give another --out."
            )
        if by_folder and images in out.parents:
            raise RunError(
                f"--out {run_dir} lies inside {folder}: the next run would read results as images. "
                "Give another --out."
            )


def check_documents(run_dir: Path, on_message: Callable[[str], None]) -> None:
    """Make sure that the names of our documents are free or ours, before a run does anything.

    Records that cannot be read (after a power cut, for example) are set aside and made again. Any other file
    that is not ours is refused.

    Args:
        run_dir: a folder that passed `check_run_dir`.
        on_message: called with a line for each file that was set aside.
    Raises:
        OutputError: a document was not written by pepr_edge, or was changed since.
    """
    check_documents_free(run_dir, [TABLE, REPORT, SKIPPED, DATA_CHECK])
    for name, kind in RECORDS.items():
        path = run_dir / name
        if (path.exists() or path.is_symlink()) and not _is_record(path, kind):
            kept = set_aside(path)
            on_message(f"{path}: not a {kind.__name__} record, kept as {kept.name} and made again")
    events = run_dir / EVENTS
    if events.is_symlink() or (events.exists() and not events.is_file()):
        raise RunError(f"{events}: not a regular file, expected the log of this run. Move it away.")


def set_folders_aside(run_dir: Path, on_message: Callable[[str], None]) -> None:
    """Set folders aside that have the names of a candidate's files: no file could be written in their place.

    Args:
        run_dir: a folder that passed `check_run_dir`.
        on_message: called with a line for each of them.
    """
    ours = stage_files([AUTO, *names()])
    for candidate in sorted((run_dir / CANDIDATES).glob("*/")):
        for root, folders, _ in os.walk(candidate):
            for path in [Path(root, name) for name in sorted(folders)]:
                if ours.fullmatch(path.relative_to(candidate).as_posix()):
                    folders.remove(path.name)
                    on_message(f"{path}: a folder, expected a file, kept as {set_aside(path).name}")


def check_documents_free(run_dir: Path, names: Iterable[str]) -> None:
    """Raise OutputError if one of the documents' names is taken by a file that is not ours."""
    check_owned(run_dir, names, recognise)


def write_document(run_dir: Path, name: str, text: str, force: bool = False) -> None:
    """Write one of the documents of a run directory.

    Raises:
        OutputError: the name is taken by a file that is not ours.
    """
    write_owned(run_dir, name, text.encode(), recognise, force)


def write_recipe(run_dir: Path, text: str, on_message: Callable[[str], None]) -> None:
    """Keep a run's recipe in its directory. One that was edited there is kept beside it."""
    path = run_dir / RECIPE
    if path.is_file() and files.content(path, files.RECORD_BYTES) == text.encode():
        return
    if path.exists() and not is_owned(run_dir, RECIPE, recognise):
        on_message(f"{path}: was edited since the last run, kept as {set_aside(path).name}")
    write_document(run_dir, RECIPE, text)


def remove_document(run_dir: Path, name: str) -> None:
    """Delete one of the documents of a run directory if it exists and is ours."""
    remove_owned(run_dir, [name], recognise)


def clear(run_dir: Path) -> None:
    """Delete records, stage files of the candidates and pixels, for --fresh. Other files stay."""
    ours = stage_files([AUTO, *names()])
    with suppress(RunError):
        for candidate in read_record(run_dir / RUN, RunInfo).candidates:
            remove_matching(candidate_folder(run_dir, candidate), ours)
    remove_pixels(run_dir)
    for name in RECORDS:
        (run_dir / name).unlink(missing_ok=True)


def create_pixels_folder(run_dir: Path, px: int, interpolation: Interpolation = "bilinear") -> Path:
    """Make the folder of a run's pixels, with the marker that says that it is ours.

    Raises:
        RunError: there is a folder of that name without the marker.
    """
    folder = pixels_folder(run_dir, px, interpolation)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / PIXELS_MARKER).is_file():
        raise RunError(f"{folder}: was not made by pepr_edge, as it holds no {PIXELS_MARKER}. Move it away.")
    start_record(run_dir)
    document = {
        "schema_version": 1,
        "about": f"images of the run in {run_dir.resolve().name}, deleted when it ends",
    }
    write_text(folder / PIXELS_MARKER, json.dumps(document) + "\n")
    return folder


def remove_pixels(run_dir: Path) -> None:
    """Delete the pixels of a run: only files of our names, in folders that carry our marker."""
    for folder in (run_dir / PRIVATE).glob(f"{PIXELS}*"):
        if (folder / PIXELS_MARKER).is_file():
            remove_matching(folder, PIXEL_FILES)


def recognise(path: Path) -> bool:
    """True if a document's content says that pepr_edge wrote it: version 0.1.0 kept no record of files."""
    head = files.content(path, files.RECORD_BYTES)[:4096]
    if path.name == REPORT:
        return b"pepr_edge report</title>" in head
    if path.name == TABLE:
        return head.startswith(b"rank,candidate,architecture,variant,status,reason,")
    if path.name == SKIPPED:
        return head.startswith(b"image,reason\n")
    if path.name == RECIPE:
        return b"[candidates]" in files.content(path, files.TOML_BYTES)
    return False


def _is_record(path: Path, kind: type[Record]) -> bool:
    try:
        read_record(path, kind)
    except RunError:
        return False
    return not path.is_symlink()
