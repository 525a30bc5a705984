"""Weights files and recipes that somebody has spoiled, for `weights import` and `weights fetch`."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from hostile_check import HOLES, PLACES, Row, Run, Spoil, try_row, write
from made_records import RECIPE

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
NAME = "test_efficientnet"
GIB = 1 << 30


@cache
def state() -> dict[str, torch.Tensor]:
    return dict(timm.create_model(NAME).state_dict())


def saved(document: Any, **options: Any) -> bytes:
    out = io.BytesIO()
    torch.save(document, out, **options)
    return out.getvalue()


def changed(change: Callable[[dict[str, Any]], object]) -> Callable[[], bytes]:
    """Return what saves the tensors of the architecture after a change."""

    def make() -> bytes:
        document: dict[str, Any] = dict(state())
        replaced = change(document)
        return saved(document if replaced is None else replaced)

    return make


def put(name: str, value: Any) -> Callable[[], bytes]:
    return changed(lambda document: document.update({name: value}))


def stem(of: Callable[[], Any]) -> Callable[[], bytes]:
    """Return what saves them with another tensor for the first layer, which is made when it is wanted."""
    return changed(lambda document: document.update({"conv_stem.weight": of()}))


def each(of: Callable[[torch.Tensor], Any]) -> Callable[[], bytes]:
    return changed(lambda document: document.update({name: of(value) for name, value in document.items()}))


def header(document: object, data: bytes = b"", size: int | None = None) -> Callable[[], bytes]:
    """Return what makes a safetensors file of this header, whatever it says."""
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return lambda: struct.pack("<Q", len(text) if size is None else size) + text + data


def tensor(shape: list[int], end: int, kind: str = "F32") -> dict[str, object]:
    return {"a": {"dtype": kind, "shape": shape, "data_offsets": [0, end]}}


def bomb() -> bytes:
    """Return a weights file of 3 MB with a tensor of four numbers, whose bytes unpack to 3 GiB of zeros."""
    whole = zipfile.ZipFile(io.BytesIO(saved({"a": torch.zeros(4)})))
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    packed = block * 3072 + packer.flush()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in whole.namelist():
            if not name.endswith("data/0"):
                archive.writestr(name, whole.read(name))
        big = zipfile.ZipInfo(next(name for name in whole.namelist() if name.endswith("data/0")))
        archive.writestr(big, packed)
    content = out.getvalue()
    # It is stored: say in both of its headers that it is deflated, and of 3 GiB.
    sizes = struct.pack("<II", len(packed), len(packed))
    parts = content.split(sizes)
    assert len(parts) == 3
    deflated = [part[:-10] + struct.pack("<H", zipfile.ZIP_DEFLATED) + part[-8:] for part in parts[:2]]
    return struct.pack("<II", len(packed), 3 * GIB).join([*deflated, parts[2]])


def members(count: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for number in range(count):
            archive.writestr(f"archive/data/{number}", b"")
    return out.getvalue()


class Runs:
    """What runs a command where it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch run-by-a-pickle",)


def circle() -> bytes:
    document: dict[str, Any] = {}
    document["state_dict"] = document
    return saved(document)


def nested(levels: int) -> bytes:
    document: dict[str, Any] = dict(state())
    for _ in range(levels):
        document = {"state_dict": document}
    return saved(document)


def torchscript() -> bytes:
    out = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), out)
    return out.getvalue()


FILES: dict[str, tuple[Callable[[], bytes], str]] = {
    "a pickle that runs a command": (lambda: pickle.dumps(Runs()), ""),
    "a state dict that runs a command": (put("x", Runs()), "would run code"),
    "a whole module": (lambda: saved(torch.nn.Linear(2, 2)), "would run code"),
    "a list": (lambda: saved([1, 2]), "no state dict"),
    "a number": (lambda: saved(10**400), ""),
    "a text of a megabyte": (lambda: saved("x" * 1_000_000), "no state dict"),
    "an empty state dict": (lambda: saved({}), "no state dict"),
    "names that are numbers": (lambda: saved({1: torch.zeros(1)}), "no state dict"),
    "more numbers than tensors": (lambda: saved({str(n): n for n in range(100)}), "no state dict"),
    "numbers of 400 digits": (lambda: saved({str(n): 10**400 for n in range(9)}), ""),
    "itself in itself": (circle, "no state dict"),
    "state dicts 50 deep": (lambda: nested(50), "no state dict"),
    "a name of a megabyte": (put("n" * 1_000_000, torch.zeros(1)), ""),
    "a name with an escape sequence": (put("\x1b[2J", torch.zeros(1)), ""),
    "a name with a mark of direction": (put("a\u202eb", torch.zeros(1)), ""),
    "a name of two lines": (put("a\nb", torch.zeros(1)), ""),
    "a block of 5,000 digits": (
        changed(
            lambda document: (
                {f"blocks.{'9' * 5000}.x": torch.zeros(1)}
                | {name: value for name, value in document.items() if not name.startswith("blocks.3")}
            )
        ),
        "",
    ),
    "3,000 names": (lambda: saved({f"n{n}": torch.zeros(1) for n in range(3000)}), "another architecture"),
    "a tensor without dimensions": (stem(lambda: torch.zeros(())), ""),
    "a tensor of 40 dimensions": (stem(lambda: torch.zeros([1] * 40)), ""),
    "a tensor of no numbers": (stem(lambda: torch.zeros(0, 3)), ""),
    "one number expanded to 10^12": (stem(lambda: torch.zeros(1).expand(10**12)), ""),
    "every tensor expanded to 10^12": (each(lambda value: torch.zeros(1).expand(10**6, 10**6)), ""),
    "a sparse tensor": (stem(lambda: torch.eye(4).to_sparse()), ""),
    "a compressed tensor": (stem(lambda: torch.eye(4).to_sparse_csr()), ""),
    "a quantised tensor": (
        stem(lambda: torch.quantize_per_tensor(torch.zeros(4), 0.1, 0, torch.qint8)),
        "",
    ),
    "a complex tensor": (stem(lambda: torch.zeros(4, dtype=torch.complex64)), "complex"),
    "a tensor that is nowhere": (stem(lambda: torch.zeros(4, device="meta")), ""),
    "tensors of texts": (each(lambda value: "x"), "no state dict"),
    "NaN everywhere": (each(lambda value: value * float("nan")), "finite"),
    "infinity in one number": (
        stem(lambda: torch.full_like(state()["conv_stem.weight"], float("inf"))),
        "finite",
    ),
    "numbers beyond float32": (
        stem(lambda: torch.full_like(state()["conv_stem.weight"], 1e300, dtype=torch.float64)),
        "finite",
    ),
    "a TorchScript program": (torchscript, "TorchScript"),
    "cut in two": (lambda: saved(dict(state()))[:-100_000], "cut short"),
    "a changed byte in each hundred": (
        lambda: bytes(byte ^ 1 if not at % 100 else byte for at, byte in enumerate(saved(dict(state())))),
        "",
    ),
    "an archive of nothing": (lambda: members(0), ""),
    "an archive of 3,000 members": (lambda: members(3000), ""),
    "3 GiB of zeros in 3 MB": (bomb, "unpack"),
    "a pickle of the first kind": (lambda: pickle.dumps({"a": 1}, protocol=0), ""),
    "brackets 100,000 deep": (lambda: b"\x80\x02" + b"(" * 100_000, ""),
    "a number of 2^31 bytes": (lambda: b"\x80\x02\x8b\xff\xff\xff\x7f", ""),
    "HDF5": (lambda: b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
    "a web page": (lambda: b"<!DOCTYPE html><html></html>", "web page"),
    "a pointer of Git LFS": (lambda: b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
    "a NumPy array": (lambda: b"\x93NUMPY\x01\x00", "NumPy"),
    "safetensors, a header of 2^47 bytes": (header(b"{}", size=2**47), ""),
    "safetensors, a header of 200 MB announced": (header(b"{}", size=200_000_000), "too large"),
    "safetensors, no header": (header(b"{"), ""),
    "safetensors, a list": (header([]), ""),
    "safetensors, 20,000 lists": (header(b"{" + b'"a":' + b"[" * 20_000), ""),
    "safetensors, a shape of 2^62": (header(tensor([2**31, 2**31], 4), bytes(4)), ""),
    "safetensors, a shape of 400 digits": (header(tensor([10**400], 4), bytes(4)), ""),
    "safetensors, a negative shape": (header(tensor([-1], 4), bytes(4)), ""),
    "safetensors, a type of nobody": (header(tensor([1], 4, "X9"), bytes(4)), ""),
    "safetensors, bytes behind the end": (header(tensor([1], 4), b""), "cut short"),
    "safetensors, bytes too many": (header(tensor([1], 4), bytes(400)), ""),
    "safetensors, NaN for a place": (header(b'{"a": {"dtype": "F32", "shape": [NaN]}}'), ""),
    "safetensors, the same bytes twice": (header(tensor([1], 4) | {"b": tensor([1], 4)["a"]}, bytes(4)), ""),
    "safetensors, a name of 60,000 letters": (header({"n" * 60_000: tensor([1], 4)["a"]}, bytes(4)), ""),
    "safetensors, an escape sequence": (header({"\x1b[2J": tensor([1], 4)["a"]}, bytes(4)), ""),
    "safetensors, no tensor": (header({}), "no state dict"),
    "safetensors, notes that are numbers": (header({"__metadata__": {"a": 1}}), ""),
    "safetensors, numbers of 8 bits": (header(tensor([4], 4, "F8_E4M3"), bytes(4)), ""),
}
IMPORT = ("weights", "import", "{here}/w.pth", "--architecture", NAME, "--out", "{here}/out.safetensors")


def lazily(make: Callable[[], bytes]) -> Spoil:
    """Return what makes a file when its row is tried, without PyTorch's notes on what is new or old."""

    def put_there(path: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path.write_bytes(make())

    return put_there


ROWS: dict[str, Row] = {
    **{name: Row(IMPORT, 1, word, "w.pth", lazily(make)) for name, (make, word) in FILES.items()},
    **{
        f"in its place, {name}": Row(IMPORT, 1, "w.pth", "w.pth", place)
        for name, place in PLACES.items()
        if name != HOLES
    },
}


@pytest.mark.parametrize("name", ROWS)
def test_a_file_that_holds_no_weights(
    name: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    try_row(ROWS[name], tmp_path, run)
    assert {path.name for path in tmp_path.iterdir()} <= {"w.pth"}


NAMES = (
    "",
    "../../x",
    "/etc/passwd",
    "hf-hub:x/y",
    "local-dir:/tmp",
    "resnet18.\x1b[2J",
    "a\u202eb",
    "x" * 100_000,
    "resnet18\n",
    "*",
    "--help",
)


@pytest.mark.parametrize("name", NAMES)
def test_an_architecture_of_nobody(name: str, tmp_path: Path, run: Run) -> None:
    (tmp_path / "w.pth").write_bytes(safetensors.torch.save({"a": torch.zeros(1)}))
    words = tuple(word if word != NAME else name for word in IMPORT)
    try_row(Row(words, 1, "architecture"), tmp_path, run)
    assert [path.name for path in tmp_path.iterdir()] == ["w.pth"]


OUTS: dict[str, tuple[str, str, Spoil]] = {
    "a file of others": ("out.safetensors", "out.safetensors", write(b"mine")),
    "another suffix": ("out.pth", "expected a name", lambda path: None),
    "no folder": ("none/out.safetensors", "no folder", lambda path: None),
    "itself": ("w.pth", "expected a name", lambda path: None),
}


@pytest.mark.parametrize("name", OUTS)
def test_an_output_that_cannot_be(name: str, tmp_path: Path, run: Run) -> None:
    out, word, spoil = OUTS[name]
    (tmp_path / "w.pth").write_bytes(saved(dict(state())))
    before = (tmp_path / "w.pth").read_bytes()
    words = (*IMPORT[:-1], f"{{here}}/{out}")
    try_row(Row(words, 1, word, out if out != "w.pth" else "none", spoil), tmp_path, run)
    assert (tmp_path / "w.pth").read_bytes() == before
    if name == "a file of others":
        assert (tmp_path / out).read_bytes() == b"mine"


FETCH = ("weights", "fetch", "{here}/r.toml", "--out", "{here}/out")
GOOD = RECIPE.replace('"small", "middle", "large"', f'"{NAME}"')
FETCHES: dict[str, Row] = {
    "a recipe that is a pipe": Row(FETCH, 1, "r.toml", "r.toml", PLACES["a pipe"]),
    "no recipe": Row(FETCH, 1, "r.toml"),
    "an unknown architecture": Row(FETCH, 1, "small", "r.toml", write(RECIPE.encode())),
    "an architecture that leads out": Row(
        FETCH, 1, "plain name", "r.toml", write(GOOD.replace(NAME, "../x").encode())
    ),
    "a file of others at its name": Row(
        FETCH,
        1,
        "no earlier output",
        f"out/{NAME}.safetensors",
        lambda path: (write(b"mine")(path), write(GOOD.encode())(path.parents[1] / "r.toml")),
    ),
}


@pytest.mark.parametrize("name", FETCHES)
def test_a_fetch_that_cannot_be(name: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    row = FETCHES[name]
    try_row(row, tmp_path, run)
    mine = tmp_path / "out" / f"{NAME}.safetensors"
    assert not mine.exists() or mine.read_bytes() == b"mine"
