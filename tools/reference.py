"""Write docs/reference/ from the code: every command with its options, every key of a recipe.

python tools/reference.py            writes both pages
python tools/reference.py --check    exit status 1 if a page is outdated
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from pepr_edge.cli import main as program
from pepr_edge.recipe.schema import KEYS, schema

DOCS = Path(__file__).resolve().parents[1] / "docs"
TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "a text",
    "boolean": "true or false",
    "array": "a list",
}
LIMITS = {
    "minimum": "from {}",
    "exclusiveMinimum": "above {}",
    "maximum": "to {}",
    "exclusiveMaximum": "below {}",
    "maxLength": "of at most {} characters",
}


def pages() -> dict[Path, str]:
    """Return the text of each page of the reference."""
    return {
        DOCS / "reference" / "commands.md": commands_page(),
        DOCS / "reference" / "recipe.md": recipe_page(),
    }


def commands_page() -> str:
    """Return the page of commands, with arguments and options."""
    lines = ["# Commands", "", "Made from the code by `tools/reference.py`.", ""]
    lines += [
        "Every command takes `--json` (one JSON document on stdout, nothing else there), `-v` and `-q`. "
        "Exit status: 0 done; 1 a fault",
        "in what was given, in one line; 2 wrong usage; 3 a measurement is INVALID or a check failed; 130 "
        "interrupted.",
    ]
    for name in program.list_commands(click.Context(program)):
        command = program.get_command(click.Context(program), name)
        assert command is not None
        lines += _command(command, f"pepr-edge {name}", 2)
    return "\n".join(lines) + "\n"


def _command(command: click.Command, name: str, level: int) -> Iterator[str]:
    yield from ("", f"{'#' * level} {name}", "")
    yield from _paragraphs(command.help or "")
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            yield from _command(inner, f"{name} {inner.name}", level + 1)
        return
    arguments = [parameter for parameter in command.params if isinstance(parameter, click.Argument)]
    options = [
        parameter
        for parameter in command.params
        if isinstance(parameter, click.Option) and not _common(parameter)
    ]
    yield from (
        "",
        "```",
        " ".join([name, *("[OPTIONS]" for _ in options[:1]), *map(_argument, arguments)]),
        "```",
    )
    if options:
        yield from ("", "| option | what it does | default |", "| --- | --- | --- |")
        yield from (f"| {_option(option)} | {_help(option)} | {_default(option)} |" for option in options)


def _paragraphs(text: str) -> Iterator[str]:
    """Yield the paragraphs of a help text, each on one line."""
    for number, part in enumerate(text.strip().split("\n\n")):
        if number:
            yield ""
        yield _safe(" ".join(part.split()))


def _common(option: click.Option) -> bool:
    return option.name in ("as_json", "verbose", "quiet")


def _argument(argument: click.Argument) -> str:
    if argument.metavar:
        return argument.metavar
    name = str(argument.name).upper() + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _option(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    if option.is_flag:
        return names
    kind = option.type
    value = option.metavar or (
        "\\|".join(map(str, kind.choices)) if isinstance(kind, click.Choice) else kind.name.split()[0].upper()
    )
    return f"{names} {_safe(value) if option.metavar else value}"


def _help(option: click.Option) -> str:
    words = _safe((option.help or "").split("  [default:")[0].split(" [default:")[0])
    return f"{words} Required." if option.required else words


def _default(option: click.Option) -> str:
    said = (option.help or "").partition("[default:")[2].rstrip("] ")
    if said:
        return _safe(said.strip())
    if option.is_flag or not option.show_default or option.default is None:
        return ""
    return (
        ", ".join(map(str, option.default))
        if isinstance(option.default, tuple | list)
        else str(option.default)
    )


def recipe_page() -> str:
    """Return the page of recipe keys."""
    lines = ["# Recipe keys", "", "Made from the code by `tools/reference.py`.", ""]
    lines += [
        "A recipe is a TOML file. Unknown keys are errors, and all faults are reported at once (`pepr-edge "
        "recipes check FILE`).",
        "For editors there is a JSON Schema: `pepr-edge recipes schema`.",
    ]
    properties = schema()["properties"]
    plain = {key: value for key, value in properties.items() if value.get("type") != "object"}
    lines += ["", "## The top", "", *_keys("", plain, schema())]
    for name, section in properties.items():
        if name not in plain:
            lines += [
                "",
                f"## [{name}]",
                "",
                KEYS[name],
                "",
                *_keys(f"{name}.", section["properties"], section),
            ]
    return "\n".join(lines) + "\n"


def _keys(before: str, keys: dict[str, Any], table: dict[str, Any]) -> Iterator[str]:
    yield from ("| key | value | default | what it says |", "| --- | --- | --- | --- |")
    for key, value in keys.items():
        default = "required" if key in table.get("required", ()) else _toml(value.get("default"))
        yield f"| `{key}` | {_kind(value)} | {default} | {_safe(KEYS[before + key])} |"


def _kind(value: dict[str, Any]) -> str:
    """Describe the allowed values."""
    if "anyOf" in value:
        return ", or ".join(_kind(choice) for choice in value["anyOf"])
    if "const" in value:
        return _toml(value["const"])
    if "enum" in value:
        return ", ".join(map(_toml, value["enum"]))
    if value.get("type") == "object":
        return f"a table of {_kind(value['additionalProperties']).removeprefix('a ')}s"
    words = TYPES[value["type"]]
    if value["type"] == "array":
        words += f" of {_kind(value['items']).removeprefix('a ')}"
    limits = [
        text.format(f"{value[name]:g}" if value[name] < 1e6 else value[name])
        for name, text in LIMITS.items()
        if name in value
    ]
    return " ".join([words, *limits])


def _toml(value: Any) -> str:
    from pepr_edge.recipe.toml import as_toml

    return "" if value is None else f"`{as_toml(value)}`"


def _safe(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;")


def main() -> int:
    """Write the pages, or report the outdated ones."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    stale = {
        path: text
        for path, text in pages().items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    }
    for path, text in stale.items():
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        result = "outdated. Run python tools/reference.py" if check else "written"
        print(f"{path.relative_to(DOCS.parent)}: {result}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
