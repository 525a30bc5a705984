"""Files of a candidate's folder on their way to a node and home: what has changed since the last time, whole or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pepr_edge.run_dir.store import write_bytes

Stamps = dict[str, tuple[int, int, int]]  # by path within the folder: what changes whenever a file is written
LOG = "log.txt"


@dataclass(frozen=True)
class FileChanges:
    """Contents of files by their paths within the folder, "/" between, and the paths of those that are no longer there."""

    files: dict[str, bytes]
    gone: tuple[str, ...] = ()


def stamps(folder: Path, entire: bool = True) -> Stamps:
    """What is in a folder now, but for what is just being written. Not `entire`: of how far it is, so neither subfolders nor the log."""
    found = {}
    for path in sorted(folder.glob("**/*" if entire else "*")):
        if path.is_file() and not path.name.startswith(".") and (entire or path.name != LOG):
            stat = path.stat()
            found[path.relative_to(folder).as_posix()] = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    return found


def pack(folder: Path, known: Stamps, entire: bool = True) -> tuple[FileChanges, Stamps] | None:
    """What has changed in a folder, and the stamps to know it by.

    Args:
        folder: of which.
        known: what the other side has.
        entire: see `stamps`.
    Returns:
        None where a file changed meanwhile, so that some of these might not belong together: ask again later.
    """
    try:
        now = stamps(folder, entire)
        files = {
            name: (folder / name).read_bytes() for name, stamp in now.items() if known.get(name) != stamp
        }
        if stamps(folder, entire) != now:
            return None
    except FileNotFoundError:
        return None
    elsewhere = {} if entire else {name: stamp for name, stamp in known.items() if "/" in name or name == LOG}
    return FileChanges(
        files, tuple(name for name in known if name not in now and name not in elsewhere)
    ), elsewhere | now


def unpack(parcel: FileChanges, folder: Path) -> None:
    """Write the files of a parcel into a folder. Records come after what they name, and nothing is removed before all is there."""
    for name in sorted(parcel.files, key=lambda name: name.endswith(".json")):
        write_bytes(folder / name, parcel.files[name])
    for name in parcel.gone:
        (folder / name).unlink(missing_ok=True)
