"""The 8-bit levels of the stored values of a DICOM frame: grey by its tables or window, colour scaled.

Grey values go through these steps in this order: modality LUT or rescale; the file's VOI LUT, else its first
window, else the range of the frame's values without padding and a few outliers; MONOCHROME1 is inverted.
Source: DICOM PS3.3, C.11.1 (modality LUT), C.11.2 (VOI LUT, windows).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pydicom import Dataset

# Integers in a narrower range go through a table with one entry per value instead of one computation per
# pixel.
TABLE_SIZE = 1 << 16
# Share of pixels at each end that may be outliers, and how many times as wide as the others' range they must
# make the range.
MAX_OUTLIERS = 0.001
FAR = 2


class ZeroSlopeError(Exception):
    """A rescale slope of 0."""


class Window(NamedTuple):
    """A window: the stored values around `centre` that are shown from black to white."""

    centre: float
    width: float
    function: str


def grey_levels(pixels: NDArray[Any], dataset: Dataset, *, inverted: bool) -> NDArray[np.uint8]:
    """Return the grey levels of a frame; by a table of levels if its integers span a small range."""
    low = pixels.min()
    high = pixels.max()
    if pixels.dtype.kind not in "iu" or int(high) - int(low) >= TABLE_SIZE:
        return _levels(pixels, np.ones(pixels.shape, np.int64), dataset, inverted=inverted)
    indices = (pixels - low).view(f"u{pixels.itemsize}")
    values = np.arange(int(low), int(high) + 1)
    counts = np.bincount(indices.ravel(), minlength=len(values))
    return np.asarray(_levels(values, counts, dataset, inverted=inverted)[indices])


def _levels(
    stored: NDArray[Any], counts: NDArray[np.int64], dataset: Dataset, *, inverted: bool
) -> NDArray[np.uint8]:
    """Return the grey level of each stored value; `counts` has the pixels of each value in the picture."""
    from pydicom.pixels import apply_modality_lut, apply_voi

    if "ModalityLUTSequence" not in dataset and dataset.get("RescaleSlope") == 0:
        raise ZeroSlopeError
    values = apply_modality_lut(stored, dataset)
    present = counts > 0
    window = _window(dataset)
    if "VOILUTSequence" in dataset:
        share = apply_voi(values, dataset) / (2 ** int(dataset.VOILUTSequence[0].LUTDescriptor[2]) - 1)
    elif window is not None:
        share = _windowed(values, window)
    else:
        inside = present & ~_is_padding(stored, dataset)
        shown = inside if inside.any() else present
        low, high = _range(values[shown], counts[shown])
        share = (values - low) / max(high - low, np.finfo(np.float64).tiny)
    if not np.isfinite(share[present]).all():
        raise ValueError("not finite")
    share = np.clip(share, 0, 1)
    return _rounded(1 - share if inverted else share)


def _range(values: NDArray[Any], counts: NDArray[np.int64]) -> tuple[float, float]:
    """Return the lowest and the highest value of a picture, without a few pixels far from all others.

    A burnt-in letter or a defect of the detector would take the contrast from the rest.
    """
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(counts[order]) / counts.sum()
    low = float(values.min())
    high = float(values.max())
    first, last = np.searchsorted(cumulative, (MAX_OUTLIERS, 1 - MAX_OUTLIERS))
    most_low = float(values[order[first]])
    most_high = float(values[order[min(int(last), len(order) - 1)]])
    is_far = high - low > FAR * (most_high - most_low) > 0
    return (most_low, most_high) if is_far else (low, high)


def _is_padding(stored: NDArray[Any], dataset: Dataset) -> NDArray[np.bool_]:
    """Return True for each stored value that pads the frame around the picture."""
    first = dataset.get("PixelPaddingValue")
    if not isinstance(first, int):
        return np.zeros(stored.shape, np.bool_)
    low, high = sorted((first, int(dataset.get("PixelPaddingRangeLimit", first))))
    return (stored >= low) & (stored <= high)


def _window(dataset: Dataset) -> Window | None:
    """Return the first window; None if there is none or it is invalid."""
    if "WindowCenter" not in dataset or "WindowWidth" not in dataset:
        return None
    centre = _first(dataset.WindowCenter)
    width = _first(dataset.WindowWidth)
    function = str(dataset.get("VOILUTFunction", "LINEAR"))
    min_width = 1.0 if function == "LINEAR" else np.finfo(np.float64).tiny
    is_valid = width >= min_width and np.isfinite(centre)
    return Window(centre, width, function) if is_valid else None


def _first(value: Any) -> float:
    """Return the first of the numbers in an element."""
    return float(np.atleast_1d(np.asarray(value, np.float64))[0])


def _windowed(values: NDArray[Any], window: Window) -> NDArray[np.float64]:
    """Return values through a window, 0 black to 1 white. Source: DICOM PS3.3, C.11.2.1.2 and C.11.2.1.3."""
    centre, width, function = window
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(-4 * (values - centre) / width)))
    if function == "LINEAR_EXACT":
        return np.asarray((values - centre) / width + 0.5)
    if width == 1:  # a threshold
        return np.asarray(values > centre - 0.5, np.float64)
    return np.asarray((values - (centre - 0.5)) / (width - 1) + 0.5)


def eight_bit(colours: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Return colours of this number of bits in 8 bits."""
    if bits == 8 and colours.dtype == np.uint8:
        return np.ascontiguousarray(colours)
    return _rounded(np.clip(colours / (2**bits - 1), 0, 1))


def _rounded(share: NDArray[Any]) -> NDArray[np.uint8]:
    levels: NDArray[np.uint8] = np.rint(255 * share).astype(np.uint8)
    return levels
