"""A tensor file (.pt): a dict with images and targets, a pair of them, or a dict with train_images, train_targets and so on.

Several raters (targets of shape (n, raters)) are joined by majority; a tie goes to the lower class number, so that for the paper's LIDC
data, four raters and two classes, an image is positive only where more than half say so.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pepr_edge.data.files import stamp_files
from pepr_edge.data.source import SPLITS, DataSettings, ImageSource, Indices, Stamp, names_for, numbered
from pepr_edge.errors import DataError
from pepr_edge.run_dir.store import sha256_file

if TYPE_CHECKING:
    import torch

LAYOUT = (
    "{'images': uint8 (n, h, w), 'targets': (n,)}, the pair of them, or train_images, train_targets and so on"
)


def recognises(source: str) -> bool:
    """Whether it is a .pt or .pth file that exists."""
    return source.lower().endswith((".pt", ".pth")) and Path(source).is_file()


def stamp(settings: DataSettings) -> Stamp:
    """Name, size and time of the file."""
    return stamp_files(Path(settings.source).parent, [Path(settings.source).name])


def open_source(settings: DataSettings) -> ImageSource:
    """Open a tensor file without running anything in it.

    Raises:
        DataError: no PyTorch, no tensor file, one with code in it, or images and targets that do not fit.
    """
    path = Path(settings.source)
    pairs = _pairs(path, _load(path))
    images = {split: _oriented(path, split, pair[0]) for split, pair in pairs.items()}
    notes: list[str] = []
    targets = [_targets(path, split, pair[1], len(images[split]), notes) for split, pair in pairs.items()]
    starts = np.cumsum([0, *(len(part) for part in targets)])

    def read(indices: Indices) -> Iterator[Image.Image]:
        for index in indices.tolist():
            number = int(np.searchsorted(starts, index, side="right")) - 1
            yield Image.fromarray(_pixels(list(images.values())[number][index - int(starts[number])]))

    everything = np.concatenate(targets)
    return ImageSource(
        name=path.stem,
        format="tensor",
        sha256=sha256_file(path),
        labels=names_for(everything),
        targets=everything,
        read=read,
        given={s: np.arange(starts[i], starts[i + 1]) for i, s in enumerate(SPLITS) if s in pairs}
        if "all" not in pairs
        else None,
        notes=tuple(notes),
    )


def majority(votes: Indices) -> tuple[Indices, int]:
    """The class that most raters chose, the lower one where they are tied.

    Args:
        votes: class numbers, shape (n, raters).
    Returns:
        Class per image, shape (n,), and the number of ties.
    """
    counts = np.stack([(votes == number).sum(axis=1) for number in range(int(votes.max()) + 1)], axis=1)
    best = counts.max(axis=1, keepdims=True)
    return counts.argmax(axis=1).astype(np.int64), int(((counts == best).sum(axis=1) > 1).sum())


def _load(path: Path) -> Any:
    try:
        import torch
    except ImportError:
        raise DataError(f"{path}: needs PyTorch to be read. Run pip install 'pepr_edge[train]'.") from None
    try:
        with warnings.catch_warnings():
            # PyTorch warns of files that another program pickled; they are refused below if they are no good.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as fault:  # a broken file can make the unpickler raise anything
        if isinstance(fault, pickle.UnpicklingError) and "unsupported global" in str(fault).lower():
            raise DataError(
                f"{path}: holds more than tensors, and loading it could run code. Save {LAYOUT} with torch.save."
            ) from None
        text = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
        raise DataError(
            f"{path}: not a readable tensor file ({text}), expected {LAYOUT}. Save it again with torch.save."
        ) from None


def _pairs(path: Path, content: Any) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Images and targets by split, or under "all"; in the order train, val, test."""
    import torch

    found: dict[str, tuple[Any, Any]] = {}
    if isinstance(content, (tuple, list)) and len(content) == 2:
        found["all"] = (content[0], content[1])
    elif isinstance(content, Mapping):
        for name, prefix in [("all", "")] + [(split, f"{split}_") for split in SPLITS]:
            if f"{prefix}images" in content:
                found[name] = (content[f"{prefix}images"], content.get(f"{prefix}targets"))
    fits = all(isinstance(member, torch.Tensor) for pair in found.values() for member in pair)
    if not found or not fits or not ({"all", "train"} & set(found)) or ("all" in found and len(found) > 1):
        held = (
            f"keys {', '.join(map(str, list(content)[:6]))}"
            if isinstance(content, Mapping)
            else type(content).__name__
        )
        raise DataError(f"{path}: holds {held}, expected {LAYOUT}. Save it again with torch.save.")
    return found


def _oriented(path: Path, split: str, images: torch.Tensor) -> torch.Tensor:
    """Images as (n, h, w) or (n, h, w, 3), checked; no copy is made."""
    import torch

    shape = tuple(images.shape)
    where = f"{path}: {'images' if split == 'all' else split + '_images'}"
    if (
        0 in shape
        or len(shape) not in (3, 4)
        or (len(shape) == 4 and shape[1] not in (1, 3) and shape[3] not in (1, 3))
    ):
        raise DataError(
            f"{where} of shape {shape}, expected (n, h, w), (n, 1 or 3, h, w) or (n, h, w, 1 or 3). Reshape them."
        )
    if images.is_floating_point():
        least, greatest = float(images.min()), float(images.max())
        if not (least >= 0 and greatest <= 1):
            raise DataError(
                f"{where} are {images.dtype} from {least:g} to {greatest:g}, expected 0 to 1, or uint8 from 0 to 255. "
                "Scale them: (x - x.min()) / (x.max() - x.min())."
            )
    elif images.dtype != torch.uint8:
        raise DataError(
            f"{where} are {images.dtype}, expected uint8, or float from 0 to 1. Convert them: x.to(torch.uint8)."
        )
    if len(shape) == 4 and shape[1] in (1, 3):
        images = images.permute(0, 2, 3, 1)
    return images[..., 0] if len(shape) == 4 and images.shape[3] == 1 else images


def _pixels(image: torch.Tensor) -> NDArray[np.uint8]:
    values = image.double().mul(255).round().byte() if image.is_floating_point() else image
    pixels: NDArray[np.uint8] = values.contiguous().numpy()
    return pixels


def _targets(path: Path, split: str, targets: torch.Tensor, images: int, notes: list[str]) -> Indices:
    where = f"{path}: {'targets' if split == 'all' else split + '_targets'}"
    raw = targets.float().numpy() if targets.is_floating_point() else targets.numpy()
    if raw.ndim not in (1, 2) or len(raw) != images:
        raise DataError(
            f"{where} of shape {raw.shape} for {images} images, expected ({images},) or ({images}, raters). Reshape them."
        )
    if raw.dtype.kind == "f" and not np.array_equal(raw, np.round(raw)):
        raise DataError(
            f"{where} are not whole numbers, expected class numbers 0, 1, ... Round or threshold them."
        )
    votes = numbered(raw.reshape(-1).astype(np.int64), where).reshape(images, -1)
    if votes.shape[1] == 1:
        return votes[:, 0]
    if images > 1 and votes.max() == 1 and bool((votes.sum(axis=1) == 1).all()):
        raise DataError(f"{where} look one-hot, expected class numbers. Convert them: targets.argmax(dim=1).")
    chosen, ties = majority(votes)
    notes.append(
        f"{'' if split == 'all' else split + ': '}{votes.shape[1]} raters joined by majority; {ties} ties, given to the lower class"
    )
    return chosen
