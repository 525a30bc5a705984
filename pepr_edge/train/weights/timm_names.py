"""Names that timm converts: those of its older versions, of torchvision and of an architecture's authors.

timm leaves out, without a word, what its conversion or a loading that is not strict does not know. A part of
the network could be among it, so what goes in is compared with what is loaded.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import timm
from torch import nn

from pepr_edge.text.units import plural
from pepr_edge.train.weights.layers import COUNTER, LEFTOVERS, Layers, Template, leaf
from pepr_edge.train.weights.reading import StateDict

# Parts of names of what serves training alone, or is computed anew from the size of the images.
OF_TRAINING = ("AuxLogits", "mask_token")
COMPUTED = ("attn_mask", "relative_position_index", "relative_coords_table", "attention_bias_idxs")
# Position embeddings, which timm resizes for images of another size. Those of relative positions also differ
# between architectures, so they may be resized only if the model itself is for another size.
ABSOLUTE = ("pos_embed",)
RELATIVE = ("relative_position_bias_table", "attention_biases", "rel_pos_h", "rel_pos_w")


@dataclass(frozen=True)
class Converted:
    """The tensors of a file by timm's names of today. `notes` say what was done."""

    tensors: StateDict
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Load:
    """What a model was given to load, and what of it was missing or unknown."""

    tensors: StateDict
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


def converted(file: StateDict, template: Template, layers: Layers) -> Converted | None:
    """Return the tensors of a file by timm's own conversion for an architecture.

    None, if it fails or would leave out a part of the network.

    Args:
        file: the tensors, without prefixes.
        template: the architecture.
        layers: of it.
    """
    kept = {name: value for name, value in file.items() if not _is_one_of(name, OF_TRAINING)}
    # By a mask token timm tells one kind of file from another.
    given = {name: value for name, value in file.items() if not _is_one_of(name, OF_TRAINING[:1])}
    for classes in dict.fromkeys((_classes(kept, layers), None)):
        loaded = _loaded(given, template, classes)
        if loaded is None:
            continue
        model, load = loaded
        resized = _resized(kept, model, ABSOLUTE + RELATIVE if template.size else ABSOLUTE)
        if resized is not None and _loses_nothing(kept, load, model, resized):
            notes = [
                f"{name} resized from {_shape(kept[name])} to {_shape(model[name])}, as of square images"
                for name in resized
            ]
            left = len(file) - len(kept)
            if left:
                notes.append(f"{plural(left, 'tensor')} of training alone left out")
            return Converted(model, tuple(notes))
    return None


def _classes(file: StateDict, layers: Layers) -> int | None:
    """Return the number of classes of a file: its last layer has as many rows; None without a layer."""
    heads = [file[f"{head}.weight"] for head in layers.head if f"{head}.weight" in file]
    weights = heads or [value for value in file.values() if value.ndim > 1]
    return len(weights[-1]) if weights else None


def _loaded(file: StateDict, template: Template, classes: int | None) -> tuple[StateDict, _Load] | None:
    """Let timm load a file into a model; return the model's tensors and what was loaded, None if it fails.

    `classes`: of the file; None for as many as timm's own weights have.
    """
    overlay: dict[str, Any] = {"state_dict": dict(file), "custom_load": False, "label_offset": 0}
    options = dict(template.size)
    if classes is not None:
        overlay["num_classes"] = options["num_classes"] = classes
    try:
        with _quiet(), _recorded_loads() as loads:
            model = timm.create_model(
                template.name, pretrained=True, pretrained_cfg_overlay=overlay, **options
            )
    except Exception:  # each conversion fails in its own way
        return None
    return (dict(model.state_dict()), loads[-1]) if loads else None


def _resized(file: StateDict, model: Mapping[str, Any], may_be: tuple[str, ...]) -> list[str] | None:
    """Return the names of position embeddings that were resized; None if another tensor was."""
    names = [
        name
        for name, value in file.items()
        if name in model and value.numel() != model[name].numel() and not _is_one_of(name, COMPUTED)
    ]
    return names if all(leaf(name) in may_be for name in names) else None


def _loses_nothing(file: StateDict, load: _Load, model: StateDict, resized: list[str]) -> bool:
    """True if as many numbers were loaded as the file holds, and none is missing or unknown."""
    if any(_counts(name) for name in (*load.missing, *load.unexpected)):
        return False
    of_file = sum(value.numel() for name, value in file.items() if _counts(name) and name not in resized)
    given = [name for name in load.tensors if _counts(name) and name in model and name not in resized]
    return of_file == sum(load.tensors[name].numel() for name in given)


def _counts(name: str) -> bool:
    """True for a tensor of the network: no counter, nothing of training alone or that is computed anew."""
    return leaf(name) not in (COUNTER, *LEFTOVERS) and not _is_one_of(name, OF_TRAINING + COMPUTED)


def _is_one_of(name: str, parts: tuple[str, ...]) -> bool:
    return any(part in parts for part in name.split("."))


def _shape(value: Any) -> str:
    return " x ".join(map(str, value.shape))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep timm from writing notes on its conversion."""
    logger = logging.getLogger("timm")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def _recorded_loads() -> Iterator[list[_Load]]:
    """Collect what timm loads: for some architectures it leaves random what is missing."""
    loads: list[_Load] = []
    original = nn.Module.load_state_dict

    def load(module: nn.Module, *arguments: Any, **options: Any) -> Any:
        result = original(module, *arguments, **options)
        given = dict(arguments[0] if arguments else options["state_dict"])
        loads.append(_Load(given, tuple(result.missing_keys), tuple(result.unexpected_keys)))
        return result

    nn.Module.load_state_dict = load  # type: ignore[method-assign,assignment]
    try:
        yield loads
    finally:
        nn.Module.load_state_dict = original  # type: ignore[method-assign]
