"""Pixels of more than 8 bits and odd files, through the command line; and the same pixels in the field."""

from __future__ import annotations

import zlib
from pathlib import Path

import made_images
import numpy as np
import pytest
from PIL import Image

from pepr_edge.data import DataSettings, load, prepare
from pepr_edge.images.preprocess import load_tensor, to_tensor
from pepr_edge.records import Preprocess

COUNTS = {"no": 30, "yes": 30}


def deep_folder(root: Path, bits: int = 12, form: str = "png") -> Path:
    """Write a folder of grey images that use `bits` of 16 bits."""
    seed = 0
    for label, count in COUNTS.items():
        for number in range(count):
            path = root / label / f"{number:02}.{form}"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_deep(path, seed, bits)
            seed += 1
    return root


def write_deep(path: Path, seed: int, bits: int, burnt: int = 0) -> None:
    values = (made_images.pixels(seed).astype(np.uint32) << bits >> 8).astype(np.uint16)
    values[0, :burnt] = 65535
    Image.fromarray(values).save(path)


@pytest.mark.parametrize(("bits", "form"), [(12, "png"), (16, "tif"), (10, "png"), (14, "png")])
def test_the_depth_of_the_set_is_said(tmp_path, check, bits, form):
    done = check(deep_folder(tmp_path / "d", bits, form))
    assert (done.status, done.kinds) == (0, {"more_than_8_bits": "note"})
    assert f"from {bits} bits" in done.problem("more_than_8_bits")["remedy"]


@pytest.mark.parametrize("burnt", [1, 9, 48])
def test_a_burnt_in_mark_does_not_change_the_depth(tmp_path, check, burnt):
    root = deep_folder(tmp_path / "d")
    write_deep(root / "no" / "05.png", 5, 12, burnt)
    done = check(root)
    assert (done.status, done.kinds) == (0, {"more_than_8_bits": "note"})
    assert "from 12 bits" in done.problem("more_than_8_bits")["remedy"]


def test_an_image_of_another_depth_is_named(tmp_path, check):
    root = deep_folder(tmp_path / "d")
    write_deep(root / "no" / "05.png", 5, 16)
    done = check(root)
    assert done.status == 1
    assert done.problem("unreadable_images")["examples"] == ["no/05.png"]


def test_a_set_of_several_depths_stops_unless_the_recipe_says_one(tmp_path, check):
    root = deep_folder(tmp_path / "d")
    for number in range(20):
        write_deep(root / "yes" / f"{number:02}.png", 500 + number, 16)
    problem = check(root).problem("mixed_depths")
    assert (problem["severity"], problem["count"]) == ("error", 40)
    assert "data.grey_bits = 16" in problem["remedy"]
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        'schema_version = 1\nname = "mine"\n[device]\nname = "any"\n[data]\nsource = "d"\ngrey_bits = 16\n'
        '[candidates]\narchitectures = ["resnet10t"]\n'
    )
    done = check(recipe)
    assert (done.status, done.kinds) == (0, {"more_than_8_bits": "note"})


def test_training_and_field_see_the_same_pixels(tmp_path):
    root = deep_folder(tmp_path / "d")
    write_deep(root / "no" / "05.png", 5, 12, 30)
    info = prepare(DataSettings(str(root), 32), tmp_path / "out")
    assert info.grey_bits == 12
    spec = Preprocess(channels=1, image_size_px=32, mean=(0.5,), std=(0.25,), grey_bits=info.grey_bits)
    seen = {
        to_tensor(image[None], spec).tobytes()
        for pixels, _ in load(tmp_path / "out").splits.values()
        for image in pixels
    }
    assert {load_tensor([path], spec).tobytes() for path in root.rglob("*.png")} == seen


def test_images_of_8_bits_have_no_depth(tmp_path):
    root = made_images.folder(tmp_path / "d", {"no": 6, "yes": 6})
    assert prepare(DataSettings(str(root), 32), tmp_path / "out").grey_bits is None


def test_tiff_with_white_as_zero_is_a_copy_of_its_inverse(tmp_path, check):
    root = deep_folder(tmp_path / "d", 16, "tif")
    path = root / "no" / "05.tif"
    values = np.asarray(Image.open(path))
    content = bytearray()
    Image.fromarray(65535 - values).save(tmp_path / "x.tif")
    content += (tmp_path / "x.tif").read_bytes()
    entry = (262).to_bytes(2, "little") + (3).to_bytes(2, "little") + (1).to_bytes(4, "little")
    at = content.index(entry) + len(entry)
    content[at : at + 2] = bytes(2)
    (root / "no" / "inverse.tif").write_bytes(content)
    assert set(check(root).kinds) <= {"more_than_8_bits", "copies_in_split", "copies_across_splits"}
    assert len(check(root).kinds) == 2


@pytest.mark.parametrize(
    ("kind", "head", "content"),
    [
        (b"iCCP", b"x\0\0", zlib.compress(bytes(4 << 20))),
        (b"zTXt", b"x\0\0", zlib.compress(b"a" * (3 << 20))),
        (b"iTXt", b"x\0\1\0\0\0", zlib.compress(b"a" * (3 << 20))),
    ],
)
def test_a_png_with_a_large_profile_or_text_is_read(tmp_path, check, kind, head, content):
    root = made_images.folder(tmp_path / "d", {"no": 6, "yes": 6})
    image = (root / "no" / "00.png").read_bytes()
    size = (len(head) + len(content)).to_bytes(4, "big")
    checksum = zlib.crc32(kind + head + content).to_bytes(4, "big")
    chunk = size + kind + head + content + checksum
    (root / "no" / "00.png").write_bytes(image[:33] + chunk + image[33:])
    done = check(root)
    assert (done.status, done.kinds, done.counts) == (0, {}, {"no": 6, "yes": 6})


def test_a_tiff_that_is_not_read_is_not_called_no_image(tmp_path, check):
    root = made_images.folder(tmp_path / "d", {"no": 6, "yes": 6})
    values = made_images.pixels(77).astype(">u2")
    image = Image.frombytes("I;16B", values.shape[::-1], values.tobytes())
    image.save(root / "no" / "x.tif")
    content = bytearray((root / "no" / "x.tif").read_bytes())
    order = "big" if content.startswith(b"MM") else "little"
    entry = (262).to_bytes(2, order) + (3).to_bytes(2, order) + (1).to_bytes(4, order)
    at = content.index(entry) + len(entry)
    content[at : at + 2] = (9999).to_bytes(2, order)
    (root / "no" / "x.tif").write_bytes(content)
    assert check(root).kinds == {"unreadable_images": "error"}
    from pepr_edge.errors import ImageError
    from pepr_edge.images.preprocess import decode

    with pytest.raises(ImageError, match="a TIFF image of a kind that is not read"):
        decode(root / "no" / "x.tif")
