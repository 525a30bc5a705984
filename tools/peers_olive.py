"""Quantise an ONNX file with Olive's static pass and its defaults.

    python peers_olive.py SOURCE.onnx IMAGES.npy TARGET.onnx

tools/peers.py runs it in an environment with olive-ai. IMAGES: model inputs for calibration, float32, shape
(n, channels, px, px); Olive receives them one by one.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

os.environ["OLIVE_DISABLE_TELEMETRY"] = "1"
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import onnx
from olive import run
from olive.data.component.dataset import BaseDataset
from olive.data.registry import Registry

# The name under which Olive finds the images: it takes a dataset by the name of a function that was
# registered.
DATASET = "calibration_images"


def main() -> None:
    """Quantise one file."""
    source, images, target = (Path(argument).absolute() for argument in sys.argv[1:])
    name = onnx.load(str(source), load_external_data=False).graph.input[0].name

    @Registry.register_dataset(name=DATASET)
    def calibration_images() -> BaseDataset:
        # Pairs of inputs and label, as Olive's own datasets give them; calibration ignores the label.
        return BaseDataset([({name: image}, 0) for image in np.load(images)])

    with tempfile.TemporaryDirectory() as folder:
        result = run(
            {
                "input_model": {"type": "ONNXModel", "model_path": str(source)},
                "data_configs": [
                    {
                        "name": DATASET,
                        "load_dataset_config": {"type": DATASET},
                        "dataloader_config": {"batch_size": 1},
                    }
                ],
                "passes": {"quantise": {"type": "OnnxStaticQuantization", "data_config": DATASET}},
                "cache_dir": f"{folder}/cache",
                "output_dir": f"{folder}/output",
            }
        )
        made = result.get_best_candidate().model_path if result.has_output_model() else None
        if made is None:
            raise SystemExit("Olive gave no model")
        shutil.copyfile(made, target)
        for beside in Path(made).parent.glob("*.data"):
            raise SystemExit(f"Olive wrote external data, {beside.name}")


if __name__ == "__main__":
    main()
