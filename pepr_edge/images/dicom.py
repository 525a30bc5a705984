"""Decode the picture in a DICOM file as 8-bit grey or RGB. No other element is read, and no text of it shown.

A file is one picture; of a multi-frame file the middle frame. Grey values become levels as `dicom_levels`
says. Values that an enhanced file holds for that frame replace those of the file. Palettes are looked up, YBR
becomes RGB, a high bit above the stored bits is moved. Source: DICOM PS3.3, C.7.6.3 (image pixels).
"""

from __future__ import annotations

import logging
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image

from pepr_edge.errors import DataError, ImageError
from pepr_edge.images.depth import FROM_DICOM, SEVERAL_PICTURES
from pepr_edge.images.dicom_levels import ZeroSlopeError, eight_bit, grey_levels
from pepr_edge.images.dicom_stream import (
    BASELINE,
    DECODERS,
    adobe_transform,
    check_decoder,
    decoding_error,
    encoded_size,
    has_subsampled_chroma,
    looks_like_ycbcr,
)
from pepr_edge.images.formats import DICOM_MAGIC, HEAD_BYTES

if TYPE_CHECKING:
    from pydicom import Dataset

SUFFIXES = frozenset({".dcm", ".dicom"})
INSTALL = "pip install 'pepr_edge[dicom]'"
GREY = ("MONOCHROME1", "MONOCHROME2")
COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
PALETTE = "PALETTE COLOR"
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
# The elements that are read of a file; none holds data of a patient.
ELEMENTS = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "VOILUTSequence",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
    "SegmentedRedPaletteColorLookupTableData",
    "SegmentedGreenPaletteColorLookupTableData",
    "SegmentedBluePaletteColorLookupTableData",
    *PIXELS,
)
# A deflated file can inflate to a thousand times its size.
MAX_INFLATED_BYTES = 1 << 30


def decode(file: BinaryIO, *, shown_as: str, max_pixels: int) -> Image.Image:
    """Return the picture in a DICOM file, in mode L or RGB.

    Args:
        file: open at its beginning.
        shown_as: its name in an error.
        max_pixels: of one frame.
    Raises:
        ImageError: the file has no picture, or it cannot be decoded.
        DataError: pydicom is not installed, or no decoder for the file's transfer syntax.
    """
    try:
        import pydicom  # noqa: F401
    except ImportError:
        raise DataError(
            f"{shown_as}: a DICOM file, but pydicom, which reads them, is not installed. Run {INSTALL}"
        ) from None
    with no_output():
        try:
            dataset = _read(file, shown_as)
            _check(dataset, shown_as, max_pixels)
            picture = _picture(dataset, shown_as)
            picture.info[SEVERAL_PICTURES] = _frame_count(dataset) > 1
            picture.info[FROM_DICOM] = True
            return picture
        except DataError:
            raise
        except ZeroSlopeError:
            raise ImageError(
                shown_as, "rescale slope 0, which makes all pixels alike, expected another number"
            ) from None
        except (
            Exception
        ) as fault:  # pydicom raises anything on a broken file; its message may hold patient data
            raise ImageError(shown_as, f"the DICOM file is broken ({type(fault).__name__})") from None


@contextmanager
def no_output() -> Iterator[None]:
    """Suppress logs and warnings of pydicom and its decoders, which quote from the file."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _read(file: BinaryIO, name: str) -> Dataset:
    """Return the elements of the picture, without empty ones."""
    from pydicom import dcmread
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    check_inflated(file, name)
    dataset = dcmread(file, force=True, specific_tags=list(ELEMENTS))
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    for element in list(dataset):
        if element.is_empty:
            del dataset[element.tag]
    return dataset


def check_inflated(file: BinaryIO, name: str) -> None:
    """Refuse a deflated file that would fill the memory, and rewind the file."""
    from pydicom.filereader import read_dataset
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    if file.read(HEAD_BYTES).endswith(DICOM_MAGIC):
        meta = read_dataset(
            file,
            is_implicit_VR=False,
            is_little_endian=True,
            stop_when=lambda tag, vr, length: tag >> 16 != 2,
        )
        if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            inflater.decompress(file.read(), MAX_INFLATED_BYTES)
            if inflater.unconsumed_tail:
                raise ImageError(
                    name, f"inflates to more than {MAX_INFLATED_BYTES >> 20} MiB, expected a picture"
                )
    file.seek(0)


def _check(dataset: Dataset, name: str, max_pixels: int) -> None:
    if not any(keyword in dataset for keyword in PIXELS):
        raise ImageError(name, "a DICOM file without a picture, expected one with pixel data")
    width = int(dataset.Columns)
    height = int(dataset.Rows)
    syntax = dataset.file_meta.TransferSyntaxUID
    check_decoder(syntax, name)
    if width * height > max_pixels:
        raise ImageError(
            name,
            f"{width} x {height} pixels, expected at most {max_pixels:,}",
            "Make it smaller, or remove it.",
        )
    if syntax not in DECODERS:
        return
    # Some decoders trust the size in the stream: they fill the memory, or loop for ever on a height of 0.
    stream_width, stream_height = encoded_size(_compressed_frame(dataset))
    if (stream_width, stream_height) != (width, height):
        raise ImageError(
            name, f"its pixels claim to be {stream_width} x {stream_height}, expected {width} x {height}"
        )


def _frame_count(dataset: Dataset) -> int:
    return max(int(dataset.get("NumberOfFrames", 1)), 1)


def _compressed_frame(dataset: Dataset) -> bytes:
    """Return the compressed stream of the middle frame."""
    from pydicom.encaps import get_frame

    frames = _frame_count(dataset)
    offsets = None
    if "ExtendedOffsetTableLengths" in dataset:
        offsets = (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
    return get_frame(dataset.PixelData, frames // 2, number_of_frames=frames, extended_offsets=offsets)


def _picture(dataset: Dataset, name: str) -> Image.Image:
    from pydicom.pixels import apply_color_lut, pixel_array

    index = _frame_count(dataset) // 2
    kind = str(dataset.PhotometricInterpretation)
    if kind not in (*GREY, *COLOUR, PALETTE):
        known = ", ".join((*GREY, *COLOUR))
        raise ImageError(name, f"unknown photometric interpretation, expected {known} or {PALETTE}")
    syntax = dataset.file_meta.TransferSyntaxUID
    unused_bits = _move_high_bit(dataset, name)
    if kind in COLOUR and syntax == BASELINE:
        dataset.PhotometricInterpretation = _decoded_colours(dataset, kind, name)
    try:
        # Decoders of baseline JPEG differ by a level. Pillow is always installed: training and field agree.
        plugin = "pillow" if syntax == BASELINE else ""
        pixels = pixel_array(dataset, index=index, decoding_plugin=plugin)
    except RuntimeError:
        raise decoding_error(syntax, name) from None
    if unused_bits:
        pixels = pixels >> unused_bits
    if pixels.ndim != (3 if kind in COLOUR else 2):
        raise ImageError(
            name, f"{kind} of {pixels.ndim} dimensions, expected one plane for grey and three for colour"
        )
    if kind in GREY:
        levels = grey_levels(pixels, _with_frame_values(dataset, index), inverted=kind == "MONOCHROME1")
        return Image.fromarray(levels)
    if kind in COLOUR:
        return Image.fromarray(eight_bit(pixels[..., :3], int(dataset.BitsStored) - unused_bits))
    colours = apply_color_lut(pixels, dataset)
    return Image.fromarray(eight_bit(colours[..., :3], _palette_bits(dataset)))


def _move_high_bit(dataset: Dataset, name: str) -> int:
    """Return by how many bits the stored values are too high, and let pydicom read these bits, too.

    pydicom takes the values from the lowest bits. Compressed pixels have no unused bits.

    Raises:
        ImageError: the high bit is outside of the values.
    """
    if "HighBit" not in dataset or "PixelData" not in dataset:
        return 0
    if dataset.file_meta.TransferSyntaxUID in DECODERS:
        return 0
    high = int(dataset.HighBit)
    stored = int(dataset.BitsStored)
    if not stored - 1 <= high < int(dataset.BitsAllocated):
        raise ImageError(
            name, f"high bit {high} of {stored} stored bits, expected {stored - 1}", "Export it again."
        )
    dataset.BitsStored = high + 1
    return high + 1 - stored


def _decoded_colours(dataset: Dataset, declared: str, name: str) -> str:
    """Return the colours in which Pillow decodes a baseline JPEG stream for pydicom.

    With Adobe's marker Pillow itself converts them to RGB. Without it the planes come as they are, and some
    files declare RGB over YCbCr.

    Raises:
        ImageError: declared as RGB, and neither the stream nor its pixels tell.
    """
    stream = _compressed_frame(dataset)
    transform = adobe_transform(stream)
    if transform is not None:
        return declared if transform == 0 else "RGB"
    if declared != "RGB":
        return declared
    is_ycbcr = has_subsampled_chroma(stream) or looks_like_ycbcr(stream)
    if is_ycbcr is None:
        raise ImageError(
            name, "declared as RGB, and its JPEG stream may hold YCbCr, expected a marker", "Export it again."
        )
    return "YBR_FULL" if is_ycbcr else "RGB"


def _palette_bits(dataset: Dataset) -> int:
    """Return the bits of the colours of a palette: 8 if entries of 16 bits hold values of 8."""
    from pydicom.pixels import apply_color_lut

    entries, first, _ = (int(value) for value in dataset.RedPaletteColorLookupTableDescriptor)
    indices = np.arange(entries or 1 << 16) + first
    colours = apply_color_lut(indices.astype(np.int32), dataset)
    return 8 if colours.max() < 1 << 8 else 8 * colours.itemsize


def _with_frame_values(dataset: Dataset, index: int) -> Dataset:
    """Replace the file's look-up tables by those that an enhanced file holds for all frames or for one."""
    for keyword, position in (
        ("SharedFunctionalGroupsSequence", 0),
        ("PerFrameFunctionalGroupsSequence", index),
    ):
        groups = dataset.get(keyword, ())
        for macro in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            if position < len(groups) and groups[position].get(macro):
                dataset.update(groups[position].get(macro)[0])
    return dataset
