"""The picture in a DICOM file, as 8-bit grey or RGB. Nothing else of the file is read, and no word of it is ever shown.

One file is one picture: of a multi-frame file the middle frame. Grey, in this order: modality LUT or rescale; the file's own VOI LUT,
else its first window, else from the frame's least to its greatest value, padding apart; MONOCHROME1 inverted. An enhanced file's
values for that frame come before the file's. Palettes are looked up, YBR becomes RGB.
Source: DICOM PS3.3, C.7.6.3 (image pixels), C.11.1 (modality LUT), C.11.2 (VOI LUT, windows).
"""

from __future__ import annotations

import logging
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pepr_edge.errors import DataError, ImageError
from pepr_edge.images.dicom_stream import BASELINE, DECODERS, check_decoder, encoded_size, undecoded

if TYPE_CHECKING:
    from pydicom import Dataset

SUFFIXES = frozenset({".dcm", ".dicom"})
PREAMBLE_BYTES, MAGIC = 128, b"DICM"
INSTALL = "pip install 'pepr_edge[dicom]'"
GREY, COLOUR = ("MONOCHROME1", "MONOCHROME2"), ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
# What is read of a file. Nobody's name is among them.
WANTED = (
    *(
        "SamplesPerPixel",
        "PhotometricInterpretation",
        "PlanarConfiguration",
        "NumberOfFrames",
        "Rows",
        "Columns",
        "BitsAllocated",
    ),
    *(
        "BitsStored",
        "HighBit",
        "PixelRepresentation",
        "PixelPaddingValue",
        "PixelPaddingRangeLimit",
        "RescaleSlope",
        "RescaleIntercept",
    ),
    *("ModalityLUTSequence", "VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction"),
    *(
        "SharedFunctionalGroupsSequence",
        "PerFrameFunctionalGroupsSequence",
        "ExtendedOffsetTable",
        "ExtendedOffsetTableLengths",
    ),
    *(
        f"{colour}PaletteColorLookupTable{part}"
        for colour in ("Red", "Green", "Blue")
        for part in ("Descriptor", "Data")
    ),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")),
    *PIXELS,
)
# A deflated file may hold a thousand times its size.
MOST_INFLATED_BYTES = 1 << 30
# Of whole numbers in a narrower range each value is worked out once, however many pixels have it.
_TABLE = 1 << 16


def decode(file: BinaryIO, *, shown_as: str, most_pixels: int) -> Image.Image:
    """The picture in a DICOM file.

    Args:
        file: open at its beginning.
        shown_as: its name in an error.
        most_pixels: of one frame.
    Returns:
        Of mode L or RGB.
    Raises:
        ImageError: there is none, or none that can be read.
        DataError: pydicom is not installed, or no decoder for the file's transfer syntax.
    """
    try:
        import pydicom  # noqa: F401
    except ImportError:
        raise DataError(
            f"{shown_as}: a DICOM file, and pydicom, which reads these, is not installed. Run {INSTALL}"
        ) from None
    with _quiet():
        try:
            dataset = _read(file, shown_as)
            _check(dataset, shown_as, most_pixels)
            return _picture(dataset, shown_as)
        except DataError:
            raise
        except Exception as fault:  # a broken file can make pydicom raise anything, and what it says may hold a patient's data
            raise ImageError(shown_as, f"the DICOM file is broken ({type(fault).__name__})") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the words of pydicom and its decoders, which quote from the file what they are about."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _read(file: BinaryIO, name: str) -> Dataset:
    """The elements that make up the picture; those without a value are left out."""
    from pydicom import dcmread
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    _check_inflated(file, name)
    dataset = dcmread(file, force=True, specific_tags=list(WANTED))
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    for element in list(dataset):
        if element.is_empty:
            del dataset[element.tag]
    return dataset


def _check_inflated(file: BinaryIO, name: str) -> None:
    """Refuse a deflated file that would fill the memory; leave others, and all at their beginning."""
    from pydicom.filereader import read_dataset
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    if file.read(PREAMBLE_BYTES + len(MAGIC)).endswith(MAGIC):
        meta = read_dataset(
            file,
            is_implicit_VR=False,
            is_little_endian=True,
            stop_when=lambda tag, vr, length: tag >> 16 != 2,
        )
        if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            inflater.decompress(file.read(), MOST_INFLATED_BYTES)
            if inflater.unconsumed_tail:
                raise ImageError(
                    name, f"inflates to more than {MOST_INFLATED_BYTES >> 20} MiB, expected a picture"
                )
    file.seek(0)


def _check(dataset: Dataset, name: str, most_pixels: int) -> None:
    if not any(keyword in dataset for keyword in PIXELS):
        raise ImageError(name, "a DICOM file without a picture, expected one with pixel data")
    width, height = int(dataset.Columns), int(dataset.Rows)
    syntax = dataset.file_meta.TransferSyntaxUID
    check_decoder(syntax, name)
    if width * height > most_pixels:
        raise ImageError(
            name,
            f"{width} x {height} pixels, expected at most {most_pixels:,}",
            "Make it smaller, or remove it.",
        )
    # Some decoders believe the stream, whatever they are asked for: they would fill the memory, or wait for a height of 0 for ever.
    if syntax in DECODERS and (claimed := encoded_size(_frame(dataset))) != (width, height):
        raise ImageError(
            name, f"its pixels claim to be {claimed[0]} x {claimed[1]}, expected {width} x {height}"
        )


def _frames(dataset: Dataset) -> int:
    return max(int(dataset.get("NumberOfFrames", 1)), 1)


def _frame(dataset: Dataset) -> bytes:
    """The compressed stream of the middle frame."""
    from pydicom.encaps import get_frame

    frames = _frames(dataset)
    extended = (
        (dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths)
        if "ExtendedOffsetTableLengths" in dataset
        else None
    )
    return get_frame(dataset.PixelData, frames // 2, number_of_frames=frames, extended_offsets=extended)


def _picture(dataset: Dataset, name: str) -> Image.Image:
    from pydicom.pixels import apply_color_lut, pixel_array

    index, kind = _frames(dataset) // 2, str(dataset.PhotometricInterpretation)
    if kind not in (*GREY, *COLOUR, "PALETTE COLOR"):
        raise ImageError(
            name,
            f"not of a known photometric interpretation, expected {', '.join((*GREY, *COLOUR))} or PALETTE COLOR",
        )
    try:
        # Pillow is everywhere: whatever else is installed, a picture is the same in training and in the field.
        plugin = "pillow" if dataset.file_meta.TransferSyntaxUID == BASELINE else ""
        pixels = pixel_array(dataset, index=index, decoding_plugin=plugin)
    except RuntimeError:
        raise undecoded(dataset.file_meta.TransferSyntaxUID, name) from None
    if pixels.ndim != (3 if kind in COLOUR else 2):
        raise ImageError(
            name, f"{kind} of {pixels.ndim} dimensions, expected one plane for grey and three for colour"
        )
    if kind in GREY:
        return Image.fromarray(_grey(pixels, _of_frame(dataset, index), inverted=kind == "MONOCHROME1"))
    if kind in COLOUR:
        return Image.fromarray(_eight_bit(pixels[..., :3], int(dataset.BitsStored)))
    colours = apply_color_lut(pixels, dataset)
    return Image.fromarray(_eight_bit(colours[..., :3], 8 * colours.itemsize))


def _of_frame(dataset: Dataset, index: int) -> Dataset:
    """The dataset with the look-up tables that an enhanced file holds for one frame, or for all, in the place of its own."""
    for keyword, position in (
        ("SharedFunctionalGroupsSequence", 0),
        ("PerFrameFunctionalGroupsSequence", index),
    ):
        groups = dataset.get(keyword, ())
        for macro in ("PixelValueTransformationSequence", "FrameVOILUTSequence"):
            if position < len(groups) and groups[position].get(macro):
                dataset.update(groups[position].get(macro)[0])
    return dataset


def _grey(pixels: NDArray[Any], dataset: Dataset, *, inverted: bool) -> NDArray[np.uint8]:
    least, greatest = pixels.min(), pixels.max()
    if pixels.dtype.kind in "iu" and int(greatest) - int(least) < _TABLE:
        places = (pixels - least).view(f"u{pixels.itemsize}")
        values = np.arange(int(least), int(greatest) + 1)
        present = np.zeros(len(values), np.bool_)
        present[places] = True
        return np.asarray(_levels(values, present, dataset, inverted=inverted)[places])
    return _levels(pixels, np.ones(pixels.shape, np.bool_), dataset, inverted=inverted)


def _levels(
    stored: NDArray[Any], present: NDArray[np.bool_], dataset: Dataset, *, inverted: bool
) -> NDArray[np.uint8]:
    """The grey level of each stored value, of which the picture has those that are `present`."""
    from pydicom.pixels import apply_modality_lut, apply_voi

    values = apply_modality_lut(stored, dataset)
    window = _window(dataset)
    if "VOILUTSequence" in dataset:
        share = apply_voi(values, dataset) / (2 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1)
    elif window is not None:
        share = _windowed(values, *window)
    else:
        inside = present & ~_padding(stored, dataset)
        shown = values[inside if inside.any() else present]
        share = (values - shown.min()) / max(shown.max() - shown.min(), np.finfo(np.float64).tiny)
    if not np.isfinite(share[present]).all():
        raise ValueError("not finite")
    levels = np.clip(share, 0, 1)
    return _rounded(1 - levels if inverted else levels)


def _padding(stored: NDArray[Any], dataset: Dataset) -> NDArray[np.bool_]:
    """Which stored values only fill the frame up around the picture."""
    first = dataset.get("PixelPaddingValue")
    if not isinstance(first, int):
        return np.zeros(stored.shape, np.bool_)
    low, high = sorted((first, int(dataset.get("PixelPaddingRangeLimit", first))))
    return (stored >= low) & (stored <= high)


def _window(dataset: Dataset) -> tuple[float, float, str] | None:
    """Centre, width and function of the first window; None where there is none that could be."""
    if "WindowCenter" not in dataset or "WindowWidth" not in dataset:
        return None
    centre, width = (
        float(np.atleast_1d(np.asarray(value, np.float64))[0])
        for value in (dataset.WindowCenter, dataset.WindowWidth)
    )
    function = str(dataset.get("VOILUTFunction", "LINEAR"))
    least = 1.0 if function == "LINEAR" else np.finfo(np.float64).tiny
    return (centre, width, function) if width >= least and np.isfinite(centre) else None


def _windowed(values: NDArray[Any], centre: float, width: float, function: str) -> NDArray[np.float64]:
    """Source: DICOM PS3.3, C.11.2.1.2 and C.11.2.1.3."""
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(-4 * (values - centre) / width)))
    if function == "LINEAR_EXACT":
        return np.asarray((values - centre) / width + 0.5)
    if width == 1:  # a threshold
        return np.asarray(values > centre - 0.5, np.float64)
    return np.asarray((values - (centre - 0.5)) / (width - 1) + 0.5)


def _eight_bit(colours: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    if bits == 8 and colours.dtype == np.uint8:
        return np.ascontiguousarray(colours)
    return _rounded(np.clip(colours / (2**bits - 1), 0, 1))


def _rounded(share: NDArray[Any]) -> NDArray[np.uint8]:
    levels: NDArray[np.uint8] = np.rint(255 * share).astype(np.uint8)
    return levels
