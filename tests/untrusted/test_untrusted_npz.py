from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pepr_edge.untrusted import npz

VALUES = np.arange(6, dtype=np.uint8).reshape(2, 3)


def saved(path: Path, *, fortran: bool = False) -> Path:
    np.savez(path, values=np.asfortranarray(VALUES) if fortran else VALUES)
    return path


def packed(path: Path, *members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def array(shape: str, rest: bytes = b"", dtype: str = "|u1") -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header + b"\n" + rest


def read(path: Path, shape: tuple[int, ...] = (2, 3)) -> object:
    with npz.opened(path) as archive:
        return npz.read(archive, "values", shape, np.uint8)


@pytest.mark.parametrize("fortran", [False, True])
def test_an_array_is_read(fortran: bool, tmp_path: Path) -> None:
    values = read(saved(tmp_path / "a.npz", fortran=fortran))
    assert isinstance(values, np.ndarray)
    np.testing.assert_array_equal(values, VALUES)
    assert values.flags.writeable
    assert values.flags.c_contiguous


def bomb() -> bytes:
    return array("(100000000,)", bytes(1000))


@pytest.mark.parametrize(
    ("make", "keyword"),
    [
        (lambda path: packed(path, ("values.npy", bomb())), "does not fill"),
        (lambda path: packed(path, ("values.npy", array("(2, 4)", bytes(8)))), r"shape \(2, 4\), expected"),
        (lambda path: packed(path, ("values.npy", array("(-2, -3)", bytes(6)))), "does not fill"),
        (lambda path: packed(path, ("values.npy", array("(2, 3)", bytes(48), "<f8"))), "float64"),
        (lambda path: packed(path, ("values.npy", array("(2, 3)", bytes(48), "|O"))), "Python objects"),
        (lambda path: packed(path, ("values.npy", b"(" * 9000)), "no readable header"),
        (lambda path: packed(path, ("values.npy", array("(" * 200))), "no readable header"),
        (
            lambda path: packed(path, ("values.npy", array("(2, 3)", bytes(6))), method=zipfile.ZIP_LZMA),
            "not compressed by numpy",
        ),
        (lambda path: packed(path, *((f"{n}.npy", b"") for n in range(100))), "100 arrays"),
        (lambda path: path.write_bytes(b"PK\x05\x06" + bytes(17)), "zip"),
    ],
)
def test_an_invalid_array_is_refused_before_memory_is_allocated(
    make: Callable[[Path], object], keyword: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.npz"
    make(path)
    with pytest.raises(ValueError, match=keyword) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_an_archive_that_unpacks_to_far_more_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(tmp_path / "a.npz", ("values.npy", array("(4194304,)", bytes(4 << 20))))
    monkeypatch.setattr(npz, "MIN_UNPACKED_BYTES", 1 << 20)
    with pytest.raises(ValueError, match=r"unpack to 4\.19 MB, expected at most 100 times"):
        read(path, (4 << 20,))
    monkeypatch.setattr(npz, "MAX_RATIO", 2000)
    assert read(path, (4 << 20,)) is not None


def test_all_arrays_of_numbers_are_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", values=VALUES, more=np.array([1.5, 2.5]))
    loaded = npz.arrays(tmp_path / "a.npz")
    np.testing.assert_array_equal(loaded["values"], VALUES)
    assert loaded["more"].tolist() == [1.5, 2.5]
    assert list(npz.arrays(tmp_path / "a.npz", ["more"])) == ["more"]
    np.savez(tmp_path / "b.npz", values=np.array(["text"]))
    with pytest.raises(ValueError, match="expected numbers"):
        npz.arrays(tmp_path / "b.npz")


def test_an_array_in_a_file_of_its_own(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VALUES)
    np.testing.assert_array_equal(npz.array(tmp_path / "a.npy", 1 << 20), VALUES)
    whole = (tmp_path / "a.npy").read_bytes()
    for content in (b"", b"no array", whole[:-1], whole + b"1", array("(2, 3)", bytes(48), "|O")):
        (tmp_path / "b.npy").write_bytes(content)
        with pytest.raises(ValueError):
            npz.array(tmp_path / "b.npy", 1 << 20)
    with pytest.raises(OSError, match="larger than"):
        npz.array(tmp_path / "a.npy", 10)


def test_an_array_twice_is_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        packed(
            tmp_path / "a.npz",
            ("values.npy", array("(2, 3)", bytes(6))),
            ("values.npy", array("(2, 3)", bytes(6))),
        )
    with pytest.raises(ValueError, match="an array twice"):
        read(tmp_path / "a.npz")


def test_pickles_are_not_loaded(tmp_path: Path) -> None:
    content = io.BytesIO()
    np.save(content, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="Python objects"):
        read(packed(tmp_path / "a.npz", ("values.npy", content.getvalue())))


def test_an_incomplete_file_is_one_line(tmp_path: Path) -> None:
    whole = saved(tmp_path / "a.npz").read_bytes()
    for at in range(0, len(whole), 7):
        (tmp_path / "b.npz").write_bytes(whole[:at])
        with pytest.raises((ValueError, KeyError)):
            read(tmp_path / "b.npz")
