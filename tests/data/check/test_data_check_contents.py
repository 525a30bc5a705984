"""What the files hold besides the picture that is used, or in its place."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path

import command_line
import made_dicom
import made_images
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

TWENTY = {"a": 10, "b": 10}


def files(root: Path, suffix: str, save) -> Path:
    """Write ten files of each of two classes; `save` gets the path and the seed of each."""
    for seed in range(20):
        path = root / "ab"[seed % 2] / f"{seed:02}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        save(path, seed)
    return root


def png_of_16_bits(path: Path, pixels: NDArray[np.uint16]) -> None:
    """Write colour of 16 bits, which Pillow reads and cannot write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


@pytest.mark.parametrize(("suffix", "count"), [(".tif", 5), (".gif", 2), (".webp", 3)])
def test_files_of_several_pictures_are_said(tmp_path, check, suffix, count):
    def save(path: Path, seed: int) -> None:
        pages = [made_images.picture(100 * page + seed) for page in range(count)]
        pages[0].save(path, save_all=True, append_images=pages[1:])

    done = check(files(tmp_path / "d", suffix, save))
    problem = done.problem("several_pictures")
    assert (done.status, problem["severity"], problem["count"]) == (0, "note", 20)


def test_films_of_dicom_are_said(tmp_path, check):
    pytest.importorskip("pydicom")

    def save(path: Path, seed: int) -> None:
        made_dicom.write(path, np.stack([made_images.pixels(seed + 100 * frame) for frame in range(3)]))

    assert check(files(tmp_path / "d", "", save)).problem("several_pictures")["count"] == 20


def test_a_small_copy_in_a_tiff_file_is_no_other_picture(tmp_path, check):
    def save(path: Path, seed: int) -> None:
        picture = made_images.picture(seed)
        small = picture.resize((12, 12))
        small.encoderinfo = {"tiffinfo": {254: 1}}
        picture.save(path, save_all=True, append_images=[small])

    assert check(files(tmp_path / "d", ".tif", save)).kinds == {}


@pytest.mark.parametrize(("bits", "divisor"), [(12, 1), (10, 1), (8, 64), (8, 32)])
def test_pictures_that_are_nearly_black_are_said(tmp_path, check, bits, divisor):
    """Colour of 16 bits that holds less, and numbers of classes in place of a picture."""

    def save(path: Path, seed: int) -> None:
        if bits > 8:
            deep = made_images.pixels(seed, colour=True).astype(np.uint16) << (bits - 8)
            png_of_16_bits(path, deep)
        else:
            Image.fromarray(made_images.pixels(seed) // divisor).save(path)

    done = check(files(tmp_path / "d", ".png", save))
    assert (done.status, done.problem("dark_images")["count"]) == (0, 20)


def test_a_few_dark_pictures_are_normal(tmp_path, check):
    root = made_images.folder(tmp_path / "d", TWENTY)
    for number in range(2):
        Image.fromarray(made_images.pixels(90 + number) // 16).save(root / "a" / f"dark{number}.png")
    assert check(root).kinds == {}


@pytest.mark.parametrize(("blank", "severity"), [(3, "warning"), (10, "error"), (20, "error")])
def test_blank_pictures_stop_if_most_are(tmp_path, check, blank, severity):
    def save(path: Path, seed: int) -> None:
        Image.fromarray(made_images.pixels(seed) // (255 if seed < blank else 1)).save(path)

    done = check(files(tmp_path / "d", ".png", save))
    problem = done.problem("blank_images")
    assert (done.status, problem["severity"]) == (int(severity == "error"), severity)


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_jpeg_files_that_lost_their_end_are_said(tmp_path, check, colour, share):
    def save(path: Path, seed: int) -> None:
        out = io.BytesIO()
        made_images.picture(seed, 160, colour=colour).save(out, "JPEG", quality=95)
        content = out.getvalue()
        path.write_bytes(content[: int(len(content) * share)] + b"\xff\xd9" if seed < 4 else content)

    problem = check(files(tmp_path / "d", ".jpg", save)).problem("cut_off_images")
    assert (problem["severity"], problem["count"]) == ("warning", 4)


@pytest.mark.parametrize("level", [0, 114, 255])
def test_a_border_is_no_lost_end(tmp_path, check, level):
    def save(path: Path, seed: int) -> None:
        pixels = made_images.pixels(seed, 64)
        pixels[-24:] = level
        Image.fromarray(pixels).save(path, quality=90)

    assert check(files(tmp_path / "d", ".jpg", save)).kinds == {}


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS"),
        (b"\n<!DOCTYPE html><html></html>", "web page"),
        (b"<HTML><body>404</body></HTML>", "web page"),
        (b"no picture", "not an image"),
    ],
)
def test_what_lies_in_place_of_an_image_is_said(tmp_path, check, content, word):
    root = made_images.folder(tmp_path / "d", TWENTY)
    (root / "a" / "00.png").write_bytes(content)
    done = check(root)
    assert done.status == 1
    assert word in done.problem("unreadable_images")["remedy"]


@pytest.mark.parametrize("mode", ["F", "I"])
def test_the_reason_why_images_cannot_be_read_is_said(tmp_path, monkeypatch, capsys, mode):
    def save(path: Path, seed: int) -> None:
        made_images.picture(seed).convert(mode).point(lambda value: value * 1 - 500).save(path)

    root = files(tmp_path / "d", ".tif", save)
    done = command_line.run(capsys, monkeypatch, "data", "check", root, "--json")
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert f"mode {mode}" in done.err
    [problem] = json.loads(done.out)["problems"]
    assert "expected 8 or 16 bits" in problem["remedy"]
