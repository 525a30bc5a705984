"""Where a run tells how far it is: what somebody who looks on must offer."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol


class ProgressBar(Protocol):
    """A progress bar that somebody looks at."""

    def to(self, done: int, total: int, note: str = "") -> None:
        """Show how far it is."""


class ProgressView(Protocol):
    """Where a run tells how far it is."""

    def say(self, text: str) -> None:
        """One line that stays."""

    def bar(self, label: str) -> AbstractContextManager[ProgressBar]:
        """A bar that is gone when its stage is over."""
