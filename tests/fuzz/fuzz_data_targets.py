"""Targets of what `data check` reads: tables, names, deep images, and its own record."""

from __future__ import annotations

import io
import shutil
import struct
import tempfile
from pathlib import Path

import made_dicom
import numpy as np
from PIL import Image

from pepr_edge.data import columns, groups, image_list, labels, levels, manifest, names
from pepr_edge.data import table as tables
from pepr_edge.data.cache import read_check
from pepr_edge.data.check import problem_lines, summary_lines
from pepr_edge.data.check.groups import beginnings
from pepr_edge.data.source import check_labels
from pepr_edge.errors import ImageError
from pepr_edge.images.depth import DEPTHS, checked, needed_bits, to_eight_bit
from pepr_edge.images.preprocess import decode, to_pixels
from pepr_edge.records import DataCheck, Problem
from pepr_edge.run_dir.layout import DATA_CHECK
from pepr_edge.untrusted.shown import is_plain

NAMES = [
    b"train\nTrainingSet\nval_data\n01-valid\nholdout\ntestA\n",
    "Normal\nnormal \n\uff4eormal\nne\u0301\nn\xe9\nA|B\nB\n-1\n0\n1.0\n007\n7\n1.2E+11\nnan\n".encode(),
    b"person1_bacteria_1\nperson1_bacteria_2\nx.rf.0a1b2c3d\nx.rf.4e5f6a7b\n2023-01-05 10.20.30\nP 1 (2)\n",
]
WIDE = b"image,dx,patient_id,fold,set,age,MEL,NV\n" + b"".join(
    b"a/%d.png,%s,p%d,%d,%s,4%d,%d,%d\n"
    % (n, (b"benign", b"malignant")[n % 2], n // 2, n % 3, (b"train", b"test")[n % 2], n, n % 2, 1 - n % 2)
    for n in range(6)
)
DIALECTS = [
    WIDE,
    b"sep=;\r\n" + WIDE.replace(b",", b";").replace(b"\n", b"\r\n"),
    WIDE.replace(b",", b"\t"),
    WIDE.replace(b",", b" | "),
    b"\xef\xbb\xbf" + WIDE.replace(b",age,", b',"age, years",'),
    WIDE.decode().encode("utf-16"),
]


def named_tables() -> list[bytes]:
    """Return the same table in several dialects."""
    return DIALECTS


def feed_table(path: Path) -> None:
    """Choose columns with and without names of a recipe, and look at labels and groups."""
    named = {"path": "image", "label": "dx", "group": "patient_id"}
    table = tables.read_table(path, {tables.column_key(named.get(role, role)) for role in columns.ROLES})
    chosen = columns.choose(table, named)
    images = image_list.listed(path, manifest._texts(table, chosen))
    spelled = names.one_spelling(image.label for image in images)
    check_labels(spelled.values(), "table")
    found = [*chosen.problems, *labels.problems(spelled)]
    found += labels.against_folders([image.path for image in images], [image.label for image in images])
    found += groups.problems([image.group for image in images if image.group])
    check_problems(found)


def feed_names(path: Path) -> None:
    """Take each line as the name of a folder, a column, a class, a group and a file."""
    lines = path.read_bytes().decode(errors="surrogateescape").splitlines()
    for name in lines:
        for named in (names.split_named(name), names.begins_with_split(name)):
            assert named in (None, "train", "val", "test")
        for ask in (names.is_companion_folder, names.is_picture_folder, levels.is_id, levels.is_no_class):
            assert ask(name) in (True, False)
        names.base_stem(name)
    spelled = names.one_spelling(lines)
    again = names.one_spelling(spelled.values())
    assert set(again.values()) == set(spelled.values())
    names.companions(lines)
    assert len(beginnings(lines, lines) or lines) == len(lines)
    check_labels(spelled.values(), "names")
    check_problems([*labels.problems(spelled), *groups.problems(lines)])


def check_problems(problems: list[Problem]) -> None:
    """Each problem is one line that no terminal takes for anything else."""
    for problem in problems:
        for text in (problem.remedy, *problem.examples):
            assert is_plain(text), text


def checks() -> list[bytes]:
    """Return records of `data check`."""
    problem = Problem(kind="blank_images", severity="warning", count=1, examples=("a/1.png",), remedy="Look.")
    full = DataCheck(
        name="d",
        format="folder",
        images=4,
        labels=("a", "b"),
        class_counts=(2, 2),
        splits={"train": (1, 1), "test": (1, 1)},
        given_splits=("train",),
        groups=2,
        channels=1,
        sizes_px=((8, 8), (9, 9)),
        problems=(problem,),
    )
    return [
        record.model_dump_json(indent=1).encode()
        for record in (full, DataCheck(name="e", problems=(problem,)))
    ]


def feed_check(path: Path) -> None:
    """Read a record, and show it as the command does."""
    shutil.copy(path, path.parent / DATA_CHECK)
    check = read_check(path.parent)
    if check.labels:
        summary_lines(check)
    problem_lines(check.problems)


def deep_images() -> list[bytes]:
    """Return grey images of more than 8 bits: TIFF with white as zero, both byte orders, pages; PNG, PGM."""
    pixels = (np.arange(63, dtype=np.uint16).reshape(9, 7) * 65).astype(np.uint16)
    deep = Image.fromarray(pixels)
    made = []
    for kind, options in (
        ("PNG", {}),
        ("TIFF", {"tiffinfo": {262: 0}}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"save_all": True, "append_images": [deep]}),
        ("PPM", {}),
    ):
        out = io.BytesIO()
        deep.save(out, kind, **options)  # type: ignore[arg-type]
        made.append(out.getvalue())
    made.append(_big_endian_tiff(pixels))
    return made


def _big_endian_tiff(pixels: np.ndarray) -> bytes:
    height, width = pixels.shape
    entries = [
        (256, 3, 1, width << 16), (257, 3, 1, height << 16), (258, 3, 1, 16 << 16), (259, 3, 1, 1 << 16),
        (262, 3, 1, 1 << 16), (273, 4, 1, 8), (277, 3, 1, 1 << 16), (278, 3, 1, height << 16),
        (279, 4, 1, pixels.nbytes),
    ]  # fmt: skip
    data = pixels.astype(">u2").tobytes()
    table = struct.pack(">H", len(entries)) + b"".join(struct.pack(">HHII", *entry) for entry in entries)
    return b"MM\0*" + struct.pack(">I", 8 + len(data)) + data + table + struct.pack(">I", 0)


def feed_deep(path: Path) -> None:
    """Decode an image, find the depth that it needs, and scale it by each depth of a set."""
    image = checked(decode(path), shown_as="input")
    needed = needed_bits(image)
    assert needed in (None, *DEPTHS)
    assert np.asarray(to_eight_bit(image, shown_as="input")).dtype == np.uint8 or image.mode == "1"
    for bits in (needed or 8, 8):
        try:
            pixels = to_pixels(image, channels=3, image_size_px=16, interpolation="bilinear", grey_bits=bits)
        except ImageError:
            assert bits != needed
        else:
            assert pixels.shape == (16, 16, 3)


def deep_dicoms() -> list[bytes]:
    """Return DICOM files with a high bit, a palette, padding, signed values, frames; none without pydicom."""
    try:
        import pydicom  # noqa: F401
    except ImportError:
        return []
    ramp = made_dicom.ramp(0, 4095)
    palette = {
        f"{name}PaletteColorLookupTable{part}": value
        for name in ("Red", "Green", "Blue")
        for part, value in (
            ("Descriptor", [256, 0, 16]),
            ("Data", np.arange(256, dtype="u2").tobytes()),
        )
    }
    made: list[tuple[np.ndarray, dict[str, object]]] = [
        (ramp << 4, {"BitsStored": 12, "HighBit": 15}),
        (ramp, {"BitsStored": 12, "PixelPaddingValue": 0, "RescaleSlope": "2", "RescaleIntercept": "-1024"}),
        (made_dicom.ramp(-1000, 1000, "i2"), {"WindowCenter": [40, 500], "WindowWidth": [400, 2000]}),
        (np.stack([ramp] * 3), {"BitsStored": 12}),
        (made_dicom.ramp(0, 255, "u1"), {"PhotometricInterpretation": "PALETTE COLOR", **palette}),
        (ramp, {"PhotometricInterpretation": "MONOCHROME1", "WindowCenter": "9", "WindowWidth": "5"}),
    ]
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / "x.dcm"
        return [made_dicom.write(path, pixels, **elements).read_bytes() for pixels, elements in made]
