"""A drafted recipe as a TOML file that says what was seen, and why each thing was chosen."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pepr_edge.recipe import Recipe
from pepr_edge.recipe.init.choose import RecipeDraft
from pepr_edge.recipe.init.dataset_summary import DatasetSummary
from pepr_edge.recipe.init.run_time import RunTimeEstimate
from pepr_edge.recipe.toml import as_toml

WIDTH = 120
OF_THE_DEVICE = {
    "device": "The device that the models are for.",
    "budgets": "What a model may need there at most: one that needs more gets no rank. Set them by what the clinic can bear.",
    "workstation": "The computer that trains: watts of a busy core, and where its electricity comes from. Make both yours.",
}
MEASURED = (
    "on the machine that runs this, which tells of another device only what is hopeless on both. Its own figures come home by "
    "`pepr-edge kit`, `pepr-edge bench` there, and `pepr-edge rank --field`."
)


def summary_lines(found: DatasetSummary) -> list[tuple[str, str]]:
    """What was seen, as pairs of a word and a line, for the terminal and for the head of the recipe."""
    classes = ", ".join(
        f"{label} {count:,}" for label, count in zip(found.labels, found.class_counts, strict=True)
    )
    lines = [
        ("Images", f"{found.total:,} ({found.format}), {_colour(found)}, {_sizes(found)}"),
        (
            "Classes",
            f"{len(found.labels)}: {classes}; the commonest has {found.imbalance:.1f} times as many as the rarest",
        ),
        (
            "Groups",
            f"{found.groups:,}, none of them parted by a split" if found.groups is not None else "none named",
        ),
        ("Splits", ", ".join(f"{split} {count:,}" for split, count in found.images.items())),
    ]
    bad = (
        [f"{len(found.bad)} of {len(found.bad) + len(found.sizes_px)} looked at cannot be read"]
        if found.bad
        else []
    )
    return lines + [("Note", note) for note in (*found.notes, *bad)]


def text(
    drafted: RecipeDraft,
    found: DatasetSummary,
    expected: RunTimeEstimate | str,
    source: str,
    base: str,
    out: Path,
) -> str:
    """The recipe's file.

    Args:
        drafted: the recipe and the reasons.
        found: what was seen.
        expected: how long it will take, or why nobody knows.
        source: the data, as the user gave it.
        base: name of the recipe that the device is from.
        out: where the file will lie.
    """
    recipe = drafted.recipe
    head = [
        *summary_lines(found),
        ("Device", f"{recipe.device.name}, from the recipe {base}"),
        ("Measured", MEASURED),
        ("Run time", expected if isinstance(expected, str) else how_long(expected)),
    ]
    lines = [
        f"# {Path(source).name or source}: drafted by `pepr-edge init` from what it saw. Change what you know better.",
        "#",
    ]
    for word, line in head:
        lines += _wrapped(line, f"# {word + ':':<10} ", "#            ")
    lines.append(f"# {'Command:':<10} pepr-edge run {shlex.quote(out.as_posix())} --out runs/{recipe.name}")
    return "\n".join([*lines, *_tables(recipe, drafted.reasons)]) + "\n"


def how_long(expected: RunTimeEstimate) -> str:
    """The estimate in words, with how it was made."""
    timed = ", ".join(expected.timed)
    training = f"training {duration(expected.training_s)} (one thread's time, by a few training steps of {timed}; several make it less)"
    rest = f"export {duration(expected.export_s)}, measuring {duration(expected.measuring_s)} (by the rules)"
    return f"expected: at most {duration(expected.total_s)} on this machine: {training}, {rest}"


def duration(seconds: float) -> str:
    """A duration as people say it."""
    minutes = seconds / 60
    if minutes < 90:
        return f"{max(1, round(minutes))} min"
    return f"{minutes / 60:.1f} h" if minutes < 48 * 60 else f"{minutes / 1440:.0f} days"


def _colour(found: DatasetSummary) -> str:
    looked = len(found.sizes_px)
    if found.grey == looked:
        return f"all grey of {looked} looked at"
    return f"colour, {found.grey} grey of {looked} looked at" if found.grey else "colour"


def _sizes(found: DatasetSummary) -> str:
    distinct = sorted(set(found.sizes_px), key=lambda size: size[0] * size[1])
    (w, h), (wide, high) = distinct[0], distinct[-1]
    return f"{w} x {h} px" if len(distinct) == 1 else f"from {w} x {h} to {wide} x {high} px"


def _tables(recipe: Recipe, reasons: Mapping[str, str]) -> Iterator[str]:
    """Every key that differs from its default or has a reason, each reason above its key."""
    changed, whole = recipe.model_dump(mode="json", exclude_defaults=True), recipe.model_dump(mode="json")
    tables = {name: value for name, value in whole.items() if isinstance(value, dict)}
    yield "schema_version = 1"
    yield from (_line(name, whole[name]) for name in whole if name not in tables and name != "schema_version")
    for name, values in tables.items():
        keys = [key for key in values if key in changed.get(name, {}) or f"{name}.{key}" in reasons]
        if not keys:
            continue
        yield ""
        yield from _wrapped(OF_THE_DEVICE.get(name, ""), "# ", "# ")
        yield f"[{name}]"
        for key in keys:
            yield from _wrapped(reasons.get(f"{name}.{key}", ""), "# ", "# ")
            yield _line(key, values[key])


def _line(key: str, value: Any) -> str:
    value = value[0] if isinstance(value, list) and len(value) == 1 and isinstance(value[0], int) else value
    line = f"{key} = {as_toml(int(value) if isinstance(value, float) and value.is_integer() else value)}"
    if isinstance(value, list) and len(line) > WIDTH:
        return "\n".join([f"{key} = [", *(f"    {as_toml(entry)}," for entry in value), "]"])
    return line


def _wrapped(words: str, first: str, then: str) -> list[str]:
    return textwrap.wrap(
        words,
        WIDTH,
        initial_indent=first,
        subsequent_indent=then,
        break_on_hyphens=False,
        break_long_words=False,
    )
