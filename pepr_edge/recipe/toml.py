"""Read a TOML file into a frozen model; report all faults at once, one line each, with how to fix it."""

from __future__ import annotations

import difflib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from pepr_edge.errors import RecipeError
from pepr_edge.untrusted.documents import check_values
from pepr_edge.untrusted.files import TOML_BYTES
from pepr_edge.untrusted.read import read_file
from pepr_edge.untrusted.shown import one_line, shown

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


# Python's parser took over five seconds for a key of 20,000 parts: its time grows with their square.
MAX_DOTS = 200
# Faults that are shown at once: a person fixes one after the other.
SHOWN_FAULTS = 10


class Section(BaseModel):
    """A table of a TOML file: frozen and strict; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


S = TypeVar("S", bound=Section)

# A text in double quotes that begins as a Windows path, with a backslash.
WINDOWS_PATH = re.compile(r'"(?:[A-Za-z]:|\\|\.{1,2}\\|[\w .-]+\\)[^"\n]*"')


def parse(text: str, kind: type[S], shown_as: str) -> S:
    """Read TOML text into a model.

    Args:
        text: TOML.
        kind: the model.
        shown_as: the file's name, for messages.
    Raises:
        RecipeError: not TOML; or unknown keys and bad values, all at once, one line each.
    """
    shown_as = shown(shown_as)
    if any(line.count(".") > MAX_DOTS for line in text.split("\n")):
        raise RecipeError(
            f"{shown_as}: a line with more than {MAX_DOTS} dots, expected keys of a few parts. Fix the file."
        )
    try:
        # Some Windows editors write a byte order mark first.
        document = tomllib.loads(text.removeprefix("\ufeff"))
        check_values(document)
        return kind.model_validate(document)
    except ValidationError as error:
        lines = [f"{shown_as}: {line}" for line in dict.fromkeys(_faults(error, kind))]
        hidden = error.error_count() - SHOWN_FAULTS
        if hidden > 0:
            lines.append(f"{shown_as}: and {hidden} more. Fix these first.")
        raise RecipeError("\n".join(lines)) from None
    except tomllib.TOMLDecodeError as error:
        hint = _windows_hint(text) or "Fix that line."
        raise RecipeError(f"{shown_as}: not a TOML file: {one_line(error)}. {hint}") from None
    except RecursionError:
        raise RecipeError(f"{shown_as}: brackets nested too deeply. Fix the file.") from None
    except ValueError as error:
        # Control characters, or an integer of thousands of digits, which Python refuses itself.
        hint = _windows_hint(text) or "Fix the file."
        raise RecipeError(f"{shown_as}: {str(error).split(';')[0]}. {hint}") from None


def _windows_hint(text: str) -> str:
    """Return how to write a Windows path, if a text in quotes holds a backslash: TOML takes it otherwise."""
    if not WINDOWS_PATH.search(text):
        return ""
    return "A backslash in quotes has a meaning of its own: write 'C:\\scans' or \"C:/scans\"."


def read(path: Path, kind: type[S]) -> S:
    """Read a TOML file into a model. Raises RecipeError."""
    return parse(read_text(path), kind, str(path))


def read_text(path: Path) -> str:
    """Return the text of a TOML file.

    Raises:
        RecipeError: the file is missing, unreadable, larger than a recipe can be, or not UTF-8.
    """
    expected = "a TOML text file. Check the path."
    try:
        return read_file(path, TOML_BYTES, RecipeError, expected).decode().replace("\r\n", "\n")
    except UnicodeDecodeError:
        raise RecipeError(f"{shown(str(path))}: not UTF-8, expected {expected}") from None


def _faults(validation_error: ValidationError, kind: type[Section]) -> Iterator[str]:
    """Yield one line for each of the first faults: key, value, expected value, how to fix it."""
    for error in validation_error.errors(include_url=False)[:SHOWN_FAULTS]:
        if error["type"] == "too_short" and error["input"]:
            continue  # pydantic counts only the good entries; each bad entry has its own error
        keys = list(error["loc"])
        key = ".".join(_key(part) for part in keys)
        known_keys, default = _describe(kind, keys)
        if error["type"] == "extra_forbidden":
            similar = difflib.get_close_matches(str(keys[-1]), known_keys, n=1)
            known = f"Known keys here: {', '.join(known_keys)}."
            hint = f"Did you mean {similar[0]!r}?" if similar else known
            yield f"{key}: unknown key. {hint}"
        elif not keys:
            yield f"expected {_expected(error)}. Fix the file."
        elif error["type"] == "missing":
            yield f"{key}: missing. Add it; the files that come with pepr_edge show how."
        else:
            use_default = f"Remove the line to use the default, {default}."
            remedy = "Fix the value." if default is None else use_default
            yield f"{key} = {_shown(error['input'])}, expected {_expected(error)}. {remedy}"


def _describe(model: type[BaseModel], keys: list[Any]) -> tuple[list[str], str | None]:
    """Return the known keys of the table that contains a key, and the key's default as TOML."""
    field: FieldInfo | None = None
    for position, key in enumerate(keys):
        field = model.model_fields.get(str(key))
        table = field.annotation if field else None
        if not (isinstance(table, type) and issubclass(table, BaseModel)):
            break  # a value; a key inside a list or a free table has the default of the whole
        if position < len(keys) - 1:
            model = table
    has_default = field is not None and not field.is_required() and not isinstance(field.default, BaseModel)
    return list(model.model_fields), as_toml(field.default) if field and has_default else None


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
    kind = error["type"]
    context = error.get("ctx", {})
    if kind in RELATIONS:
        sign, name = RELATIONS[kind]
        noun = "an integer" if isinstance(context[name], int) else "a number"
        return f"{noun} {sign} {context[name]}"
    if kind == "literal_error":
        return f"one of {context['expected']}"
    if kind == "too_short":
        return "at least one entry"
    if kind == "string_too_long":
        return f"a text of at most {context['max_length']} characters"
    return KINDS.get(kind.split("_")[0]) or str(error["msg"])


def _key(part: int | str) -> str:
    """Return a part of a key as TOML on one line, in quotes if needed."""
    return shown(str(part) if re.fullmatch(r"[\w-]+", str(part)) else json.dumps(part, ensure_ascii=False))


def _shown(value: Any) -> str:
    """Return a value for a message; a long value is cut."""
    try:
        text = as_toml(value)
    except (ValueError, RecursionError):
        return "(too long to show)"
    return text if len(text) <= 80 else f"{text[:77]}..."


def as_toml(value: Any) -> str:
    """Return a value in TOML, as a person would write it."""
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
