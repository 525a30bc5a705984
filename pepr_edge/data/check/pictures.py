"""Pictures that show nothing or little, and what of a file the model will not see."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from pepr_edge.data.check.evidence import DARK_LEVEL, Evidence
from pepr_edge.records import Problem, Severity
from pepr_edge.text.units import plural

# Share of blank images from which the set was exported wrongly.
MOST = 0.5
# Share of dark images from which the whole set is: a few dark pictures are normal.
MAX_DARK = 0.2


def problems(evidence: Evidence) -> Iterator[Problem]:
    """Yield blank and dark pictures, lost ends, files with more pictures, and colour that becomes grey."""
    yield from _without_content(evidence)
    yield from _not_used(evidence)


def _without_content(evidence: Evidence) -> Iterator[Problem]:
    """Yield pictures that are blank, nearly black, or cut off."""
    scan = evidence.scan
    blank = plural(len(scan.blank), "image")
    yield from _about(
        "blank_images",
        "error" if len(scan.blank) >= MOST * evidence.total else "warning",
        scan.blank,
        evidence,
        f"{blank} of a single grey level: no model can learn from it. Remove blank images, or export them "
        "again.",
    )
    if len(scan.dark) > MAX_DARK * evidence.total:
        yield from _about(
            "dark_images",
            "warning",
            scan.dark,
            evidence,
            f"{plural(len(scan.dark), 'image')} nearly black, with no level above {DARK_LEVEL - 1} of 255: "
            "colour of 16 bits that holds 12, or numbers of classes in place of a picture. Export them with "
            "the full range of levels.",
        )
    yield from _about(
        "cut_off_images",
        "warning",
        scan.cut_off,
        evidence,
        f"{plural(len(scan.cut_off), 'JPEG image')} ending in plain grey, as if the rest of the file were "
        "lost. Look at them; copy or download them again.",
    )


def _not_used(evidence: Evidence) -> Iterator[Problem]:
    """Yield further pictures of a file, and colour, which the model will not see."""
    scan = evidence.scan
    yield from _about(
        "several_pictures",
        "note",
        scan.several,
        evidence,
        f"{plural(len(scan.several), 'file')} with several pages or frames: one picture of each is used, "
        "the first (of DICOM the middle one). If the others matter, save each as a file.",
    )
    if evidence.channels == 1 and evidence.settings.channels == "auto":
        yield from _about(
            "colour_to_grey",
            "warning",
            scan.coloured,
            evidence,
            f"{plural(len(scan.coloured), 'colour image')} converted to grey, "
            "since the sampled images were grey; channels = 3 keeps colour",
        )


def _about(
    kind: str, severity: Severity, indices: Collection[int], evidence: Evidence, remedy: str
) -> Iterator[Problem]:
    if indices:
        found = evidence.examples(indices)
        yield Problem(kind=kind, severity=severity, count=len(indices), examples=found, remedy=remedy)
