"""Recompute a bundle's test figures from its manifest.json, without pepr_edge: numpy, Pillow, onnxruntime.

    python tools/accuracy_from_manifest.py BUNDLE MEDMNIST.npz

Prints the computed accuracy and the manifest's, and of two classes sensitivity and specificity by the
manifest's decision; exit status 1 if they differ. For models that name one label an image.
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
decision = manifest.get("decision")
kind = "argmax" if decision is None else decision["kind"]
if kind == "thresholds":
    sys.exit(f"error: {bundle}: names several findings an image, expected a bundle that names one label.")
spec = manifest["preprocess"]
size = (spec["image_size_px"], spec["image_size_px"])
mean, std = np.float32(spec["mean"]), np.float32(spec["std"])

session = onnxruntime.InferenceSession(bundle / "model.onnx", providers=["CPUExecutionProvider"])
logits_of_images, labels = [], data["test_labels"].ravel()
for pixels in data["test_images"]:
    image = Image.fromarray(pixels).convert("L" if spec["channels"] == 1 else "RGB")
    if image.size != size:
        image = image.resize(size, Image.Resampling[spec["interpolation"].upper()])
    tensor = np.asarray(image, np.float32).reshape(*size, spec["channels"])
    tensor = ((tensor / np.float32(spec["scale"]) - mean) / std).transpose(2, 0, 1)[None]
    (logits,) = session.run(
        [manifest["output"]["name"]], {manifest["input"]["name"]: np.ascontiguousarray(tensor)}
    )
    logits_of_images.append(logits[0])


def softmax(values):
    exponentials = np.exp(values - values.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


logits = np.array(logits_of_images)
performance = manifest["performance"]
named = logits.argmax(axis=1)
if kind == "median":  # of grades: the lowest at which the cumulated probability reaches one half
    named = (np.cumsum(softmax(logits.astype(np.float64)), axis=1) >= 0.5).argmax(axis=1)
computed = {"accuracy": np.mean(named == labels)}
if decision is not None and decision["positive"] is not None:
    positive = manifest["labels"].index(decision["positive"])
    probability = softmax(logits.astype(np.float64) / decision["temperature"])[:, positive]
    threshold = decision["threshold"]
    alarm = named == positive if threshold is None else probability >= threshold
    computed["sensitivity_at_decision"] = np.mean(alarm[labels == positive])
    computed["specificity_at_decision"] = np.mean(~alarm[labels != positive])
expected = {name: performance[name]["value"] for name in computed}
for name, value in computed.items():
    print(f"{bundle.name}: {name} computed {float(value)!r}, manifest {expected[name]!r}")
sys.exit(computed != expected)
