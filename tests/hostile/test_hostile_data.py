"""Datasets that somebody has spoiled: folders, lists and archives, for `data check` and `init`."""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hostile_check import PLACES, Row, Run, Spoil, try_row, write
from PIL import Image

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "data check": (("data", "check"), ()),
    "init": (("init",), ("--no-time", "--out", "new.toml")),
}
# The commands read alike: `init` meets folders alone.
# A dataset in which something is wrong is a failed check to `data check`, and may be good enough for `init`.
ANY = (0, 1, 3)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two classes, not to be changed."""
    folder = tmp_path_factory.mktemp("data") / "images"
    for label in ("a", "b"):
        (folder / label).mkdir(parents=True)
        for number in range(12):
            Image.effect_noise((16, 16), 50).save(folder / label / f"{number}.png")
    return folder


@pytest.fixture
def here(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, with a copy of the images."""
    shutil.copytree(images, tmp_path / "images")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    # Python's own function for trees fails at more levels than its stack has.
    subprocess.run(["rm", "-rf", tmp_path / "images"], check=True)


def nested(levels: int) -> Spoil:
    """Return what makes a folder so deep that no path to its end may be used."""

    def make(folder: Path) -> None:
        here = Path.cwd()
        os.chdir(folder)
        try:
            for _ in range(levels):
                os.mkdir("d")  # noqa: PTH102 - relative, as a path of all levels is too long
                os.chdir("d")
        finally:
            os.chdir(here)

    return make


def fan(levels: int, ways: int = 2) -> Spoil:
    """Return what makes folders with several links to the next one each: ways ** levels paths."""

    def make(folder: Path) -> None:
        for level in range(levels):
            (folder.parent / f"level{level}").mkdir()
        for level in range(levels):
            target = folder / "a" if level == levels - 1 else folder.parent / f"level{level + 1}"
            for way in range(ways):
                (folder.parent / f"level{level}" / f"way{way}").symlink_to(target)
        (folder / "c").symlink_to(folder.parent / "level0")

    return make


def link(name: str, target: str) -> Spoil:
    return lambda folder: (folder / name).symlink_to(target)


def named(name: str) -> Spoil:
    """Return what renames a class."""
    return lambda folder: (folder / "a").rename(folder / name)


def many_classes(folder: Path) -> None:
    for number in range(200):
        (folder / f"class{number}").mkdir()


def with_image(put: Spoil) -> Spoil:
    """Return what spoils one image of a class."""
    return lambda folder: put(folder / "a" / "3.png")


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


FOLDERS: dict[str, Spoil] = {
    "1,500 levels": nested(1500),
    "70 levels": nested(70),
    "200 levels in a class": lambda folder: nested(200)(folder / "a"),
    "links that fan out to 2^16": fan(16),
    "links that fan out to 2^40": fan(40),
    "links that fan out to 8^12": fan(12, 8),
    "a link to the folder itself": link("c", "."),
    "a link to the folder above": link("c", ".."),
    "a link to the root": link("c", "/proc/self"),
    "a link to another class": link("c", "a"),
    "a link that goes in a circle": link("c", "c"),
    "200 classes without images": many_classes,
    "nothing in it": empty,
    "one class": lambda folder: shutil.rmtree(folder / "b"),
    "a class with an escape sequence": named("\x1b[2J"),
    "a class with a mark of direction": named("a\u202eb"),
    "a class of two lines": named("a\nb"),
    "a class that is a formula": named("=HYPERLINK(1)"),
    "a class that is not UTF-8": named("r\udcf6"),
    "a class of 250 letters": named("c" * 250),
    "a class that is a path": named("a%2F..%2F"),
    "a class like an option": named("--out"),
}
CLAIM = b"path,label\nimages/a/%s,a\nimages/b/1.png,b\n"
LISTS: dict[str, bytes] = {
    "a path up": CLAIM % b"../../../../etc/passwd",
    "an absolute path": b"path,label\n/etc/passwd,a\nimages/b/1.png,b\n",
    "a device": b"path,label\n/dev/zero,a\nimages/b/1.png,b\n",
    "a path with an escape sequence": CLAIM % b"\x1b[2J.png",
    "a drive": b"path,label\nC:\\x.png,a\nimages/b/1.png,b\n",
    "an image twice": CLAIM % b"1.png" + b"images/a/1.png,b\n",
    "a label of 100,000 letters": b"path,label\nimages/a/1.png," + b"l" * 100_000 + b"\n",
    "a label with a mark of direction": "path,label\nimages/a/1.png,a\u202eb\n".encode(),
    "a header alone": b"path,label\n",
    "no labels": b"path,label\nimages/a/1.png,\nimages/b/1.png,\n",
    "20,000 columns": b",".join(b"c%d" % number for number in range(20_000)) + b"\n",
    "a quotation mark left open": b'path,label\n"images/a/1.png,a\n',
    "rows of other lengths": b"path,label\nimages/a/1.png\nimages/b/1.png,b,c,d\n",
    "a line of a megabyte": b"path,label\n" + b"x" * 1_000_000,
    "20,000 rows of missing files": b"path,label\n" + b"".join(b"%d.png,a\n" % n for n in range(20_000)),
}


def archive(**arrays: object) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)  # type: ignore[arg-type]
    return out.getvalue()


def bomb(gib: int) -> Spoil:
    """Return what writes an .npz of a few MiB whose train_images unpack to some GiB of zeros."""

    def put(path: Path) -> None:
        head = io.BytesIO()
        shape = (gib << 10, 1024, 1024)
        np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": shape})
        size = len(head.getvalue()) + (gib << 30)
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        first = packer.compress(head.getvalue()) + packer.flush(zlib.Z_FULL_FLUSH)
        block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
        packed = first + block * (gib << 10) + packer.flush()
        name = b"train_images.npy"
        sizes = struct.pack("<III", 0, len(packed), size & 0xFFFFFFFF)
        common = struct.pack("<HHHHH", 20, 0, 8, 0, 0) + sizes + struct.pack("<HH", len(name), 0)
        local = b"PK\x03\x04" + common + name
        central = b"PK\x01\x02" + struct.pack("<H", 20) + common + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name
        end = struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local) + len(packed), 0)
        path.write_bytes(local + packed + central + b"PK\x05\x06" + end)

    return put


PIXELS = np.zeros((6, 4, 4), np.uint8)
LABELS = np.array([[0], [1], [0], [1], [0], [1]])


def medmnist(**changes: object) -> Spoil:
    """Return what writes an archive of three splits in which something is changed."""
    arrays: dict[str, object] = {}
    for split in ("train", "val", "test"):
        arrays |= {f"{split}_images": PIXELS, f"{split}_labels": LABELS}
    return write(archive(**{**arrays, **changes}))


ARCHIVES: dict[str, Spoil] = {
    "3 GiB of zeros": bomb(3),
    "2 GiB of zeros": bomb(2),
    "1 GiB of zeros and no labels": bomb(1),
    "no images": write(archive(x=PIXELS)),
    "labels of others": medmnist(train_labels=np.zeros((5, 1), int)),
    "negative labels": medmnist(train_labels=LABELS - 1),
    "labels of 10^12": medmnist(train_labels=LABELS * 10**12),
    "labels that are NaN": medmnist(train_labels=LABELS * np.nan),
    "pixels that are complex": medmnist(train_images=PIXELS.astype(complex)),
    "pixels that are words": medmnist(train_images=np.full((6, 4, 4), "x")),
    "pixels that are objects": medmnist(train_images=np.full((6, 4, 4), None)),
    "images of no height": medmnist(train_images=np.zeros((6, 0, 4), np.uint8)),
    "images of 5 dimensions": medmnist(train_images=np.zeros((6, 4, 4, 3, 1), np.uint8)),
    "no image": medmnist(train_images=PIXELS[:0], train_labels=LABELS[:0]),
}


def datasets() -> Iterator[tuple[str, str, Spoil, int | tuple[int, ...]]]:
    """Yield what each row is called, the path of its dataset, what spoils it, and the statuses allowed."""
    for name, spoil in FOLDERS.items():
        yield f"folder, {name}", "images", spoil, ANY
    for name, place in PLACES.items():
        yield f"an image, {name}", "images", with_image(place), ANY
    for name, content in LISTS.items():
        yield f"list, {name}", "list.csv", write(content), ANY
    for name, spoil in ARCHIVES.items():
        yield f"archive, {name}", "data.npz", spoil, ANY
    for suffix in ("csv", "npz", "pt"):
        for name, place in PLACES.items():
            yield f"{suffix}, {name}", f"data.{suffix}", place, 1


ROWS = {
    f"{command}: {name}": Row((*before, path, *after), status, "", path, spoil)
    for command, (before, after) in COMMANDS.items()
    for name, path, spoil, status in datasets()
    if command != "init" or path == "images"
}


@pytest.mark.parametrize("name", ROWS)
def test_a_spoiled_dataset(name: str, here: Path, run: Run) -> None:
    try_row(ROWS[name], here, run)
    left = {path.name for path in here.iterdir()} - {"images", "new.toml", ROWS[name].target}
    assert not {name for name in left if not name.startswith("level")}
