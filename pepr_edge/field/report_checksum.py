"""A field report's checksum: it goes home on a stick or by mail, and a figure that was changed on the way must not change a ranking.

Whoever means to deceive can compute it again. It is there for the torn copy, the edited digit and the merge by hand.
"""

from __future__ import annotations

import hashlib
import json

from pepr_edge.records import FieldReport


def sealed(report: FieldReport) -> FieldReport:
    """The report with its checksum."""
    return report.model_copy(update={"checksum": checksum(report)})


def is_whole(report: FieldReport) -> bool:
    """Whether the report is as it was sealed, maybe by a pepr_edge whose reports did not hold all the keys of this one's."""
    return report.checksum in (checksum(report), checksum(report, exclude_unset=True))


def checksum(report: FieldReport, exclude_unset: bool = False) -> str:
    """sha256 over all of the report but its checksum, as JSON with sorted keys; `exclude_unset` leaves out what its file did not hold."""
    content = report.model_dump(mode="json", exclude={"checksum"}, exclude_unset=exclude_unset)
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
