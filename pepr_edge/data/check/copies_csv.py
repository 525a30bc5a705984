"""All sets of copies as a table, which shows on paper what to remove or to group."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from pepr_edge.records import DataCheck
from pepr_edge.untrusted.files import RECORD_BYTES, content
from pepr_edge.untrusted.shown import cell

HEADER = ("problem", "set", "image", "split", "label")


def copies_csv(check: DataCheck) -> str:
    """Return a row for each image of each set; sets are numbered from 1."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    for number, copied in enumerate(check.copies, 1):
        for one in copied.images:
            writer.writerow([copied.kind, number, cell(one.image), one.split, cell(one.label)])
    return text.getvalue()


def is_copies_csv(path: Path) -> bool:
    """True if a file is such a table."""
    if not path.is_file():
        return False
    return content(path, RECORD_BYTES).startswith(",".join(HEADER).encode() + b"\n")
