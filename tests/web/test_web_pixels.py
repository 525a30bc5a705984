"""The page makes the same pixels and the same input of a file as `preprocess`, bit for bit."""

from __future__ import annotations

import base64
import functools
import io
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any

import numpy as np
import pydicom
import pytest
from made_pictures import FILTERS, interlaced, png_files, sixteen_bit
from node_tools import BROWSERS, executable, run_script
from numpy.typing import NDArray
from PIL import Image
from pydicom.data import get_testdata_file

from pepr_edge.images.preprocess import decode, to_pixels, to_tensor
from pepr_edge.kit.web_page import WEB, tall_vertical_first
from pepr_edge.records import Preprocess

FEW = 56
MANY = 500
REAL_PX = 64


def full(spec: dict[str, Any]) -> Preprocess:
    channels = spec["channels"]
    return Preprocess(
        **spec, mean=(0.485, 0.456, 0.406)[:channels], std=(0.229, 0.224, 0.225)[:channels], scale=255.0
    )


def assert_same(made: list[tuple[bytes, dict[str, Any]]]) -> None:
    """Compare what the page makes of files with what `preprocess` makes of them."""
    jobs = []
    for file, spec in made:
        document = full(spec).model_dump(mode="json")
        jobs.append(
            {
                "file": base64.b64encode(file).decode(),
                "spec": {**document, "tall_vertical_first": tall_vertical_first()},
            }
        )
    for number, ((file, spec), result) in enumerate(
        zip(made, run_script("pixels.mjs", {"jobs": jobs}), strict=True)
    ):
        assert "fault" not in result, (number, spec, result)
        expected = to_pixels(decode(io.BytesIO(file)), **spec)
        actual = np.frombuffer(base64.b64decode(result["pixels"]), np.uint8).reshape(expected.shape)
        np.testing.assert_array_equal(actual, expected, err_msg=f"{number} {spec}")
        tensor = to_tensor(expected[None], full(spec))
        actual_tensor = np.frombuffer(base64.b64decode(result["tensor"]), np.float32)
        np.testing.assert_array_equal(actual_tensor, tensor.ravel(), err_msg=f"{number} {spec}")


def odd_files() -> list[tuple[bytes, dict[str, Any]]]:
    """Return PNG files of kinds that Pillow reads but does not write."""
    rng = np.random.default_rng(1)
    made = []
    for number, (shape, colour) in enumerate((((37, 23), 0), ((5, 61, 3), 2), ((1, 1), 0), ((90, 31, 4), 6))):
        spec = {"channels": (1, 3)[number % 2], "image_size_px": 24, "interpolation": FILTERS[number]}
        made.append((interlaced(rng.integers(0, 256, shape, dtype=np.uint8), colour), spec))
        deep = rng.integers(0, 65536, shape, dtype=np.uint16)
        made.append((interlaced(deep, colour), {**spec, "grey_bits": 16}))
        if len(shape) == 3 or number:
            samples = rng.integers(0, 65536, shape, dtype=np.uint16)
            made.append((sixteen_bit(samples, colour), {**spec, "grey_bits": 16}))
    return made


def animated() -> bytes:
    """Return an APNG file of two frames, of which the first counts."""
    file = io.BytesIO()
    frames = [Image.fromarray(np.full((20, 30), level, np.uint8)) for level in (60, 200)]
    frames[0].save(file, "PNG", save_all=True, append_images=frames[1:], duration=50)
    return file.getvalue()


def test_made_images() -> None:
    first_frame = {"channels": 1, "image_size_px": 24, "interpolation": "bilinear"}
    assert_same([*png_files(FEW), *odd_files(), (animated(), first_frame)])


def test_a_depth_of_the_set_is_used_and_enforced() -> None:
    rng = np.random.default_rng(2)
    twelve_bits = rng.integers(0, 4096, (40, 30), dtype=np.uint16)
    spec = {"channels": 1, "image_size_px": 24, "interpolation": "bilinear", "grey_bits": 12}
    assert_same([(sixteen_bit(twelve_bits, 0), spec)])
    too_deep = base64.b64encode(sixteen_bit(twelve_bits * 3, 0)).decode()
    (result,) = run_script("pixels.mjs", {"jobs": [{"file": too_deep, "spec": full(spec).model_dump()}]})
    assert "12 bits" in result["fault"]


@pytest.mark.slow
def test_many_made_images() -> None:
    assert_same(png_files(MANY))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["breastmnist", "pneumoniamnist"])
def test_real_images(real_data: Any, name: str) -> None:
    images = np.load(real_data / f"{name}.npz")["test_images"][:60]
    made = []
    for number, image in enumerate(images):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG")
        spec = {"channels": 1, "image_size_px": REAL_PX, "interpolation": FILTERS[number % 3]}
        made.append((file.getvalue(), spec))
    assert_same(made)


def photographs() -> list[Image.Image]:
    """The two photographs that scikit-learn brings, 640 x 427 pixels."""
    images = resources.files("sklearn.datasets.images")
    return [Image.open(io.BytesIO((images / name).read_bytes())) for name in ("china.jpg", "flower.jpg")]


def scans() -> list[NDArray[np.uint16]]:
    """Slices of CT and MR, a dose and a liver's mask, of 12 to 16 bits, out of pydicom's own files."""
    made = []
    for name in ("CT_small.dcm", "MR_small.dcm", "rtdose_1frame.dcm", "liver_1frame.dcm", "image_dfl.dcm"):
        pixels = pydicom.dcmread(get_testdata_file(name, download=False)).pixel_array.astype(np.int64)
        made.append(np.minimum(pixels - pixels.min(), 65535).astype(np.uint16))
    return made


@pytest.mark.slow
def test_photographs_and_scans() -> None:
    pictures = [*photographs(), *(Image.fromarray(pixels) for pixels in scans())]
    made = []
    for number, picture in enumerate(pictures * len(FILTERS)):
        file = io.BytesIO()
        picture.save(file, "PNG")
        spec = {
            "channels": (1, 3)[number % 2],
            "image_size_px": (224, REAL_PX)[number // 7 % 2],
            "interpolation": FILTERS[number // 7],
        }
        made.append((file.getvalue(), spec))
    assert_same(made)


class ModulesHandler(SimpleHTTPRequestHandler):
    """Serves the page's modules, which a browser imports by this type alone."""

    extensions_map = {".mjs": "text/javascript", "": "text/html"}  # noqa: RUF012

    def log_message(self, *words: Any) -> None:
        """Keep the tests' output clean."""


@pytest.fixture
def modules_address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(ModulesHandler, directory=str(WEB)))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/frame.html"
    server.shutdown()
    thread.join()
    server.server_close()


def jpeg_of(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def jpeg_files(count: int) -> list[tuple[bytes, dict[str, Any]]]:
    """Return JPEG files: grey and colour, of all orientations and subsamplings, some progressive."""
    rng = np.random.default_rng(4)
    made = []
    for number in range(count):
        width, height = (int(side) for side in rng.integers(16, 150, 2))
        coarse = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        exif = Image.Exif()
        exif[0x0112] = number % 8 + 1
        options = {"quality": 70 + number % 26, "subsampling": number % 3, "progressive": number % 5 == 0}
        file = jpeg_of(image.convert("L" if number % 3 == 0 else "RGB"), exif=exif, **options)
        spec = {"channels": (1, 3)[number % 2], "image_size_px": 48, "interpolation": FILTERS[number % 3]}
        made.append((file, spec))
    return made


@pytest.mark.slow
@pytest.mark.parametrize("browser", list(BROWSERS))
def test_jpeg_in_a_browser_is_within_one_level(browser: str, modules_address: str) -> None:
    made = jpeg_files(100)
    for number, photograph in enumerate(photographs()):
        spec = {"channels": 3, "image_size_px": 224, "interpolation": FILTERS[number]}
        made.append((jpeg_of(photograph, quality=90, subsampling=0), spec))
    jobs = [
        {
            "file": base64.b64encode(file).decode(),
            "spec": {**full(spec).model_dump(mode="json"), "tall_vertical_first": tall_vertical_first()},
        }
        for file, spec in made
    ]
    document = {"browser": browser, "executable": executable(browser), "url": modules_address, "jobs": jobs}
    for (file, spec), result in zip(made, run_script("browser_pixels.mjs", document), strict=True):
        assert "fault" not in result, (spec, result)
        expected = to_pixels(decode(io.BytesIO(file)), **spec).astype(int).ravel()
        assert np.abs(np.array(result["pixels"]) - expected).max() <= 1, spec
