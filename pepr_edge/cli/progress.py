"""Progress display: bars if stderr is a terminal, else a plain line from time to time."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from pepr_edge.cli.common import say, show_bars
from pepr_edge.untrusted.shown import escaped, shown

# tqdm's default lock also creates a semaphore between processes, a file in /dev/shm; all our bars are in one
# process.
tqdm.set_lock(threading.RLock())

FORMAT = "{desc}  {percentage:.0f}% |{bar}| {elapsed}{left}"
REDRAW_S = 1.0  # the elapsed time advances even while a stage reports nothing
PLAIN_S = 30.0  # between two lines without a terminal
# The remaining time is shown from this share and this time on; an earlier estimate is worthless.
MIN_SHARE = 0.02
MIN_ELAPSED_S = 3.0


class _Tqdm(tqdm):  # type: ignore[type-arg]
    """A bar of total 1 that shows the remaining time, extrapolated from the elapsed time."""

    @property
    def format_dict(self) -> dict[str, Any]:
        values = dict(super().format_dict)
        share = values["n"]
        elapsed_s = values["elapsed"]
        left = ""
        if MIN_SHARE <= share < 1 and elapsed_s >= MIN_ELAPSED_S:
            left = f", {self.format_interval(elapsed_s * (1 - share) / share)} left"
        return values | {"left": left}


class _TerminalBar:
    """A bar, drawn on a terminal only; progress of an inner bar counts for the outer bar's current item."""

    def __init__(self, view: TerminalView, label: str, outer: _TerminalBar | None) -> None:
        self._view = view
        self._label = label
        self._outer = outer
        self._done = 0
        self._total = 1
        self._text = label
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
        """The progress as text."""
        return self._text

    def update(self, done: int, total: int, note: str = "") -> None:
        """Show `done` of `total`; in an inner bar a note replaces the counts."""
        text = f"{self._label}: {done} of {total}"
        if note:
            text = note if self._outer else f"{text}, {note}"
        self._set_text(text)
        if total != self._total or done < self._done:
            # A new count has begun; the remaining time of the last one does not apply.
            self.drawn.reset()
        if done != self._done:
            self._view.restart_inner_bars(self)
        self._done = done
        self._total = total
        share = done / total if total else 0.0
        self._advance(share)
        if self._outer is not None:
            self._outer.advance_item(share)
        self._view.print_plain()

    def restart(self) -> None:
        """Start again, for the next item of the outer bar."""
        self._set_text(self._label)
        self._done = 0
        self.drawn.reset()

    def _set_text(self, text: str) -> None:
        self._text = text
        if not self.drawn.disable:
            self.drawn.set_description_str(shown(text), refresh=False)

    def advance_item(self, share: float) -> None:
        """Show this share of the current item as done."""
        if self._done < self._total:
            self._advance((self._done + share) / self._total)

    def _advance(self, share: float) -> None:
        """Advance to a share; never go back, since items of a bar may run in parallel or in stages."""
        if not self.drawn.disable:
            self.drawn.update(max(0.0, min(share, 1.0) - self.drawn.n))


class TerminalView:
    """Progress of a command in a terminal, a pipe or a CI log."""

    def __init__(self) -> None:
        """Create a view without bars."""
        self._bars: list[_TerminalBar] = []
        self._printed_s = time.monotonic()

    def say(self, text: str) -> None:
        """Print a line that stays, above the bars."""
        if show_bars():
            tqdm.write(escaped(text), file=sys.stderr)
        else:
            say(text)

    @contextmanager
    def bar(self, label: str) -> Iterator[_TerminalBar]:
        """Show a bar until its stage is over; a bar that is opened inside this block is an inner bar."""
        bar = _TerminalBar(self, label, self._bars[-1] if self._bars else None)
        self._bars.append(bar)
        ended = threading.Event()
        redraw = threading.Thread(target=_redraw, args=(bar, ended), name="progress bar", daemon=True)
        if not bar.drawn.disable:
            redraw.start()
        try:
            yield bar
        finally:
            ended.set()
            if redraw.is_alive():
                redraw.join()
            bar.drawn.close()
            self._bars.remove(bar)

    def restart_inner_bars(self, bar: _TerminalBar) -> None:
        """Restart the bars inside a bar that goes on to its next item."""
        for inner in self._bars[self._bars.index(bar) + 1 :]:
            inner.restart()

    def print_plain(self) -> None:
        """Without a terminal, print the progress as a line from time to time."""
        if not show_bars() and time.monotonic() - self._printed_s >= PLAIN_S:
            self._printed_s = time.monotonic()
            say("; ".join(bar.text for bar in self._bars))


def _redraw(bar: _TerminalBar, ended: threading.Event) -> None:
    """Redraw a bar every second, so that its clock advances in stages that report nothing for a while."""
    while not ended.wait(REDRAW_S):
        bar.drawn.refresh()
