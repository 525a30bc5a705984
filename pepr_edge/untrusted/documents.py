"""Checks of untrusted files and JSON documents: regular files, limited sizes, one meaning only.

Standard library only, and no error class of ours: the caller knows the purpose of a file.
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
# A recipe or an export variant. All that come with pepr_edge are below 8 KiB.
TOML_BYTES = MIB // 16
# A manifest holds the raw latencies of one profile: 60 s of a model that takes 0.1 ms are about 8 MB.
MANIFEST_BYTES = 32 * MIB
# A record of a run, a field report (one such profile per bundle), bounds.
RECORD_BYTES = 256 * MIB
NAME_CHARACTERS = 200
# Characters of a message about an untrusted text.
EXCERPT_CHARACTERS = 60

# Characters that move a terminal's cursor or change the direction of a line. Tabs and line ends are not among
# them.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
# Device names on Windows, with any extension.
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
NAME_SEPARATORS = '/\\:*?"<>|\n\t'


def content(path: Path, limit_bytes: int) -> bytes:
    """Return the bytes of a file.

    Raises:
        OSError: the file is missing, not a regular one (a pipe would block for ever), or larger than the
            limit; `strerror` says which.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    with open(path, "rb") as file:
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise OSError(errno.EFBIG, f"larger than {limit_bytes / MIB:g} MiB", str(path))
    return data


def json_document(text: bytes) -> Any:
    """Return the document of a JSON text that every parser reads alike.

    Raises:
        ValueError: not JSON in UTF-8, a NaN or infinite number, a key twice in one object, nested too deeply,
            or control characters in a text. The message is one line.
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
    """Refuse a document with control characters, which would change the screen that shows it.

    Raises:
        ValueError: a text has one. The message is one line.
    """
    for text in _texts(document):
        if CONTROL.search(text):
            raise ValueError(f"control characters in {excerpt(text)}")


def shown(text: str) -> str:
    """Return an untrusted text for one line of a terminal, escaped if it holds control characters."""
    return ascii(text) if CONTROL.search(text) or "\n" in text or "\t" in text else text


def excerpt(text: str) -> str:
    """Return the beginning of an untrusted text, escaped as in `shown`."""
    return shown(text)[:EXCERPT_CHARACTERS]


def name_fault(name: str) -> str | None:
    """Return what a valid name would be, if this one is no file or folder name on every system, else None.

    The text follows "expected".
    """
    if not name or len(name) > NAME_CHARACTERS:
        return f"a name of 1 to {NAME_CHARACTERS} characters"
    has_separator = any(character in NAME_SEPARATORS for character in name)
    if has_separator or CONTROL.search(name) or set(name) == {"."}:
        return (
            "a plain name: no slash, backslash, colon, *, ?, quotation mark, <, >, | or control character, "
            "and not only points"
        )
    if name != name.strip() or name.endswith("."):
        return "a name without a space at its ends or a point at its end"
    if RESERVED.fullmatch(name):
        return "a name that is no device on Windows"
    return None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in document if names.count(name) > 1)
        raise ValueError(f"the key {excerpt(repeated)} twice in one object")
    return document


def _constant(name: str) -> float:
    raise ValueError(f"{name}, which is no number")


def _texts(document: object) -> Iterator[str]:
    """Yield all texts of a document and its keys.

    A stack, not recursion: the document may be nested as deeply as its parser allows.
    """
    stack = [document]
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            stack.extend(item for item in value if isinstance(item, str | list | dict))
        elif isinstance(value, dict):
            yield from value
            stack.extend(value.values())
