"""Progress for people: tqdm bars where stderr is a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from pepr_edge.cli.common import say, show_bars

# tqdm's own lock also makes a semaphore between processes, a file in /dev/shm; our bars are all of one process.
tqdm.set_lock(threading.RLock())


class _Bar:
    """One tqdm bar; silent where nobody looks."""

    def __init__(self, label: str) -> None:
        self._bar = tqdm(desc=label, total=1, disable=not show_bars(), leave=False, dynamic_ncols=True, miniters=1)

    def to(self, done: int, total: int, note: str = "") -> None:
        """Show `done` of `total`."""
        if total != self._bar.total:
            # Another count has begun: its rate and time left are not those of the last one.
            self._bar.reset(total=total)
        elif done < self._bar.n:
            self._bar.reset()
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Take it off the screen."""
        self._bar.close()


class TerminalView:
    """The view of a run from a terminal, a pipe or a CI log."""

    def say(self, text: str) -> None:
        """One line that stays, above the bars."""
        if show_bars():
            tqdm.write(text, file=sys.stderr)
        else:
            say(text)

    @contextmanager
    def bar(self, label: str) -> Iterator[_Bar]:
        """A bar that is gone when its stage is over."""
        bar = _Bar(label)
        try:
            yield bar
        finally:
            bar.close()
