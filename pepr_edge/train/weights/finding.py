"""Where pretrained weights of an architecture are on this machine: in a folder of the user's, or in a cache.

Nothing here imports timm and PyTorch, except to look up an architecture that is not in the zoo.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pepr_edge.errors import ModelError
from pepr_edge.untrusted.documents import json_document
from pepr_edge.untrusted.files import MIB, open_regular
from pepr_edge.untrusted.paths import is_file
from pepr_edge.untrusted.shown import SHOWN_CHARACTERS, is_plain
from pepr_edge.zoo.pretrained import Pretrained, pretrained_weights

# In the order in which they are looked for.
SUFFIXES = (".safetensors", ".pth", ".pt")
# The files of timm's repositories on the hub, in the order in which timm takes them.
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
# The header of a safetensors file of thousands of tensors is below 1 MiB.
MAX_HEADER_BYTES = 32 * MIB
# Keys of the metadata in files that `pepr-edge weights` writes.
MADE_BY = "made_by"
NAME_KEY = "pretrained_name"
LICENCE_KEY = "licence"
ARCHITECTURE_KEY = "architecture"
NOT_OFFERED = "timm has no pretrained weights for it"


@dataclass(frozen=True)
class FileNotes:
    """What `pepr-edge weights` wrote into a file: timm's name of the weights, and their licence.

    `is_ours`: it wrote the file. `architecture`: that it was written for.
    """

    is_ours: bool = False
    name: str = ""
    licence: str = ""
    architecture: str = ""


def pretrained_of(architecture: str) -> Pretrained | None:
    """Return the pretrained weights that timm offers for an architecture; None if it offers none."""
    known = pretrained_weights().get(architecture)
    if known is not None:
        return known
    from timm.models import get_pretrained_cfg

    try:
        config = get_pretrained_cfg(architecture)
    except RuntimeError:  # an unknown name after the point
        return None
    if config is None or config.custom_load or not (config.hf_hub_id or config.url):
        return None
    url = config.url[0] if isinstance(config.url, tuple) else config.url
    tagged = f"{config.architecture or architecture.partition('.')[0]}.{config.tag}"
    return Pretrained(
        name=tagged if config.tag else architecture,
        interpolation="bilinear" if config.interpolation == "bilinear" else "bicubic",
        licence=config.license or "",
        repository=config.hf_hub_id or "",
        url="" if config.hf_hub_id else url or "",
        file_name=config.hf_hub_filename or "",
    )


def timm_name(architecture: str) -> str:
    """Return timm's name of an architecture with its pretrained weights."""
    known = pretrained_weights().get(architecture)
    return architecture if known is None else known.name


def in_folder(folder: Path, architecture: str) -> Path | None:
    """Return the weights file of an architecture in a folder; None if there is none."""
    paths = (folder / f"{architecture}{suffix}" for suffix in SUFFIXES)
    return next((path for path in paths if is_file(path)), None)


def in_cache(pretrained: Pretrained) -> Path | None:
    """Return the file of pretrained weights in the cache of the hub or of PyTorch; None if there is none."""
    if not pretrained.repository:
        try:
            path = url_path(pretrained)
        except ModelError:
            return None
        return path if is_file(path) else None
    from huggingface_hub import try_to_load_from_cache

    for name in hub_files(pretrained):
        found = try_to_load_from_cache(pretrained.repository, name)
        if isinstance(found, str) and is_file(found):
            return Path(found)
    return None


def hub_files(pretrained: Pretrained) -> tuple[str, ...]:
    """Return the names that the file of the weights may have in its repository."""
    return (pretrained.file_name,) if pretrained.file_name else HUB_FILES


def url_path(pretrained: Pretrained) -> Path:
    """Return the place in PyTorch's cache of weights that have a URL only.

    Raises:
        ModelError: the user has no home for a cache.
    """
    home = os.environ.get("TORCH_HOME")
    if home is None:
        home = str(Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "torch")
    try:
        folder = Path(home).expanduser()
    except RuntimeError:
        raise ModelError(
            "this user has no home folder, expected one for the cache. Set HOME or TORCH_HOME."
        ) from None
    return folder / "hub" / "checkpoints" / PurePosixPath(pretrained.url).name


def file_notes(path: Path) -> FileNotes:
    """Return what `pepr-edge weights` wrote into a weights file; empty for a file of others."""
    try:
        with open_regular(path) as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= MAX_HEADER_BYTES:
                return FileNotes()
            metadata = json_document(file.read(length))["__metadata__"]
        is_ours = bool(metadata[MADE_BY] == "pepr_edge")
        return FileNotes(
            is_ours,
            _note(metadata.get(NAME_KEY)),
            _note(metadata.get(LICENCE_KEY)),
            _note(metadata.get(ARCHITECTURE_KEY)) if is_ours else "",
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return FileNotes()


def _note(value: object) -> str:
    """Return a text of a file that may be of others; empty if it is none that fits into a table."""
    return value if isinstance(value, str) and is_plain(value) and len(value) <= SHOWN_CHARACTERS else ""
