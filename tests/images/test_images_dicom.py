from __future__ import annotations

import io
import sys
import zlib
from pathlib import Path

import made_dicom
import numpy as np
import pytest
from made_dicom import items, ramp
from numpy.typing import NDArray
from PIL import Image

from pepr_edge.errors import DataError, ImageError
from pepr_edge.images import dicom, dicom_stream
from pepr_edge.images.preprocess import decode

pydicom = pytest.importorskip("pydicom")

FOLDER = Path(pydicom.__file__).parent / "data" / "test_files"
# One of each kind; all of them are read in the slow tier.
HANDFUL = (
    *(
        "CT_small.dcm",
        "MR_small_RLE.dcm",
        "MR_small_bigendian.dcm",
        "693_J2KI.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
        "image_dfl.dcm",
    ),
    *(
        "examples_palette.dcm",
        "SC_rgb_rle_16bit_2frame.dcm",
        "rtdose.dcm",
        "MR_truncated.dcm",
        "badVR.dcm",
        "DICOMDIR",
        "README.txt",
    ),
)
JPEG_BASELINE, DEFLATED = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.1.99"


def grey(path: Path) -> NDArray[np.uint8]:
    image = decode(path)
    assert image.mode == "L"
    return np.asarray(image)


def scaled(values: NDArray[np.generic], low: float, high: float) -> NDArray[np.float64]:
    return np.clip((values.astype(float) - low) / (high - low), 0, 1) * 255


def expected(path: Path) -> NDArray[np.float64]:
    """The picture by pydicom's own functions, scaled from the range that they give values in to 0 to 255."""
    from pydicom.pixels import apply_color_lut, apply_modality_lut, pixel_array

    held = pydicom.dcmread(path, force=True)
    # Of baseline JPEG the decoders differ by a level; Pillow's is the one that is installed everywhere.
    plugin = "pillow" if held.file_meta.TransferSyntaxUID == JPEG_BASELINE else ""
    stored = pixel_array(held, index=int(held.get("NumberOfFrames", 1)) // 2, decoding_plugin=plugin)
    bits = held.BitsStored
    if held.PhotometricInterpretation == "PALETTE COLOR":
        colours = apply_color_lut(stored, held)
        return scaled(colours, 0, 2 ** (8 * colours.itemsize) - 1)
    if stored.ndim == 3:
        return scaled(stored, 0, 2**bits - 1)
    shown = _shown(held, stored, apply_modality_lut(stored, held), bits)
    return 255 - shown if held.PhotometricInterpretation == "MONOCHROME1" else shown


def _shown(
    held: pydicom.Dataset, stored: NDArray[np.generic], values: NDArray[np.generic], bits: int
) -> NDArray[np.float64]:
    from pydicom.pixels import apply_voi_lut

    shown = apply_voi_lut(values, held)
    if "VOILUTSequence" in held:
        return scaled(shown, 0, 2 ** held.VOILUTSequence[0].LUTDescriptor[2] - 1)
    if held.get("WindowWidth"):
        ends = np.array(
            [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] if held.PixelRepresentation else [0, 2**bits - 1], float
        )
        low, high = ends * float(held.get("RescaleSlope", 1)) + float(held.get("RescaleIntercept", 0))
        return scaled(shown, low, high)
    kept = values[stored != held["PixelPaddingValue"].value] if "PixelPaddingValue" in held else values
    return scaled(values, kept.min(), kept.max())


def check(path: Path) -> bool:
    """Whether a file is read, and rightly; if not, it is refused with one line."""
    fault = ""
    try:
        made = np.asarray(decode(path))
    except DataError as raised:
        fault = str(raised)
    if fault:
        assert fault.startswith(f"{path}: ")
        assert "\n" not in fault
        return False
    wanted = expected(path)
    assert made.shape == wanted.shape
    np.testing.assert_allclose(made, wanted, atol=0.5 + 1e-6, err_msg=path.name)
    return True


@pytest.mark.filterwarnings("ignore::UserWarning:pydicom")
def test_a_handful_of_pydicom_s_own_files_is_read_rightly_or_refused() -> None:
    found = [path for path in sorted(FOLDER.rglob("*")) if path.name in HANDFUL and path.is_file()]
    assert len(found) > len(HANDFUL) - 2  # pydicom may come with others one day
    assert {path.name for path in found if not check(path)} == {
        "MR_truncated.dcm",
        "badVR.dcm",
        "DICOMDIR",
        "README.txt",
    }


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_all_of_pydicom_s_own_files_are_read_rightly_or_refused() -> None:
    found = [path for path in sorted(FOLDER.rglob("*")) if path.is_file()]
    read = {path.name for path in found if check(path)}
    assert len(found) > 150
    assert len(read) > 80


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
        # What fills the frame up is not part of the picture.
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
    deep, plain = ramp(0, 10_000_000, "u4"), ramp(0, 10_000, "u2")
    deep_made, plain_made = (
        grey(made_dicom.write(tmp_path / f"{p.itemsize}.dcm", p, BitsStored=8 * p.itemsize))
        for p in (deep, plain)
    )
    np.testing.assert_allclose(deep_made.astype(int), plain_made, atol=1)
    assert len(np.unique(deep_made)) == 64


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
    held = pixels if not planar else np.ascontiguousarray(pixels.transpose(2, 0, 1))
    path = made_dicom.write(tmp_path / "x.dcm", pixels, PlanarConfiguration=planar, PixelData=held.tobytes())
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
    for name, content in (("IM0001", whole), ("scan.png", whole), ("OLD.DCM", old)):
        np.testing.assert_array_equal(
            grey(content.rename(tmp_path / name) if content is old else _copy(content, tmp_path / name)),
            ramp(0, 255),
        )
    Image.new("L", (3, 3), 9).save(tmp_path / "a.png")
    assert set(grey(_copy(tmp_path / "a.png", tmp_path / "picture.dcm")).ravel()) == {9}
    assert decode(
        io.BytesIO(whole.read_bytes() if whole.exists() else (tmp_path / "IM0001").read_bytes()), shown_as="x"
    ).size == (8, 8)


def _copy(path: Path, target: Path) -> Path:
    target.write_bytes(path.read_bytes())
    return target


JPEG_OF_60000 = (
    b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x0b\x08" + b"\xea\x60" * 2 + b"\x01\x01\x11\x00\xff\xd9"
)
J2K_OF_60000 = b"\xff\x4f\xff\x51\x00\x29\x00\x00" + b"\x00\x00\xea\x60" * 2 + b"\0" * 30


J2K_WITHOUT_END = b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40)


def encapsulated(stream: bytes) -> bytes:
    from pydicom.encaps import encapsulate

    return encapsulate([stream])


@pytest.mark.parametrize(
    ("elements", "words"),
    [
        ({"PixelData": None}, "without a picture"),
        ({"PixelData": b"12"}, "broken"),
        ({"Rows": None}, "broken"),
        ({"Rows": 60000, "Columns": 60000}, "60000 x 60000 pixels, expected at most"),
        ({"PhotometricInterpretation": "PLANTED"}, "not of a known photometric interpretation"),
        ({"PhotometricInterpretation": "RGB"}, "RGB of 2 dimensions"),
        (
            {"syntax": "1.2.840.10008.1.2.4.100", "PixelData": encapsulated(b"1234")},
            r"MPEG2 .*which pydicom cannot decode",
        ),
        (
            {"syntax": "1.2.4711", "PixelData": encapsulated(b"1234")},
            "a transfer syntax that is not of the standard, which",
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
def test_what_cannot_be_read_is_one_line_that_quotes_nothing_of_the_file(
    tmp_path: Path,
    elements: dict[str, object],
    words: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = made_dicom.write(tmp_path / "x.dcm", ramp(), **elements)
    assert b"Planted^Patient" in path.read_bytes()
    capfd.readouterr()
    with pytest.raises(ImageError, match=words) as fault:
        decode(path)
    assert str(fault.value).startswith(f"{path}: ")
    for said in (str(fault.value), caplog.text, *capfd.readouterr()):
        assert "\n" not in said
        assert "planted" not in said.lower().replace(str(tmp_path).lower(), "")


def test_a_deflated_bomb_is_not_inflated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom, "MOST_INFLATED_BYTES", 1 << 20)
    path = made_dicom.write(tmp_path / "x.dcm", ramp(0, 255, "u1"), syntax=DEFLATED)
    np.testing.assert_array_equal(grey(path), ramp(0, 255))
    whole = path.read_bytes()
    start = next(at for at in range(132, len(whole)) if _inflates(whole[at:]))
    packer = zlib.compressobj(9, wbits=-15)
    path.write_bytes(
        whole[:start]
        + packer.compress(zlib.decompress(whole[start:], -15) + b"\0" * (2 << 20))
        + packer.flush()
    )
    with pytest.raises(ImageError, match="inflates to more than 1 MiB"):
        decode(path)


def _inflates(content: bytes) -> bool:
    try:
        return b"Planted" in zlib.decompress(content, -15)
    except zlib.error:
        return False


def test_without_pydicom_the_command_that_installs_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made_dicom.write(tmp_path / "x.dcm", ramp())
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(
        DataError, match=r"x\.dcm: .*not installed\. Run pip install 'pepr_edge\[dicom\]'"
    ) as fault:
        decode(path)
    assert not isinstance(fault.value, ImageError)  # nothing is wrong with the image: it must not be left out
    Image.new("L", (3, 3), 9).save(tmp_path / "x.png")
    assert decode(tmp_path / "x.png").size == (3, 3)


def test_without_a_decoder_its_package_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pydicom.pixels.decoders import JPEGLosslessDecoder
    from pydicom.uid import JPEGLossless

    monkeypatch.setattr(JPEGLosslessDecoder, "_available", {})
    path = made_dicom.write(
        tmp_path / "x.dcm", ramp(), syntax="1.2.840.10008.1.2.4.57", PixelData=encapsulated(b"1234")
    )
    with pytest.raises(
        DataError,
        match=r"JPEG Lossless.*\(1\.2\.840\.10008\.1\.2\.4\.57\), and no decoder .* pylibjpeg pylibjpeg-libjpeg",
    ) as fault:
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
        DataError, match=r"x\.dcm: its pixels, JPEG 2000.*Run pip install pylibjpeg pylibjpeg-openjpeg$"
    ) as fault:
        decode(path)
    assert not isinstance(fault.value, ImageError)


def test_every_syntax_that_needs_a_package_has_one() -> None:
    from pydicom.pixels.decoders.pylibjpeg import DECODER_DEPENDENCIES

    needed = {str(uid): packages[1].split(">")[0] for uid, packages in DECODER_DEPENDENCIES.items()}
    del needed["1.2.840.10008.1.2.5"]  # RLE, by pydicom itself
    assert {uid: package for uid, (_, package) in dicom_stream.DECODERS.items()} == needed


def test_nothing_of_a_patient_is_read() -> None:
    groups = {pydicom.datadict.tag_for_keyword(keyword) >> 16 for keyword in dicom.WANTED}  # type: ignore[operator]
    assert groups == {0x0028, 0x5200, 0x7FE0}
