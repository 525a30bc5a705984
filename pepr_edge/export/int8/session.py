"""Run a graph that is in memory, to look at its tensors; nothing is timed here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray


def session(model: onnx.ModelProto, outputs: Iterable[str] = ()) -> Any:
    """Open a model in onnxruntime, with other tensors as its outputs if some are named."""
    import onnxruntime

    names = list(outputs)
    if names:
        given = model
        model = onnx.ModelProto()
        model.CopyFrom(given)
        del model.graph.output[:]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # it warns of constants that nothing reads any more
    content = model.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def logits_of(model: onnx.ModelProto, images: Iterable[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the logits of images, one by one, shape (n, classes)."""
    opened = session(model)
    name = opened.get_inputs()[0].name
    return np.concatenate([opened.run(None, {name: image[None]})[0] for image in images])
