from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from pepr_edge.errors import RecipeError
from pepr_edge.recipe.toml import Section, parse, read

Name = Annotated[tuple[str, ...], Field(strict=False, min_length=1)]


class Inner(Section):
    """A table."""

    count: Annotated[int, Field(ge=1)] = 10
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    kind: Literal["fast", "slow"] = "fast"
    on: bool = True


class Outer(Section):
    """A file."""

    name: str
    inner: Inner = Inner()
    limits: dict[str, Annotated[float, Field(ge=0)]] = Field(default={"a": 1.0})
    names: Name = ("x",)
    size: float | None = None


def faults(text: str) -> list[str]:
    with pytest.raises(RecipeError) as fault:
        parse(text, Outer, "f.toml")
    return str(fault.value).splitlines()


def test_a_file_and_its_defaults() -> None:
    found = parse('name = "a"\nnames = ["b", "c"]\n[inner]\ncount = 3\n', Outer, "f.toml")
    assert found == Outer(name="a", names=("b", "c"), inner=Inner(count=3))
    assert (found.inner.share, found.size) == (0.5, None)
    with pytest.raises(ValidationError, match="frozen"):
        found.name = "b"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (
            "inner.count = 0",
            "inner.count = 0, expected an integer >= 1. Remove the line to use the default, 10.",
        ),
        (
            'inner.count = "3"',
            'inner.count = "3", expected an integer. Remove the line to use the default, 10.',
        ),
        (
            "inner.count = 3.0",
            "inner.count = 3.0, expected an integer. Remove the line to use the default, 10.",
        ),
        (
            "inner.count = true",
            "inner.count = true, expected an integer. Remove the line to use the default, 10.",
        ),
        (
            "inner.share = 1",
            "inner.share = 1, expected a number < 1.0. Remove the line to use the default, 0.5.",
        ),
        (
            "inner.share = nan",
            "inner.share = nan, expected a finite number. Remove the line to use the default, 0.5.",
        ),
        (
            "inner.kind = 'last'",
            "inner.kind = \"last\", expected one of 'fast' or 'slow'. "
            'Remove the line to use the default, "fast".',
        ),
        ("inner.on = 1", "inner.on = 1, expected true or false. Remove the line to use the default, true."),
        ("inner = 5", "inner = 5, expected a table. Fix the value."),
        ("inner.cuont = 5", "inner.cuont: unknown key. Did you mean 'count'?"),
        ("inner.z = 5", "inner.z: unknown key. Known keys here: count, share, kind, on."),
        ("inner.z.y = 5", "inner.z: unknown key. Known keys here: count, share, kind, on."),
        (
            "limits.b = -1",
            "limits.b = -1, expected a number >= 0.0. Remove the line to use the default, {a = 1.0}.",
        ),
        ("limits = []", "limits = [], expected a table. Remove the line to use the default, {a = 1.0}."),
        ("names = []", 'names = [], expected at least one entry. Remove the line to use the default, ["x"].'),
        ("names = 'x'", 'names = "x", expected a list. Remove the line to use the default, ["x"].'),
        ("names = [5]", 'names.0 = 5, expected a text in quotes. Remove the line to use the default, ["x"].'),
        (
            "size = 1979-05-27",
            "size = 1979-05-27, expected a number. Remove the line to use the default, none.",
        ),
        ("int = 5", "int: unknown key. Known keys here: name, inner, limits, names, size."),
        ("tuple = 5", "tuple: unknown key. Known keys here: name, inner, limits, names, size."),
        ('"[" = 5', '"[": unknown key. Known keys here: name, inner, limits, names, size.'),
        ('"a\\nb" = 5', '"a\\nb": unknown key. Known keys here: name, inner, limits, names, size.'),
        (
            'inner.count = "a\\nb"',
            'inner.count = "a\\nb", expected an integer. Remove the line to use the default, 10.',
        ),
    ],
)
def test_a_fault_is_one_line_that_says_how_to_fix_it(line: str, fault: str) -> None:
    assert faults(f'name = "a"\n{line}\n') == [f"f.toml: {fault}"]


def test_a_missing_key_is_reported() -> None:
    assert faults("") == ["f.toml: name: missing. Add it; the files that come with pepr_edge show how."]


def test_all_faults_at_once() -> None:
    found = faults('names = [1, 2]\nnaem = "a"\n[inner]\ncount = 0\nshare = 2\n')
    assert [line.split()[1].rstrip(":") for line in found] == [
        "name",
        "inner.count",
        "inner.share",
        "names.0",
        "names.1",
        "naem",
    ]


def test_a_long_value_is_cut_short() -> None:
    (line,) = faults(f'name = "a"\nsize = "{"x" * 1000}"\n')
    assert len(line) < 200
    assert 'size = "xxx' in line


@pytest.mark.parametrize(
    "text", ["name = ", "name = 'a'\nname = 'b'", "[name", "name = 'a", "\x00", "day = 2020-13-45"]
)
def test_invalid_toml_is_reported_with_its_line(text: str) -> None:
    (line,) = faults(text)
    assert line.startswith("f.toml: not a TOML file: ")
    assert "line 1" in line or "line 2" in line or "end of document" in line


@pytest.mark.parametrize(
    "text",
    [
        f"size = {'1' * 5000}",
        f"size = 0x{'f' * 5000}",
        f"names = {'[' * 5000}{']' * 5000}",
        f"name{'.a' * 3000} = 1",
        f"names = [{'{a=' * 2000}1{'}' * 2000}]",
    ],
    ids=["long integer", "long hexadecimal integer", "deep list", "deep key", "deep table"],
)
def test_values_that_python_cannot_parse_are_faults(text: str) -> None:
    assert all(len(line) < 300 for line in faults(text))


def test_a_byte_order_mark_is_ignored() -> None:
    assert parse('\ufeffname = "a"', Outer, "f.toml").name == "a"


SCALARS = st.one_of(st.integers(), st.floats(), st.booleans(), st.text(max_size=5))
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*Outer.model_fields, "int", "["]), inner)
    ),
    max_leaves=8,
)


def written(value: Any) -> str:
    """A value in TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(letter):08x}" for letter in value) + '"'
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{written(key)} = {written(entry)}" for key, entry in value.items()) + "}"
    return repr(value)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*Outer.model_fields, "int", "tuple", "[key]", "a\nb", ""]) | st.text(max_size=3),
        TREES,
        max_size=5,
    )
)
def test_any_tree_parses_or_gives_one_line_per_fault(tree: dict[str, Any]) -> None:
    text = "".join(f"{written(key)} = {written(value)}\n" for key, value in tree.items())
    try:
        parse(text, Outer, "f.toml")
    except RecipeError as fault:
        lines = str(fault).split("\n")
        assert all(line.startswith("f.toml: ") and line[-1] in ".?" for line in lines)
        assert len(set(lines)) == len(lines)


def test_an_unreadable_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b'name = "Br\xfcste"')
    (tmp_path / "good.toml").write_text('name = "Brüste"', encoding="utf-8")
    assert read(tmp_path / "good.toml", Outer).name == "Brüste"
    reasons = {"none.toml": "no such file", "latin.toml": "not UTF-8", ".": "cannot be read"}
    for name, reason in reasons.items():
        with pytest.raises(RecipeError, match=reason) as fault:
            read(tmp_path / name, Outer)
        assert str(tmp_path) in str(fault.value)


def test_a_fault_in_a_file_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "f.toml").write_text("nam = 1\n", encoding="utf-8")
    with pytest.raises(RecipeError) as fault:
        read(tmp_path / "f.toml", Outer)
    assert all(line.startswith(f"{tmp_path / 'f.toml'}: ") for line in str(fault.value).splitlines())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a." * 20_000 + "a = 1", "more than 200 dots"),
        ("[a" + ".a" * 20_000 + "]", "more than 200 dots"),
        ("seed = " + "9" * 5000, "4300"),
        ("a = " + "[" * 20_000, "deeply"),
        (r'name = "\u001b[2J"', "control characters"),
    ],
)
def test_hostile_text_is_reported_in_one_line(text: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words) as caught:
        parse(text, Section, "x.toml")
    assert "\n" not in str(caught.value)


def test_a_file_larger_than_any_recipe_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"#" * (1 << 17))
    with pytest.raises(RecipeError, match="larger than"):
        read(tmp_path / "x.toml", Section)
