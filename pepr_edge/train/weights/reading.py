"""Read the tensors of a weights file, whatever it is wrapped in, without running code that it may hold."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from pepr_edge.errors import ModelError
from pepr_edge.untrusted.files import open_regular
from pepr_edge.untrusted.npz import DamagedArchiveError, check_zip
from pepr_edge.untrusted.paths import exists, is_file
from pepr_edge.untrusted.shown import first_line, shown

StateDict = dict[str, torch.Tensor]

# Keys under which training scripts keep the tensors, the usual ones first.
WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "module",
    "net",
    "network",
    "params",
    "weights",
    "shadow",
)
# Parts of the names of an average over the training: an exponential moving average, or torch's AveragedModel.
OF_AVERAGES = {"ema", "swa"}
AVERAGED = ("state_dict_ema", "model_ema")  # such names
MAX_NESTED = 4
NAMESPACE = "argparse.Namespace"
MAX_NAMED = 3
# PyTorch's words for whatever it cannot read, which go on with advice to run the file's code.
OF_NO_FORMAT = "Weights only load failed"
# What safetensors says of a header or of tensors that go on behind the end of the file.
CUT_SAFETENSORS = ("incomplete metadata", "invalid header length", "header too small")
# torch.save writes a zip archive, whose table of contents is at its end.
ZIP_START = b"PK\x03\x04"
# Marks of files that people take for weights.
MAGIC = {
    b"\x89HDF": "an HDF5 file, as Keras writes it",
    b"\x93NUM": "a NumPy array",
    b"<!DO": "a web page",
    b"<htm": "a web page",
    b"vers": "a pointer of Git LFS (run `git lfs pull`)",
}


@dataclass(frozen=True)
class WeightsFile:
    """The tensors of a file by their names there.

    `ordered`: the order of the tensors is that of the layers; safetensors keeps none. `averaged`: the file
    holds averaged weights too.
    """

    tensors: StateDict
    ordered: bool
    averaged: bool


def read_weights(path: Path, averaged: bool = False) -> WeightsFile:
    """Read a weights file: safetensors, or what torch.save wrote.

    Args:
        path: of the file; its content decides the format.
        averaged: read the averaged weights (EMA) of a training checkpoint.
    Raises:
        ModelError: there is no such file, it cannot be read without running code, or it holds no tensors.
    """
    if not is_file(path):
        kind = "not a file" if exists(path) else "no such weights file"
        raise ModelError(f"{shown(str(path))}: {kind}. Give the path of a weights file.")
    document, ordered = _document(path)
    plain = _state_dict(document, path)
    average = _average(document, path, averaged)
    if average is not None and len(average) * 2 < len(plain or ()):
        average = None  # figures of an average, not its weights
    state = average if averaged and average is not None else plain
    if state is None:
        if average is not None:
            raise ModelError(
                f"{path}: holds only averaged weights. Take them: pepr-edge weights import --ema."
            )
        raise ModelError(f"{path}: {_elsewhere(document)}")
    has_average = average is not None or any(is_averaged(name) for name in state)
    if averaged and not has_average:
        raise ModelError(
            f"{path}: holds no averaged weights, as {AVERAGED[0]} or {AVERAGED[1]}. Leave out --ema."
        )
    tensors = {name: value.detach() for name, value in state.items() if isinstance(value, torch.Tensor)}
    _refuse_unusual(tensors, path)
    return WeightsFile(tensors, ordered, has_average)


def _document(path: Path) -> tuple[Any, bool]:
    """Return the content of a file, and whether the order of its tensors is that of the layers."""
    try:
        with open_regular(path) as file:
            start = file.read(9)
        if _is_safetensors(start):
            return load_file(path), False
        check_zip(path, sums=True)  # PyTorch does not compare them
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # notes on old formats
            return torch.load(path, map_location="cpu", weights_only=True), True
    except Exception as fault:  # a damaged pickle fails in many ways: assertions, indices, memory
        raise ModelError(f"{path}: {_reason(path, fault)}") from None


def _is_safetensors(start: bytes) -> bool:
    """True for the length of a JSON header and its first brace."""
    return len(start) == 9 and start[8:] == b"{" and start[6:8] == b"\0\0"


def _reason(path: Path, fault: BaseException) -> str:
    """Return why a file cannot be read, and how to make one that can."""
    save = "torch.save(model.state_dict(), 'weights.pth')"
    if isinstance(fault, DamagedArchiveError):
        return f"{fault}. Fetch or copy it again."
    if "TorchScript" in str(fault):
        return (
            "a TorchScript program, which is not read, since reading it could run code. Where it was made: "
            "torch.save(torch.jit.load('FILE').state_dict(), 'weights.pth')"
        )
    classes = _classes(path, fault)
    if classes == [NAMESPACE]:
        return (
            f"holds an {NAMESPACE} beside the tensors, which is not read. Convert the file safely, without "
            'running code of it: python -c "import argparse, torch; '
            "torch.serialization.add_safe_globals([argparse.Namespace]); "
            "d = torch.load('FILE', map_location='cpu', weights_only=True); "
            "torch.save({k: v for k, v in d.items() if not isinstance(v, argparse.Namespace)}, "
            "'weights.pth')\""
        )
    if classes:
        named = ", ".join(shown(name) for name in classes[:MAX_NAMED])
        more = f" and {len(classes) - MAX_NAMED} more" if len(classes) > MAX_NAMED else ""
        return (
            f"not a weights file of tensors alone: reading it would run code ({named}{more}). Only where it "
            f"was made, and if you trust it: {save}"
        )
    if _is_cut(path, fault):
        return "cut short, or damaged: its end is not where its beginning says. Fetch or copy it again."
    kind = _known(path) or first_line(fault)
    if OF_NO_FORMAT in kind:
        kind = "of no format that PyTorch reads"
    return f"not a weights file ({kind}), expected safetensors, or a file of {save}"


def _is_cut(path: Path, fault: BaseException) -> bool:
    """True if a file begins as safetensors or as torch.save writes it, and has no end."""
    if isinstance(fault, SafetensorError):
        return any(word in str(fault) for word in CUT_SAFETENSORS)
    try:
        with open_regular(path) as file:
            return file.read(len(ZIP_START)) == ZIP_START and not zipfile.is_zipfile(file)
    except (OSError, zipfile.BadZipFile):
        return False


def _classes(path: Path, fault: BaseException) -> list[str]:
    """Return the names of the classes and functions that a pickle needs and that are not read."""
    if not isinstance(fault, pickle.UnpicklingError):
        return []
    try:
        # Reads the names alone.
        names = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except Exception:  # a torn file, or the format before PyTorch 1.6
        names = re.findall(r"GLOBAL ([\w.]+)", str(fault))
    return sorted(set(names))


def _known(path: Path) -> str:
    """Return what a file is by its first bytes; empty if they are of no kind that is known."""
    try:
        with open_regular(path) as file:
            start = file.read(4)
    except OSError:
        return ""
    if not start:
        return "empty, 0 bytes"
    return MAGIC.get(start, "")


def is_averaged(name: str) -> bool:
    """True if a part of a tensor's name says that it is of an averaged copy of the model."""
    return any(OF_AVERAGES & set(part.split("_")) for part in name.split("."))


def _average(document: Any, path: Path, wanted: bool, depth: int = MAX_NESTED) -> StateDict | None:
    """Return the averaged weights of a training checkpoint; None if it has none under a key of their own.

    Raises:
        ModelError: they are wanted, and there are several that differ.
    """
    if not isinstance(document, dict) or depth == 0:
        return None
    keys = [key for key in document if isinstance(key, str) and is_averaged(key)]
    found = {key: _state_dict(document[key], path) for key in keys}
    most = max((len(state) for state in found.values() if state is not None), default=0)
    states = {key: state for key, state in found.items() if state is not None and len(state) == most}
    if wanted and states and not _are_equal(list(states.values())):
        raise _several(path, states)
    inner = (_average(document.get(key), path, wanted, depth - 1) for key in WRAPPERS)
    return next((state for state in (*states.values(), *inner) if state is not None), None)


def _state_dict(document: Any, path: Path, depth: int = MAX_NESTED) -> StateDict | None:
    """Return the dict of tensors in a training checkpoint; None if it has none.

    Raises:
        ModelError: it has several, which differ.
    """
    if not isinstance(document, dict):
        return None
    if depth == 0:
        return document if _holds_tensors(document) else None
    inner = {key: _state_dict(document.get(key), path, depth - 1) for key in WRAPPERS}
    found = {key: state for key, state in inner.items() if state is not None}
    if len(found) > 1 and not _are_equal(list(found.values())):
        raise _several(path, found)
    state = next(iter(found.values()), None)
    # A checkpoint may have some tensors beside its state dict, and a state dict a few more under such a key.
    is_state = _holds_tensors(document) and len(state or ()) < _count_tensors(document)
    return document if is_state else state


def _several(path: Path, keys: Iterable[str]) -> ModelError:
    names = " and ".join(repr(shown(key)) for key in keys)
    return ModelError(
        f"{path}: holds several models, under {names}. Save the one that you want: "
        "torch.save(checkpoint[KEY], 'weights.pth')."
    )


def _elsewhere(document: Any) -> str:
    """Return what to do with a checkpoint without tensors, or with tensors under keys that we do not know."""
    inside = document.items() if isinstance(document, dict) else ()
    keys = [key for key, value in inside if isinstance(value, dict) and _holds_tensors(value)]
    if not keys:
        return "holds no state dict of tensors. Save one with torch.save(model.state_dict(), path)."
    names = " and ".join(repr(shown(str(key))) for key in keys[:MAX_NAMED])
    return (
        f"has tensors under {names}, expected them under {WRAPPERS[0]!r} or {WRAPPERS[1]!r}. Save the ones "
        "that you want: torch.save(checkpoint[KEY], 'weights.pth')."
    )


def _are_equal(states: list[StateDict]) -> bool:
    """True if all hold the same tensors."""
    first = states[0]
    return all(
        state.keys() == first.keys()
        and all(isinstance(value, torch.Tensor) and same(value, first[name]) for name, value in state.items())
        for state in states[1:]
    )


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """True for tensors of the same type, shape and values."""
    return one.dtype == other.dtype and one.shape == other.shape and bool(torch.equal(one, other))


def _holds_tensors(document: dict[Any, Any]) -> bool:
    """True if most values are tensors: some scripts keep numbers beside them."""
    return _count_tensors(document) * 2 > len(document) and all(isinstance(name, str) for name in document)


def _count_tensors(document: dict[Any, Any]) -> int:
    return sum(isinstance(value, torch.Tensor) for value in document.values())


def _refuse_unusual(tensors: StateDict, path: Path) -> None:
    """Refuse what no layer of timm takes: quantised, sparse, complex, without values, whole numbers."""
    for name, value in tensors.items():
        kind = _unusual(value)
        if kind:
            raise ModelError(
                f"{path}: {shown(name)} is {kind}, expected plain tensors. Save the weights before they are "
                "converted."
            )
    weights = [value for value in tensors.values() if value.ndim > 1]  # some models have an index beside them
    if sum(not value.is_floating_point() for value in weights) * 2 > len(weights):
        raise ModelError(
            f"{path}: most of its tensors are whole numbers, as of a quantised model or of masks, expected "
            "weights in floating point. Save the weights before they are converted."
        )


def _unusual(value: torch.Tensor) -> str:
    """Return what is unusual about a tensor; empty for a plain one."""
    if value.is_meta:
        return 'without values (on the device "meta")'
    if value.is_quantized:
        return "quantised"
    if value.layout != torch.strided:
        return str(value.layout)
    return str(value.dtype) if value.is_complex() else ""
