"""A TOML file to a frozen model, with all its faults reported at once, each a line that says how to mend it."""

from __future__ import annotations

import difflib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pepr_edge.errors import RecipeError
from pepr_edge.untrusted.documents import TOML_BYTES, content, refuse_control

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


# A key of 20,000 parts took Python's parser over five seconds: the time grows with their square.
MAX_POINTS = 200


class Section(BaseModel):
    """A table of a TOML file: frozen, strict, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


S = TypeVar("S", bound=Section)


def parse(text: str, kind: type[S], shown_as: str) -> S:
    """Read TOML text into a model.

    Args:
        text: TOML.
        kind: the model.
        shown_as: the file's name, for messages.
    Raises:
        RecipeError: not TOML, or unknown keys and bad values: all at once, a line each.
    """
    if any(line.count(".") > MAX_POINTS for line in text.split("\n")):
        raise RecipeError(
            f"{shown_as}: a line with more than {MAX_POINTS} points, expected keys of a few parts. Mend the file."
        )
    try:
        # Some editors of Windows put a byte order mark at the start.
        document = tomllib.loads(text.removeprefix("\ufeff"))
        refuse_control(document)
        return kind.model_validate(document)
    except ValidationError as fault:
        lines = [f"{shown_as}: {line}" for line in dict.fromkeys(_faults(fault, kind))]
        raise RecipeError("\n".join(lines)) from None
    except tomllib.TOMLDecodeError as fault:
        raise RecipeError(f"{shown_as}: not a TOML file: {fault}. Mend that line.") from None
    except RecursionError:
        raise RecipeError(f"{shown_as}: brackets too deep. Mend the file.") from None
    except ValueError as fault:
        # Control characters, or what Python refuses before TOML does: an integer of thousands of digits.
        raise RecipeError(f"{shown_as}: {str(fault).split(';')[0]}. Mend the file.") from None


def read(path: Path, kind: type[S]) -> S:
    """Read a TOML file into a model."""
    try:
        return parse(text_of(path), kind, str(path))
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such file. Check the path.") from None
    except (OSError, UnicodeDecodeError) as fault:
        raise RecipeError(f"{path}: cannot be read ({why(fault)}), expected a TOML text file.") from None


def text_of(path: Path) -> str:
    """The text of a TOML file.

    Raises:
        OSError: see `foreign.content`; a recipe has a few KiB.
        UnicodeDecodeError: not UTF-8.
    """
    return content(path, TOML_BYTES).decode().replace("\r\n", "\n")


def why(fault: OSError | UnicodeDecodeError) -> str:
    """Why a text file cannot be read, in a few words."""
    return "not UTF-8" if isinstance(fault, UnicodeDecodeError) else fault.strerror or type(fault).__name__


def _faults(fault: ValidationError, kind: type[Section]) -> Iterator[str]:
    """One line for each fault: key, value, what was expected, how to fix it."""
    for error in fault.errors():
        if error["type"] == "too_short" and error["input"]:
            continue  # pydantic counts the good entries alone: the bad ones have lines of their own
        keys = list(error["loc"])
        key = ".".join(_key(part) for part in keys)
        section, default = _describe(kind, keys)
        if error["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(keys[-1]), section, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known keys here: {', '.join(section)}."
            yield f"{key}: unknown key. {hint}"
        elif not keys:
            yield f"expected {_expected(error)}. Mend the file."
        elif error["type"] == "missing":
            yield f"{key}: missing. Add it; the files that come with pepr_edge show how."
        else:
            remedy = (
                "Mend the value." if default is None else f"Remove the line to use the default, {default}."
            )
            yield f"{key} = {_shown(error['input'])}, expected {_expected(error)}. {remedy}"


def _describe(model: type[BaseModel], keys: list[Any]) -> tuple[list[str], str | None]:
    """The known keys of the table that holds a key, and the key's default as TOML."""
    for key in keys[:-1]:
        field = model.model_fields.get(str(key))
        if field is None or not (
            isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        ):
            # Inside a list or a free table: the default is that of the whole.
            return list(model.model_fields), None if field is None or field.is_required() else as_toml(
                field.default
            )
        model = field.annotation
    last = model.model_fields.get(str(keys[-1])) if keys else None
    has_default = last is not None and not last.is_required() and not isinstance(last.default, BaseModel)
    return list(model.model_fields), as_toml(last.default) if last and has_default else None


KINDS = {
    "int": "an integer",
    "float": "a number",
    "finite": "a finite number",
    "string": "a text in quotes",
    "bool": "true or false",
    "tuple": "a list",
    "dict": "a table",
    "model": "a table",
}
RELATIONS = {
    "greater_than_equal": (">=", "ge"),
    "greater_than": (">", "gt"),
    "less_than_equal": ("<=", "le"),
    "less_than": ("<", "lt"),
}


def _expected(error: Any) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind in RELATIONS:
        sign, name = RELATIONS[kind]
        noun = "an integer" if isinstance(context[name], int) else "a number"
        return f"{noun} {sign} {context[name]}"
    if kind == "literal_error":
        return f"one of {context['expected']}"
    if kind == "too_short":
        return "at least one entry"
    return KINDS.get(kind.split("_")[0]) or str(error["msg"])


def _key(part: int | str) -> str:
    """A part of a key as TOML writes it, on one line: in quotes where it has to be."""
    return str(part) if re.fullmatch(r"[\w-]+", str(part)) else json.dumps(part, ensure_ascii=False)


def _shown(value: Any) -> str:
    """A value for a message, cut short where it is long."""
    try:
        text = as_toml(value)
    except (ValueError, RecursionError):
        return "(too long to show)"
    return text if len(text) <= 80 else f"{text[:77]}..."


def as_toml(value: Any) -> str:
    """A value as a person would write it in TOML."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(as_toml(entry) for entry in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {as_toml(entry)}" for key, entry in value.items()) + "}"
    return str(value)
