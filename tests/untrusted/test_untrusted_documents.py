from __future__ import annotations

import time

import pytest

from pepr_edge.untrusted.documents import json_document, name_fault


def test_an_unambiguous_document_is_read() -> None:
    assert json_document(b'{"a": [1, 2.5, "\\u00e9\\n", null]}') == {"a": [1, 2.5, "é\n", None]}


@pytest.mark.parametrize(
    ("text", "keyword"),
    [
        (b'{"a": {"b": 1, "b": 2}}', "the key b twice"),
        (b"[NaN]", "NaN, which is no number"),
        (b"[-Infinity]", "-Infinity"),
        (b'["\\u0000"]', "control characters in \\x00"),
        (b'{"\\u001b[1m": 1}', "control characters"),
        (b'["\\ud800"]', "control characters"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" * 65 + b"]" * 65, "nested too deeply"),
        (b"[1e999]", "1e999, which is too large"),
        (b"[9223372036854775808]", "beyond 64 bits"),
        (b'{"a": -9223372036854775809}', "beyond 64 bits"),
        ('["a\u200fb"]'.encode(), "control characters in a\\u200fb"),
        ('["\u200b"]'.encode(), "control characters"),
        (b"[" + b"9" * 5000 + b"]", "beyond 64 bits"),
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


def test_numbers_up_to_64_bits_and_64_levels_are_read() -> None:
    assert json_document(b"[9223372036854775807, -9223372036854775808, 1e308]")[0] == 2**63 - 1
    assert json_document(b"[" * 64 + b"]" * 64) is not None


def test_many_keys_with_one_twice_are_refused_in_linear_time() -> None:
    keys = ", ".join(f'"k{number}": 1' for number in range(100_000))
    begin = time.perf_counter()
    with pytest.raises(ValueError, match="the key k7 twice"):
        json_document(f'{{{keys}, "k7": 2}}'.encode())
    assert time.perf_counter() - begin < 30.0
