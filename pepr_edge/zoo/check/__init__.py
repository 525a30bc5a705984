"""Does an architecture go the whole way: created, trained a step, exported with a dynamic batch, quantised, run?

row.py           what is asked of one architecture, and what was found
network.py       the network and the images that it is checked on
architecture.py  one architecture, in a process of its own
sweep.py         many of them, resumable
markdown.py      the table for docs/zoo.md
"""

__all__ = ["markdown", "row", "sweep"]
