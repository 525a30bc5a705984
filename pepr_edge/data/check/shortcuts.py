"""How images were made tells their class: a model may learn the scanner, the format or the size instead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePath

from pepr_edge.data.check.evidence import Evidence
from pepr_edge.records import Problem

# Share of the images whose class is right if it is guessed from the property alone.
TELLS = 0.95
# With fewer images, chance alone may look like that.
MIN_IMAGES = 12
MAX_VALUES = 10


def problems(evidence: Evidence) -> Iterator[Problem]:
    """Yield the properties of the files from which the class can be guessed."""
    properties: dict[str, Callable[[int], str]] = {
        "the format of the file": lambda index: PurePath(evidence.source.name_of(index)).suffix.lower(),
        "the size of the image": lambda index: str(evidence.scan.sizes_px[index]),
        "colour or grey": lambda index: str(index in evidence.scan.greys),
    }
    usable = [index for index in evidence.scan.hashes if index not in evidence.scan.blank]
    labels = [evidence.label(index) for index in usable]
    telling = []
    for name, value_of in properties.items():
        if _tells(labels, [value_of(index) for index in usable]):
            telling.append(name)
    if telling:
        yield Problem(
            kind="class_follows_file",
            severity="warning",
            count=len(telling),
            examples=tuple(telling),
            remedy=f"{' and '.join(telling)} alone nearly tells the class, so a model may learn that instead "
            "of what the images show. Take images of all classes from the same sources, in one form.",
        )


def _tells(labels: Sequence[str], values: Sequence[str]) -> bool:
    """True if the most frequent class of each value is right on nearly all images, and no easy guess."""
    if len(labels) < MIN_IMAGES or not 1 < len(set(values)) <= MAX_VALUES:
        return False
    by_value: dict[str, Counter[str]] = {}
    for label, value in zip(labels, values, strict=True):
        by_value.setdefault(value, Counter())[label] += 1
    right = sum(max(counts.values()) for counts in by_value.values())
    always = max(Counter(labels).values())
    return right >= TELLS * len(labels) and len(labels) - right <= (len(labels) - always) / 4
