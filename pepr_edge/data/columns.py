"""Which columns of a table are the path, the label, the split and the group; the others are named.

A recipe may name columns: `[data] columns = {path = "image", group = "patient_id"}`. A column of another name
whose values are the names of splits is taken as the split. A column that looks like a group or a split and is
not used is a problem: images of one patient in training and in test make the test result too good.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pepr_edge.data.findings import MAX_EXAMPLES, unused_columns
from pepr_edge.data.names import split_named, words
from pepr_edge.data.table import Table, column_key
from pepr_edge.errors import DataError, DatasetError
from pepr_edge.records import Columns, Problem
from pepr_edge.untrusted.shown import shown

REQUIRED = ("path", "label")
OPTIONAL = ("split", "group")
ROLES = (*REQUIRED, *OPTIONAL)
MAX_NAMED = 12
# Words in the names of columns that say who or what several images show.
GROUP_WORDS = frozenset({
    "accession", "animal", "biopsy", "case", "cow", "donor", "exam", "examination", "family", "individual",
    "lesion", "mouse", "mrn", "nodule", "participant", "patient", "person", "pid", "pt", "series", "slide",
    "specimen", "studies", "study", "subj", "subject", "video", "visit", "wsi",
})  # fmt: skip
SPLIT_WORDS = frozenset({
    "fold", "folds", "partition", "phase", "set", "split", "subset", "train", "test", "usage", "val", "valid",
    "validation",
})  # fmt: skip
# Of other names for a path or a label, to say in an error which column may be meant.
PATH_WORDS = frozenset({
    "file", "filename", "filepath", "image", "images", "img", "imagename", "name", "path",
})  # fmt: skip
LABEL_WORDS = frozenset({
    "category", "class", "classes", "diagnosis", "dx", "finding", "findings", "grade", "label", "labels",
    "target",
})  # fmt: skip
# A column of splits has few values.
MAX_SPLIT_VALUES = 20


@dataclass(frozen=True)
class Chosen:
    """The position of each column that is used, by role; their names, those of the others, and problems."""

    positions: Mapping[str, int]
    columns: Columns
    problems: tuple[Problem, ...] = field(default=())


def choose(
    table: Table, named: Mapping[str, str], subgroups: Sequence[str] = (), with_label: bool = True
) -> Chosen:
    """Choose the columns of a table.

    Args:
        table: at least a header.
        named: the names that a recipe gives to columns, by role.
        subgroups: the names of further columns; their role is `subgroup_role`.
        with_label: False: several columns take the place of the label.
    Raises:
        DataError: a column is missing or there twice.
    """
    positions = _by_name(table, named, with_label)
    positions |= _subgroups(table, positions, subgroups)
    problems: list[Problem] = []
    if "split" not in positions:
        candidates = [
            position for position in _others(table, positions) if _holds_splits(table.column(position))
        ]
        if len(candidates) == 1:
            positions["split"] = candidates[0]
            problems.append(_split_taken(table.header[candidates[0]]))
        elif candidates:
            problems.append(_several_splits([table.header[position] for position in candidates]))
    problems += _unused(table, positions)
    ignored = [_shown(table.header[position]) for position in _others(table, positions)]
    problems += unused_columns(ignored)
    used = tuple(_shown(table.header[position]) for position in positions.values())
    return Chosen(positions, Columns(used=used, ignored=tuple(ignored)), tuple(problems))


def _by_name(table: Table, named: Mapping[str, str], with_label: bool) -> dict[str, int]:
    keys = [column_key(name) for name in table.header]
    taken = {column_key(name) for name in named.values()}
    positions = {}
    missing = []
    for role in ROLES if with_label else [role for role in ROLES if role != "label"]:
        name = named.get(role, role)
        if role in OPTIONAL and role not in named and role in taken:
            continue  # the recipe says what the column of this name is
        if keys.count(column_key(name)) > 1:
            raise DataError(
                f"{table.path}: line 1: duplicate column {shown(name)!r}, expected it once. Remove one."
            )
        if column_key(name) in keys:
            positions[role] = keys.index(column_key(name))
        elif role in REQUIRED or role in named:
            missing.append(role)
    if missing:
        raise _not_found(table, missing, named)
    return positions


def subgroup_role(name: str) -> str:
    """Return the role of a column of subgroups."""
    return f"subgroup {name}"


def _subgroups(table: Table, positions: Mapping[str, int], names: Sequence[str]) -> dict[str, int]:
    """Return the positions of the columns of subgroups, by role."""
    keys = [column_key(name) for name in table.header]
    found = {}
    for name in names:
        if keys.count(column_key(name)) != 1:
            fault = "no column" if column_key(name) not in keys else "duplicate column"
            listed = ", ".join(_shown(other) for other in table.header[:MAX_NAMED]) or "nothing"
            raise DataError(
                f"{table.path}: line 1: {fault} {shown(name)!r} for data.subgroups, found {listed}. Correct "
                "the name, or leave it out."
            )
        position = keys.index(column_key(name))
        if position in positions.values():
            role = next(role for role, taken in positions.items() if taken == position)
            raise DataError(
                f"{table.path}: line 1: data.subgroups names {shown(name)!r}, which is the column of the "
                f"{role}. Leave it out."
            )
        found[subgroup_role(name)] = position
    return found


def _not_found(table: Table, missing: Sequence[str], named: Mapping[str, str]) -> DatasetError:
    names = " and ".join(repr(shown(named.get(role, role))) for role in missing)
    found = ", ".join(_shown(name) for name in table.header[:MAX_NAMED]) or "nothing"
    if len(table.header) > MAX_NAMED:
        found += f" and {len(table.header) - MAX_NAMED} more"
    return DatasetError(
        "columns_not_found",
        f"{table.path}: line 1: no column {names}, found {found}. {_how_to_name(table, missing)}",
        len(missing),
        tuple(_shown(name) for name in table.header[:MAX_EXAMPLES]),
    )


def _how_to_name(table: Table, missing: Sequence[str]) -> str:
    if len(table.header) < len(REQUIRED):
        return (
            "Name the columns in that line path, label and optionally split, group, with a comma, semicolon "
            "or tab between them, and no quotes around a whole line."
        )
    advice = ""
    indicators = _indicators(table)
    if "label" in missing and len(indicators) > 1:
        listed = ", ".join(indicators[:MAX_EXAMPLES]) + (" ..." if len(indicators) > MAX_EXAMPLES else "")
        advice = (
            f"Columns {listed} hold only 0 and 1: if each is a finding of its own, say so: "
            'task.kind = "multilabel" in a recipe, --task multilabel for init and data check. Otherwise make '
            "one column label with the name of the class, or choose one of them as the label. "
        )
    suggested = {role: _suggestion(table.header, role) or f"its {role}" for role in missing}
    keys = ", ".join(f'{role} = "{shown(name)}"' for role, name in suggested.items())
    return (
        f"{advice}Name the columns in that line path, label and optionally split, group; or say which they "
        f"are: data.columns = {{{keys}}} in a recipe, --column {missing[0]}=NAME for init and data check."
    )


def _indicators(table: Table) -> list[str]:
    """Return the columns that hold only 0 and 1, and both."""
    found = []
    for position, name in enumerate(table.header):
        values = {value.removesuffix(".0") for value in table.column(position)}
        if values == {"0", "1"}:
            found.append(_shown(name))
    return found


def _suggestion(header: Sequence[str], role: str) -> str | None:
    meant = PATH_WORDS if role == "path" else LABEL_WORDS
    return next((name for name in header if _words(name) & meant), None)


def _others(table: Table, positions: Mapping[str, int]) -> list[int]:
    return [position for position in range(len(table.header)) if position not in positions.values()]


def _holds_splits(values: Sequence[str]) -> bool:
    """True if all values are names of splits, training among them."""
    distinct = set(values)
    if len(distinct) > MAX_SPLIT_VALUES:
        return False
    splits = {split_named(value) for value in distinct}
    return "train" in splits and None not in splits and len(splits) > 1


def _unused(table: Table, positions: Mapping[str, int]) -> Iterator[Problem]:
    """Yield the columns that look like a group or a split, and are neither."""
    for position in _others(table, positions):
        name = table.header[position]
        values = table.column(position)
        if "group" not in positions and _words(name) & GROUP_WORDS:
            yield from _group_like(table, positions, name, values)
        elif "split" not in positions and _is_split_like(name, values):
            yield _split_like(name, values)


def _group_like(
    table: Table, positions: Mapping[str, int], name: str, values: Sequence[str]
) -> Iterator[Problem]:
    present = [value for value in values if value]
    if len(set(present)) == len(present):
        return
    remedy = (
        f"column {_shown(name)!r} looks like a group ({len(set(present)):,} values for "
        f"{len(values):,} images), and is not used: "
    )
    if "split" in positions:
        divided = _divided(values, table.column(positions["split"]))
        if not divided:
            return
        remedy += f"{divided:,} of its values are in more than one split, so test scores may be too good. "
    else:
        remedy += "images of one may come into training and into test. "
    yield Problem(
        kind="column_looks_like_group",
        severity="warning",
        count=1,
        examples=(_shown(name),),
        remedy=remedy + _how_to_use("group", name),
    )


def _divided(groups: Sequence[str], splits: Sequence[str]) -> int:
    """Return the number of groups with images in more than one split."""
    homes: dict[str, set[object]] = {}
    for group, split in zip(groups, splits, strict=True):
        if group:
            homes.setdefault(group, set()).add(split_named(split))
    return sum(len(of_group) > 1 for of_group in homes.values())


def _is_split_like(name: str, values: Sequence[str]) -> bool:
    has_few_values = 1 < len(set(values)) <= MAX_SPLIT_VALUES
    return bool(_words(name) & SPLIT_WORDS) and has_few_values and not _holds_splits(values)


def _split_like(name: str, values: Sequence[str]) -> Problem:
    distinct = sorted(set(values))
    listed = ", ".join(map(shown, distinct[:MAX_EXAMPLES])) + (" ..." if len(distinct) > MAX_EXAMPLES else "")
    return Problem(
        kind="column_looks_like_split",
        severity="warning",
        count=1,
        examples=(_shown(name),),
        remedy=f"column {_shown(name)!r} looks like a split (values {listed}), and is not used: "
        f"expected train, val and test. If it is one, give it these values. {_how_to_use('split', name)}",
    )


def _split_taken(name: str) -> Problem:
    return Problem(
        kind="split_column_taken",
        severity="note",
        count=1,
        examples=(_shown(name),),
        remedy=f"the splits are those of column {_shown(name)!r}, as its values are names of splits.",
    )


def _several_splits(names: Sequence[str]) -> Problem:
    listed = ", ".join(map(repr, map(_shown, names)))
    return Problem(
        kind="column_looks_like_split",
        severity="warning",
        count=len(names),
        examples=tuple(_shown(name) for name in names[:MAX_EXAMPLES]),
        remedy=f"columns {listed} all hold names of splits, so none is used. Choose one. "
        f"{_how_to_use('split', names[0])}",
    )


def _how_to_use(role: str, name: str) -> str:
    return f'Use it: data.columns = {{{role} = "{_shown(name)}"}} in a recipe, --column {role}=... for init.'


def _words(name: str) -> set[str]:
    """Return the words of a column's name, also of names like patientid."""
    plain = set(words(name))
    return plain | {word.removesuffix("id").removesuffix("no") for word in plain}


def _shown(name: str) -> str:
    return shown(name) or "(no name)"
