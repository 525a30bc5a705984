"""Copy the changed files of a candidate's folder to a node and home again: complete or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pepr_edge.run_dir.layout import LOG, REPEAT, repeat_folder
from pepr_edge.run_dir.store import write_bytes

# Time of modification, size and inode, by path within the folder: one of them changes with each write.
Stamps = dict[str, tuple[int, int, int]]


@dataclass(frozen=True)
class FileChanges:
    """Contents of changed files by path within the folder ("/" between), and the paths of removed files."""

    files: dict[str, bytes]
    gone: tuple[str, ...] = ()


def stamps(folder: Path, entire: bool = True, repeat: int = 0) -> Stamps:
    """Return the stamps of a folder's files, without those that are still being written.

    Args:
        folder: of a candidate, or of a repeat of its training.
        entire: with subfolders and the log; else only the files that tell the progress of a training.
        repeat: the repeat of the training whose subfolder is wanted; 0: none. Other jobs may work in those.
    """
    files = {}
    for path in sorted(folder.glob("**/*" if entire else "*")):
        if path.is_file() and not path.name.startswith(".") and (entire or path.name != LOG):
            name = path.relative_to(folder)
            if not REPEAT.fullmatch(name.parts[0]) or repeat_folder(folder, repeat) == path.parent:
                stat = path.stat()
                files[name.as_posix()] = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    return files


def pack(
    folder: Path, known: Stamps, entire: bool = True, repeat: int = 0
) -> tuple[FileChanges, Stamps] | None:
    """Return the changes of a folder, and its new stamps.

    Args:
        folder: of a candidate.
        known: the stamps of the files that the other side has.
        entire, repeat: see `stamps`.
    Returns: None if a file changed during the call, so that the contents may not belong together: call again
        later.
    """
    try:
        now = stamps(folder, entire, repeat)
        changed = [name for name, stamp in now.items() if known.get(name) != stamp]
        files = {name: (folder / name).read_bytes() for name in changed}
        if stamps(folder, entire, repeat) != now:
            return None
    except FileNotFoundError:
        return None
    not_looked_at = {}
    if not entire:
        not_looked_at = {name: stamp for name, stamp in known.items() if "/" in name or name == LOG}
    gone = tuple(name for name in known if name not in now and name not in not_looked_at)
    return FileChanges(files, gone), not_looked_at | now


def unpack(changes: FileChanges, folder: Path) -> None:
    """Apply changes to a folder: first data files, then the records that name them, then removals."""
    for name in sorted(changes.files, key=lambda name: name.endswith(".json")):
        write_bytes(folder / name, changes.files[name])
    for name in changes.gone:
        (folder / name).unlink(missing_ok=True)
