import os
import subprocess
import sys
from dataclasses import replace

import pytest

from pepr_edge.data import DataSettings, fingerprint
from pepr_edge.data.formats import FORMATS, recognise
from pepr_edge.errors import DataError


def test_formats_are_recognised_by_name_and_by_file(tmp_path):
    for name in ("a.npz", "b.CSV", "c.pt", "d.pth", "e.txt"):
        (tmp_path / name).touch()
    expected = {"a.npz": "medmnist", "b.CSV": "csv", "c.pt": "tensor", "d.pth": "tensor", "": "folder"}
    assert {name: recognise(str(tmp_path / name)) for name in expected} == expected
    assert recognise("phantom") == "phantom"
    assert recognise("breastmnist") == "medmnist"
    assert set(FORMATS) == {"phantom", "medmnist", "folder", "csv", "tensor"}


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
