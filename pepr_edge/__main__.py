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
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C
        sys.stderr.write("interrupted\n")
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
