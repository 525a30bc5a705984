"""Images that cannot be decoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pepr_edge.data.check.evidence import Evidence
from pepr_edge.records import Problem
from pepr_edge.text.units import plural


def problems(evidence: Evidence) -> Iterator[Problem]:
    """Yield the images that cannot be used: an error, unless the recipe says to leave them out."""
    bad = evidence.scan.bad
    if not bad:
        return
    counts = Counter(evidence.label(index) for index in bad)
    by_class = ", ".join(f"{label} {counts[label]}" for label in evidence.source.labels if counts[label])
    if evidence.settings.on_bad_image == "skip":
        remedy = f"{plural(len(bad), 'unreadable image')} left out: {by_class}"
    else:
        reason = f"the first: {bad[min(bad)].reason}"
        remedy = f"{len(bad)} of {plural(evidence.total, 'image')} cannot be read: {by_class} ({reason}). "
        remedy += 'Fix them, or leave them out: data.on_bad_image = "skip".'
    yield Problem(
        kind="unreadable_images",
        severity="warning" if evidence.settings.on_bad_image == "skip" else "error",
        count=len(bad),
        examples=evidence.examples(bad),
        remedy=remedy,
    )
