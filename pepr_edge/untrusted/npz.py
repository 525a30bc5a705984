"""Safe reading of arrays in .npz files.

They are checked before memory is allocated: no pickles, no bombs, no array twice.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pepr_edge.errors import PeprError
from pepr_edge.untrusted.files import content, open_regular
from pepr_edge.untrusted.shown import one_line, shown

Shape: TypeAlias = tuple[int, ...]
# Shape, True for Fortran order, type.
Header: TypeAlias = tuple[Shape, bool, np.dtype[Any]]

# More than any file of ours or of MedMNIST has.
MAX_MEMBERS = 64
# Images of a scanner take a fifth of their pixels, drawings a hundredth. Less than the minimum is harmless
# anyway.
MAX_RATIO = 100
MIN_UNPACKED_BYTES = 1 << 30
# Booleans, whole numbers and floats.
NUMBER_KINDS = "biuf"
# Those of numpy.savez and numpy.savez_compressed.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an .npz file.

    Raises:
        ValueError: not an .npz file, or an invalid one, also while it is read inside the context. The message
            is one line.
        OSError: it cannot be read.
    """
    try:
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            _check_members(archive.infolist(), os.fstat(file.fileno()).st_size)
            yield archive
    except (OSError, ValueError, PeprError):
        raise
    except Exception as error:  # For a damaged archive zipfile, zlib and struct raise errors of many classes.
        raise ValueError(one_line(error)) from None


def _check_members(infos: list[zipfile.ZipInfo], size_bytes: int) -> None:
    if len(infos) > MAX_MEMBERS:
        raise ValueError(f"{len(infos)} arrays, expected at most {MAX_MEMBERS}")
    if len({info.filename for info in infos}) < len(infos):
        raise ValueError("an array twice")
    for info in infos:
        is_encrypted = info.flag_bits & 1
        if is_encrypted or info.compress_type not in METHODS:
            raise ValueError("encrypted, or not compressed by numpy")
    check_unpacked(infos, size_bytes)


class DamagedArchiveError(ValueError):
    """The content of an archive was changed since it was written."""


def check_zip(path: Path, *, sums: bool = False) -> None:
    """Refuse a zip archive that unpacks to far more than its size. Any other regular file passes.

    Args:
        path: of the file.
        sums: also compare the content of an archive with its checksums, which reads all of it.
    Raises:
        OSError: it cannot be read, or is no regular file.
        ValueError: it does, or is a damaged archive. The message is one line.
    """
    with open_regular(path) as file:
        try:
            if not zipfile.is_zipfile(file):
                return
            file.seek(0)
            with zipfile.ZipFile(file) as archive:
                check_unpacked(archive.infolist(), os.fstat(file.fileno()).st_size)
                damaged = archive.testzip() if sums else None
            if damaged is not None:
                raise DamagedArchiveError(f"damaged: {shown(damaged)} in it is not what was written")
        except (OSError, ValueError):
            raise
        except Exception as error:  # as in `opened`
            raise ValueError(one_line(error)) from None


def check_unpacked(infos: Sequence[zipfile.ZipInfo], size_bytes: int) -> None:
    """Refuse an archive that unpacks to far more than its size.

    Args:
        infos: its members.
        size_bytes: of the file.
    Raises:
        ValueError: it does.
    """
    unpacked_bytes = sum(info.file_size for info in infos)
    if unpacked_bytes > max(MIN_UNPACKED_BYTES, MAX_RATIO * size_bytes):
        raise ValueError(
            f"{size_bytes / 1e6:.3g} MB that unpack to {unpacked_bytes / 1e6:.3g} MB, "
            f"expected at most {MAX_RATIO} times as much"
        )


@contextmanager
def member(archive: zipfile.ZipFile, name: str) -> Iterator[tuple[IO[bytes], Header]]:
    """Open one array: its stream after the header, and the header.

    Raises:
        KeyError: no array of that name.
        ValueError: it holds Python objects, or another number of bytes than its header says.
    """
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as stream:
        shape, fortran, dtype = _header(stream, name)
        if dtype.hasobject or dtype.names is not None or dtype.subdtype is not None:
            raise ValueError(f"{name} holds Python objects or records")
        data_bytes = info.file_size - stream.tell()
        if any(size < 0 for size in shape) or math.prod(shape) * dtype.itemsize != data_bytes:
            raise ValueError(f"{name} of shape {shape!s:.60} does not fill its {info.file_size} bytes")
        yield stream, (shape, fortran, dtype)


def read(archive: zipfile.ZipFile, name: str, shape: Shape, dtype: type[np.generic]) -> NDArray[Any]:
    """Return one array of known shape and type. Both are checked before memory is allocated.

    Raises:
        KeyError, ValueError: as `member`; or it has another shape or type.
    """
    with member(archive, name) as (stream, (actual_shape, fortran, actual_dtype)):
        if actual_shape != shape or actual_dtype != np.dtype(dtype):
            actual = f"{actual_dtype} of shape {actual_shape!s:.60}"
            raise ValueError(f"{name} is {actual}, expected {np.dtype(dtype)} of {shape}")
        return _values(stream, name, (shape, fortran, actual_dtype))


def arrays(path: Path, names: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
    """Return arrays of numbers of a file, by name; without names, all.

    Raises:
        KeyError: no array of such a name.
        OSError, ValueError: as `opened` and `member`; or an array of something else than numbers.
    """
    loaded = {}
    with opened(path) as archive:
        for name in names or [info.filename.removesuffix(".npy") for info in archive.infolist()]:
            with member(archive, name) as (stream, header):
                if header[2].kind not in NUMBER_KINDS:
                    raise ValueError(f"{name} is {header[2]}, expected numbers")
                loaded[name] = _values(stream, name, header)
    return loaded


def array(path: Path, limit_bytes: int) -> NDArray[Any]:
    """Return the array of numbers of an .npy file.

    Raises:
        OSError: it cannot be read, is not a regular file or larger than the limit.
        ValueError: it is none. The message is one line.
    """
    stream = io.BytesIO(content(path, limit_bytes))
    shape, fortran, dtype = _header(stream, path.name)
    data_bytes = len(stream.getbuffer()) - stream.tell()
    if dtype.kind not in NUMBER_KINDS or math.prod(shape) * dtype.itemsize != data_bytes:
        raise ValueError(f"{dtype!s:.60} of shape {shape!s:.60} in {data_bytes} bytes, expected numbers")
    return _values(stream, path.name, (shape, fortran, dtype))


def _values(stream: IO[bytes], name: str, header: Header) -> NDArray[Any]:
    """Return the values after a header that was checked."""
    shape, fortran, dtype = header
    count = math.prod(shape)
    values = np.frombuffer(stream.read(count * dtype.itemsize), dtype)
    if len(values) != count:
        raise ValueError(f"{name} ends too early")
    # A copy, in C order, because an array over a buffer is read-only.
    return np.array(values.reshape(shape, order="F" if fortran else "C"), order="C")


def _header(stream: IO[bytes], name: str) -> Header:
    try:
        version = np.lib.format.read_magic(stream)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        else:
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    except zipfile.BadZipFile:
        raise
    except (
        Exception
    ) as error:  # numpy uses Python's own parser, in which a broken header may raise any error.
        raise ValueError(f"{name} has no readable header ({type(error).__name__})") from None
    return tuple(int(size) for size in shape), bool(fortran), dtype
