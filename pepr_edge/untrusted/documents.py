"""Files that others wrote, before they are believed: regular, no larger than is sensible, and of one meaning only.

Standard library alone, and none of our own words: whoever reads a file says what it is for.
"""

from __future__ import annotations

import errno
import json
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MIB = 1 << 20
# A recipe or an export variant; all that come with pepr_edge are below 8 KiB.
TOML_BYTES = MIB // 16
# A manifest holds the raw latencies of one profile: 60 s of a model that takes 0.1 ms are some 8 MB.
MANIFEST_BYTES = 32 * MIB
# A record of a run, a field report (one such profile a bundle), bounds.
RECORD_BYTES = 256 * MIB
NAME_CHARACTERS = 200

# What moves a terminal's cursor or turns a line's direction; tabs and line ends are left to those who print.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
# Of these Windows makes devices, whatever follows behind a point.
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def content(path: Path, limit_bytes: int) -> bytes:
    """A file's bytes.

    Raises:
        OSError: no such file, not a regular one (a pipe would make us wait for ever), or larger than the limit; `strerror` says which.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    with open(path, "rb") as file:
        found = file.read(limit_bytes + 1)
    if len(found) > limit_bytes:
        raise OSError(errno.EFBIG, f"larger than {limit_bytes / MIB:g} MiB", str(path))
    return found


def json_document(text: bytes) -> Any:
    """A JSON document that every reader understands alike.

    Raises:
        ValueError: not JSON in UTF-8, NaN or infinite, a key twice in one object, nested too deeply, or text with control characters.
            What it says is one line.
    """
    try:
        document = json.loads(text.decode(), object_pairs_hook=_object, parse_constant=_constant)
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    refuse_control(document)
    return document


def refuse_control(document: object) -> None:
    """Refuse a document one of whose texts would change the screen that it is shown on.

    Raises:
        ValueError: there is one; what it says is one line.
    """
    for text in _texts(document):
        if CONTROL.search(text):
            raise ValueError(f"control characters in {shown(text)[:60]}")


def shown(text: str) -> str:
    """A stranger's text for one line of a terminal: as it is, or as Python would write it where it holds what is no character."""
    return ascii(text) if CONTROL.search(text) or "\n" in text or "\t" in text else text


def name_fault(name: str) -> str | None:
    """Why a name cannot be a file's or a folder's on every system, in words that follow "expected"; None where it can."""
    if not name or len(name) > NAME_CHARACTERS:
        return f"a name of 1 to {NAME_CHARACTERS} characters"
    if any(sign in '/\\:*?"<>|\n\t' for sign in name) or CONTROL.search(name) or set(name) == {"."}:
        return "a plain name: no slash, backslash, colon, *, ?, quotation mark, <, >, | or control character, and not only points"
    if name != name.strip() or name.endswith("."):
        return "a name without a space at its ends or a point at its end"
    if RESERVED.fullmatch(name):
        return "a name that is no device on Windows"
    return None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in found if names.count(name) > 1)
        raise ValueError(f"the key {shown(twice)[:60]} twice in one object")
    return found


def _constant(name: str) -> float:
    raise ValueError(f"{name}, which is no number")


def _texts(document: object) -> Iterator[str]:
    """All texts of a document, its keys too. No recursion: it may be nested as deeply as its parser allows."""
    left = [document]
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            left.extend(one for one in value if isinstance(one, str | list | dict))
        elif isinstance(value, dict):
            yield from value
            left.extend(value.values())
