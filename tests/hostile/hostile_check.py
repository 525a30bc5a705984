"""Tables of hostile inputs: what is spoiled, the command that meets it, and what it must end in."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from command_line import Outcome

Spoil = Callable[[Path], object]
Run = Callable[..., Outcome]

# What would change a terminal; the tables and messages have line ends and tabs.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
MAX_LINES = 130
MAX_CHARACTERS = 1100


class Row(NamedTuple):
    """One hostile input.

    `words` are the command, in which {here} stands for the folder of the test. `spoil` is called with the
    path `target` in that folder. `status` is one of those that are allowed, `word` is in what the command
    says, and `also` asserts what else must hold.
    """

    words: tuple[str, ...]
    status: int | tuple[int, ...]
    word: str = ""
    target: str = ""
    spoil: Spoil = lambda path: None
    also: Callable[[Outcome], object] | None = None


def meet(row: Row, here: Path, run: Run) -> Outcome:
    """Spoil what the row says, and run its command."""
    row.spoil(here / row.target)
    return run(*(word.replace("{here}", str(here)) for word in row.words))


def try_row(row: Row, here: Path, run: Run) -> None:
    """Assert that a row ends as it must, and that what the command said is fit to be read."""
    done = meet(row, here, run)
    check(done, row.status, row.word)
    if row.also is not None:
        row.also(done)


def check(done: Outcome, status: int | Iterable[int], word: str = "") -> None:
    """Assert how a command ended: the status and a word, in few short lines, without a traceback."""
    said = done.out + done.err
    allowed = (status,) if isinstance(status, int) else tuple(status)
    assert done.status in allowed, said[:2000]
    assert word in said, f"{word!r} is not in {said[:2000]!r}"
    assert "Traceback" not in said
    assert len(done.err.splitlines()) <= MAX_LINES
    assert max(map(len, done.err.splitlines()), default=0) <= MAX_CHARACTERS
    assert not CONTROL.search(said)


def write(content: bytes, beside: str = "", other: bytes = b"") -> Spoil:
    """Return what puts a file of this content in a place, and another beside it."""

    def put(path: Path) -> None:
        path.write_bytes(content)
        if beside:
            path.with_name(beside).write_bytes(other)

    return in_place(put)


def in_place(put: Spoil) -> Spoil:
    """Return what removes a file and puts something else in its place."""

    def replace(path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        put(path)

    return replace


def _bind_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the path of a socket has at most 107 characters
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def _write_holes(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(3 << 30)


HOLES = "3 GiB of holes"
# What may lie where a file is expected.
PLACES: dict[str, Spoil] = {
    "missing": in_place(lambda path: None),
    "empty": write(b""),
    "random": write(bytes(range(256)) * 8),
    "a pipe": in_place(lambda path: os.mkfifo(path)),
    "a folder": in_place(Path.mkdir),
    "a socket": in_place(_bind_socket),
    "a link to zeros": in_place(lambda path: path.symlink_to("/dev/zero")),
    "a link to nothing": in_place(lambda path: path.symlink_to("nowhere")),
    "a link to itself": in_place(lambda path: path.symlink_to(path.name)),
    "a link to its folder": in_place(lambda path: path.symlink_to(".")),
    HOLES: in_place(_write_holes),
    "not UTF-8": write(b'name = "\xff"\n'),
    "UTF-16": write("name,value\n".encode("utf-16")),
    "NUL bytes": write(b"\0" * 100),
}
