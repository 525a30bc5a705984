"""A view of a run's progress for tools: the messages, one a line with the time, and no bars."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Lines:
    """Progress view that prints each message with the time."""

    def __init__(self, silent: bool = False) -> None:
        """With `silent` it prints nothing."""
        self._silent = silent

    def say(self, text: str) -> None:
        """Print one line."""
        if not self._silent:
            print(time.strftime("%H:%M:%S"), text, flush=True)

    @contextmanager
    def bar(self, label: str) -> Iterator[Lines]:
        """Print the label only."""
        self.say(label)
        yield self

    def update(self, done: int, total: int, note: str = "") -> None:
        """Print nothing: there would be too many lines."""
