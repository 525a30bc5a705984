"""How untrusted files are opened: regular files only, never larger than their kind allows.

Every reader of the package opens its files here; tests/untrusted/test_untrusted_gate.py lists the exceptions.
Standard library only, and no error class of ours: the caller knows the purpose of a file.
"""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

MIB = 1 << 20
# A recipe or an export variant. All that come with pepr_edge are below 8 KiB.
TOML_BYTES = MIB // 16
# A manifest holds the raw latencies of one profile: 60 s of a model that takes 0.1 ms are about 8 MB.
MANIFEST_BYTES = 32 * MIB
# A record of a run, a field report (one such profile per bundle), bounds.
RECORD_BYTES = 256 * MIB

# A picture, or a film of which one frame is used.
IMAGE_BYTES = 2048 * MIB

# A pipe without a writer would block the opening for ever; a terminal would become that of this process.
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


def open_regular(path: str | Path) -> BufferedReader:
    """Open a regular file, or a link to one, to read.

    Raises:
        OSError: it is missing, cannot be opened, or is a folder, pipe, device or socket; `strerror` says
            which.
    """
    # Opening some devices has an effect, so they are refused before; the file may have changed since then.
    _check_regular(Path(path).stat().st_mode, path)
    descriptor = os.open(path, _FLAGS)
    try:
        _check_regular(os.fstat(descriptor).st_mode, path)
    except OSError:
        os.close(descriptor)
        raise
    # Not within the try: an interrupt may come when the file object, which closes the descriptor, is there.
    return os.fdopen(descriptor, "rb")


def content(path: Path, limit_bytes: int) -> bytes:
    """Return the bytes of a file.

    Raises:
        OSError: as `open_regular`; or it is larger than the limit.
    """
    with open_regular(path) as file:
        # In blocks: read(limit) would ask for the memory of the whole limit at once.
        blocks = []
        size = 0
        while block := file.read(MIB):
            blocks.append(block)
            size += len(block)
            if size > limit_bytes:
                raise OSError(errno.EFBIG, f"larger than {limit_bytes / MIB:g} MiB", str(path))
    return b"".join(blocks)


def _check_regular(mode: int, path: str | Path) -> None:
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, "a folder, not a file", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
