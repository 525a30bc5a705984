"""DICOM files made for tests, of a patient whose name and number must not show up anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PATIENT = {
    "PatientName": "Planted^Patient",
    "PatientID": "planted-4711",
    "InstitutionName": "Planted Hospital",
}


def write(
    path: Path,
    pixels: NDArray[Any],
    *,
    preamble: bool = True,
    syntax: str = "1.2.840.10008.1.2.1",
    **elements: Any,
) -> Path:
    """Write a file of these pixels, (frames,) rows, columns(, 3), with more elements by keyword; of a value of None none is written."""
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, SecondaryCaptureImageStorage, generate_uid

    colour = pixels.shape[-1] == 3
    frames = pixels.shape[0] if pixels.ndim == (4 if colour else 3) else None
    made = Dataset()
    bits = 8 * pixels.itemsize
    values = {
        **PATIENT,
        "SOPClassUID": SecondaryCaptureImageStorage,
        "SOPInstanceUID": generate_uid(entropy_srcs=[path.name]),
        "Rows": pixels.shape[-3 if colour else -2],
        "Columns": pixels.shape[-2 if colour else -1],
        "NumberOfFrames": frames,
        "SamplesPerPixel": 3 if colour else 1,
        "PlanarConfiguration": 0 if colour else None,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": elements.get("BitsStored", bits) - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "PixelData": pixels.tobytes() + b"\0" * (pixels.nbytes % 2),
        **elements,
    }
    for keyword, value in values.items():
        if value is not None:
            setattr(made, keyword, value)
    if "PixelData" in made:
        made["PixelData"].VR = "OB" if bits == 8 or isinstance(elements.get("PixelData"), bytes) else "OW"
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = UID(syntax)
    path.parent.mkdir(parents=True, exist_ok=True)
    made.save_as(path, enforce_file_format=preamble, little_endian=True, implicit_vr=False)
    if not preamble:
        path.write_bytes(_dataset_alone(path))
    return path


def _dataset_alone(path: Path) -> bytes:
    """A file as old scanners write it: no preamble, no meta information."""
    from pydicom import dcmread
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    dataset = dcmread(path, force=True)
    stream = DicomBytesIO()
    stream.is_little_endian, stream.is_implicit_VR = True, False
    write_dataset(stream, dataset)
    return stream.getvalue()


def items(**elements: Any) -> list[Any]:
    """A sequence of one item."""
    from pydicom import Dataset

    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return [item]


def ramp(low: int = 0, high: int = 255, kind: str = "u2", shape: tuple[int, int] = (8, 8)) -> NDArray[Any]:
    """Pixels from `low` to `high` in equal steps."""
    return np.linspace(low, high, shape[0] * shape[1]).round().astype(kind).reshape(shape)
