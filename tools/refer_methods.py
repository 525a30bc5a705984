"""Ways to notice that an image is unlike the training images, on the models of a run on PneumoniaMNIST.

    python tools/refer_methods.py RUN_DIR --data DIR --json FILE

For each model: distances in the features before the classifier, as in the literature, and the distance of the
image itself that `pepr_edge.export.novelty` adds to files. Each limit is at 5 % of the validation images.
DIR holds pneumoniamnist.npz and breastmnist.npz of MedMNIST.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from refer_pictures import OWN, pictures

from pepr_edge.export.novelty import fit_novelty, novelty_of, whitened
from pepr_edge.images.preprocess import to_pixels, to_tensor
from pepr_edge.records import Preprocess, TrainResult
from pepr_edge.run_dir.reader import load
from pepr_edge.train.models import restore

Floats = NDArray[np.float64]
Score = Callable[[Floats, Floats], Floats]  # features (n, d) and logits (n, classes) -> (n,), more is further
SHARE = 0.05
TRAINING_IMAGES = 2000
NEIGHBOURS = 20
PRINCIPAL = 128  # dimensions of ViM's principal space, as in its paper for features of this size
BATCH = 128


def seen(images: NDArray[np.uint8], spec: Preprocess) -> NDArray[np.uint8]:
    """Return images as a model sees them, shape (n, px, px, 1)."""
    px = spec.image_size_px
    return np.stack(
        [
            to_pixels(Image.fromarray(image), channels=1, image_size_px=px, interpolation=spec.interpolation)
            for image in images
        ]
    )


def answers(model: torch.nn.Module, pixels: NDArray[np.uint8], spec: Preprocess) -> tuple[Floats, Floats]:
    """Return features before the classifier and logits."""
    features: list[torch.Tensor] = []
    logits = []
    hook = model.get_classifier().register_forward_pre_hook(  # type: ignore[operator]
        lambda _, inputs: features.append(inputs[0].flatten(1))
    )
    with torch.inference_mode():
        for start in range(0, len(pixels), BATCH):
            logits.append(model(torch.from_numpy(to_tensor(pixels[start : start + BATCH], spec))))
    hook.remove()
    return torch.cat(features).double().numpy(), torch.cat(logits).double().numpy()


def distance(centred: Floats) -> Callable[[Floats], Floats]:
    """Return the squared Mahalanobis length, with the shrunk covariance of these differences."""
    weight = whitened(centred, np.eye(centred.shape[1]))
    return lambda differences: np.asarray(((differences @ weight) ** 2).sum(axis=1))


def methods(features: Floats, logits: Floats, labels: NDArray[np.int64], layer: Any) -> dict[str, Score]:
    """Fit each method on training images."""
    means = np.stack([features[labels == label].mean(axis=0) for label in np.unique(labels)])
    within = distance(features - means[labels])
    middle = features.mean(axis=0)
    total = distance(features - middle)

    def to_class(found: Floats) -> Floats:
        return np.min([within(found - mean) for mean in means], axis=0)

    def unit(found: Floats) -> Floats:
        return found / (np.linalg.norm(found, axis=1, keepdims=True) + 1e-9)

    stored = unit(features)

    def neighbours(found: Floats) -> Floats:
        return np.partition(1 - unit(found) @ stored.T, NEIGHBOURS, axis=1)[:, NEIGHBOURS]

    weight = layer.weight.detach().double().flatten(1).numpy()
    origin = -np.linalg.pinv(weight) @ layer.bias.detach().double().numpy()
    moved = features - origin
    kept = min(PRINCIPAL, moved.shape[1] // 2)
    rest = np.linalg.eigh(moved.T @ moved)[1][:, :-kept]

    def residual(found: Floats) -> Floats:
        return np.asarray(np.linalg.norm((found - origin) @ rest, axis=1))

    scale = logits.max(axis=1).mean() / residual(features).mean()
    return {
        "Mahalanobis, shared covariance": lambda found, _: to_class(found),
        "relative Mahalanobis": lambda found, _: to_class(found) - total(found - middle),
        "nearest neighbours": lambda found, _: neighbours(found),
        "ViM": lambda found, given: scale * residual(found) - np.logaddexp.reduce(given, axis=1),
    }


def rows_of(train: TrainResult, model: torch.nn.Module, data: Path) -> list[dict[str, Any]]:
    """Return the share of each set of images above each method's limit."""
    spec = train.preprocess
    with np.load(data / "pneumoniamnist.npz") as archive:
        training = archive["train_images"], archive["train_labels"][:, 0].astype(np.int64)
        validation = seen(archive["val_images"], spec)
    chosen = np.random.default_rng(0).permutation(len(training[0]))[:TRAINING_IMAGES]
    pixels = seen(training[0][chosen], spec)
    with np.load(data / "pneumoniamnist.npz") as archive:
        given = pictures(archive["test_images"], data / "breastmnist.npz")
    sets = {name: seen(images, spec) for name, images in given if images.ndim == 3}
    model.eval()
    fitted = methods(*answers(model, pixels, spec), training[1][chosen], model.get_classifier())  # type: ignore[operator]
    given = {name: answers(model, images, spec) for name, images in (sets | {"val": validation}).items()}
    whitening = fit_novelty(pixels, spec)

    def novelty(images: NDArray[np.uint8]) -> Floats:
        return novelty_of(to_tensor(images, spec), whitening)

    scores = {name: {of: score(*given[of]) for of in given} for name, score in fitted.items()}
    scores["the image itself"] = {of: novelty(images) for of, images in (sets | {"val": validation}).items()}
    rows = []
    for name, values in scores.items():
        limit = np.quantile(values["val"], 1 - SHARE)
        shares = {of: float((values[of] > limit).mean()) for of in sets}
        rows.append({"model": train.candidate.id, "method": name, "above": shares})
        print(f"{train.candidate.id:24} {name:32}", *(f"{of} {share:.1%}," for of, share in shares.items()))
    return rows


def main() -> None:
    """Compare the methods on each trained model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    done: set[str] = set()
    for state in load(options.run_dir).entries:
        if state.trained is None or state.candidate.id in done:
            continue
        done.add(state.candidate.id)
        model = restore(state.candidate, state.training_folder / state.trained.checkpoint)
        rows += rows_of(state.trained, model, options.data)
    document = {"limit": f"{SHARE:.0%} of validation", "own": OWN, "rows": rows}
    options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
