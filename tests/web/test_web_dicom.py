"""The page reads an uncompressed grey DICOM file as `preprocess` does, or refuses it in one line."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import made_dicom
import numpy as np
import pydicom
import pytest
from node_tools import run_script
from pydicom.data import get_testdata_file
from pydicom.uid import UID

from pepr_edge.errors import DataError
from pepr_edge.images.preprocess import decode, to_pixels

SPEC = {"channels": 1, "image_size_px": 24, "interpolation": "bilinear"}
IMPLICIT = "1.2.840.10008.1.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
RNG = np.random.default_rng(5)
DEEP = made_dicom.ramp(0, 4000, "u2", (30, 20))
SIGNED = made_dicom.ramp(-1000, 2000, "i2", (30, 20))
BYTES = RNG.integers(0, 256, (21, 33), dtype=np.uint8)
WINDOW = {"WindowCenter": 1200.5, "WindowWidth": 900}
# Values that fill the bits above the stored ones, and below.
HIGH = RNG.integers(0, 1 << 16, (30, 20), dtype=np.uint16)

SEQUENCE = {"OtherPatientIDsSequence": made_dicom.items(PatientID="planted-4712")}
READ: dict[str, tuple[Any, dict[str, Any]]] = {
    "range": (DEEP, {}),
    "signed": (SIGNED, {}),
    "bytes": (BYTES, {}),
    "signed bytes": (BYTES.view(np.int8), {}),
    "white is zero": (DEEP, {"PhotometricInterpretation": "MONOCHROME1"}),
    "window": (DEEP, WINDOW),
    "two windows": (DEEP, {"WindowCenter": [1200, 40], "WindowWidth": [900, 400]}),
    "exact window": (DEEP, {**WINDOW, "VOILUTFunction": "LINEAR_EXACT"}),
    "sigmoid": (DEEP, {**WINDOW, "VOILUTFunction": "SIGMOID"}),
    "threshold": (DEEP, {"WindowCenter": 1200, "WindowWidth": 1}),
    "invalid window": (DEEP, {"WindowCenter": 1200, "WindowWidth": 0}),
    "rescaled window": (SIGNED, {"RescaleSlope": 1.5, "RescaleIntercept": -24, **WINDOW}),
    "falling slope": (DEEP, {"RescaleSlope": -0.25, "RescaleIntercept": 7}),
    "slope alone": (DEEP, {"RescaleSlope": 3}),
    "padding": (np.where(DEEP < 500, 0, DEEP).astype(np.uint16), {"PixelPaddingValue": 0}),
    "signed padding": (
        np.where(SIGNED < 0, -900, SIGNED).astype(np.int16),
        {"PixelPaddingValue": -1000, "PixelPaddingRangeLimit": -800},
    ),
    "padding alone": (np.full((9, 9), 7, np.uint16), {"PixelPaddingValue": 7}),
    "far pixel": (np.where(np.arange(5000).reshape(50, 100) == 77, 60000, 300).astype(np.uint16), {}),
    "far letter": (
        np.where(np.arange(5000) < 4, 60000, np.arange(5000)).reshape(50, 100).astype(np.uint16),
        {},
    ),
    "twelve bits": (HIGH, {"BitsStored": 12, "HighBit": 11}),
    "twelve high bits": (HIGH, {"BitsStored": 12, "HighBit": 15}),
    "signed twelve bits": (HIGH.view(np.int16), {"BitsStored": 12, "HighBit": 13}),
    "frames": (RNG.integers(0, 4000, (4, 12, 10), dtype=np.uint16), {}),
    "sequences": (SIGNED, {**SEQUENCE, "PixelPaddingValue": -1000}),
}
REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "colour": (RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8), {}, "DICOM"),
    "table": (DEEP, {"VOILUTSequence": made_dicom.items(LUTExplanation="x")}, "DICOM"),
    "frame values": (DEEP, {"SharedFunctionalGroupsSequence": made_dicom.items()}, "DICOM"),
    "deflated": (DEEP, {"syntax": DEFLATED}, "DICOM"),
    "no head": (DEEP, {"preamble": False}, "DICOM"),
    "no picture": (DEEP, {"PixelData": None}, "DICOM"),
    "slope 0": (DEEP, {"RescaleSlope": 0, "RescaleIntercept": 0}, "slope 0"),
    "too few pixels": (DEEP, {"Rows": 31}, "corrupt"),
    "too many frames": (DEEP, {"NumberOfFrames": 2}, "corrupt"),
    "huge": (DEEP, {"Rows": 60000, "Columns": 60000}, "60000 x 60000"),
    "high bit": (DEEP, {"BitsStored": 12, "HighBit": 3}, "corrupt"),
}


def page_results(files: list[bytes]) -> list[dict[str, str]]:
    """Return what the page makes of files: pixels, or the fault."""
    spec = {**SPEC, "mean": [0.5], "std": [0.5], "scale": 255.0}
    jobs = [{"file": base64.b64encode(file).decode(), "spec": spec} for file in files]
    results = run_script("pixels.mjs", {"jobs": jobs})
    assert isinstance(results, list)
    return results


def assert_same(name: str, file: bytes, result: dict[str, str]) -> None:
    expected = to_pixels(decode(io.BytesIO(file)), **SPEC)
    actual = np.frombuffer(base64.b64decode(result["pixels"]), np.uint8).reshape(expected.shape)
    np.testing.assert_array_equal(actual, expected, err_msg=name)


def rewritten(file: bytes, *, implicit: bool) -> bytes:
    """Return a file in another encoding, its sequences and their items of undefined length."""
    dataset = pydicom.dcmread(io.BytesIO(file))
    dataset["OtherPatientIDsSequence"].is_undefined_length = True
    dataset.OtherPatientIDsSequence[0].is_undefined_length_sequence_item = True
    if implicit:
        dataset.file_meta.TransferSyntaxUID = UID(IMPLICIT)
    stream = io.BytesIO()
    dataset.save_as(stream)
    return stream.getvalue()


def test_made_files_have_the_same_pixels(tmp_path: Path) -> None:
    files = {
        name: made_dicom.write(tmp_path / name, pixels, **elements).read_bytes()
        for name, (pixels, elements) in READ.items()
    }
    files["explicit"] = rewritten(files["sequences"], implicit=False)
    files["implicit"] = rewritten(files["sequences"], implicit=True)
    assert b"\xff\xff\xff\xff" in files["explicit"]
    for (name, file), result in zip(files.items(), page_results(list(files.values())), strict=True):
        assert "fault" not in result, (name, result)
        assert_same(name, file, result)


def test_what_is_not_read_has_one_line(tmp_path: Path) -> None:
    files = [
        made_dicom.write(tmp_path / name, pixels, **elements).read_bytes()
        for name, (pixels, elements, _) in REFUSED.items()
    ]
    whole = made_dicom.write(tmp_path / "whole", DEEP).read_bytes()
    cut = [whole[:length] for length in range(132, len(whole) - 1, 37)]
    results = page_results(files + cut)
    for (name, (_, _, expected)), result in zip(REFUSED.items(), results, strict=False):
        assert expected in result["fault"], (name, result)
    for result in results[len(files) :]:
        assert "\n" not in result["fault"]
        assert made_dicom.PATIENT["PatientID"] not in result["fault"]


def test_pydicoms_own_files_have_the_same_pixels_or_are_refused() -> None:
    """Files of scanners, broken ones among them, as pydicom tests itself on."""
    folder = Path(str(get_testdata_file("CT_small.dcm"))).parent
    paths = [path for path in sorted(folder.glob("*.dcm")) if path.stat().st_size < 1 << 20]
    files = [path.read_bytes() for path in paths]
    read = set()
    for path, file, result in zip(paths, files, page_results(files), strict=True):
        if "fault" in result:
            assert "remove" in result["fault"] or "DICOM" in result["fault"], path
            continue
        try:
            assert_same(path.name, file, result)
        except DataError as fault:
            pytest.fail(f"{path.name}: the page read what preprocess refuses: {fault}")
        read.add(path.name)
    assert {"CT_small.dcm", "MR_small.dcm"} <= read
