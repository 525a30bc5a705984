"""Progress for people: bars where stderr is a terminal, and a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from pepr_edge.cli.common import say, show_bars

# tqdm's own lock also makes a semaphore between processes, a file in /dev/shm; our bars are all of one process.
tqdm.set_lock(threading.RLock())

FORMAT = "{desc}  {percentage:.0f}% |{bar}| {elapsed}{left}"
TICK_S = 1.0  # the clock goes on where a stage has nothing to tell for long
PLAIN_S = 30.0  # between two lines where there is no terminal
# Of a bar, and seconds: before that a guess at the time left is worth nothing.
LEAST_SHARE, LEAST_S = 0.02, 3.0


class _Tqdm(tqdm):  # type: ignore[type-arg]
    """A bar of total 1 that says how long it will still take, as far as it went at the same pace."""

    @property
    def format_dict(self) -> dict[str, Any]:
        known = super().format_dict
        share, elapsed_s = known["n"], known["elapsed"]
        guessed = LEAST_SHARE <= share < 1 and elapsed_s >= LEAST_S
        left = f", {self.format_interval(elapsed_s * (1 - share) / share)} left" if guessed else ""
        return {**known, "left": left}


class _TerminalBar:
    """One bar; silent where nobody looks. What a bar inside it has done counts for the item that it is at."""

    def __init__(self, view: TerminalView, label: str, outer: _TerminalBar | None) -> None:
        self._view, self._label, self._outer = view, label, outer
        self._done, self._total, self._text = 0, 1, label
        self.drawn = _Tqdm(
            desc=label,
            total=1.0,
            disable=not show_bars(),
            leave=False,
            dynamic_ncols=True,
            miniters=0,
            bar_format=FORMAT,
        )

    @property
    def text(self) -> str:
        """How far it is, in words."""
        return self._text

    def to(self, done: int, total: int, note: str = "") -> None:
        """Show `done` of `total`; the note of a bar inside another one takes the place of its counts."""
        counts = f"{self._label}: {done} of {total}"
        self._say(note if note and self._outer else f"{counts}, {note}" if note else counts)
        if total != self._total or done < self._done:
            # Another count has begun: its time left is not that of the last one.
            self.drawn.reset()
        if done != self._done:
            self._view.begin_inside(self)
        self._done, self._total = done, total
        share = done / total if total else 0.0
        self._advance(share)
        if self._outer is not None:
            self._outer.within(share)
        self._view.tell()

    def begin(self) -> None:
        """Start anew, with the next item of the bar that this one is in."""
        self._say(self._label)
        self._done = 0
        self.drawn.reset()

    def _say(self, text: str) -> None:
        self._text = text
        if not self.drawn.disable:
            self.drawn.set_description_str(text, refresh=False)

    def within(self, share: float) -> None:
        """So much of the item that comes next is done."""
        if self._done < self._total:
            self._advance((self._done + share) / self._total)

    def _advance(self, share: float) -> None:
        """Never back: items of one bar may be at work side by side, or in stages."""
        if not self.drawn.disable:
            self.drawn.update(max(0.0, min(share, 1.0) - self.drawn.n))


class TerminalView:
    """The view of a run from a terminal, a pipe or a CI log."""

    def __init__(self) -> None:
        """Nothing is drawn or said yet."""
        self._bars: list[_TerminalBar] = []
        self._told_s = time.monotonic()

    def say(self, text: str) -> None:
        """One line that stays, above the bars."""
        if show_bars():
            tqdm.write(text, file=sys.stderr)
        else:
            say(text)

    @contextmanager
    def bar(self, label: str) -> Iterator[_TerminalBar]:
        """A bar that is gone when its stage is over; one that is opened meanwhile lies inside it."""
        bar = _TerminalBar(self, label, self._bars[-1] if self._bars else None)
        self._bars.append(bar)
        ended = threading.Event()
        ticker = threading.Thread(target=_tick, args=(bar, ended), name="clock of a bar", daemon=True)
        if not bar.drawn.disable:
            ticker.start()
        try:
            yield bar
        finally:
            ended.set()
            if ticker.is_alive():
                ticker.join()
            bar.drawn.close()
            self._bars.remove(bar)

    def begin_inside(self, bar: _TerminalBar) -> None:
        """The bars inside one that goes on to its next item."""
        for inner in self._bars[self._bars.index(bar) + 1 :]:
            inner.begin()

    def tell(self) -> None:
        """Where no bars are drawn, say now and then how far it is."""
        if not show_bars() and time.monotonic() - self._told_s >= PLAIN_S:
            self._told_s = time.monotonic()
            say("; ".join(bar.text for bar in self._bars))


def _tick(bar: _TerminalBar, ended: threading.Event) -> None:
    """Draw a bar again every second: that its clock goes on is all that some stages have to show for a while."""
    while not ended.wait(TICK_S):
        bar.drawn.refresh()
