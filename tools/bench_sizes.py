"""Measure what the image size and the start of the classifier make of small architectures, from scratch.

    python tools/bench_sizes.py breastmnist.npz --work DIR --out docs/benchmarks/sizes.json

Each architecture is trained with the settings that a run would choose from the images: at the size nearest to
theirs, at 64 px, and at 64 px with the classifier as timm begins it. The larger resnet14t is trained at
the nearest size alone. Validation accuracy of the best epoch; the test split is not read. Rows are written as
they come, and trainings that are in the file already are not done again; `--seeds` adds more.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from pepr_edge.data import Dataset, DataSettings, load, prepare
from pepr_edge.device.facts import here
from pepr_edge.recipe import Recipe
from pepr_edge.recipe.settings import choose, resolve
from pepr_edge.records import Candidate, ImageFacts, TrainResult
from pepr_edge.run_dir.store import write_text
from pepr_edge.train import setup
from pepr_edge.train.session import TrainingJob
from pepr_edge.train.train import train

SMALL = ("mobilenetv2_050", "mnasnet_100", "dla46_c")
LARGER = "resnet14t"
NEAREST_PX = 32
ENLARGED_PX = 64
METRIC = "accuracy"


class Way(NamedTuple):
    """How an architecture is trained: the size of its images, and whether its first logits are small."""

    architecture: str
    size_px: int
    small_logits: bool = True


def ways() -> Iterator[Way]:
    """Yield all ways."""
    yield Way(LARGER, NEAREST_PX)
    for name in SMALL:
        yield Way(name, NEAREST_PX)
        yield Way(name, ENLARGED_PX)
        yield Way(name, ENLARGED_PX, small_logits=False)


def main() -> None:
    """Train what is missing, and write the rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", help="an .npz file in MedMNIST's format, images of about 28 px")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    if arguments.out.is_file():
        rows = json.loads(arguments.out.read_text(encoding="utf-8"))["trainings"]
    done = {(Way(row["architecture"], row["size_px"], row["small_logits"]), row["seed"]) for row in rows}
    for seed in arguments.seeds:
        for way in ways():
            if (way, seed) in done:
                continue
            folder = arguments.work / f"{way.architecture}-{way.size_px}-{way.small_logits}-{seed}"
            result = trained(way, seed, _data(arguments.source, way.size_px, arguments.work), folder)
            rows.append(_row(way, seed, result))
            document = {
                "schema_version": 1,
                "source": Path(arguments.source).stem,
                "metric": METRIC,
                "machine": here().model_dump(mode="json"),
                "trainings": rows,
            }
            write_text(arguments.out, json.dumps(document, indent=1) + "\n")
    print(as_markdown(rows))


def _data(source: str, size_px: int, work: Path) -> Dataset:
    folder = work / f"pixels-{size_px}"
    if not folder.exists():
        prepare(DataSettings(source=source, image_size_px=size_px), folder, lambda done, total: None)
    return load(folder)


def trained(way: Way, seed: int, data: Dataset, folder: Path) -> TrainResult:
    """Train one model."""
    written = Recipe.model_validate(
        {
            "name": "sizes",
            "seed": seed,
            "device": {"name": "this machine"},
            "candidates": {"architectures": [way.architecture], "image_size_px": way.size_px},
            "train": {
                **dict.fromkeys(("epochs", "batch_size", "learning_rate", "patience"), "auto"),
                "class_balanced": True,
                "device": "cpu",
            },
            "workstation": {"watts_per_core": 7.5, "country": "DNK"},
            "score": {"performance": METRIC},
        }
    )
    facts = ImageFacts(
        train_images=data.info.splits["train"].images, classes=len(data.info.labels), side_px=28
    )
    recipe = resolve(written, choose(written, facts))
    candidate = Candidate(
        architecture=way.architecture,
        image_size_px=way.size_px,
        in_channels=data.info.channels,
        num_classes=len(data.info.labels),
        weights="scratch",
    )
    folder.mkdir(parents=True, exist_ok=True)
    with patch.object(setup, "_small_logits", lambda recipe: way.small_logits):
        key = f"{way} {seed}"
        return train(TrainingJob(candidate, data, recipe, folder, key, 1, False, lambda *_: None))


def _row(way: Way, seed: int, result: TrainResult) -> dict[str, Any]:
    return {
        **way._asdict(),
        "seed": seed,
        "accuracy": result.performance[f"val_{METRIC}"].value,
        "best_epoch": result.best_epoch,
        "by_epoch": [round(epoch.val_performance, 4) for epoch in result.epochs],
        "duration_s": result.cost.duration_s.value,
    }


def as_markdown(rows: list[Mapping[str, Any]]) -> str:
    """Return the means over seeds as a table."""
    lines = [
        "| architecture | px | classifier | seeds | validation accuracy | lowest | highest |",
        "|---" * 7 + "|",
    ]
    for way in ways():
        values = [
            row["accuracy"]
            for row in rows
            if Way(row["architecture"], row["size_px"], row["small_logits"]) == way
        ]
        if values:
            start = "small logits" if way.small_logits else "as timm begins it"
            mean = statistics.mean(values)
            lines.append(
                f"| {way.architecture} | {way.size_px} | {start} | {len(values)} | {mean:.3f} | "
                f"{min(values):.3f} | {max(values):.3f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
