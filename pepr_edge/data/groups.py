"""What the names of groups in a list say: several spellings of one, none at all, or rounded numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from pepr_edge.data import names
from pepr_edge.data.findings import about
from pepr_edge.records import Problem
from pepr_edge.text.units import plural
from pepr_edge.untrusted.shown import shown

# A long number as a spreadsheet saves it: all but its first digits are lost.
_ROUNDED = re.compile(r"\d(?:[.,]\d+)?E\+\d+", re.IGNORECASE)


def problems(groups: Sequence[str]) -> Iterator[Problem]:
    """Yield what looks wrong with the names of groups.

    Args:
        groups: of each image, as the list spells them. They may be names of patients, so no remedy has them.
    """
    chosen = names.one_spelling(groups)
    joined = names.respelled(chosen)
    yield from about(
        "groups_respelled",
        "note",
        [" = ".join(map(shown, spelled)) for spelled in joined],
        f"{plural(len(joined), 'group')} with several spellings, which differ by case, spaces or "
        "Unicode form only, count as one each.",
    )
    known = sorted(set(chosen.values()))
    alike = names.same_numbers(known)
    yield from about(
        "groups_look_alike",
        "warning",
        [" / ".join(map(shown, spelled)) for spelled in alike],
        f"{plural(len(alike), 'number')} with several forms (7, 007, 7.0) count as a group each, so images "
        "of one patient may come into training and into test. Write them alike.",
    )
    rounded = [shown(name) for name in known if _ROUNDED.fullmatch(name)]
    yield from about(
        "groups_look_rounded",
        "warning",
        rounded,
        f"{plural(len(rounded), 'group')} like 1.23E+11: a spreadsheet has rounded long numbers, and "
        "different patients may count as one. Export the column again as text.",
    )
    yield from _missing(Counter(chosen[group] for group in groups))


def _missing(counts: Counter[str]) -> Iterator[Problem]:
    """Yield groups of several images whose name is a missing value. `counts`: images by group."""
    for name in sorted(counts):
        if names.looks_missing(name) and counts[name] > 1:
            yield Problem(
                kind="group_looks_missing",
                severity="warning",
                count=counts[name],
                examples=(shown(name),),
                remedy=f"{plural(counts[name], 'image')} of a group that looks like a value that is not "
                "there count as one patient. Give each a group of its own, or leave them out.",
            )
