"""Write DICOM files of a patient whose name and number must not be shown anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pepr_edge.images.preprocess import decode

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
    """Write a DICOM file.

    Args:
        path: of the file.
        pixels: shape ([frames,] rows, columns[, 3]).
        preamble: False writes a file as old scanners do, without preamble and meta information.
        syntax: UID of the transfer syntax.
        elements: more elements by keyword; an element with the value None is left out.
    """
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, SecondaryCaptureImageStorage, generate_uid

    colour = pixels.shape[-1] == 3
    rows, columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    frames = pixels.shape[0] if pixels.ndim == (4 if colour else 3) else None
    bits = 8 * pixels.itemsize
    values = {
        **PATIENT,
        "SOPClassUID": SecondaryCaptureImageStorage,
        "SOPInstanceUID": generate_uid(entropy_srcs=[path.name]),
        "Rows": rows,
        "Columns": columns,
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
    dataset = Dataset()
    for keyword, value in values.items():
        if value is not None:
            setattr(dataset, keyword, value)
    if "PixelData" in dataset:
        as_bytes = bits == 8 or isinstance(elements.get("PixelData"), bytes)
        dataset["PixelData"].VR = "OB" if as_bytes else "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=preamble, little_endian=True, implicit_vr=False)
    if not preamble:
        path.write_bytes(_without_preamble(path))
    return path


def _without_preamble(path: Path) -> bytes:
    from pydicom import dcmread
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    dataset = dcmread(path, force=True)
    stream = DicomBytesIO()
    stream.is_little_endian = True
    stream.is_implicit_VR = False
    write_dataset(stream, dataset)
    return stream.getvalue()


def items(**elements: Any) -> list[Any]:
    """Return a sequence with one item."""
    from pydicom import Dataset

    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return [item]


def ramp(low: int = 0, high: int = 255, kind: str = "u2", shape: tuple[int, int] = (8, 8)) -> NDArray[Any]:
    """Return pixels from `low` to `high` in equal steps."""
    return np.linspace(low, high, shape[0] * shape[1]).round().astype(kind).reshape(shape)


def grey(path: Path) -> NDArray[np.uint8]:
    """Return the levels of a file that is decoded as a grey picture."""
    image = decode(path)
    assert image.mode == "L"
    return np.asarray(image)


def scaled(values: NDArray[Any], low: float, high: float) -> NDArray[np.float64]:
    """Return values scaled so that `low` becomes 0 and `high` 255."""
    return np.clip((values.astype(float) - low) / (high - low), 0, 1) * 255
