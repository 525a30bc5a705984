"""A tensor file (.pt): a dict with images and targets, a pair, or a dict with train_images, train_targets ...

With `data.raters` the votes of several raters (targets of shape (n, raters)) are reduced to their majority; a
tie goes to the lower class number. So in the paper's LIDC data, four raters and two classes, an image is
positive only if more than half of the raters say so. Without it several targets of 0 and 1 are several
findings of an image.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pepr_edge.data.files import stamp_files
from pepr_edge.data.findings import unused_columns
from pepr_edge.data.label_matrix import joined, note_findings
from pepr_edge.data.source import (
    SPLITS,
    DataSettings,
    ImageSource,
    Indices,
    Stamp,
    check_from_zero,
    class_numbers,
    name_in_split,
    numeric_labels,
    same_width,
)
from pepr_edge.errors import DataError
from pepr_edge.records import Columns, Problem, Split
from pepr_edge.run_dir.store import sha256_file
from pepr_edge.tasks import TaskKind
from pepr_edge.untrusted.npz import check_zip
from pepr_edge.untrusted.paths import is_file
from pepr_edge.untrusted.shown import one_line, shown

if TYPE_CHECKING:
    import torch

ACCEPTS: str = "a .pt or .pth file of tensors"
SUFFIXES: tuple[str, ...] = (".pt", ".pth")

LAYOUT = (
    "{'images': uint8 (n, h, w), 'targets': (n,)}, the pair of them, or train_images, train_targets and so on"
)


def recognises(source: str) -> bool:
    """True if it is an existing .pt or .pth file."""
    return source.lower().endswith(SUFFIXES) and is_file(source)


def stamp(settings: DataSettings) -> Stamp:
    """Return name, size and time of the file."""
    return stamp_files(Path(settings.source).parent, [Path(settings.source).name])


def known_kind(settings: DataSettings) -> TaskKind | None:
    """Return "multilabel" if the images of a file have several targets of 0 and 1, else None."""
    if settings.raters:
        return None
    path = Path(settings.source)
    _, targets = next(iter(_pairs(path, _load(path)).values()))
    is_matrix = targets.ndim == 2 and targets.shape[1] > 1 and bool((targets.max() <= 1).item())
    return "multilabel" if is_matrix else None


def open_source(settings: DataSettings) -> ImageSource:
    """Open a tensor file; code inside it is not run.

    Raises:
        DataError: no PyTorch, no tensor file, a file that contains code, or images and targets that do not
            fit.
    """
    path = Path(settings.source)
    content = _load(path)
    pairs = _pairs(path, content)
    images = {split: _oriented(path, split, pair[0]) for split, pair in pairs.items()}
    problems: list[Problem] = []
    targets = [
        _targets(path, split, pair[1], len(images[split]), settings, problems)
        for split, pair in pairs.items()
    ]
    sizes = [len(split_targets) for split_targets in targets]
    starts = np.cumsum([0, *sizes])
    images_by_split = list(images.values())

    def read(indices: Indices) -> Iterator[Image.Image]:
        for index in indices.tolist():
            number = int(np.searchsorted(starts, index, side="right")) - 1
            yield Image.fromarray(_pixels(images_by_split[number][index - int(starts[number])]))

    all_targets = np.concatenate(same_width(path, targets))
    if all_targets.ndim == 1:
        check_from_zero(all_targets, f"{path}: targets")
    elif settings.kind == "auto":
        problems.append(note_findings(all_targets.shape[1], len(all_targets)))
    given: dict[Split, Indices] | None = None
    if "all" not in pairs:
        present = [split for split in SPLITS if split in pairs]
        given = {split: np.arange(starts[i], starts[i + 1]) for i, split in enumerate(present)}
    columns = _columns(pairs, content)
    problems += unused_columns(columns.ignored)
    return ImageSource(
        name=shown(path.stem),
        format="tensor",
        sha256=sha256_file(path),
        labels=numeric_labels(all_targets),
        targets=all_targets,
        read=read,
        given=given,
        name_of=lambda index: name_in_split(index, list(pairs), starts),
        columns=columns,
        problems=tuple(problems),
    )


def _columns(pairs: Mapping[str, Any], content: Any) -> Columns:
    """Return the keys of a file that are used, and the others."""
    if not isinstance(content, Mapping):
        return Columns()
    used = [_key(split, kind) for split in pairs for kind in ("images", "targets")]
    ignored = [shown(str(key)) for key in content if key not in used]
    return Columns(used=tuple(used), ignored=tuple(ignored))


def _load(path: Path) -> Any:
    try:
        import torch
    except ImportError:
        raise DataError(f"{path}: reading it needs PyTorch. Run pip install 'pepr_edge[train]'.") from None
    _check_archive(path)
    try:
        with warnings.catch_warnings():
            # PyTorch warns of files pickled by another program; bad files are refused below.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # a broken file can make the unpickler raise anything
        if isinstance(error, pickle.UnpicklingError) and "unsupported global" in str(error).lower():
            raise DataError(
                f"{path}: contains more than tensors, and loading it could run code. "
                f"Save {LAYOUT} with torch.save."
            ) from None
        raise _unreadable(path, one_line(error)) from None


def _unreadable(path: Path, reason: str) -> DataError:
    return DataError(
        f"{shown(str(path))}: not a readable tensor file ({reason}), expected {LAYOUT}. "
        "Save it again with torch.save."
    )


def _check_archive(path: Path) -> None:
    """Refuse a file that is no regular one, or unpacks to far more than its size."""
    try:
        check_zip(path)
    except (OSError, ValueError) as error:
        raise _unreadable(path, one_line(error)) from None


def _plain(path: Path, name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor without its gradient, if the file holds each of its values.

    Raises:
        DataError: it is sparse, quantised, on no device, or a few values that stand for many.
    """
    import torch

    size_bytes = tensor.numel() * tensor.element_size()
    if tensor.layout != torch.strided:
        fault = f"{tensor.layout}"
    elif tensor.device.type != "cpu" or tensor.is_quantized or tensor.is_complex():
        fault = f"{tensor.dtype} on {tensor.device}"
    elif size_bytes > tensor.untyped_storage().nbytes():
        fault = f"{size_bytes / 1e6:.3g} MB expanded from {tensor.untyped_storage().nbytes() / 1e6:.3g} MB"
    else:
        return tensor.detach()
    raise DataError(
        f"{shown(str(path))}: {name} is {fault}, expected a plain tensor. Save tensor.contiguous()."
    )


def _pairs(path: Path, content: Any) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Return images and targets by split, in the order train, val, test; or under "all"."""
    import torch

    pairs: dict[str, tuple[Any, Any]] = {}
    if isinstance(content, (tuple, list)) and len(content) == 2:
        pairs["all"] = (content[0], content[1])
    elif isinstance(content, Mapping):
        for name in ("all", *SPLITS):
            images_key = _key(name, "images")
            if images_key in content:
                pairs[name] = (content[images_key], content.get(_key(name, "targets")))
    all_tensors = all(isinstance(value, torch.Tensor) for value in chain.from_iterable(pairs.values()))
    complete = set(pairs) == {"all"} or ("train" in pairs and "all" not in pairs)
    if not all_tensors or not complete:
        is_dict = isinstance(content, Mapping)
        description = type(content).__name__
        if is_dict:
            description = f"keys {', '.join(shown(str(key)) for key in list(content)[:6])}"
        raise DataError(f"{path}: contains {description}, expected {LAYOUT}. Save it again with torch.save.")
    return {
        name: (_plain(path, _key(name, "images"), images), _plain(path, _key(name, "targets"), targets))
        for name, (images, targets) in pairs.items()
    }


def _key(split: str, kind: str) -> str:
    """Return the key in the file: "images" without splits, else "train_images"."""
    return kind if split == "all" else f"{split}_{kind}"


def _oriented(path: Path, split: str, images: torch.Tensor) -> torch.Tensor:
    """Check images and return them as (n, h, w) or (n, h, w, 3), without a copy."""
    import torch

    shape = tuple(images.shape)
    where = f"{path}: {_key(split, 'images')}"
    with_channels = len(shape) == 4 and (shape[1] in (1, 3) or shape[3] in (1, 3))
    if 0 in shape or not (len(shape) == 3 or with_channels):
        raise DataError(
            f"{where} of shape {shape}, expected (n, h, w), (n, 1 or 3, h, w) or (n, h, w, 1 or 3). "
            "Reshape them."
        )
    if images.is_floating_point():
        low = float(images.min())
        high = float(images.max())
        if not (low >= 0 and high <= 1):
            raise DataError(
                f"{where} are {images.dtype} from {low:g} to {high:g}, "
                "expected 0 to 1, or uint8 from 0 to 255. "
                "Scale them: (x - x.min()) / (x.max() - x.min())."
            )
    elif images.dtype != torch.uint8:
        raise DataError(
            f"{where} are {images.dtype}, expected uint8, or float from 0 to 1. "
            "Convert them: x.to(torch.uint8)."
        )
    if not with_channels:
        return images
    if shape[1] in (1, 3):
        images = images.permute(0, 2, 3, 1)
    return images[..., 0] if images.shape[3] == 1 else images


def _pixels(image: torch.Tensor) -> NDArray[np.uint8]:
    values = image.double().mul(255).round().byte() if image.is_floating_point() else image
    pixels: NDArray[np.uint8] = values.contiguous().numpy()
    return pixels


def _targets(
    path: Path,
    split: str,
    targets: torch.Tensor,
    images: int,
    settings: DataSettings,
    problems: list[Problem],
) -> Indices:
    where = f"{path}: {_key(split, 'targets')}"
    raw = targets.float().numpy() if targets.is_floating_point() else targets.numpy()
    if raw.ndim not in (1, 2) or len(raw) != images:
        raise DataError(
            f"{where} of shape {raw.shape} for {images} images, "
            f"expected ({images},) or ({images}, findings or raters). Reshape them."
        )
    if raw.dtype.kind == "f" and not (np.isfinite(raw).all() and np.array_equal(raw, np.round(raw))):
        raise DataError(
            f"{where} are not whole numbers, expected class numbers 0, 1, ... Round or threshold them."
        )
    votes = class_numbers(raw.reshape(-1).astype(np.int64), where).reshape(images, -1)
    if votes.shape[1] == 1 and settings.kind != "multilabel":
        return votes[:, 0]
    prefix = "" if split == "all" else f"{split}: "
    return joined(where, votes, settings, problems, prefix)
