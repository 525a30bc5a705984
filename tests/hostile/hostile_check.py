"""What a hostile input must end in: the expected status and word, in few short lines, without a traceback."""

from __future__ import annotations

import re
from collections.abc import Iterable

from command_line import Outcome

# What would change a terminal; the tables and messages have line ends and tabs.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
MAX_LINES = 130
MAX_CHARACTERS = 1100


def check(done: Outcome, status: int | Iterable[int], word: str = "") -> None:
    """Assert how a command ended, and that what it said is fit to be read."""
    said = done.out + done.err
    allowed = (status,) if isinstance(status, int) else tuple(status)
    assert done.status in allowed, said[:2000]
    assert word in said, f"{word!r} is not in {said[:2000]!r}"
    assert "Traceback" not in said
    assert len(done.err.splitlines()) <= MAX_LINES
    assert max(map(len, done.err.splitlines()), default=0) <= MAX_CHARACTERS
    assert not CONTROL.search(said)
