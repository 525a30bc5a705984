"""How often bundles refer images to a person: their own test images, and images of other kinds.

    python tools/refer_rates.py --data DIR [--share 0.1] [--runs DIR] [--json FILE] [--page FILE]

Trains models on PneumoniaMNIST (from scratch, two variants of each) with `[decision] refer_share`, or goes on
with the runs of an earlier call, and gives every image to the bundles as a file, as `pepr-edge predict` does.
DIR holds pneumoniamnist.npz and breastmnist.npz of MedMNIST.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from progress_lines import Lines
from refer_pictures import AIM_OTHERS, AIM_OWN, write

from pepr_edge.bundle.read import read_manifest
from pepr_edge.errors import NoAnswerError
from pepr_edge.field.predict import Classifier, Referral
from pepr_edge.measure.inference_process import InferenceProcess
from pepr_edge.measure.settings import device_settings
from pepr_edge.pipeline import Options, run
from pepr_edge.recipe import Recipe
from pepr_edge.recipe.toml import parse
from pepr_edge.scoring.intervals import exact_interval

RECIPE = """
schema_version = 1
name = "refer_rates"
[device]
name = "this machine"
threads = 1
[data]
source = "{source}"
[decision]
refer_share = {share}
[candidates]
architectures = [{architectures}]
image_size_px = {px}
weights = "scratch"
[train]
epochs = 4
[export]
variants = ["fp32", "int8_static"]
[profile]
rules = "quick"
"""
MODELS = {"resnet14t": 32, "mobilenetv2_050": 64}


def train(source: Path, runs: Path, share: float, models: list[str]) -> list[Path]:
    """Run the recipe of each model, and return the bundles."""
    bundles = []
    for architecture in models:
        px = MODELS[architecture]
        text = RECIPE.format(source=source, share=share, architectures=f'"{architecture}"', px=px)
        folder = runs / architecture
        run(parse(text, Recipe, "refer_rates.toml"), text, folder, Options(), Lines())
        bundles += sorted((folder / "bundles").iterdir())
    return bundles


def rates(bundle: Path, sets: dict[str, list[Path]]) -> dict[str, Any]:
    """Return how many images of each set a bundle refers, and why."""
    manifest = read_manifest(bundle)
    settings, _ = device_settings(manifest.profile.settings)
    rows = {}
    with InferenceProcess() as process:
        classify = Classifier(bundle, manifest, settings, process)
        for name, files in sets.items():
            kinds: Counter[str] = Counter()
            for file in files:
                referral = _referral(classify, file)
                if referral is not None:
                    kinds[referral.kind] += 1
            referred = sum(kinds.values())
            rows[name] = {
                "images": len(files),
                "referred": referred,
                "share": referred / len(files),
                "ci": exact_interval(referred, len(files)),
                "reasons": dict(kinds),
            }
    assert manifest.decision is not None
    assert manifest.decision.refer is not None
    return {
        "architecture": manifest.architecture,
        "image_size_px": manifest.image_size_px,
        "variant": manifest.variant,
        "refer": manifest.decision.refer.model_dump(mode="json"),
        "accuracy": manifest.performance["accuracy"].value,
        "accuracy_if_answered": manifest.performance["accuracy_if_answered"].value,
        "sets": rows,
    }


def _referral(classify: Classifier, file: Path) -> Referral | None:
    """Classify an image, once more if the machine was stopped in between."""
    try:
        return classify(file).referral
    except NoAnswerError:
        return classify(file).referral


def page(document: dict[str, Any]) -> str:
    """Return the table in Markdown."""
    models = document["models"]
    names = [f"{model['architecture']}@{model['image_size_px']} {model['variant']}" for model in models]
    lines = ["| images | n | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    for name, first in models[0]["sets"].items():
        cells = [f"{model['sets'][name]['share']:.1%}" for model in models]
        lines.append(f"| {name} | {first['images']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Train, or read what was trained, and count."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/refer_rates"))
    parser.add_argument("--share", type=float, default=AIM_OWN)
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    source = options.data.absolute() / "pneumoniamnist.npz"
    bundles = train(source, options.runs, options.share, options.models)
    with np.load(source) as archive:
        own = archive["test_images"]
    with tempfile.TemporaryDirectory() as folder:
        sets = write(own, options.data / "breastmnist.npz", Path(folder))
        models = [rates(bundle, sets) for bundle in bundles]
    document = {"refer_share": options.share, "aim": {"others": AIM_OTHERS, "own": AIM_OWN}, "models": models}
    if options.json is not None:
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if options.page is not None:
        options.page.write_text(page(document), encoding="utf-8")
    print(page(document))


if __name__ == "__main__":
    main()
