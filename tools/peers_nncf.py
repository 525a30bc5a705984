"""NNCF's post-training quantisation for OpenVINO with its defaults; run by tools/peers.py in an environment that has nncf and openvino.

    python peers_nncf.py SOURCE.onnx IMAGES.npy TARGET.xml

IMAGES: model inputs to calibrate on, float32, shape (n, channels, px, px); all are used. Writes OpenVINO's IR, TARGET.xml and .bin.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["NNCF_CI"] = "1"  # what NNCF asks for to send no telemetry

import nncf
import numpy as np
import openvino


def main() -> None:
    """Quantise one file."""
    source, images, target = (Path(argument).absolute() for argument in sys.argv[1:])
    pixels = np.load(images)
    dataset = nncf.Dataset([image[None] for image in pixels])
    openvino.save_model(
        nncf.quantize(openvino.convert_model(str(source)), dataset, subset_size=len(pixels)), str(target)
    )


if __name__ == "__main__":
    main()
