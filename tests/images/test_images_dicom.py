from __future__ import annotations

import io
import sys
import zlib
from pathlib import Path

import made_dicom
import numpy as np
import pytest
from made_dicom import grey, items, ramp, scaled
from numpy.typing import NDArray
from PIL import Image

from pepr_edge.errors import DataError, ImageError
from pepr_edge.images import dicom, dicom_stream
from pepr_edge.images.preprocess import decode

pydicom = pytest.importorskip("pydicom")

FOLDER = Path(pydicom.__file__).parent / "data" / "test_files"
# One file of each kind. A slow test reads all files.
READABLE = (
    "CT_small.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "693_J2KI.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
    "image_dfl.dcm",
    "examples_palette.dcm",
    "SC_rgb_rle_16bit_2frame.dcm",
    "rtdose.dcm",
)
UNREADABLE = ("MR_truncated.dcm", "badVR.dcm", "DICOMDIR", "README.txt")
JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
DEFLATED = "1.2.840.10008.1.2.1.99"


def expected(path: Path) -> NDArray[np.float64]:
    """Return the picture by pydicom's own functions, scaled from the range of their values to 0 to 255."""
    from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array

    dataset = pydicom.dcmread(path, force=True)
    # Decoders of baseline JPEG differ by a level; Pillow's is always installed.
    plugin = "pillow" if dataset.file_meta.TransferSyntaxUID == JPEG_BASELINE else ""
    middle = int(dataset.get("NumberOfFrames", 1)) // 2
    stored = pixel_array(dataset, index=middle, decoding_plugin=plugin)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        colours = apply_color_lut(stored, dataset)
        return scaled(colours, 0, 2 ** (8 * colours.itemsize) - 1)
    if stored.ndim == 3:
        return scaled(stored, 0, 2**dataset.BitsStored - 1)
    levels = _grey_levels(dataset, stored, apply_modality_lut(stored, dataset))
    return 255 - levels if dataset.PhotometricInterpretation == "MONOCHROME1" else levels


def _grey_levels(
    dataset: pydicom.Dataset, stored: NDArray[np.generic], values: NDArray[np.generic]
) -> NDArray[np.float64]:
    from pydicom.pixels import apply_voi_lut

    shown = apply_voi_lut(values, dataset)
    bits = dataset.BitsStored
    if "VOILUTSequence" in dataset:
        return scaled(shown, 0, 2 ** dataset.VOILUTSequence[0].LUTDescriptor[2] - 1)
    if dataset.get("WindowWidth"):
        lowest, highest = (
            (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if dataset.PixelRepresentation else (0, 2**bits - 1)
        )
        slope = float(dataset.get("RescaleSlope", 1))
        intercept = float(dataset.get("RescaleIntercept", 0))
        return scaled(shown, lowest * slope + intercept, highest * slope + intercept)
    if "PixelPaddingValue" in dataset:
        inside = values[stored != dataset["PixelPaddingValue"].value]
        return scaled(values, inside.min(), inside.max())
    return scaled(values, values.min(), values.max())


def is_decoded(path: Path) -> bool:
    """Return True for a correct picture, False for an error on one line; fail for everything else."""
    fault = ""
    try:
        picture = np.asarray(decode(path))
    except DataError as error:
        fault = str(error)
    if fault:
        assert fault.startswith(f"{path}: ")
        assert "\n" not in fault
        return False
    np.testing.assert_allclose(picture, expected(path), atol=0.5 + 1e-6, err_msg=path.name)
    assert picture.shape == expected(path).shape
    return True


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_some_of_pydicoms_own_files_are_decoded_or_refused() -> None:
    names = {*READABLE, *UNREADABLE}
    paths = [path for path in sorted(FOLDER.rglob("*")) if path.name in names and path.is_file()]
    assert len(paths) > len(names) - 2  # another pydicom may have other files
    assert {path.name for path in paths if not is_decoded(path)} == set(UNREADABLE)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_all_of_pydicoms_own_files_are_decoded_or_refused() -> None:
    paths = [path for path in sorted(FOLDER.rglob("*")) if path.is_file()]
    assert len(paths) > 150
    assert sum(is_decoded(path) for path in paths) > 80


@pytest.mark.parametrize(
    ("pixels", "elements", "wanted"),
    [
        (ramp(100, 900), {}, scaled(ramp(100, 900), 100, 900)),
        (ramp(-1000, 3000, "i2"), {}, scaled(ramp(-1000, 3000, "i2"), -1000, 3000)),
        (
            ramp(0, 255, "u1"),
            {"PhotometricInterpretation": "MONOCHROME1"},
            255 - ramp(0, 255, "u1").astype(float),
        ),
        (np.full((4, 4), 7, np.uint16), {}, np.zeros((4, 4))),
        # Hounsfield units by rescale, then the window from -160 to 240 of the abdomen.
        (
            ramp(0, 4095),
            {
                "BitsStored": 12,
                "RescaleSlope": 1,
                "RescaleIntercept": -1024,
                "WindowCenter": 40,
                "WindowWidth": 400,
            },
            scaled(ramp(0, 4095).astype(float) - 1024, 40 - 0.5 - 399 / 2, 40 - 0.5 + 399 / 2),
        ),
        # The first window of several.
        (
            ramp(0, 999),
            {"WindowCenter": [500, 1], "WindowWidth": [101, 1]},
            scaled(ramp(0, 999), 449.5, 549.5),
        ),
        (
            ramp(0, 999),
            {"WindowCenter": 500, "WindowWidth": 100, "VOILUTFunction": "LINEAR_EXACT"},
            scaled(ramp(0, 999), 450, 550),
        ),
        (
            ramp(0, 999),
            {"WindowCenter": 500, "WindowWidth": 100, "VOILUTFunction": "SIGMOID"},
            255 / (1 + np.exp(-4 * (ramp(0, 999).astype(float) - 500) / 100)),
        ),
        (ramp(0, 999), {"WindowCenter": 500, "WindowWidth": 1}, scaled(ramp(0, 999), 499.5, 499.5001)),
        # No window: it has no width, or no value.
        (ramp(0, 999), {"WindowCenter": 500, "WindowWidth": 0}, scaled(ramp(0, 999), 0, 999)),
        (
            ramp(0, 999),
            {"WindowCenter": "", "WindowWidth": "", "RescaleSlope": "", "RescaleIntercept": ""},
            scaled(ramp(0, 999), 0, 999),
        ),
        # Padding is not part of the picture.
        (
            np.where(np.eye(8), -2000, ramp(0, 700, "i2")).astype("i2"),
            {"PixelPaddingValue": -2000},
            scaled(np.where(np.eye(8), 0, ramp(0, 700)), ramp(0, 700)[0, 1], ramp(0, 700)[7, 6]),
        ),
        (
            ramp(0, 3, "u1", (2, 2)),
            {
                "VOILUTSequence": items(
                    LUTDescriptor=[4, 0, 16], LUTData=np.array([0, 65535, 257, 257 * 9], "<u2").tobytes()
                )
            },
            np.array([[0, 255], [1, 9]]),
        ),
        (
            ramp(0, 3, "u1", (2, 2)),
            {
                "ModalityLUTSequence": items(
                    LUTDescriptor=[4, 0, 16], LUTData=np.array([0, 100, 20, 50], "<u2").tobytes()
                )
            },
            np.array([[0, 255], [51, 127.5]]),
        ),
    ],
)
def test_grey_values_are_those_of_the_standard(
    tmp_path: Path, pixels: NDArray[np.generic], elements: dict[str, object], wanted: object
) -> None:
    made = grey(made_dicom.write(tmp_path / "x.dcm", pixels, **elements))
    np.testing.assert_allclose(made, wanted, atol=0.5 + 1e-6)


def test_values_too_far_apart_for_a_table_are_scaled_alike(tmp_path: Path) -> None:
    deep = grey(made_dicom.write(tmp_path / "deep.dcm", ramp(0, 10_000_000, "u4"), BitsStored=32))
    shallow = grey(made_dicom.write(tmp_path / "shallow.dcm", ramp(0, 10_000, "u2"), BitsStored=16))
    np.testing.assert_allclose(deep.astype(int), shallow, atol=1)
    assert len(np.unique(deep)) == 64


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_of_several_frames_the_middle_one_is_the_picture(tmp_path: Path, frames: int) -> None:
    cine = np.stack([np.full((4, 4), 10 * frame, np.uint8) for frame in range(frames)])
    window = {"WindowCenter": 128, "WindowWidth": 256}
    assert set(grey(made_dicom.write(tmp_path / "x.dcm", cine, **window)).ravel()) == {10 * (frames // 2)}


def test_an_enhanced_file_has_values_for_each_frame(tmp_path: Path) -> None:
    frames = np.stack([ramp(0, 255)] * 2)
    rescale = items(RescaleSlope=2, RescaleIntercept=-10)
    shared = items(PixelValueTransformationSequence=rescale)
    windows = [
        items(FrameVOILUTSequence=items(WindowCenter=centre, WindowWidth=101))[0] for centre in (0, 250)
    ]
    groups = {"SharedFunctionalGroupsSequence": shared, "PerFrameFunctionalGroupsSequence": windows}
    made = grey(made_dicom.write(tmp_path / "x.dcm", frames, **groups, WindowCenter=7, WindowWidth=3))
    np.testing.assert_allclose(
        made, scaled(ramp(0, 255).astype(float) * 2 - 10, 199.5, 299.5), atol=0.5 + 1e-6
    )


@pytest.mark.parametrize("planar", [0, 1])
def test_colour_by_pixel_and_by_plane(tmp_path: Path, planar: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    stored = pixels.transpose(2, 0, 1) if planar else pixels
    path = made_dicom.write(
        tmp_path / "x.dcm", pixels, PlanarConfiguration=planar, PixelData=stored.tobytes()
    )
    np.testing.assert_array_equal(np.asarray(decode(path)), pixels)


def test_colour_of_sixteen_bits_and_ybr(tmp_path: Path) -> None:
    deep = made_dicom.write(tmp_path / "deep.dcm", np.full((2, 2, 3), (0, 257 * 9, 65535), np.uint16))
    assert np.asarray(decode(deep))[0, 0].tolist() == [0, 9, 255]
    ybr = np.asarray(Image.new("RGB", (2, 2), (200, 100, 50)).convert("YCbCr"))
    path = made_dicom.write(tmp_path / "ybr.dcm", ybr, PhotometricInterpretation="YBR_FULL")
    np.testing.assert_allclose(np.asarray(decode(path))[0, 0], [200, 100, 50], atol=2)


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    whole = made_dicom.write(tmp_path / "x.dcm", ramp(0, 255, "u1"))
    old = made_dicom.write(tmp_path / "old.dcm", ramp(0, 255, "u1"), preamble=False)
    assert b"DICM" not in old.read_bytes()
    for name, source in (("IM0001", whole), ("scan.png", whole), ("ANOTHER.DCM", old)):
        (tmp_path / name).write_bytes(source.read_bytes())
        np.testing.assert_array_equal(grey(tmp_path / name), ramp(0, 255))
    Image.new("L", (3, 3), 9).save(tmp_path / "picture.dcm", "PNG")
    assert set(grey(tmp_path / "picture.dcm").ravel()) == {9}
    assert decode(io.BytesIO(whole.read_bytes()), shown_as="x").size == (8, 8)


# Streams whose headers claim 60,000 x 60,000 pixels.
JPEG_OF_60000 = (
    b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x0b\x08" + b"\xea\x60" * 2 + b"\x01\x01\x11\x00\xff\xd9"
)
J2K_OF_60000 = b"\xff\x4f\xff\x51\x00\x29\x00\x00" + b"\x00\x00\xea\x60" * 2 + b"\0" * 30
J2K_WITHOUT_END = b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40)


def encapsulated(stream: bytes) -> bytes:
    from pydicom.encaps import encapsulate

    return encapsulate([stream])


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"PixelData": None}, "without a picture"),
        ({"PixelData": b"12"}, "broken"),
        ({"Rows": None}, "broken"),
        ({"Rows": 60000, "Columns": 60000}, "60000 x 60000 pixels, expected at most"),
        ({"PhotometricInterpretation": "PLANTED"}, "unknown photometric interpretation"),
        ({"PhotometricInterpretation": "RGB"}, "RGB of 2 dimensions"),
        (
            {"syntax": "1.2.840.10008.1.2.4.100", "PixelData": encapsulated(b"1234")},
            r"MPEG2 .*which pydicom cannot decode",
        ),
        (
            {"syntax": "1.2.4711", "PixelData": encapsulated(b"1234")},
            "a transfer syntax that is not in the standard",
        ),
        ({"syntax": JPEG_BASELINE, "PixelData": encapsulated(b"Planted^Patient!")}, "claim to be 0 x 0"),
        (
            {"syntax": JPEG_BASELINE, "PixelData": encapsulated(JPEG_OF_60000)},
            "claim to be 60000 x 60000, expected 8 x 8",
        ),
        (
            {"syntax": "1.2.840.10008.1.2.4.90", "PixelData": encapsulated(J2K_OF_60000)},
            "claim to be 60000 x 60000, expected 8 x 8",
        ),
        ({"syntax": "1.2.840.10008.1.2.4.90", "PixelData": encapsulated(J2K_WITHOUT_END)}, "broken"),
    ],
)
def test_an_error_is_one_line_and_quotes_nothing_of_the_file(
    tmp_path: Path,
    elements: dict[str, object],
    message: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = made_dicom.write(tmp_path / "x.dcm", ramp(), **elements)
    assert b"Planted^Patient" in path.read_bytes()
    capfd.readouterr()
    with pytest.raises(ImageError, match=message) as fault:
        decode(path)
    assert str(fault.value).startswith(f"{path}: ")
    for text in (str(fault.value), caplog.text, *capfd.readouterr()):
        assert "\n" not in text
        assert "planted" not in text.lower().replace(str(tmp_path).lower(), "")


def test_a_deflated_bomb_is_not_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom, "MAX_INFLATED_BYTES", 1 << 20)
    path = made_dicom.write(tmp_path / "x.dcm", ramp(0, 255, "u1"), syntax=DEFLATED)
    np.testing.assert_array_equal(grey(path), ramp(0, 255))
    whole = path.read_bytes()
    start = next(position for position in range(132, len(whole)) if _inflates(whole[position:]))
    bomb = zlib.decompress(whole[start:], -15) + b"\0" * (2 << 20)
    deflater = zlib.compressobj(9, wbits=-15)
    path.write_bytes(whole[:start] + deflater.compress(bomb) + deflater.flush())
    with pytest.raises(ImageError, match="inflates to more than 1 MiB"):
        decode(path)


def _inflates(content: bytes) -> bool:
    try:
        return b"Planted" in zlib.decompress(content, -15)
    except zlib.error:
        return False


def test_without_pydicom_the_error_names_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made_dicom.write(tmp_path / "x.dcm", ramp())
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(DataError, match=r"x\.dcm: .*pip install 'pepr_edge\[dicom\]'") as fault:
        decode(path)
    # An ImageError would leave the image out, but the image is good.
    assert not isinstance(fault.value, ImageError)
    Image.new("L", (3, 3), 9).save(tmp_path / "x.png")
    assert decode(tmp_path / "x.png").size == (3, 3)


def test_without_a_decoder_the_error_names_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pydicom.pixels.decoders import JPEGLosslessDecoder
    from pydicom.uid import JPEGLossless

    monkeypatch.setattr(JPEGLosslessDecoder, "_available", {})
    path = made_dicom.write(
        tmp_path / "x.dcm", ramp(), syntax="1.2.840.10008.1.2.4.57", PixelData=encapsulated(b"1234")
    )
    message = r"JPEG Lossless.*\(1\.2\.840\.10008\.1\.2\.4\.57\), .* pylibjpeg pylibjpeg-libjpeg"
    with pytest.raises(DataError, match=message) as fault:
        decode(path)
    assert not isinstance(fault.value, ImageError)
    assert JPEGLossless in dicom_stream.DECODERS


def test_a_stream_that_another_decoder_may_read_is_not_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = J2K_OF_60000.replace(b"\xea\x60", b"\x00\x08")
    path = made_dicom.write(
        tmp_path / "x.dcm",
        ramp(0, 255, "u1"),
        syntax="1.2.840.10008.1.2.4.90",
        PixelData=encapsulated(stream),
    )
    with pytest.raises(ImageError, match="its pixels cannot be decoded"):
        decode(path)
    monkeypatch.setattr(dicom_stream.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        DataError, match=r"x\.dcm: .*JPEG 2000.*Run pip install pylibjpeg pylibjpeg-openjpeg$"
    ) as fault:
        decode(path)
    assert not isinstance(fault.value, ImageError)


def test_every_syntax_that_needs_a_package_has_one() -> None:
    from pydicom.pixels.decoders.pylibjpeg import DECODER_DEPENDENCIES

    needed = {str(uid): packages[1].split(">")[0] for uid, packages in DECODER_DEPENDENCIES.items()}
    del needed["1.2.840.10008.1.2.5"]  # RLE, which pydicom decodes itself
    assert {uid: package for uid, (_, package) in dicom_stream.DECODERS.items()} == needed


def test_no_element_about_a_patient_is_read() -> None:
    groups = {pydicom.datadict.tag_for_keyword(keyword) >> 16 for keyword in dicom.ELEMENTS}  # type: ignore[operator]
    assert groups == {0x0028, 0x5200, 0x7FE0}
