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
    """Whether the report is as it was sealed."""
    return report.checksum == checksum(report)


def checksum(report: FieldReport) -> str:
    """sha256 over all of the report but its checksum, as JSON with sorted keys."""
    content = report.model_dump(mode="json", exclude={"checksum"})
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
