"""Commands that write, on file systems without locks, or whose folders cannot be synced."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import command_line
import pytest
import small_run

pytestmark = pytest.mark.skipif(os.name != "posix", reason="flock and fsync of folders are POSIX")


@pytest.fixture
def words(flawless: Path, tmp_path: Path) -> dict[str, tuple[object, ...]]:
    """Commands that write into a copy of a finished run."""
    folder = small_run.copy(flawless, tmp_path / "run")
    recipe = tmp_path / "small.toml"
    recipe.write_text(small_run.FLAWLESS)
    # Without a ranking a run goes on where it stopped; a finished one would only be read.
    (folder / "ranking.json").unlink()
    return {"run": ("run", recipe, "--out", folder), "rank": ("rank", folder)}


@pytest.mark.slow
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_used_with_a_warning(
    code: int,
    words: dict[str, tuple[object, ...]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def flock(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", flock)
    done = command_line.run(capsys, monkeypatch, *words["run"], "--json")
    assert done.status == 0
    assert json.loads(done.out)["rows"]
    assert "no locks" in done.err


@pytest.mark.parametrize("command", [pytest.param("run", marks=pytest.mark.slow), "rank"])
@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS])
def test_a_file_system_whose_folders_cannot_be_synced_is_used(
    command: str,
    code: int,
    words: dict[str, tuple[object, ...]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, os.strerror(code))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    done = command_line.run(capsys, monkeypatch, *words[command], "--json")
    assert done.status == 0
    assert json.loads(done.out)["rows"]
