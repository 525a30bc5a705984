"""The program: `pepr-edge`, and `python -m pepr_edge`."""

from __future__ import annotations

import signal
import sys

from pepr_edge.errors import INTERRUPTED


def main() -> None:
    """Run the command line. Ctrl-C ends it in one line, also while its modules are still imported."""
    try:
        from pepr_edge.cli import entry

        entry()
    except (Exception, KeyboardInterrupt) as error:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C
        if not _is_interrupt(error):
            raise
        sys.stderr.write("interrupted\n")
        sys.exit(INTERRUPTED)


def _is_interrupt(error: BaseException | None) -> bool:
    """True if an error is Ctrl-C, or was made of it: some libraries raise one of their own in its place."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


if __name__ == "__main__":
    main()
