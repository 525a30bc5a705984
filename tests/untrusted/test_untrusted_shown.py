from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pepr_edge.untrusted.shown import (
    CONTROL,
    SHOWN_CHARACTERS,
    cell,
    clip,
    escaped,
    excerpt,
    first_items,
    first_line,
    is_plain,
    one_line,
    shown,
    without_escapes,
)


def test_ordinary_texts_are_shown_as_they_are() -> None:
    for text in ("Röntgen", "コード", "می\u200cشود", "क्\u200dष", "a/b c_d@1.png", ""):
        assert shown(text) == text
        assert is_plain(text)
    assert is_plain("x" * 1000)
    assert not is_plain("a\nb")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\x1b[2J\n", "a\\x1b[2J\\n"),
        ("a\tb\r", "a\\tb\\r"),
        ("be\u200bnign", "be\\u200bnign"),
        ("be\u200dnign", "be\\u200dnign"),
        ("a\u202eb", "a\\u202eb"),
        ("\u061c", "\\u061c"),
        ("\udcff.png", "\\udcff.png"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_what_would_change_a_terminal_is_escaped(text: str, expected: str) -> None:
    assert shown(text) == expected


@given(st.text())
def test_any_text_becomes_one_short_line_without_control_characters(text: str) -> None:
    result = shown(text)
    assert len(result) <= SHOWN_CHARACTERS
    assert len(result.splitlines()) <= 1
    assert not CONTROL.search(result)


def test_a_megabyte_is_clipped_in_its_middle() -> None:
    begin = time.perf_counter()
    result = shown("a" + "\x1b" * 10_000_000 + "z.png")
    assert time.perf_counter() - begin < 10.0
    assert len(result) == SHOWN_CHARACTERS
    assert result.startswith("a")
    assert result.endswith("z.png")
    assert clip("0123456789", 7) == "01...89"
    assert len(excerpt("x" * 100)) == 60


def test_line_ends_stay_in_a_text_of_several_lines() -> None:
    assert escaped("a\n\tb\x07") == "a\n\tb\\x07"


def test_a_library_s_error_becomes_one_line() -> None:
    assert one_line(ValueError("a\n  b\n")) == "a b"
    assert one_line(ValueError()) == "ValueError"
    assert len(one_line(ValueError("x" * 5000))) == SHOWN_CHARACTERS
    assert one_line("x" * 500 + "\n", 1000) == "x" * 500
    assert one_line(OSError(2, "no such file", "/a/b")) == "no such file"


def test_a_cell_is_no_formula() -> None:
    for text in ("=HYPERLINK(1)", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1"):
        assert cell(text) == f"'{text}"
    for value in ("normal", "", "a=b", -1.5, None, True):
        assert cell(value) == value


def test_a_long_list_is_cut() -> None:
    assert first_items(["a"] * 10) == ["a"] * 10
    assert first_items([str(number) for number in range(12)])[-2:] == ["9", "and 2 more"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # PyTorch's, of a file that weights_only refuses.
        (
            "two options, \x1b[1mdo those steps only if you trust the source of the checkpoint\x1b[0m. ",
            "two options, do those steps only if you trust the source of the checkpoint. ",
        ),
        ("\x1b]8;;https://a.b\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]0;title\x07text\x1b(B", "text"),
        ("\x1b[38;5;196mred\x1b[m\r\n\tnext\x07", "red\n\tnext"),
        ("torn \x1b", "torn "),
        ("a[1m]", "a[1m]"),
    ],
)
def test_escape_sequences_are_removed(text: str, expected: str) -> None:
    assert without_escapes(text) == expected


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (RuntimeError("\x1b[31mno kernel\x1b[0m\nsecond line"), "RuntimeError: no kernel"),
        (ValueError(), "ValueError"),
        (ValueError("\n\n"), "ValueError"),
        (KeyError("\nafter an empty line\n"), "KeyError: '\\nafter an empty line\\n'"),
    ],
)
def test_an_error_of_a_library_is_one_line(fault: Exception, expected: str) -> None:
    assert first_line(fault) == expected


def test_a_long_line_of_a_library_is_cut() -> None:
    assert len(first_line(ValueError("a" * 10_000))) < 300
