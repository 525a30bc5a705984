"""Pictures that show nothing, and colour that the model will not see."""

from __future__ import annotations

from collections.abc import Iterator

from pepr_edge.data.check.evidence import Evidence
from pepr_edge.records import Problem
from pepr_edge.text.units import plural


def problems(evidence: Evidence) -> Iterator[Problem]:
    """Yield blank pictures, and colour images that are converted to grey although nobody said so."""
    scan = evidence.scan
    if scan.blank:
        yield Problem(
            kind="blank_images",
            severity="warning",
            count=len(scan.blank),
            examples=evidence.examples(scan.blank),
            remedy=f"{plural(len(scan.blank), 'image')} of a single grey level: no model can learn from it. "
            "Remove blank images, or export them again.",
        )
    if evidence.channels == 1 and evidence.settings.channels == "auto" and scan.coloured:
        yield Problem(
            kind="colour_to_grey",
            severity="warning",
            count=len(scan.coloured),
            examples=evidence.examples(scan.coloured),
            remedy=f"{plural(len(scan.coloured), 'colour image')} converted to grey, "
            "since the sampled images were grey; channels = 3 keeps colour",
        )
