from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from pepr_edge.untrusted.files import MIB, content, open_regular


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert content(tmp_path / "file", 5) == b"12345"
    with pytest.raises(OSError, match="larger than"):
        content(tmp_path / "file", 4)


def test_a_file_of_several_blocks_is_whole(tmp_path: Path) -> None:
    whole = os.urandom(3 * MIB + 5)
    (tmp_path / "file").write_bytes(whole)
    assert content(tmp_path / "file", 4 * MIB) == whole


def test_a_sparse_file_is_refused_without_its_memory(tmp_path: Path) -> None:
    with open(tmp_path / "file", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="larger than 1 MiB"):
        content(tmp_path / "file", MIB)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_what_is_no_regular_file_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for path in (tmp_path / "pipe", tmp_path / "socket", Path("/dev/zero")):
            with pytest.raises(OSError, match="not a regular file"):
                content(path, 5)
    with pytest.raises(OSError, match="a folder, not a file"):
        open_regular(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_a_file_that_becomes_a_pipe_does_not_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"1")
    stat = Path.stat

    def stat_and_replace(self: Path, **options: bool) -> os.stat_result:
        status = stat(self, **options)
        path.unlink()
        os.mkfifo(path)
        return status

    monkeypatch.setattr(Path, "stat", stat_and_replace)
    with pytest.raises(OSError, match="not a regular file"):
        open_regular(path)
