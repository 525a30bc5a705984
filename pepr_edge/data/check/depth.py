"""Grey images of more than 8 bits: the depth that they are scaled by, and sets that hold several depths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pepr_edge.data.check.evidence import Evidence
from pepr_edge.images.depth import DEPTHS
from pepr_edge.records import Problem
from pepr_edge.text.units import plural

# An image that needs this number of bits less than the set uses at most a sixteenth of the grey levels.
DARK_BITS = 4
# Share of such images from which the set counts as mixed: a few dark pictures are normal.
MAX_DARK = 0.05


def problems(evidence: Evidence) -> Iterator[Problem]:
    """Yield the depth of the set, and an error if its images have several depths."""
    needed = evidence.scan.needed_bits
    bits = evidence.scan.set_bits
    if not needed or bits is None:
        return
    usable = [index for index in needed if index not in evidence.scan.bad]
    dark = [index for index in usable if needed[index] <= bits - DARK_BITS]
    is_chosen = evidence.settings.grey_bits != "auto"
    if len(dark) > MAX_DARK * len(usable) and not is_chosen:
        yield _mixed(evidence, bits, dark)
    how = "as the recipe says" if is_chosen else "which nearly all of their pixels need"
    yield Problem(
        kind="more_than_8_bits",
        severity="note",
        count=len(usable),
        remedy=f"{plural(len(usable), 'grey image')} of more than 8 bits: scaled to 8 from {bits} bits, "
        f"{how}; the same in the field.",
    )


def _mixed(evidence: Evidence, bits: int, dark: list[int]) -> Problem:
    counts = Counter(evidence.scan.needed_bits.values())
    listed = ", ".join(f"{counts[depth]} need {depth}" for depth in DEPTHS if counts[depth])
    return Problem(
        kind="mixed_depths",
        severity="error",
        count=len(dark),
        examples=evidence.examples(dark),
        remedy=f"grey images of several depths ({listed} bits): scaled from {bits} bits, "
        f"{plural(len(dark), 'image')} would be nearly black. Convert the images to one depth; or, if all "
        f"are of one kind, say so: data.grey_bits = {bits}.",
    )
