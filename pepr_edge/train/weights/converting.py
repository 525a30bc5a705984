"""Write weights files that every run reads at once: safetensors, float32, by timm's names of the layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import safetensors.torch

from pepr_edge.errors import ModelError
from pepr_edge.records import WeightsMatch
from pepr_edge.run_dir.owned import check_replaceable
from pepr_edge.run_dir.store import sha256_file, write_bytes
from pepr_edge.train.models import build
from pepr_edge.train.weights import hub
from pepr_edge.train.weights.finding import (
    ARCHITECTURE_KEY,
    LICENCE_KEY,
    MADE_BY,
    NAME_KEY,
    NOT_OFFERED,
    SUFFIXES,
    file_notes,
    in_cache,
    pretrained_of,
    timm_name,
)
from pepr_edge.train.weights.fitting import ONLY_AVERAGED, Fitted
from pepr_edge.train.weights.layers import Template
from pepr_edge.train.weights.load import fit, layers_of
from pepr_edge.train.weights.reading import read_weights
from pepr_edge.zoo.pretrained import Pretrained

OnProgress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class ImportedWeights:
    """A weights file that was written. `classes` and `channels` are those it was trained on; None: unknown.

    `matched` is how the tensors of the source were assigned to the layers; `notes` say what else was done.
    """

    weights: str
    architecture: str
    sha256: str
    size_bytes: int
    tensors: int
    classes: int | None
    channels: int | None
    matched: WeightsMatch
    notes: tuple[str, ...]


@dataclass(frozen=True)
class FetchedWeights:
    """The weights of an architecture of a recipe in a folder, or why they are not there."""

    architecture: str
    status: Literal["fetched", "present", "failed"]
    name: str = ""
    licence: str = ""
    file: str | None = None
    sha256: str | None = None
    size_bytes: int | None = None
    reason: str = ""


def import_weights(
    source: Path,
    architecture: str,
    out: Path,
    *,
    averaged: bool = False,
    force: bool = False,
    origin: Pretrained | None = None,
) -> ImportedWeights:
    """Convert a weights file of any common form.

    Args:
        source: the file.
        architecture: timm's name.
        out: the file to write.
        averaged: take the averaged weights of a training checkpoint.
        force: also replace a file that pepr_edge did not write.
        origin: timm's weights that these are; None: the user's own.
    Raises:
        ModelError: the source cannot be read, or does not fit the architecture.
        OutputError: `out` is a file that is not ours.
    """
    if out.suffix != SUFFIXES[0]:
        raise ModelError(f"{out}: expected a name that ends with {SUFFIXES[0]}, the format that is written.")
    if not out.parent.is_dir():
        raise ModelError(f"{out}: there is no folder {out.parent}. Create it first.")
    check_replaceable(out, _is_ours, force)
    template = Template(timm_name(architecture), {})
    file = read_weights(source, averaged)
    layers = layers_of(build(architecture, template))  # at its own size, channels and classes
    fitted = fit(file, layers, template, source, averaged=averaged)
    notes = list(fitted.notes)
    if file.averaged and not averaged and ONLY_AVERAGED not in notes:
        notes.append("the file holds averaged weights, too: --ema takes them")
    metadata = {"format": "pt", MADE_BY: "pepr_edge", ARCHITECTURE_KEY: architecture}
    if origin is not None:
        metadata |= {NAME_KEY: origin.name, LICENCE_KEY: origin.licence}
    tensors = {name: value.contiguous().clone() for name, value in fitted.tensors.items()}
    write_bytes(out, safetensors.torch.save(tensors, metadata))
    return ImportedWeights(
        weights=str(out),
        architecture=architecture,
        sha256=sha256_file(out),
        size_bytes=out.stat().st_size,
        tensors=len(tensors),
        classes=_length(fitted, [f"{layer}.weight" for layer in layers.head], 0),
        channels=_length(fitted, [f"{layer}.weight" for layer in layers.first], 1),
        matched=fitted.match,
        notes=tuple(notes),
    )


def _length(fitted: Fitted, names: Sequence[str], axis: int) -> int | None:
    """Return the length of an axis of the first of these tensors that has it; None without any."""
    shapes = [fitted.tensors[name].shape for name in names if name in fitted.tensors]
    return next((shape[axis] for shape in shapes if len(shape) > axis), None)


def _is_whole(path: Path) -> bool:
    """True for a safetensors file that is as long as its header says."""
    try:
        with safetensors.safe_open(path, "pt"):
            return True
    except (safetensors.SafetensorError, OSError):
        return False


def _is_ours(path: Path) -> bool:
    """True if pepr_edge wrote this weights file."""
    return file_notes(path).is_ours


def fetch(
    architectures: Sequence[str],
    folder: Path,
    force: bool = False,
    on_progress: OnProgress = lambda done, total, name: None,
) -> list[FetchedWeights]:
    """Bring timm's weights of several architectures into a folder, from its cache or from the hub.

    Args:
        architectures: timm's names.
        folder: made if it is missing; weights that are in it stay.
        force: also replace files that pepr_edge did not write.
        on_progress: called with the number of architectures done, their total and the name of the next one.
    Raises:
        OutputError: a file of one of these names is not ours.
    """
    for architecture in architectures:
        check_replaceable(folder / f"{architecture}{SUFFIXES[0]}", _is_ours, force)
    rows = []
    connection = hub.Connection(hub.PATIENT_LOOK_S)
    for done, architecture in enumerate(architectures):
        on_progress(done, len(architectures), architecture)
        rows.append(_fetched(architecture, folder, force, connection))
    return rows


def _fetched(architecture: str, folder: Path, force: bool, connection: hub.Connection) -> FetchedWeights:
    pretrained = pretrained_of(architecture)
    if pretrained is None:
        return FetchedWeights(architecture, "failed", reason=NOT_OFFERED)
    path = folder / f"{architecture}{SUFFIXES[0]}"
    is_there = file_notes(path).name == pretrained.name and _is_whole(path)
    try:
        if not is_there:
            source = in_cache(pretrained) or connection.download(pretrained)
            folder.mkdir(parents=True, exist_ok=True)
            import_weights(source, architecture, path, force=force, origin=pretrained)
    except ModelError as error:
        return FetchedWeights(
            architecture, "failed", pretrained.name, pretrained.licence, reason=str(error).rstrip(".")
        )
    return FetchedWeights(
        architecture=architecture,
        status="present" if is_there else "fetched",
        name=pretrained.name,
        licence=pretrained.licence,
        file=str(path),
        sha256=sha256_file(path),
        size_bytes=path.stat().st_size,
    )
