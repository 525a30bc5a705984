"""A drafted recipe as a TOML file, with comments on the data and on the reason for each choice."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pepr_edge.data import DatasetSummary
from pepr_edge.recipe import Recipe
from pepr_edge.recipe.init.choose import RecipeDraft
from pepr_edge.recipe.init.offered import SECTION_SENTENCES, Offer, offers
from pepr_edge.recipe.init.run_time import RunTimeEstimate
from pepr_edge.recipe.toml import as_toml
from pepr_edge.text.sentences import plural_of
from pepr_edge.text.units import capitalised

WIDTH = 120
SECTION_COMMENTS = {
    "device": "The device that the models are for.",
    "budgets": (
        "The limits for a model on the device: a model that exceeds one gets no rank. "
        "Set them to what the clinic can accept."
    ),
    "workstation": (
        "The computer that trains: watts of a busy core, and the country of its electricity. "
        "Adapt both to yours."
    ),
    **SECTION_SENTENCES,
}
MEASURED = (
    "on the machine that runs this recipe. For another device that only shows which models are far too slow "
    "or too large. For measurements of the device itself, use `pepr-edge kit`, then `pepr-edge bench` on the "
    "device, then `pepr-edge rank --field`."
)


def summary_lines(summary: DatasetSummary) -> list[tuple[str, str]]:
    """Return the summary as pairs of heading and line, for the terminal and the head of the recipe."""
    counts = zip(summary.labels, summary.class_counts, strict=True)
    classes = ", ".join(f"{label} {count:,}" for label, count in counts)
    ratio = f"the most frequent has {summary.imbalance:.1f} times as many training images as the rarest"
    groups = "none named" if summary.groups is None else f"{summary.groups:,}, each in one split only"
    splits = ", ".join(f"{split} {count:,}" for split, count in summary.images.items())
    lines = [
        ("Images", f"{summary.total:,} ({summary.format}), {_colour(summary)}, {_sizes(summary)}"),
        (capitalised(plural_of(summary.task)), f"{len(summary.labels)}: {classes}; {ratio}"),
        ("Groups", groups),
        ("Splits", splits),
    ]
    notes = list(summary.notes)
    if summary.bad:
        notes.append(f"{len(summary.bad)} of {summary.sampled} sampled images cannot be read")
    return lines + [("Note", note) for note in notes]


def text(
    drafted: RecipeDraft,
    summary: DatasetSummary,
    run_time: RunTimeEstimate | str,
    source: str,
    base: str,
    out: Path,
) -> str:
    """Return the content of the recipe file.

    Args:
        drafted: the recipe and the reasons.
        summary: facts about the images.
        run_time: the estimate, or why there is none.
        source: the data, as the user gave it.
        base: name of the recipe that the device is from.
        out: path of the new file.
    """
    recipe = drafted.recipe
    head = [
        *summary_lines(summary),
        ("Device", f"{recipe.device.name}, from the recipe {base}"),
        ("Measured", MEASURED),
        ("Run time", run_time if isinstance(run_time, str) else run_time_line(run_time)),
    ]
    name = Path(source).name or source
    lines = [f"# {name}: drafted by `pepr-edge init` from the images. Change it where you know better.", "#"]
    for heading, line in head:
        lines += _wrapped(line, f"# {heading + ':':<10} ", "#            ")
    lines.append(f"# {'Command:':<10} pepr-edge run {shlex.quote(out.as_posix())} --out runs/{recipe.name}")
    lines += _tables(recipe, drafted.reasons, offers(summary.task, len(summary.labels)))
    return "\n".join(lines) + "\n"


def run_time_line(estimate: RunTimeEstimate) -> str:
    """Return the estimate as text, with the method."""
    timed = ", ".join(estimate.timed)
    training = (
        f"training {duration(estimate.training_s)} (with one thread, from a few training steps of {timed}; "
        "more threads are faster)"
    )
    export = f"export {duration(estimate.export_s)}"
    measuring = f"measuring {duration(estimate.measuring_s)} (from the rules)"
    total = f"expected: at most {duration(estimate.total_s)} on this machine"
    return f"{total}: {training}, {export}, {measuring}"


def duration(seconds: float) -> str:
    """Return a rough duration in minutes, hours or days."""
    minutes = seconds / 60
    if minutes < 90:
        return f"{max(1, round(minutes))} min"
    return f"{minutes / 60:.1f} h" if minutes < 48 * 60 else f"{minutes / 1440:.0f} days"


def _colour(summary: DatasetSummary) -> str:
    readable = len(summary.sizes_px)
    if summary.grey == readable:
        return f"all {readable} sampled images grey"
    return f"colour, {summary.grey} of {readable} sampled images grey" if summary.grey else "colour"


def _sizes(summary: DatasetSummary) -> str:
    sizes = [
        f"{width} x {height}" for width, height in sorted(summary.sizes_px, key=lambda wh: wh[0] * wh[1])
    ]
    return f"{sizes[0]} px" if len(set(sizes)) == 1 else f"from {sizes[0]} to {sizes[-1]} px"


def _tables(
    recipe: Recipe, reasons: Mapping[str, str], offered: Mapping[str, Sequence[Offer]]
) -> Iterator[str]:
    """Yield each key that has a reason or differs from its default, below its reason, and what is offered."""
    values = recipe.model_dump(mode="json")
    values["about"] = values.pop("about")  # the last: it has most lines, and changes no result
    changed = recipe.model_dump(mode="json", exclude_defaults=True)
    yield "schema_version = 1"
    for name, value in values.items():
        if not isinstance(value, dict) and name != "schema_version":
            yield _line(name, value)
    for name, table in values.items():
        if not isinstance(table, dict):
            continue
        keys = [key for key in table if key in changed.get(name, {}) or f"{name}.{key}" in reasons]
        offers_of_table = [offer for offer in offered.get(name, ()) if offer.key not in keys]
        if not keys and not offers_of_table:
            continue
        yield ""
        yield from _wrapped(SECTION_COMMENTS.get(name, ""), "# ", "# ")
        yield f"[{name}]"
        for key in keys:
            yield from _wrapped(reasons.get(f"{name}.{key}", ""), "# ", "# ")
            yield _line(key, table[key])
        for offer in offers_of_table:
            yield from _wrapped(offer.sentence, "# ", "# ")
            yield f"# {offer.line}"


def _line(key: str, value: Any) -> str:
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], int):
        value = value[0]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    line = f"{key} = {as_toml(value)}"
    if isinstance(value, list) and len(line) > WIDTH:
        entries = [f"    {as_toml(entry)}," for entry in value]
        return "\n".join([f"{key} = [", *entries, "]"])
    return line


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
        break_long_words=False,
    )
