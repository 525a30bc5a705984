"""Quantise an ONNX file with optimum's preset for this processor, as documented; for tools/peers.py.

    python tools/peers_optimum.py SOURCE.onnx IMAGES.npy TARGET.onnx PRESET static|dynamic

IMAGES: model inputs to calibrate on, float32, shape (n, channels, px, px). PRESET: a function of
AutoQuantizationConfig, such as avx2.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import onnx
from optimum.onnxruntime import ORTQuantizer
from optimum.onnxruntime.configuration import AutoCalibrationConfig, AutoQuantizationConfig


class Images:
    """The parts of a `datasets.Dataset` that optimum reads, so that the library `datasets` is not needed."""

    info = SimpleNamespace(builder_name="images", config_name="default")
    split = "train"

    def __init__(self, name: str, images: np.ndarray[Any, Any]) -> None:
        """Take the images, float32, shape (n, channels, px, px), and the name of the model's input."""
        self.name, self.images, self.num_rows = name, images, len(images)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return ({self.name: image} for image in self.images)


def main() -> None:
    """Quantise one file."""
    source, images, target = (Path(argument).absolute() for argument in sys.argv[1:4])
    preset, is_static = sys.argv[4], sys.argv[5] == "static"
    config = getattr(AutoQuantizationConfig, preset)(is_static=is_static)
    quantizer = ORTQuantizer.from_pretrained(source.parent, file_name=source.name)
    ranges = None
    with tempfile.TemporaryDirectory() as folder:
        if is_static:
            dataset = Images(
                onnx.load(str(source), load_external_data=False).graph.input[0].name, np.load(images)
            )
            ranges = quantizer.fit(
                dataset=dataset,
                calibration_config=AutoCalibrationConfig.minmax(dataset),
                onnx_augmented_model_name=f"{folder}/augmented.onnx",
                operators_to_quantize=config.operators_to_quantize,
            )
        quantizer.quantize(save_dir=folder, calibration_tensors_range=ranges, quantization_config=config)
        target.write_bytes((Path(folder) / f"{source.stem}_quantized.onnx").read_bytes())


if __name__ == "__main__":
    main()
