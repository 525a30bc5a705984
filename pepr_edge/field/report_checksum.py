"""The checksum of a report of bench or evaluate. A figure changed on the way must not change a ranking.

It detects an incomplete copy, an edited digit and a merge by hand. It is no protection against fraud: anyone
can compute it again.
"""

from __future__ import annotations

import hashlib
import json
from typing import TypeVar

from pepr_edge.records import EvaluationReport, FieldReport

Report = TypeVar("Report", FieldReport, EvaluationReport)


def with_checksum(report: Report) -> Report:
    """Return the report with its checksum."""
    return report.model_copy(update={"checksum": checksum(report)})


def is_intact(report: FieldReport | EvaluationReport) -> bool:
    """True if the report matches its checksum. It may come from a pepr_edge whose reports had fewer keys."""
    return report.checksum in (checksum(report), checksum(report, exclude_unset=True))


def checksum(report: FieldReport | EvaluationReport, exclude_unset: bool = False) -> str:
    """Return the sha256 of the whole report except its checksum, as JSON with sorted keys.

    Args:
        report: the report.
        exclude_unset: leave out the fields that its file did not hold.
    """
    content = report.model_dump(mode="json", exclude={"checksum"}, exclude_unset=exclude_unset)
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
