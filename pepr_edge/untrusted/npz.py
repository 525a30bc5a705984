"""Arrays in an .npz file, looked at before memory is given to them: no pickles, no bombs, no array twice."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pepr_edge.errors import PeprError

Shape: TypeAlias = tuple[int, ...]
Header: TypeAlias = tuple[Shape, bool, np.dtype[Any]]

# More than any of ours, or of MedMNIST's, has.
MEMBERS = 64
# What numpy.savez and numpy.savez_compressed write.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """An .npz file.

    Raises:
        ValueError: it is none, or what is read from it inside is not as it should be; what it says is one line.
        OSError: it cannot be read.
    """
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:
            infos = archive.infolist()
            if len(infos) > MEMBERS:
                raise ValueError(f"{len(infos)} arrays, expected at most {MEMBERS}")
            if len({info.filename for info in infos}) < len(infos):
                raise ValueError("an array twice")
            if any(info.compress_type not in METHODS or info.flag_bits & 1 for info in infos):
                raise ValueError("encrypted, or compressed otherwise than by numpy")
            yield archive
    except (OSError, ValueError, PeprError):
        raise
    except Exception as fault:  # torn archives make zipfile, zlib and struct raise what they like
        raise ValueError(" ".join(str(fault).split()) or type(fault).__name__) from None


@contextmanager
def member(archive: zipfile.ZipFile, name: str) -> Iterator[tuple[IO[bytes], Header]]:
    """The stream of one array behind its header; shape, whether it is in Fortran order, and type.

    Raises:
        KeyError: there is none of that name.
        ValueError: it holds Python objects, or not as many bytes as its header says.
    """
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as stream:
        shape, fortran, dtype = _header(stream, name)
        if dtype.hasobject or dtype.names is not None or dtype.subdtype is not None:
            raise ValueError(f"{name} holds Python objects or records")
        if (
            any(size < 0 for size in shape)
            or math.prod(shape) * dtype.itemsize != info.file_size - stream.tell()
        ):
            raise ValueError(f"{name} of shape {shape!s:.60} does not fill its {info.file_size} bytes")
        yield stream, (shape, fortran, dtype)


def read(archive: zipfile.ZipFile, name: str, shape: Shape, dtype: type[np.generic]) -> NDArray[Any]:
    """One array, of which shape and type are known; no memory is taken before both are found as expected.

    Raises:
        KeyError, ValueError: see `member`; another shape or type.
    """
    with member(archive, name) as (stream, (found, fortran, kind)):
        if found != shape or kind != np.dtype(dtype):
            raise ValueError(
                f"{name} is {kind} of shape {found!s:.60}, expected {np.dtype(dtype)} of {shape}"
            )
        count = math.prod(shape)
        values = np.frombuffer(stream.read(count * kind.itemsize), kind)
        if len(values) != count:
            raise ValueError(f"{name} ends too early")
        # A copy, in C order: what a buffer holds cannot be written to.
        return np.array(values.reshape(shape, order="F" if fortran else "C"), order="C")


def _header(stream: IO[bytes], name: str) -> Header:
    try:
        version = np.lib.format.read_magic(stream)
        parse = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = parse(stream)
    except zipfile.BadZipFile:
        raise
    except (
        Exception
    ) as fault:  # numpy has Python's own parser read it, which a broken header can make raise anything
        raise ValueError(f"{name} has no header that can be read ({type(fault).__name__})") from None
    return tuple(int(size) for size in shape), bool(fortran), dtype
