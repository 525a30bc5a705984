"""Signals that end a command: all of them interrupt it like Ctrl-C, and let it clean up once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pepr_edge.errors import INTERRUPTED

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
# So many signals end the process at once, should its clean-up hang.
MAX_SIGNALS = 3


class Signals:
    """How many signals have come."""

    def __init__(self) -> None:
        """Count from 0."""
        self.count = 0

    def interrupt(self, number: int, frame: object) -> None:
        """Handle a signal.

        Raises:
            KeyboardInterrupt: it is the first.
        """
        self.count += 1
        if self.count == 1:
            raise KeyboardInterrupt
        if self.count >= MAX_SIGNALS:
            os._exit(INTERRUPTED)


@contextmanager
def signals_as_interrupt() -> Iterator[Signals]:
    """Raise KeyboardInterrupt at SIGTERM, at SIGHUP of a closed terminal, and at Ctrl-C, but only once.

    A second signal must not stop the clean-up half-way: it is ignored until the process ends. The third ends
    the process at once.
    """
    signals = Signals()
    if threading.current_thread() is not threading.main_thread():  # only that one may set handlers
        yield signals
        return
    numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    # A signal that is ignored stays so (nohup ignores SIGHUP). None is a handler outside Python, which
    # cannot be restored.
    replaceable = [number for number in numbers if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    previous = {number: signal.signal(number, signals.interrupt) for number in replaceable}
    try:
        yield signals
    finally:
        for number, handler in previous.items():
            # Python takes its own handlers back some time before the process has ended.
            signal.signal(number, signal.SIG_IGN if signals.count else handler)
