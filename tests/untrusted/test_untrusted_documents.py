from __future__ import annotations

import os
from pathlib import Path

import pytest

from pepr_edge.untrusted.documents import content, json_document, name_fault, shown


def test_an_unambiguous_document_is_read() -> None:
    assert json_document(b'{"a": [1, 2.5, "\\u00e9\\n", null]}') == {"a": [1, 2.5, "é\n", None]}


@pytest.mark.parametrize(
    ("text", "keyword"),
    [
        (b'{"a": {"b": 1, "b": 2}}', "the key b twice"),
        (b"[NaN]", "NaN, which is no number"),
        (b"[-Infinity]", "-Infinity"),
        (b'["\\u0000"]', "control characters in '\\x00'"),
        (b'{"\\u001b[1m": 1}', "control characters"),
        (b'["\\ud800"]', "control characters"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" + b"9" * 5000 + b"]", "limit"),
        (b"\xff", "not UTF-8"),
        ("\ufeff[]".encode(), "BOM"),
        ("[]".encode("utf-16"), "not UTF-8"),
        (b"", "Expecting value"),
    ],
)
def test_an_ambiguous_document_is_refused(text: bytes, keyword: str) -> None:
    with pytest.raises(ValueError) as caught:
        json_document(text)
    assert keyword in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert content(tmp_path / "file", 5) == b"12345"
    with pytest.raises(OSError, match="larger than"):
        content(tmp_path / "file", 4)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(OSError, match="not a regular file"):
            content(path, 5)


@pytest.mark.parametrize(
    "name", ["resnet50.a1_in1k", "mobilenetv2_050@48", "01-a@64-fp32", "Lunge rechts", "..a", "コード"]
)
def test_names_valid_on_every_system(name: str) -> None:
    assert name_fault(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "...",
        "a/b",
        "a\\b",
        "C:a",
        "a\0",
        "a\nb",
        "a\x1b",
        "nul",
        "CON.txt",
        "lpt1",
        "a ",
        " a",
        "a.",
        "x" * 201,
        'a"',
    ],
)
def test_names_invalid_on_some_system(name: str) -> None:
    assert name_fault(name)


def test_shown_texts_move_no_cursor() -> None:
    assert shown("Röntgen") == "Röntgen"
    assert shown("a\x1b[2J\n") == "'a\\x1b[2J\\n'"
