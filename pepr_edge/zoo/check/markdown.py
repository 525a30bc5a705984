"""The rows as a page: docs/zoo.md."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from pepr_edge import zoo
from pepr_edge.export.quantise import AS_ASKED
from pepr_edge.zoo.check.row import CheckRow

MISSING = "-"
HEAD = (
    *(
        "architecture",
        "checked at",
        "sizes",
        "parameters",
        "exporter",
        "batch 1, 3, 8",
        "parity",
        "int8",
        "decisions",
    ),
    *("fp32 ms", "int8 ms", "export + quantise s"),
)


def page(rows: Sequence[CheckRow], command: str) -> str:
    """The whole page.

    Args:
        rows: in the order in which they are to stand, at least one.
        command: how it was made.
    """
    versions = ", ".join(f"{name} {version}" for name, version in rows[-1].versions.items())
    failed = [f"- {row.architecture} ({row.stage}): {row.reason}" for row in rows if row.status == "failed"]
    notes = [f"- {', '.join(names)}: {quirk}." for quirk, names in _quirks(rows).items()]
    remedies = [f"- {row.architecture}: {row.int8}." for row in rows if row.int8 not in (None, AS_ASKED)]
    parts = [
        f"# The zoo\n\nMade by `{command}` with {versions}. {_summary(rows)}",
        _EXPLANATION,
        "\n".join(_table(rows)),
        *(["## What failed\n\n" + "\n".join(failed)] if failed else []),
        *(["## Quantised with a remedy\n\n" + "\n".join(remedies)] if remedies else []),
        *(["## Sizes that are not any\n\n" + "\n".join(notes)] if notes else []),
    ]
    return "\n\n".join(parts) + "\n"


_EXPLANATION = """\
Each architecture was created for grey images of two classes, trained for a few steps from scratch on phantom images, exported by the first
exporter whose file passes all checks (it runs at batch 1, 3 and 8, and agrees with PyTorch within a thousandth of the spread of the
logits over the images), quantised (int8_static, calibrated on a few images) and run. `parity` is the greatest difference from PyTorch,
in such spreads. `decisions` is the share of the images on which int8 decides as fp32 does: of a network that has hardly been trained, so
it says that int8 runs and is not blind, not what it does to a trained one; that is measured in each run. Latencies are medians at batch 1
with one thread, at the size of the check."""


def _summary(rows: Sequence[CheckRow]) -> str:
    ok = sum(row.status == "ok" for row in rows)
    words = f"{ok} of {len(rows)} went the whole way"
    seconds = [
        row.export_s + row.quantise_s
        for row in rows
        if row.export_s is not None and row.quantise_s is not None
    ]
    if seconds:
        words += f"; export and quantisation together took {statistics.mean(seconds):.1f} s in the mean, {max(seconds):.0f} s at most"
    return words + "."


def _quirks(rows: Iterable[CheckRow]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in rows:
        if row.note:
            found.setdefault(row.note, []).append(row.architecture)
    return found


def _table(rows: Iterable[CheckRow]) -> Iterable[str]:
    yield f"| {' | '.join(HEAD)} |"
    yield "|" + "---|" * len(HEAD)
    for row in rows:
        yield f"| {' | '.join(_cells(row))} |"


def _cells(row: CheckRow) -> tuple[str, ...]:
    known = zoo.architectures().get(row.architecture)
    seconds = None if row.export_s is None or row.quantise_s is None else row.export_s + row.quantise_s
    parity = None if row.parity is None or not row.spread else row.parity.max_abs_diff / row.spread
    return (
        row.architecture,
        MISSING if row.image_size_px is None else f"{row.image_size_px} px",
        known.sizes if known is not None else "untested",
        MISSING if row.num_params is None else f"{row.num_params / 1e6:.1f} M",
        row.exporter or MISSING,
        "yes" if row.dynamic_batch else "FAILED",
        MISSING if parity is None else f"{parity:.0e}",
        "yes" if row.int8_latency_s is not None else "FAILED",
        MISSING if row.decisions_agree is None else f"{row.decisions_agree:.0%}",
        *(
            MISSING if value is None else f"{value * 1e3:.2f}"
            for value in (row.fp32_latency_s, row.int8_latency_s)
        ),
        MISSING if seconds is None else f"{seconds:.1f}",
    )
