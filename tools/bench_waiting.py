"""Measure what threads that wait cost a training, alone and beside one busy single-threaded program.

First, training steps: for each setting of OpenMP's threads a process stays open; in each round every
setting takes a block of steps alone, and one beside a busy loop. So other load on the machine affects all
alike. Then, whole trainings as `pepr-edge run` makes them, in pairs: alone, and beside the busy loop. The
tables hold medians over the rounds and over the pairs; the raw values are kept.

    python tools/bench_waiting.py [--out docs/benchmarks/waiting.json] [--rounds 5] [--pairs 5]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ARCHITECTURES = ("resnet14t", "mobilenetv2_050")
IMAGE_SIZE_PX = 32
BATCH_SIZE = 32
BLOCK_S = 0.5
MIN_STEPS = 1
WARM_UP_STEPS = 2
# On a busy machine rounds and pairs end after this long for each model, so the whole takes five minutes.
STEPS_LIMIT_S = 60.0
TRAININGS_LIMIT_S = 110.0
WATTS_PER_CORE = 10.0
TRAINING_IMAGES = 700
TRAINING_EPOCHS = 2
BUSY = "while True: pass"


@dataclass(frozen=True)
class Setting:
    """How the threads of a training wait, and how many there are; 0: as many as the machine has cores."""

    name: str
    environment: Mapping[str, str]
    threads: int = 0


SETTINGS = (
    Setting("as PyTorch comes", {}),
    Setting("OMP_WAIT_POLICY=PASSIVE", {"OMP_WAIT_POLICY": "PASSIVE"}),
    Setting("GOMP_SPINCOUNT=1000", {"GOMP_SPINCOUNT": "1000"}),
    Setting("GOMP_SPINCOUNT=10000", {"GOMP_SPINCOUNT": "10000"}),
    Setting("one thread", {}, threads=1),
)


def main() -> None:
    """Measure and write one JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="write the result here, as JSON; else it is printed")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of blocks of steps")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of whole trainings for each model")
    parser.add_argument("--serve", nargs=2, metavar=("ARCHITECTURE", "THREADS"), help=argparse.SUPPRESS)
    parser.add_argument("--train", nargs=2, metavar=("ARCHITECTURE", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve[0], int(options.serve[1]))
    elif options.train:
        train(options.train[0], Path(options.train[1]))
    else:
        _measure(options.rounds, options.pairs, options.out)


def _measure(rounds: int, pairs: int, out: Path | None) -> None:
    from pepr_edge.device.facts import facts, versions
    from pepr_edge.run_dir.store import write_text

    load_before = _load()
    with busy_loop() as busy:
        steps = {name: compare_steps(name, rounds, busy) for name in ARCHITECTURES}
        trainings = {name: compare_trainings(name, pairs, busy) for name in ARCHITECTURES}
    result = {
        "schema_version": 1,
        "what": __doc__.splitlines()[0],
        "settings": {
            "image_size_px": IMAGE_SIZE_PX,
            "batch_size": BATCH_SIZE,
            "block_s": BLOCK_S,
            "rounds": rounds,
            "pairs": pairs,
            "training_images": TRAINING_IMAGES,
            "training_epochs": TRAINING_EPOCHS,
        },
        "load": {"before": load_before, "after": _load()},
        "device": facts().model_dump(mode="json", exclude={"versions"}),
        "versions": versions(("pepr_edge", "torch", "timm", "numpy")),
        "steps": steps,
        "trainings": trainings,
    }
    _print(steps, trainings)
    if out is not None:
        write_text(out, json.dumps(result, indent=1) + "\n")


def _load() -> float | None:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


@contextmanager
def busy_loop() -> Iterator[psutil.Process]:
    """A process that does nothing but count, suspended until it is wanted."""
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    handle = psutil.Process(process.pid)
    handle.suspend()
    try:
        yield handle
    finally:
        process.kill()
        process.wait()


@contextmanager
def beside(busy: psutil.Process) -> Iterator[None]:
    """Let the busy loop run for a while."""
    busy.resume()
    try:
        yield
    finally:
        busy.suspend()


def compare_steps(architecture: str, rounds: int, busy: psutil.Process) -> dict[str, Any]:
    """Return milliseconds and CPU milliseconds of a step for each setting, alone and beside the busy loop."""
    raw: dict[str, dict[str, list[float]]] = {}
    with ExitStack() as stack:
        servers = {}
        for setting in SETTINGS:
            servers[setting.name] = stack.enter_context(_server(architecture, setting))
            raw[setting.name] = {"alone_ms": [], "alone_cpu_ms": [], "beside_ms": [], "beside_cpu_ms": []}
        end_s = time.perf_counter() + STEPS_LIMIT_S
        for number in range(rounds):
            if number and time.perf_counter() > end_s:
                break
            turns = list(servers.items())
            first = number % len(turns)
            for name, server in turns[first:] + turns[:first]:
                alone = _block(server)
                with beside(busy):
                    loaded = _block(server)
                for key, block in (("alone", alone), ("beside", loaded)):
                    raw[name][f"{key}_ms"].append(block["wall_s"] / block["steps"] * 1e3)
                    raw[name][f"{key}_cpu_ms"].append(block["cpu_s"] / block["steps"] * 1e3)
            print(f"{architecture}: round {number + 1} of {rounds}", file=sys.stderr)
    return {
        name: {"rounds": len(values["alone_ms"]), **_medians(values), "raw": values}
        for name, values in raw.items()
    }


def _medians(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return the medians of a setting's blocks, and of the ratios within its pairs."""
    medians = {name: statistics.median(figures) for name, figures in values.items()}
    slower = zip(values["beside_ms"], values["alone_ms"], strict=True)
    dearer = zip(values["beside_cpu_ms"], values["alone_cpu_ms"], strict=True)
    medians["time_ratio"] = statistics.median(a / b for a, b in slower)
    medians["cpu_ratio"] = statistics.median(a / b for a, b in dearer)
    return medians


@contextmanager
def _server(architecture: str, setting: Setting) -> Iterator[subprocess.Popen[str]]:
    """Open a process that takes training steps when it is told to."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    threads = setting.threads or os.cpu_count() or 1
    process = subprocess.Popen(
        [sys.executable, __file__, "--serve", architecture, str(threads)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**inherited, **setting.environment},
        text=True,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def _block(server: subprocess.Popen[str]) -> dict[str, float]:
    assert server.stdin is not None
    assert server.stdout is not None
    server.stdin.write("block\n")
    server.stdin.flush()
    answer: dict[str, float] = json.loads(server.stdout.readline())
    return answer


def serve(architecture: str, threads: int) -> None:
    """Take a block of training steps for each line of stdin, and answer what it used."""
    import torch

    from pepr_edge.recipe import Train
    from pepr_edge.records import Candidate
    from pepr_edge.train.loop import train_step
    from pepr_edge.train.models import create
    from pepr_edge.train.step import ComputeMode

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    candidate = Candidate(
        architecture=architecture, image_size_px=IMAGE_SIZE_PX, in_channels=1, num_classes=2
    )
    model = create(candidate).train()
    step = train_step(model, ComputeMode(), Train(), torch.nn.CrossEntropyLoss(), total_steps=100_000)
    images = torch.randn(BATCH_SIZE, 1, IMAGE_SIZE_PX, IMAGE_SIZE_PX)
    labels = torch.randint(0, 2, (BATCH_SIZE,))
    for _ in range(WARM_UP_STEPS):
        step(images, labels)
    print("ready", flush=True)
    for _ in sys.stdin:
        start_s = time.perf_counter()
        start_cpu_s = time.process_time()
        steps = 0
        while steps < MIN_STEPS or time.perf_counter() - start_s < BLOCK_S:
            step(images, labels)
            steps += 1
        wall_s = time.perf_counter() - start_s
        cpu_s = time.process_time() - start_cpu_s
        print(json.dumps({"wall_s": wall_s, "cpu_s": cpu_s, "steps": steps}), flush=True)


def compare_trainings(architecture: str, pairs: int, busy: psutil.Process) -> dict[str, Any]:
    """Return energy and time of whole trainings, alone and beside the busy loop, in pairs."""
    alone: list[dict[str, Any]] = []
    loaded: list[dict[str, Any]] = []
    end_s = time.perf_counter() + TRAININGS_LIMIT_S
    for number in range(pairs):
        if number and time.perf_counter() > end_s:
            break
        # The order alternates, so that a trend of other load affects both alike.
        if number % 2 == 0:
            alone.append(_trained(architecture))
        with beside(busy):
            loaded.append(_trained(architecture))
        if number % 2 == 1:
            alone.append(_trained(architecture))
        print(f"{architecture}: training pair {number + 1} of {pairs}", file=sys.stderr)
    ratios = list(zip(loaded, alone, strict=True))
    return {
        "energy_ratio": _median(ratios, "energy_j"),
        "time_ratio": _median(ratios, "duration_s"),
        "threads": [one["threads"] for one in alone],
        "alone": alone,
        "beside": loaded,
    }


def _median(pairs: Sequence[tuple[dict[str, Any], dict[str, Any]]], name: str) -> float | None:
    ratios = [loaded[name] / alone[name] for loaded, alone in pairs if alone[name]]
    return statistics.median(ratios) if ratios else None


def _trained(architecture: str) -> dict[str, Any]:
    """Train in a new process with the environment of a run's workers."""
    from pepr_edge.engine.worker_process import worker_environment

    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--train", architecture, folder]
        done = subprocess.run(command, env=worker_environment(), capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def train(architecture: str, folder: Path) -> None:
    """Train once on the phantom as a run does, and print what it used."""
    from pepr_edge import data as datasets
    from pepr_edge.device.cpu import usable_cores
    from pepr_edge.recipe.settings import ResolvedRecipe
    from pepr_edge.records import Candidate
    from pepr_edge.train.session import TrainingJob
    from pepr_edge.train.train import train as train_candidate

    recipe = ResolvedRecipe.model_validate(
        {
            "name": "waiting",
            "device": {"name": "this machine"},
            "data": {"source": "phantom", "phantom_images": TRAINING_IMAGES},
            "candidates": {"architectures": [architecture], "image_size_px": [IMAGE_SIZE_PX]},
            "train": {"epochs": TRAINING_EPOCHS, "batch_size": BATCH_SIZE, "device": "cpu"},
            "workstation": {"watts_per_core": WATTS_PER_CORE},
        }
    )
    candidate = Candidate(
        architecture=architecture, image_size_px=IMAGE_SIZE_PX, in_channels=1, num_classes=2
    )
    settings = datasets.DataSettings(
        source=recipe.data.source,
        phantom_images=recipe.data.phantom_images,
        interpolation=recipe.data.filter_for(candidate),
        image_size_px=IMAGE_SIZE_PX,
        seed=recipe.seed,
    )
    datasets.prepare(settings, folder / "data", lambda done, total: None)
    data = datasets.load(folder / "data")
    (folder / "candidate").mkdir()
    job = TrainingJob(
        candidate, data, recipe, folder / "candidate", "0", usable_cores(), False, lambda *progress: None
    )
    result = train_candidate(job)
    answer = {
        "energy_j": result.cost.energy_j.value,
        "duration_s": result.cost.duration_s.value,
        "threads": result.environment.threads,
        "mode": f"{result.layout} {result.precision}",
    }
    print(json.dumps(answer))


def _print(steps: Mapping[str, Any], trainings: Mapping[str, Any]) -> None:
    for architecture, settings in steps.items():
        print(f"\n{architecture}: a step, alone and beside one busy program")
        print(f"{'':<26}{'ms':>8}{'CPU ms':>8}{'ms':>9}{'CPU ms':>8}{'time x':>8}{'CPU x':>7}")
        for name, row in settings.items():
            alone = f"{row['alone_ms']:>8.1f}{row['alone_cpu_ms']:>8.1f}"
            loaded = f"{row['beside_ms']:>9.1f}{row['beside_cpu_ms']:>8.1f}"
            print(f"{name:<26}{alone}{loaded}{row['time_ratio']:>8.2f}{row['cpu_ratio']:>7.2f}")
    for architecture, row in trainings.items():
        print(f"\n{architecture}: a training beside one busy program against alone")
        print(f"energy {row['energy_ratio']:.2f}x, time {row['time_ratio']:.2f}x, threads {row['threads']}")


if __name__ == "__main__":
    main()
