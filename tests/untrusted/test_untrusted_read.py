from __future__ import annotations

from pathlib import Path

import pytest

from pepr_edge.errors import RunError
from pepr_edge.untrusted.read import read_file


def test_a_file_within_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"12345")

    assert read_file(path, 5, RunError, "a record.") == b"12345"


@pytest.mark.parametrize(
    ("name", "reason"), [("none.json", "no such file"), ("folder", "a folder"), ("large", "larger")]
)
def test_the_error_names_the_reason_and_the_expected_file(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "large").write_bytes(b"123456")

    with pytest.raises(RunError, match=rf"{name}: .*{reason}.*, expected a record\.$"):
        read_file(tmp_path / name, 5, RunError, "a record.")
