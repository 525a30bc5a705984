"""Recompute a bundle's test accuracy from its manifest.json, without pepr_edge: numpy, Pillow, onnxruntime.

    python tools/accuracy_from_manifest.py BUNDLE MEDMNIST.npz

Prints the computed accuracy and the manifest's; exit status 1 if they differ.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # read by onnxruntime at its import
import onnxruntime

if len(sys.argv) != 3 or not (Path(sys.argv[1], "manifest.json").is_file() and Path(sys.argv[2]).is_file()):
    sys.exit(f"error: {sys.argv[1:]}: expected an existing bundle and an existing archive.\n{__doc__}")
bundle, data = Path(sys.argv[1]), np.load(sys.argv[2])
manifest = json.loads((bundle / "manifest.json").read_text())
spec = manifest["preprocess"]
size = (spec["image_size_px"], spec["image_size_px"])
mean, std = np.float32(spec["mean"]), np.float32(spec["std"])

session = onnxruntime.InferenceSession(bundle / "model.onnx", providers=["CPUExecutionProvider"])
right = 0
for pixels, label in zip(data["test_images"], data["test_labels"].ravel(), strict=True):
    image = Image.fromarray(pixels).convert("L" if spec["channels"] == 1 else "RGB")
    if image.size != size:
        image = image.resize(size, Image.Resampling[spec["interpolation"].upper()])
    tensor = np.asarray(image, np.float32).reshape(*size, spec["channels"])
    tensor = ((tensor / np.float32(spec["scale"]) - mean) / std).transpose(2, 0, 1)[None]
    (logits,) = session.run(None, {manifest["input"]["name"]: np.ascontiguousarray(tensor)})
    right += int(logits.argmax() == label)

accuracy, expected = right / len(data["test_images"]), manifest["performance"]["accuracy"]["value"]
print(f"{bundle.name}: computed {accuracy!r}, manifest {expected!r}")
sys.exit(accuracy != expected)
