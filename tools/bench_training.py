"""Compare the training throughput of pepr_edge with a plain PyTorch loop, interleaved in one run.

Both use the same model, batch and data. Plain: float32, contiguous, PyTorch's default AdamW, images
normalised in advance, no augmentation. Ours: the loop of `pepr-edge run`, in the layout and precision that
its probe chooses, from uint8 images, with the light augmentation.

    python tools/bench_training.py [--out docs/benchmarks/training.json]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from tqdm import tqdm

from pepr_edge.data import phantom
from pepr_edge.device.facts import facts, versions
from pepr_edge.images.preprocess import to_tensor
from pepr_edge.recipe.settings import ResolvedTrain
from pepr_edge.records import Candidate, Preprocess
from pepr_edge.run_dir.store import write_text
from pepr_edge.train.loop import (
    Labels,
    Pixels,
    batch,
    batch_loader,
    batches,
    loss_function,
    optimiser,
    train_epoch,
    train_step,
)
from pepr_edge.train.models import create
from pepr_edge.train.step import probe

ARCHITECTURES = ("mobilenetv2_050", "resnet18d", "mnasnet_100", "dla46_c")
IMAGE_SIZE_PX = 64
STEPS = 12
ROUNDS = 7
SETTINGS = ResolvedTrain()
SPEC = Preprocess(channels=1, image_size_px=IMAGE_SIZE_PX, mean=(0.45,), std=(0.15,))


def main() -> None:
    """Measure all architectures and write one JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="write the result here, as JSON; else it is printed")
    out = parser.parse_args().out
    torch.set_num_threads(os.cpu_count() or 1)
    pixels, labels = phantom.images(STEPS * SETTINGS.batch_size, seed=0, size_px=IMAGE_SIZE_PX)
    rows = [compare(name, pixels[..., None], labels) for name in tqdm(ARCHITECTURES, desc="architectures")]
    mean = math.exp(statistics.fmean(math.log(row["ratio"]) for row in rows))
    for row in rows:
        speeds = f"{row['plain']:>6.0f} {row['ours']:>6.0f} images/s"
        print(f"{row['architecture']:<18} {speeds}  {row['ratio']:.2f}x  {row['mode']}")
    print(f"geometric mean {mean:.2f}x")
    result = {
        "schema_version": 1,
        "what": __doc__.splitlines()[0],
        "settings": {
            "image_size_px": IMAGE_SIZE_PX,
            "batch_size": SETTINGS.batch_size,
            "steps": STEPS,
            "rounds": ROUNDS,
        },
        "threads": torch.get_num_threads(),
        "device": facts().model_dump(mode="json", exclude={"versions"}),
        "versions": versions(("pepr_edge", "torch", "timm", "numpy")),
        "geometric_mean_ratio": mean,
        "rows": rows,
    }
    if out is not None:
        write_text(out, json.dumps(result, indent=1) + "\n")


def compare(architecture: str, pixels: Pixels, labels: Labels) -> dict[str, Any]:
    """Run epochs of both loops in turn; return medians in images per second, and the median ratio."""
    candidate = Candidate(
        architecture=architecture, image_size_px=IMAGE_SIZE_PX, in_channels=1, num_classes=2
    )
    device = torch.device("cpu")
    torch.manual_seed(0)
    model = create(candidate)
    plain_model = create(candidate)
    loss = loss_function(SETTINGS, labels, 2, device)
    model.train()
    images, targets = batch((pixels, labels), np.arange(SETTINGS.batch_size), SPEC, device)
    mode, _ = probe(model, images, targets, lambda trial: optimiser(SETTINGS, trial), loss)
    model = mode.place(model, device)
    step = train_step(model, mode, SETTINGS, loss, total_steps=STEPS * (ROUNDS + 1))
    rng = np.random.default_rng(0)
    generator = torch.Generator().manual_seed(0)
    load_batch = batch_loader((pixels, labels), SPEC, SETTINGS, generator, device)
    plain = torch.optim.AdamW(
        plain_model.parameters(), lr=SETTINGS.learning_rate, weight_decay=SETTINGS.weight_decay
    )
    loader = DataLoader(
        TensorDataset(torch.from_numpy(to_tensor(pixels, SPEC)), torch.from_numpy(labels)),
        batch_size=SETTINGS.batch_size,
        shuffle=True,
    )
    ours_s = []
    plain_s = []
    for _ in range(ROUNDS + 1):
        start = time.perf_counter()
        parts = batches(len(labels), SETTINGS.batch_size, rng)
        train_epoch(step, SETTINGS, load_batch, parts, lambda done: None)
        middle = time.perf_counter()
        plain_epoch(plain_model, plain, loader)
        ours_s.append(middle - start)
        plain_s.append(time.perf_counter() - middle)
    # The first round warms up.
    ours = [len(labels) / seconds for seconds in ours_s[1:]]
    base = [len(labels) / seconds for seconds in plain_s[1:]]
    return {
        "architecture": architecture,
        "mode": f"{mode.layout} {mode.precision}",
        "ours": statistics.median(ours),
        "plain": statistics.median(base),
        "ratio": statistics.median(a / b for a, b in zip(ours, base, strict=True)),
        "ours_images_per_s": ours,
        "plain_images_per_s": base,
    }


def plain_epoch(
    model: nn.Module, optimising: torch.optim.Optimizer, loader: DataLoader[tuple[torch.Tensor, ...]]
) -> None:
    """Train an epoch as in PyTorch's tutorials."""
    model.train()
    criterion = nn.CrossEntropyLoss()
    for images, labels in loader:
        optimising.zero_grad()
        criterion(model(images), labels).backward()
        optimising.step()


if __name__ == "__main__":
    main()
