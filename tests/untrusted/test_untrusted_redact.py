from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pepr_edge.untrusted.redact import plain_message, redact_paths
from pepr_edge.untrusted.shown import CONTROL


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('  File "/opt/anna/lib/python3.11/torch/nn/conv.py", line 3', '  File "conv.py", line 3'),
        (r"C:\Users\Anna\model.onnx: cannot be read", "model.onnx: cannot be read"),
        (r"\\server\share\anna\x.png", "x.png"),
        ("no such file: '/data/anna/a.png'", "no such file: 'a.png'"),
        ("(/a/b/c.py)", "(c.py)"),
        ("685 images/s, 1 / 2, N/A, and/or", "685 images/s, 1 / 2, N/A, and/or"),
        ("candidates/a@64/fp32/model.onnx", "candidates/a@64/fp32/model.onnx"),
        ("fetch https://zenodo.org/records/1 first", "fetch https://zenodo.org/records/1 first"),
        ("//a//b/c", "//a//b/c"),
        ("", ""),
    ],
)
def test_of_an_absolute_path_the_last_part_stays(text: str, expected: str) -> None:
    assert redact_paths(text) == expected
    assert redact_paths(expected) == expected


def test_a_home_with_spaces_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/Anna B"))
    assert redact_paths("torn: /home/Anna B/scans 3/x.png") == "torn: scans 3/x.png"
    assert redact_paths("in /home/Anna B") == "in ~"


def test_a_home_is_not_removed_from_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/anna"))
    assert redact_paths("/home/annabel/x.png and /home/anna") == "x.png and ~"


def test_home_and_working_directory_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(cls: type[Path]) -> Path:
        raise FileNotFoundError

    def homeless(cls: type[Path]) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "cwd", classmethod(gone))
    monkeypatch.setattr(Path, "home", classmethod(homeless))
    assert redact_paths("torn: /data/x.png") == "torn: x.png"


@given(st.text(st.sampled_from("\x1b[]0;1mB\\\x07ab\x9b")))
def test_no_escape_sequence_is_left(text: str) -> None:
    plain = plain_message(text)
    assert not CONTROL.search(plain)
    assert plain_message(plain) == plain
