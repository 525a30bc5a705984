"""Write docs/data-check.md: what `data check` says of data as people have them, by running it on examples.

python tools/data_check_page.py            writes the page
python tools/data_check_page.py --check    exit status 1 if the page is outdated
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from struct import pack
from typing import NamedTuple

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "data-check.md"
sys.path.insert(0, str(ROOT / "tests"))

import made_dicom  # noqa: E402
import made_images  # noqa: E402

HEAD = """# What `data check` says

Made by `tools/data_check_page.py`, which runs the command on small examples. Where there are problems, only
these are shown. What each kind means is in [your own images](own-dataset.md).
"""
CLASSES = ("benign", "malignant")


class Example(NamedTuple):
    """A title, what makes the data in the current folder, and the words after `data check`."""

    title: str
    make: Callable[[], object]
    words: Sequence[str] = ("scans",)


def folder(*names: str, count: int = 6, root: str = "scans") -> Path:
    """Write images into subfolders."""
    return made_images.folder(Path(root), dict.fromkeys(names, count))


def classes(*, count: int = 6) -> Path:
    """Write images of two classes."""
    return folder(*CLASSES, count=count)


def splits(*names: str, below: Sequence[str] = CLASSES) -> Path:
    """Write images of two classes in folders of splits."""
    return folder(*(f"{name}/{label}" for name in names for label in below))


def table(header: str, row: Callable[[int, str], str], *, count: int = 12, pattern: str = "{}.png") -> None:
    """Write images, and a list of them."""
    lines = [header]
    for number in range(count):
        path = pattern.format(number)
        made_images.save(Path("scans") / path, number)
        lines.append(row(number, path))
    Path("scans/list.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


LIST = ("scans/list.csv",)


def label(number: int) -> str:
    """Return the class of an image of a table."""
    return CLASSES[number % 2]


def dataset(number: int) -> str:
    """Return the split of an image of a table."""
    return ("training", "training", "testing", "validation")[number // 2 % 4]


def copies() -> None:
    """Put a copy in another format into another split, and one with another label."""
    splits("train", "test")
    Image.open("scans/train/benign/00.png").convert("RGB").save("scans/test/benign/copy.bmp")
    Image.open("scans/train/benign/01.png").save("scans/train/malignant/copy.png")
    Image.open("scans/train/malignant/02.png").save("scans/test/malignant/again.jpg", quality=80)


def turned() -> None:
    """Put turned and mirrored copies into another split."""
    splits("train", "test")
    Image.open("scans/train/benign/00.png").rotate(90).save("scans/test/benign/turned.png")


def patients() -> None:
    """Write three images of each patient."""
    for number in range(36):
        made_images.save(Path("scans") / label(number // 3) / f"person{number // 3}_{number % 3}.png", number)


def dicom_patients() -> None:
    """Write DICOM files of twelve patients, whose names of files tell nothing."""
    for number in range(36):
        made_dicom.write(
            Path("scans") / ("train", "test")[number % 2] / label(number // 2) / f"{number * 7919 % 9973:04}",
            made_images.pixels(number),
            PatientID=f"patient {number // 3}",
        )


def masks() -> None:
    """Put a mask beside each image."""
    classes()
    for path in sorted(Path("scans").rglob("*.png")):
        Image.open(path).save(path.with_name(f"{path.stem}_mask.png"))


def other_files() -> None:
    """Put files that are not read into a class."""
    classes()
    Path("scans/benign/volume.nii").write_bytes(b"\0")
    Path("scans/benign/notes.txt").write_text("...", encoding="utf-8")
    Image.open("scans/benign/00.png").save("scans/benign/scan.jfif", format="JPEG")


def broken() -> None:
    """Put a pointer of Git LFS in place of an image."""
    classes()
    Path("scans/benign/03.png").write_text("version https://git-lfs.github.com/spec/v1\n", encoding="utf-8")


def deep() -> None:
    """Write grey images of 16 bits that hold 12, with one bright pixel, and some of 16."""
    for number in range(24):
        pixels = made_images.pixels(number).astype(np.uint16) << (8 if number > 20 else 4)
        pixels[0, 0] = 65535
        path = Path("scans") / label(number) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def dark() -> None:
    """Write numbers of classes in place of pictures."""
    classes()
    for path in sorted(Path("scans").rglob("*.png")):
        Image.fromarray(np.asarray(Image.open(path)) // 64).save(path)


def cut_off() -> None:
    """Cut a JPEG file, and mark its end."""
    classes()
    out = io.BytesIO()
    made_images.picture(0, 160).save(out, "JPEG")
    Path("scans/benign/cut.jpg").write_bytes(out.getvalue()[:1500] + b"\xff\xd9")


def pages() -> None:
    """Write a TIFF file of three pages."""
    classes()
    later = [made_images.picture(number) for number in (90, 91)]
    made_images.picture(89).save("scans/benign/stack.tif", save_all=True, append_images=later)


def large_text() -> None:
    """Put a text that Pillow refuses into a PNG file."""
    classes()
    path = Path("scans/benign/00.png")
    content = path.read_bytes()
    text = b"zTXt" + b"c\0\0" + zlib.compress(bytes(70 << 20))
    path.write_bytes(
        content[:33] + pack(">I", len(text) - 4) + text + pack(">I", zlib.crc32(text)) + content[33:]
    )


def matrix() -> None:
    """Write targets of 0 and 1, several for each image."""
    import torch

    targets = torch.tensor([[1, 0, 1], [0, 1, 1], [0, 0, 0]]).repeat(10, 1)
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (30, 16, 16), dtype=np.uint8))
    torch.save({"images": images, "targets": targets}, "scans.pt")


def by_scanner() -> None:
    """Write the images of one class as JPEG."""
    for number in range(20):
        path = Path("scans") / label(number) / f"{number}{('.png', '.jpg')[number % 2]}"
        made_images.save(path, number)


EXAMPLES = [
    Example("Split folders, with the same classes in both", lambda: splits("Training", "Testing")),
    Example("The same classes in folders that are no splits", lambda: splits("2019", "2020")),
    Example("Folders of patients above the classes", lambda: splits("P01", "P02", "P03")),
    Example("Splits below the classes", lambda: folder("benign/train", "benign/test", "malignant/train")),
    Example("A test folder without classes", lambda: (splits("train"), folder("test"))),
    Example("A test folder with other classes", lambda: (splits("train"), folder("test/unknown"))),
    Example("Images outside class folders", lambda: (classes(), made_images.save(Path("scans/x.png"), 99))),
    Example("Folders of patients within the classes",
            lambda: folder(*(f"{name}/P{n:03}" for name in CLASSES for n in range(4)), count=2)),
    Example("Columns that are not used",
            lambda: table("path,label,patient_id,fold,age",
                          lambda n, path: f"{path},{label(n)},p{n // 3},{n % 3},{40 + n}"), LIST),
    Example("A split column by another name",
            lambda: table("path,label,dataset", lambda n, path: f"{path},{label(n)},{dataset(n)}", count=24),
            LIST),
    Example("Copies: across splits, with two labels, saved again", copies),
    Example("Turned copies across splits", turned),
    Example("Names that look like patients", patients),
    Example("DICOM images of one patient in two splits", dicom_patients),
    Example("Masks beside the images", masks),
    Example("Labels that differ in spelling only",
            lambda: folder("train/Normal", "train/sick", "test/normal", "test/Sick ")),
    Example("Several labels in one", lambda: table(
        "path,label", lambda n, path: f"{path},{('Mass', 'Hernia', 'Hernia|Mass')[n % 3]}", count=18), LIST),
    Example("Labels that contradict the folders", lambda: table(
        "path,label", lambda n, path: f"{path},{'benign' if n < 7 else 'malignant'}",
        pattern="benign/{}.png"), LIST),
    Example("Groups that a spreadsheet rounded", lambda: table(
        "path,label,group", lambda n, path: f"{path},{label(n)},1.2345{n // 2}E+11"), LIST),
    Example("A table without known columns", lambda: table(
        "file;diagnosis", lambda n, path: f"{path};{label(n)}"), LIST),
    Example("Other files among the images", other_files),
    Example("An image that cannot be read", broken),
    Example("16-bit images that hold 12 bits, and some that hold 16", deep),
    Example("Numbers of classes in place of pictures", dark),
    Example("A JPEG file that lost its end", cut_off),
    Example("A file of several pages", pages),
    Example("A PNG file with a large text", large_text),
    Example("A format that tells the class", by_scanner),
    Example("Several targets of 0 and 1", matrix, ("scans.pt",)),
    Example("A name that is not known", lambda: None, ("breastmnist-64",)),
]  # fmt: skip


def outcome(example: Example) -> Iterator[str]:
    """Yield the problem lines, or the error, that the command prints."""
    from pepr_edge.cli import entry

    out, err = io.StringIO(), io.StringIO()
    words = sys.argv
    here = Path.cwd()
    with tempfile.TemporaryDirectory() as place:
        try:
            os.chdir(place)
            sys.argv = ["pepr-edge", "data", "check", *example.words]
            example.make()
            with (
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
                contextlib.suppress(SystemExit),
            ):
                entry()
        finally:
            sys.argv = words
            os.chdir(here)
    shown = [line for line in out.getvalue().splitlines() if line.startswith(("error:", "warning:", "note:"))]
    yield from shown or (err.getvalue() or out.getvalue()).splitlines()


def page() -> str:
    """Return the text of the page."""
    lines = [HEAD]
    for example in EXAMPLES:
        said = [f"    {line}" for line in outcome(example)]
        lines += [
            f"## {example.title}",
            "",
            f"    $ pepr-edge data check {' '.join(example.words)}",
            *said,
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="Write nothing; exit status 1 if it is outdated."
    )
    is_check = parser.parse_args().check
    text = page()
    if is_check:
        return int(PAGE.read_text(encoding="utf-8") != text)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
