"""The page under attack, after a mishap, and in a browser that lacks something: one line, and it goes on."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_bundle
from made_pictures import interlaced, png_of
from node_tools import executable, run_script, runtime_files
from PIL import Image
from test_web_page import TIMEOUT_S

from pepr_edge.errors import BundleError
from pepr_edge.kit import web_page
from pepr_edge.kit.check import PAGE
from pepr_edge.records import Manifest

LABELS = (
    f"</script><script>alert(1)</script>{'x' * 150}",
    "<img src=x onerror=alert(2)> \u05d1\u05e8\u05d9\u05d0",
)
NAMES = ("<img src=x onerror=alert(3)>.png", "\u202egnp.exe.png", f"{'y' * 10_000}.png", "--out=x; rm.png")
# A path that a URL must escape.
FOLDER = "Kit für 100% #1 ? &amp; ok"
FILES_IN_FOLDER = 600

pytestmark = pytest.mark.slow


def png_header(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return png_of((b"IHDR", header), (b"IDAT", zlib.compress(b"x")), (b"IEND", b""))


def jpeg(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def hostile_files() -> dict[str, tuple[bytes, str]]:
    """Return files by name, each with what the page must say of it."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    png = io.BytesIO()
    Image.fromarray(noise).save(png, "PNG")
    photo = jpeg(Image.fromarray(noise))
    huge_jpeg = bytearray(photo)
    frame = huge_jpeg.index(b"\xff\xc0")
    huge_jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 30_000, 30_000)
    tiff = io.BytesIO()
    Image.fromarray(noise).save(tiff, "TIFF")
    webp = io.BytesIO()
    Image.fromarray(noise).save(webp, "WEBP")
    good = png.getvalue()
    return {
        "good.png": (good, ""),
        "wide.png": (png_header(30_000, 30_000), "30000 x 30000"),
        "wide.jpg": (bytes(huge_jpeg), "30000 x 30000"),
        "half.png": (good[: len(good) // 2], "cut off"),
        "half.jpg": (photo[: len(photo) // 2], "cut off"),
        "changed.png": (good[:20] + b"\xff" + good[21:], "corrupt"),
        "cmyk.jpg": (jpeg(Image.fromarray(noise).convert("CMYK")), "CMYK"),
        "scan.tif": (tiff.getvalue(), "TIFF"),
        "photo.webp": (webp.getvalue(), "WebP"),
        "scan.dcm": (b"\0" * 128 + b"DICM" + b"\2\0\0\0UL\4\0", "cut off"),
        "empty.png": (b"", "empty"),
        "page.png": (b"<!DOCTYPE html><script>alert(4)</script>", "a web page"),
        "interlaced.png": (interlaced(noise[..., 0].copy(), 0), ""),
        "bomb.png": (bomb(), "corrupt"),
    }


def bomb() -> bytes:
    """Return a PNG file of 400 x 400 pixels that inflates to 200 MB; no more than its pixels is read."""
    header = struct.pack(">IIBBBBB", 400, 400, 8, 0, 0, 0, 0)
    packed = zlib.compress(b"\7" * 200_000_000, 9)
    return png_of((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    runtime = runtime_files("wasm")
    folder = tmp_path_factory.mktemp("hostile") / FOLDER
    bundle = tiny_bundle.write(folder / "bundles" / "01-tiny@16-fp32")

    def with_labels(manifest: Manifest) -> Manifest:
        return manifest.model_copy(update={"labels": LABELS})

    tiny_bundle.rewrite_manifest(bundle, with_labels)
    page = folder / PAGE
    page.write_text(web_page.page([bundle], runtime, "2026-01-01"), encoding="utf-8")
    files = []
    for name, (content, _) in hostile_files().items():
        (folder / name).write_bytes(content)
        files.append(str(folder / name))
    # The name of a label is no name of a folder: the labels of this folder are unknown to the model.
    many = folder / "many" / "set"
    for number in range(FILES_IN_FOLDER):
        path = many / "class" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            hostile_files()["good.png"][0] if number == 0 else path.with_name("0.png").read_bytes()
        )
    document = {
        "executable": executable("chromium"),
        "url": page.as_uri(),
        "page": str(page),
        "files": files,
        "named": NAMES,
        "folder": str(many),
    }
    result = run_script("hostile.mjs", document, timeout_s=TIMEOUT_S)
    assert isinstance(result, dict)
    return result


def test_nothing_runs_and_nothing_is_sent(found: dict[str, Any]) -> None:
    assert found["faults"] == []
    assert found["said"]["files"]["elements"] == 0
    assert found["said"]["files"]["overflow"] == 0


@pytest.mark.parametrize("name", hostile_files())
def test_a_file_has_one_line(found: dict[str, Any], name: str) -> None:
    expected = hostile_files()[name][1]
    (lines,) = [lines for lines in found["said"]["files"]["files"] if lines[0] == name]
    if expected:
        assert lines[1] == "No answer"
        assert expected in lines[2]
        assert len(lines) == 3
    else:
        assert lines[1] != "No answer"


@pytest.mark.parametrize(
    ("label", "message"), [("\u202eb", "control characters"), ("b" * 10_000, "200 characters")]
)
def test_no_kit_is_made_of_labels_that_are_no_short_line(tmp_path: Path, label: str, message: str) -> None:
    bundle = tiny_bundle.write(tmp_path / "01-tiny@16-fp32")
    tiny_bundle.rewrite_manifest(bundle, lambda made: made.model_copy(update={"labels": ("a", label)}))
    with pytest.raises(BundleError, match=message) as fault:
        web_page.page([bundle], {}, "2026-01-01")
    assert "\u202e" not in str(fault.value)
    assert "\n" not in str(fault.value)


def test_names_and_labels_are_text_of_one_line(found: dict[str, Any]) -> None:
    shown = [lines[0] for lines in found["said"]["files"]["named"]]
    assert shown[0] == NAMES[0]
    assert shown[1] == "?gnp.exe.png"
    assert len(shown[2]) == 80
    for lines in (*found["said"]["files"]["named"], *found["said"]["files"]["after"]):
        assert len(lines[1].strip("\u2068\u2069")) <= 80
        assert "\u202e" not in "".join(lines)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("no unpacking", "DecompressionStream is missing). Use a version of 2023 or later"),
        ("half a page", "the file is incomplete or the browser is too old"),
    ],
)
def test_a_page_that_cannot_start_says_so(found: dict[str, Any], case: str, message: str) -> None:
    assert message in found["said"][case].replace("\n", " ")


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("no storage", "passed"),
        ("no WebAssembly", "offers no WebAssembly"),
        ("old WebAssembly", "too old to run the models"),
        ("a policy", "forbids WebAssembly"),
    ],
)
def test_the_check_says_what_the_browser_lacks(found: dict[str, Any], case: str, message: str) -> None:
    (row,) = found["said"][case]
    assert message in row


def test_a_hidden_tab_is_said(found: dict[str, Any]) -> None:
    assert any("in the background" in line for line in found["said"]["a hidden tab"])


def test_a_folder_of_unknown_classes_has_one_line(found: dict[str, Any]) -> None:
    assert 'label "class", expected one of: </script>' in found["said"]["many files"]
