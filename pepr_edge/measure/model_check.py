"""Checks of a model in a bundle: it has one input, and gives finite logits for each image.

It has a second output, the novelty of each image, if and only if its manifest declares one.

A model is not trusted: after loading it is compared with the manifest, and each of its answers is checked.
Importing this module needs only the standard library, since a process that runs models loads little else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from pepr_edge.untrusted.shown import excerpt

FLOAT32 = "float32"
NUMBERS = {1: "one", 2: "two"}


class Port(NamedTuple):
    """An input or output of a model. None in the shape: any size; None as the shape: not known."""

    dtype: str
    shape: tuple[int | None, ...] | None


class Signature(NamedTuple):
    """All inputs and outputs of a model, as the runtime that loaded it names them."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


def model_fault(
    signature: Signature, input_shape: Sequence[int], classes: int, novelty: bool = False
) -> str | None:
    """Return how a model differs from its manifest, as the end of a sentence on it; None if it does not.

    Args:
        signature: of the loaded model.
        input_shape: (1, channels, px, px).
        classes: number of labels.
        novelty: the manifest declares the second output.
    """
    images = input_shape[0]
    outputs = [(images, classes), (images, 1)] if novelty else [(images, classes)]
    for kind, ports, shapes in (
        ("input", signature.inputs, [tuple(input_shape)]),
        ("output", signature.outputs, outputs),
    ):
        if len(ports) != len(shapes):
            plural = "" if len(ports) == 1 else "s"
            return f"has {len(ports)} {kind}{plural}, expected {NUMBERS[len(shapes)]}"
        for port, shape in zip(ports, shapes, strict=True):
            if port.dtype != FLOAT32 or not _fits(port.shape, shape):
                return f"its {kind} is {_text(port)}, expected {_text(Port(FLOAT32, shape))}"
    return None


def answer_fault(answer: Any, images: int, classes: int) -> str | None:
    """Return why an answer is invalid; None for an array of finite logits.

    Args:
        answer: what the model returned.
        images: number of images that it was given.
        classes: number of labels.
    """
    import numpy as np

    if not isinstance(answer, np.ndarray):
        return f"it returned {excerpt(type(answer).__name__)}, expected logits"
    if answer.dtype != np.float32 or answer.shape != (images, classes):
        actual = _text(Port(str(answer.dtype), answer.shape))
        return f"it returned {actual}, expected {_text(Port(FLOAT32, (images, classes)))}"
    if not np.isfinite(answer).all():
        return "its logits are not finite"
    return None


def novelty_fault(answer: Any, images: int) -> str | None:
    """Return why a second answer is invalid; None for one finite novelty for each image."""
    import numpy as np

    if not isinstance(answer, np.ndarray) or answer.dtype != np.float32 or answer.shape != (images, 1):
        actual = _text(Port(str(getattr(answer, "dtype", "")), getattr(answer, "shape", None)))
        return f"it returned {actual} as novelty, expected {_text(Port(FLOAT32, (images, 1)))}"
    if not np.isfinite(answer).all():
        return "its novelty is not finite"
    return None


def _fits(shape: tuple[int | None, ...] | None, expected: tuple[int, ...]) -> bool:
    if shape is None:
        return True
    if len(shape) != len(expected):
        return False
    return all(size is None or size == wanted for size, wanted in zip(shape, expected, strict=True))


def _text(port: Port) -> str:
    shape = port.shape
    if shape is None:
        return excerpt(port.dtype)
    sizes = ", ".join("any" if size is None else str(size) for size in shape[:8])
    return f"{excerpt(port.dtype)} of shape ({sizes}{', ...' if len(shape) > 8 else ''})"
