"""Protocols for progress reporting."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol


class ProgressBar(Protocol):
    """One progress bar."""

    def update(self, done: int, total: int, note: str = "") -> None:
        """Show that `done` of `total` steps are done, with a note behind the bar."""


class ProgressView(Protocol):
    """The display of a run's progress."""

    def say(self, text: str) -> None:
        """Print one line that stays."""

    def bar(self, label: str) -> AbstractContextManager[ProgressBar]:
        """Show a bar until its stage is over."""
