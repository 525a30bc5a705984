"""Quantise an ONNX file for OpenVINO with NNCF's post-training defaults.

    python peers_nncf.py SOURCE.onnx IMAGES.npy TARGET.xml

tools/peers.py runs it in an environment with nncf and openvino. IMAGES: model inputs for calibration,
float32, shape (n, channels, px, px); all are used. Writes OpenVINO's IR, TARGET.xml and .bin.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["NNCF_CI"] = "1"  # turns NNCF's telemetry off

import nncf
import numpy as np
import openvino


def main() -> None:
    """Quantise one file."""
    source, images, target = (Path(argument).absolute() for argument in sys.argv[1:])
    pixels = np.load(images)
    dataset = nncf.Dataset([image[None] for image in pixels])
    model = openvino.convert_model(str(source))
    quantised = nncf.quantize(model, dataset, subset_size=len(pixels))
    openvino.save_model(quantised, str(target))


if __name__ == "__main__":
    main()
