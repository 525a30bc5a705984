import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import command_line
import pytest

from pepr_edge.data import DataSettings, fingerprint
from pepr_edge.data.findings import OTHER_SUFFIXES, UNREAD_SUFFIXES
from pepr_edge.data.formats import FORMATS, SOURCES, recognise, source_files
from pepr_edge.errors import DataError

ROOT = Path(__file__).resolve().parents[2]
SUFFIXES = [(name, suffix) for name, format_ in FORMATS.items() for suffix in format_.SUFFIXES]
# Texts that say what a source may be. The schema and docs/reference are made from SOURCES.
TEXTS = (
    "README.md",
    "docs/tour.md",
    "docs/own-dataset.md",
    "docs/reference/commands.md",
    "docs/reference/recipe.md",
    "recipes/recipe.schema.json",
)
# None of them leads to a file or folder. {suffix} makes them names of each format.
ODD_PATHS = {
    "empty": "",
    "suffix alone": "{suffix}",
    "space": " ",
    "name too long": "x" * 300 + "{suffix}",
    "path too long": "x/" * 3000 + "a{suffix}",
    "NUL": "a\0b{suffix}",
    "half of a surrogate pair": "\ud800{suffix}",
    "line end": "a\nb{suffix}",
    "escape sequence": "\x1b[2J{suffix}",
    "below a file": "file{suffix}/a{suffix}",
    "pattern": "*{suffix}",
    "home": "~nobody/a{suffix}",
    "address": "https://example.org/a{suffix}",
    "Windows device": "con{suffix}",
    "Windows drive": "Q:\\a{suffix}",
}


def names_suffix(text, suffix):
    """True if the suffix stands by itself: neither in a file's name nor at the start of another suffix."""
    return re.search(rf"(?<!\w){re.escape(suffix)}\b", text) is not None


@pytest.mark.parametrize(("name", "suffix"), SUFFIXES)
def test_files_are_recognised_by_their_suffix(tmp_path, name, suffix):
    for path in (tmp_path / f"a{suffix}", tmp_path / f"B{suffix.upper()}"):
        path.touch()
        assert recognise(str(path)) == name
    (tmp_path / f"folder{suffix}").mkdir()
    assert recognise(str(tmp_path / f"folder{suffix}")) == "folder"


def test_names_and_folders_are_recognised(tmp_path):
    sources = ("phantom", "breastmnist", str(tmp_path))
    assert [recognise(source) for source in sources] == ["phantom", "medmnist", "folder"]


@pytest.mark.parametrize("text", TEXTS)
def test_texts_name_the_suffixes_of_every_format(text):
    words = (ROOT / text).read_text(encoding="utf-8")
    lacking = [suffix for _, suffix in SUFFIXES if not names_suffix(words, suffix)]
    assert not lacking, f"{text}: say what such a file is"


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_says_what_it_accepts(name):
    format_ = FORMATS[name]
    assert format_.ACCEPTS in SOURCES
    for suffix in format_.SUFFIXES:
        assert names_suffix(format_.ACCEPTS, suffix)
        assert suffix == suffix.lower()
        assert suffix in OTHER_SUFFIXES | UNREAD_SUFFIXES, "a note about skipped files may name this suffix"


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("odd", ODD_PATHS)
def test_odd_paths_are_not_recognised(name, odd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for suffix in FORMATS[name].SUFFIXES or ("",):
        (tmp_path / f"file{suffix}").touch()
        source = ODD_PATHS[odd].format(suffix=suffix)
        assert FORMATS[name].recognises(source) is False


@pytest.mark.skipif(os.name == "nt", reason="links and pipes are other things here")
@pytest.mark.parametrize("name", FORMATS)
def test_circles_and_pipes_are_not_recognised(name, tmp_path):
    for suffix in FORMATS[name].SUFFIXES or ("",):
        (tmp_path / f"circle{suffix}").symlink_to(f"circle{suffix}")
        os.mkfifo(tmp_path / f"pipe{suffix}")
        assert not FORMATS[name].recognises(str(tmp_path / f"circle{suffix}"))
        assert not FORMATS[name].recognises(str(tmp_path / f"pipe{suffix}"))


@pytest.mark.parametrize("odd", ODD_PATHS)
def test_an_odd_path_is_an_error_of_one_line(odd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = ODD_PATHS[odd].format(suffix=".csv")
    with pytest.raises(DataError, match=r"no such file or folder, expected .*\.csv") as fault:
        recognise(source)
    assert str(fault.value).isprintable()
    assert source_files(DataSettings(source, 16)) == []


@pytest.mark.parametrize("command", ["run", "init"])
def test_a_name_too_long_ends_a_command_in_one_line(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ("run", "quickstart", "--data") if command == "run" else ("init",)
    done = command_line.run(capsys, monkeypatch, *words, "x" * 300 + ".csv")
    assert (done.status, "no such file or folder" in done.err) == (1, True)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("brestmnist", "Did you mean breastmnist?"),
        ("fantom", "Did you mean phantom?"),
        ("/no/where.csv", "no such file or folder"),
        ("", "folder"),
    ],
)
def test_unknown_sources(source, message, tmp_path, monkeypatch):
    with pytest.raises(DataError, match=message.replace("?", r"\?")):
        recognise(source or str(tmp_path / "none"))


def test_a_file_of_unknown_format(tmp_path):
    (tmp_path / "e.txt").touch()
    with pytest.raises(DataError, match=r"e\.txt: .*known format"):
        recognise(str(tmp_path / "e.txt"))


def test_fingerprint_follows_settings_and_files(image_folder, draw):
    settings = DataSettings(str(image_folder), 16)
    first = fingerprint(settings)
    assert fingerprint(settings) == first
    (image_folder / "cat" / "notes.txt").write_text("not an image")
    assert fingerprint(settings) == first
    assert fingerprint(replace(settings, seed=1)) != first
    assert fingerprint(replace(settings, image_size_px=17)) != first
    changed = image_folder / "cat" / "00.png"
    status = changed.stat()
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))
    second = fingerprint(settings)
    assert second != first
    draw(image_folder / "dog" / "new.png")
    assert fingerprint(settings) not in (first, second)


def test_fingerprint_does_not_decode(image_folder, monkeypatch):
    monkeypatch.setattr("PIL.Image.open", lambda *args: pytest.fail("decoded"))
    fingerprint(DataSettings(str(image_folder), 16))


def test_fingerprint_of_a_name_needs_no_file():
    assert fingerprint(DataSettings("breastmnist", 16)) != fingerprint(DataSettings("pneumoniamnist", 16))


def test_nothing_heavy_is_imported():
    heavy = {"torch", "pooch", "timm", "onnx", "onnxruntime", "sklearn", "scipy", "pandas", "matplotlib"}
    code = f"import sys, pepr_edge.data; print(sorted({heavy!r} & set(sys.modules)))"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
