from __future__ import annotations

import os
from pathlib import Path

import pytest

from pepr_edge.errors import OutputError
from pepr_edge.untrusted.paths import cache_folder, exists, is_dir, is_file, leads_out


def test_a_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert (exists(tmp_path / "a"), is_file(tmp_path / "a"), is_dir(tmp_path / "a")) == (True, True, False)
    assert (exists(tmp_path), is_file(tmp_path), is_dir(str(tmp_path))) == (True, False, True)


@pytest.mark.parametrize("name", ["none", "a/b", "x" * 300, "x/" * 3000, "a\0b", "\ud800", "a\nb"])
def test_a_path_that_leads_nowhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "a").touch()
    path = f"{tmp_path}/{name}"
    assert (exists(path), is_file(path), is_dir(path)) == (False, False, False)


def test_no_path_is_not_the_current_folder() -> None:
    assert (exists(""), is_dir(""), is_dir(".")) == (False, False, True)


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege here")
def test_links_are_followed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "in").symlink_to("file")
    (folder / "out").symlink_to(tmp_path / "file")
    (folder / "circle").symlink_to("circle")
    (tmp_path / "file").touch()
    root = folder.resolve()
    names = ("in", "none", "circle", "x" * 300, "out", "..")
    assert [name for name in names if leads_out(folder / name, root)] == ["out", ".."]
    assert [name for name in names if is_file(folder / name)] == ["out"]
    assert not exists(folder / "circle")


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_home(path: str) -> str:
        return path

    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", no_home)  # as for a number that no user has
    with pytest.raises(OutputError, match="XDG_CACHE_HOME"):
        cache_folder()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path
