"""Write the rows as a Markdown page: docs/zoo.md."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence

from pepr_edge import zoo
from pepr_edge.export.quantise import AS_ASKED
from pepr_edge.text.units import percent
from pepr_edge.zoo.check.row import CheckRow

MISSING = "-"
HEADER = (
    "architecture",
    "checked at",
    "sizes",
    "parameters",
    "exporter",
    "batch 1, 3, 8",
    "parity",
    "int8",
    "decisions",
    "fp32 ms",
    "int8 ms",
    "export + quantise s",
)


def page(rows: Sequence[CheckRow], command: str) -> str:
    """Return the page.

    Args:
        rows: in the order of the table, at least one.
        command: the command that made it.
    """
    versions = ", ".join(f"{name} {version}" for name, version in rows[-1].versions.items())
    failed = [f"- {row.architecture} ({row.stage}): {row.reason}" for row in rows if row.status == "failed"]
    remedies = [f"- {row.architecture}: {row.int8}." for row in rows if row.int8 not in (None, AS_ASKED)]
    as_trained = [f"- {row.architecture}: {row.form_note}." for row in rows if row.form_note]
    quirks = [f"- {', '.join(names)}: {quirk}." for quirk, names in _quirks(rows).items()]
    parts = [
        f"# The zoo\n\nMade by `{command}` with {versions}. {_summary(rows)}",
        _EXPLANATION,
        "\n".join(_table(rows)),
    ]
    sections = {
        "Failures": failed,
        "Exported in the trained form": as_trained,
        "Quantised with a remedy": remedies,
        "Architectures that do not accept every size": quirks,
    }
    for title, lines in sections.items():
        if lines:
            parts.append(f"## {title}\n\n" + "\n".join(lines))
    return "\n\n".join(parts) + "\n"


_EXPLANATION = """\
Each architecture was created for grey images of two classes, trained from scratch for a few steps on phantom
images, exported in its deployed form (training-time branches merged), quantised (int8_static, calibrated on a
few images) and run. The exporter is the first whose file runs at batch 1, 3 and 8 and agrees with PyTorch
within a thousandth of the spread of the logits over the images. `parity` is the largest difference from
PyTorch, in such spreads. `decisions` is the share of images on which int8 decides as fp32 does. The network
is hardly trained, so this shows that the int8 file works, not how much performance int8 costs; every run
measures that. Latencies are medians at batch 1 with one thread, at the size of the check."""


def _summary(rows: Sequence[CheckRow]) -> str:
    passed = sum(row.status == "ok" for row in rows)
    text = f"{passed} of {len(rows)} passed every stage"
    durations = [_export_and_quantise_s(row) for row in rows]
    seconds = [duration for duration in durations if duration is not None]
    if seconds:
        text += (
            f"; export and quantisation together took {statistics.mean(seconds):.1f} s on average, "
            f"{max(seconds):.0f} s at most"
        )
    return text + "."


def _export_and_quantise_s(row: CheckRow) -> float | None:
    if row.export_s is None or row.quantise_s is None:
        return None
    return row.export_s + row.quantise_s


def _quirks(rows: Iterable[CheckRow]) -> dict[str, list[str]]:
    """Return the names of the architectures by their note."""
    names: dict[str, list[str]] = {}
    for row in rows:
        if row.note:
            names.setdefault(row.note, []).append(row.architecture)
    return names


def _table(rows: Iterable[CheckRow]) -> Iterator[str]:
    yield f"| {' | '.join(HEADER)} |"
    yield "|" + "---|" * len(HEADER)
    for row in rows:
        yield f"| {' | '.join(_cells(row))} |"


def _cells(row: CheckRow) -> tuple[str, ...]:
    known = zoo.architectures().get(row.architecture)
    parity = None if row.parity is None or not row.spread else row.parity.max_abs_diff / row.spread
    return (
        row.architecture,
        _cell(row.image_size_px, lambda px: f"{px:.0f} px"),
        "untested" if known is None else known.sizes,
        _parameters(row),
        row.exporter or MISSING,
        "yes" if row.dynamic_batch else "FAILED",
        _cell(parity, lambda spreads: f"{spreads:.0e}"),
        "yes" if row.int8_latency_s is not None else "FAILED",
        _cell(row.decisions_agree, percent),
        _cell(row.fp32_latency_s, _ms),
        _cell(row.int8_latency_s, _ms),
        _cell(_export_and_quantise_s(row), lambda seconds: f"{seconds:.1f}"),
    )


def _parameters(row: CheckRow) -> str:
    """Return the parameters of the deployed form; those of the trained form, too, if it is another."""
    deployed = _cell(row.num_params, _millions)
    if row.trained_params in (None, row.num_params):
        return deployed
    return f"{deployed} ({_cell(row.trained_params, _millions)} in training)"


def _millions(count: float) -> str:
    return f"{count / 1e6:.1f} M"


def _cell(value: float | None, text: Callable[[float], str]) -> str:
    return MISSING if value is None else text(value)


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.2f}"
