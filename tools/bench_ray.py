"""Measure the overhead of `--engine ray` over `--engine local` on the same trainings and exports.

    python tools/bench_ray.py --out docs/benchmarks/ray.json

Both engines continue from copies of the same folders, in which the mode of each training is already chosen.
They alternate block by block, so that other activity affects both. Ray is started on this machine; its start
and end are timed separately.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pepr_edge import __version__
from pepr_edge.data import DataSettings, prepare
from pepr_edge.device.cpu import cpu_name, usable_cores
from pepr_edge.device.facts import versions
from pepr_edge.engine import ray, this_machine
from pepr_edge.engine.engine import Engine
from pepr_edge.engine.job import CandidateJob
from pepr_edge.recipe.settings import ResolvedRecipe
from pepr_edge.records import Candidate, TrainResult
from pepr_edge.run_dir.store import read_record, write_text

ARCHITECTURES = ("mobilenetv2_050", "mobilenetv3_small_050", "lcnet_050", "resnet10t")
PX = 64
SEEDS = (1, 2)


def main() -> None:
    """Measure, and write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        result = measured(Path(temporary), options.images, options.epochs)
    write_text(options.out, json.dumps(result, indent=1) + "\n")
    print(json.dumps({name: value for name, value in result.items() if name != "blocks"}, indent=1))


def measured(folder: Path, images: int, epochs: int) -> dict[str, Any]:
    """Run all jobs with both engines."""
    prepare(DataSettings("phantom", PX, phantom_images=images, seed=1), folder / "data")
    here = this_machine.engine(usable_cores())
    jobs = [job(folder, name, seed, epochs, here) for seed in SEEDS for name in ARCHITECTURES]
    carry_out(here, [each.model_copy(update={"kind": "probe"}) for each in jobs])
    blocks = []
    start_s = time.perf_counter()
    with ray.opened(jobs[0].recipe, None, None, lambda job, reason: print(job.candidate.id, reason)) as (
        cluster,
        _,
    ):
        opened_s = time.perf_counter() - start_s
        for number, first in enumerate(range(0, len(jobs), usable_cores())):
            block = jobs[first : first + usable_cores()]
            blocks.append(in_turn(folder, block, {"local": here, "ray": cluster}, backwards=number % 2 == 1))
            print(blocks[-1], file=sys.stderr)  # stdout is blocked while Ray is open
        end_s = time.perf_counter()
    closed_s = time.perf_counter() - end_s
    local_s = sum(block["local_s"] for block in blocks)
    ray_s = sum(block["ray_s"] for block in blocks)
    trainings = [
        read_record(folder / "local" / Path(each.folder).name / "train.json", TrainResult) for each in jobs
    ]
    return {
        "pepr_edge": __version__,
        "cpu": cpu_name(),
        "cores": usable_cores(),
        "versions": versions(("ray", "torch", "timm", "numpy")),
        "candidates": len(jobs),
        "at_once": usable_cores(),
        "median_training_s": round(
            statistics.median(training.cost.duration_s.value or 0.0 for training in trainings), 1
        ),
        "local_s": round(local_s, 1),
        "ray_s": round(ray_s, 1),
        "ray_opened_s": round(opened_s, 1),
        "ray_closed_s": round(closed_s, 1),
        "overhead_of_the_work": round(ray_s / local_s - 1, 4),
        "overhead_with_start_and_end": round((ray_s + opened_s + closed_s) / local_s - 1, 4),
        "same_weights": sum(same(folder, each) for each in jobs),
        "blocks": blocks,
    }


def job(folder: Path, architecture: str, seed: int, epochs: int, engine: Engine) -> CandidateJob:
    """Return the job of one training with the export of one variant."""
    recipe = ResolvedRecipe.model_validate(
        {
            "name": "bench",
            "seed": seed,
            "device": {"name": "bench"},
            "candidates": {"architectures": [architecture], "image_size_px": PX},
            "train": {"epochs": epochs, "patience": epochs, "device": "cpu"},
            "export": {"variants": ["fp32"]},
            "cluster": {"cpus": engine.threads},
        }
    )
    return CandidateJob(
        candidate=Candidate(architecture=architecture, image_size_px=PX, in_channels=1, num_classes=2),
        recipe=recipe,
        data=str(folder / "data"),
        folder=str(folder / "begun" / f"{architecture}-{seed}"),
        train_key=f"{architecture} {seed}",
        threads=engine.threads,
        exclusive=False,
    )


def in_turn(
    folder: Path, block: list[CandidateJob], engines: dict[str, Engine], backwards: bool
) -> dict[str, float]:
    """Return the seconds that each engine takes for a block."""
    seconds = {}
    for name in sorted(engines, reverse=backwards):
        jobs = [
            each.model_copy(update={"folder": copied(Path(each.folder), folder / name)}) for each in block
        ]
        start_s = time.perf_counter()
        carry_out(engines[name], jobs)
        seconds[f"{name}_s"] = round(time.perf_counter() - start_s, 2)
    return seconds


def copied(folder: Path, home: Path) -> str:
    """Copy a candidate's folder; return the path of the copy."""
    shutil.copytree(folder, home / folder.name)
    return str(home / folder.name)


def carry_out(engine: Engine, jobs: list[CandidateJob]) -> None:
    """Run jobs; exit if one fails."""

    def check(done: CandidateJob) -> None:
        failure = Path(done.folder) / "failure.json"
        if failure.exists():
            failures.append(f"{done.candidate.id} failed: {failure.read_text()}")

    failures: list[str] = []
    engine.run(jobs, lambda job, step: None, check)
    if failures:
        raise SystemExit(failures[0])


def same(folder: Path, job: CandidateJob) -> bool:
    """True if a training ended with the same weights under both engines."""
    name = Path(job.folder).name
    local = read_record(folder / "local" / name / "train.json", TrainResult)
    remote = read_record(folder / "ray" / name / "train.json", TrainResult)
    return local.checkpoint_sha256 == remote.checkpoint_sha256


if __name__ == "__main__":
    main()
