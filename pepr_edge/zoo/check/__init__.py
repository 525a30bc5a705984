"""Check an architecture: create it, train a few steps, export with a dynamic batch, quantise and run.

row.py           the job and the result of one architecture
network.py       the network and the images with which it is checked
architecture.py  the check of one architecture, in its own process
sweep.py         the check of many architectures, resumable
markdown.py      the table for docs/zoo.md
"""

__all__ = ["markdown", "row", "sweep"]
