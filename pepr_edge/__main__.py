"""`python -m pepr_edge`, the same as `pepr-edge`."""

from pepr_edge.cli import entry

entry()
