"""Show that the light install of a clinic refers images of other kinds, by `pepr-edge predict` itself.

    .venv-field/bin/python tools/refer_light.py BUNDLE --data DIR

To be run by the Python of a light install (`pip install pepr_edge`, without the extra [train]). BUNDLE: of a
run on PneumoniaMNIST with `[decision] refer_share`, such as `tools/refer_rates.py` makes. DIR holds
pneumoniamnist.npz and breastmnist.npz of MedMNIST. Exit status 1 if the aim is missed: 95 % of each other
kind, and no more than 10 % of the own test images.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from refer_pictures import AIM_OTHERS, AIM_OWN, OTHERS, OWN, write

HEAVY = ("torch", "timm", "onnx", "optimum", "sklearn", "scipy", "pandas", "matplotlib")
FILES_AT_ONCE = 500


def referred(bundle: Path, files: list[Path]) -> int:
    """Return how many files the command refers."""
    command = Path(sys.executable).with_name("pepr-edge")
    count = 0
    for start in range(0, len(files), FILES_AT_ONCE):
        called = [command, "predict", "--json", bundle, *files[start : start + FILES_AT_ONCE]]
        done = subprocess.run(called, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"pepr-edge predict ended with status {done.returncode}: {done.stderr.strip()}")
        count += sum(row["refer"] is not None for row in json.loads(done.stdout)["predictions"])
    return count


def main() -> None:
    """Count, print, and compare with the aim."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    installed = [name for name in HEAVY if importlib.util.find_spec(name) is not None]
    if installed:
        sys.exit(f"{sys.executable} has {', '.join(installed)}, expected the Python of a light install.")
    with np.load(options.data / "pneumoniamnist.npz") as archive:
        own = archive["test_images"]
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        for name, files in write(own, options.data / "breastmnist.npz", Path(folder)).items():
            count = referred(options.bundle, files)
            share = count / len(files)
            print(f"{name}: {count} of {len(files)} referred ({share:.1%})", flush=True)
            if (name == OWN and share > AIM_OWN) or (name in OTHERS and share < AIM_OTHERS):
                missed.append(name)
    if missed:
        sys.exit(f"the aim is missed for: {', '.join(missed)}")


if __name__ == "__main__":
    main()
