"""Kill a real run at random moments, continue it each time, and compare it with an uninterrupted run.

    python tools/crash_test.py --work DIR [--kills 30] [--seed 0] [--out docs/benchmarks/crash.md]

About half of the kills (SIGKILL) hit the parent alone, the others all its processes. After each kill, every
file of the run directory with a final name must be complete, and a finished file must never change. At the
end the ranking's rows and performance values must equal those of the uninterrupted run, with at most one more
epoch of one candidate for each kill. The fastest layout and precision are measured, so the uninterrupted run
gets those of the killed run. Latencies are measured too, and may differ. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from pepr_edge.records import Artifact, Ranking, RunInfo, TrainingState, TrainResult
from pepr_edge.run_dir.owned import start_record
from pepr_edge.run_dir.store import is_intact, read_record, sha256_file, write_text

RECIPE = """
schema_version = 1
name = "crash"
[device]
name = "this machine"
threads = 1
[data]
source = "phantom"
phantom_images = 240
[candidates]
architectures = ["test_efficientnet", "mobilenetv2_050", "resnet18d", "ghostnet_050"]
image_size_px = 64
[train]
epochs = 4
[workstation]
watts_per_core = 5.0
country = "DNK"
[export]
variants = ["fp32", "int8_static"]
keep_performance = 0.0
[profile]
rules = "quick"
"""
MAX_DELAY_S = 25.0
POLL_S = 0.005
# A stage is finished when its record exists; the record and its files must not be written again.
FINISHED = {
    "train.json": ("checkpoint.safetensors", "logits.npz"),
    "export.json": ("model.onnx",),
    "profile.json": (),
}


class Kill(NamedTuple):
    """A kill: its delay, its target, the current stage, the number of finished files, and the faults."""

    delay_s: float
    target: str
    stage: str
    finished: int
    faults: tuple[str, ...]


def main() -> int:
    """Run the test and print the table; return 1 after any fault."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="a folder that is empty or new")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    if any(arguments.work.iterdir()):
        parser.error(f"{arguments.work}: not empty")
    recipe = arguments.work / "crash.toml"
    killed = arguments.work / "killed"
    whole = arguments.work / "whole"
    modes = arguments.work / "modes"
    recipe.write_text(RECIPE, encoding="utf-8")
    rng = random.Random(arguments.seed)
    kills: list[Kill] = []
    checksums: dict[Path, str] = {}
    for _ in tqdm(range(arguments.kills), "kills"):
        kills.append(attempt(recipe, killed, modes, checksums, rng))
    end = start(recipe, killed)
    watch(killed, modes, end, None)
    faults = check(killed, checksums)
    seed_modes(modes, whole)
    start(recipe, whole).wait()
    text = table(kills) + "\n" + verdict(killed, whole, kills, faults, end.returncode)
    print(text)
    if arguments.out is not None:
        write_text(arguments.out, HEAD + text)
    return 0 if "**no**" not in text else 1


HEAD = """# Killed at random moments

What `python tools/crash_test.py` printed: a run of four candidates on generated images, killed (SIGKILL) and
started again, and one that was not killed. See the head of the tool for what is compared.

"""


def start(recipe: Path, run: Path, *words: str, stderr: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """Start the run in its own session."""
    command = [sys.executable, "-m", "pepr_edge", "run", str(recipe), "--out", str(run), "-q", *words]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr, start_new_session=True)


def attempt(recipe: Path, run: Path, modes: Path, checksums: dict[Path, str], rng: random.Random) -> Kill:
    """Start the run, and kill it unless it ends before."""
    delay_s = rng.uniform(0.0, MAX_DELAY_S)
    whole_group = rng.random() < 0.5
    process = start(recipe, run)
    watch(run, modes, process, delay_s)
    if process.poll() is None:
        if whole_group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()
    current_stage = stage(run)
    wait_for_workers(run)
    faults = check(run, checksums)
    return Kill(delay_s, "all" if whole_group else "parent", current_stage, len(checksums), tuple(faults))


def watch(run: Path, modes: Path, process: subprocess.Popen[bytes], until_s: float | None) -> None:
    """Wait, and copy each training.json that has a mode but no epochs yet."""
    begin = time.monotonic()
    while process.poll() is None and (until_s is None or time.monotonic() - begin < until_s):
        for path in run.glob("candidates/*/training.json"):
            copy = modes / path.parent.name / path.name
            content = b"" if copy.exists() else _content(path)
            if content and not json.loads(content)["epochs"]:
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(content)
        time.sleep(POLL_S)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def seed_modes(modes: Path, whole: Path) -> None:
    """Let a run begin with the modes of another: a training that has no epoch yet keeps its mode."""
    shutil.copytree(modes, whole / "candidates")
    start_record(whole)  # makes it a run directory


def wait_for_workers(run: Path) -> None:
    """Wait until no file changes: after the parent alone was killed, its workers end by themselves."""
    before = None
    now = _times(run)
    while before != now:
        before = now
        time.sleep(0.3)
        now = _times(run)


def _times(run: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}


def stage(run: Path) -> str:
    """Return the current stage according to the events."""
    try:
        lines = (run / "events.jsonl").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return "before its first event"
    last = json.loads(lines[-1])
    stages = {
        "started": "training",
        "weights": "training",
        "made": "training",
        "measured": "measuring",
        "search": "training",
        "finished": "nothing",
    }
    event = last["event"]
    return f"{stages.get(event, event)}, after {event} {last.get('candidate') or ''}".strip()


def check(run: Path, checksums: dict[Path, str]) -> list[str]:
    """Return torn files, and finished files that changed or vanished.

    Args:
        run: the run directory.
        checksums: time and checksum of every finished file so far; updated.
    """
    faults = []
    for path in files(run):
        fault = torn(path)
        if fault:
            faults.append(f"torn: {path.relative_to(run)} ({fault})")
    for path in finished(run):
        current = f"{path.stat().st_mtime_ns} {sha256_file(path)}"
        if checksums.setdefault(path, current) != current:
            faults.append(f"made again: {path.relative_to(run)}")
            checksums[path] = current
    return faults + [f"gone: {path.relative_to(run)}" for path in checksums if not path.exists()]


def finished(run: Path) -> list[Path]:
    """Return the records of finished stages, and their files."""
    paths = []
    for record in files(run / "candidates"):
        if record.name in FINISHED:
            paths += [record, *(record.parent / name for name in FINISHED[record.name])]
    return paths


def files(run: Path) -> list[Path]:
    """Return all files of a run except logs and unfinished files, whose names begin with a dot."""
    return [
        path
        for path in run.rglob("*")
        if path.is_file() and not path.name.startswith(".") and path.name != "log.txt"
    ]


def torn(path: Path) -> str:
    """Return why a file is incomplete, else ""."""
    try:
        if path.suffix == ".json":
            json.loads(path.read_bytes())
        elif path.suffix == ".jsonl":
            [json.loads(line) for line in path.read_bytes().splitlines()]
        if path.name == "export.json" and path.parent.parent.parent.name == "candidates":
            record = read_record(path, Artifact)
            return "" if is_intact(path.parent / "model.onnx", record.sha256) else "another model.onnx"
        if path.name == "train.json":
            trained = read_record(path, TrainResult)
            whole = is_intact(path.parent / trained.checkpoint, trained.checkpoint_sha256)
            return "" if whole else "another checkpoint"
        if path.name == "training.json":
            training = read_record(path, TrainingState)
            whole = training.state is None or is_intact(
                path.parent / training.state, training.state_sha256 or ""
            )
            return "" if whole else "another state"
    except Exception as fault:
        return f"{type(fault).__name__}: {fault}"
    return ""


def rows(run: Path) -> dict[tuple[str, str], Any]:
    """Return, by candidate and variant, the values of a ranking row that do not depend on a measurement.

    These are status, performance with its interval, and sha256 of the file.
    """
    by_variant = {}
    for row in read_record(run / "ranking.json", Ranking).rows:
        values = (row.status, row.performance, row.performance_ci, row.artifact_sha256)
        by_variant[row.candidate, row.variant or ""] = values
    return by_variant


def images(run: Path) -> dict[str, float]:
    """Return the number of training images of each candidate, lost ones included."""
    results = [read_record(path, TrainResult) for path in sorted(run.glob("candidates/*/train.json"))]
    return {result.candidate.id: result.cost.images.value or 0 for result in results}


def table(kills: list[Kill]) -> str:
    """Return a table with a row for each kill."""
    lines = [
        "| kill | after, s | killed | stage | finished files | torn or made again |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for number, kill in enumerate(kills, start=1):
        faults = "; ".join(kill.faults) or "none"
        lines.append(
            f"| {number} | {kill.delay_s:.1f} | {kill.target} | {kill.stage} | {kill.finished} | {faults} |"
        )
    return "\n".join(lines) + "\n"


def verdict(killed: Path, whole: Path, kills: list[Kill], faults: list[str], status: int) -> str:
    """Return the comparison with the uninterrupted run, as a list."""
    same = rows(killed) == rows(whole)
    epoch = read_record(killed / "run.json", RunInfo).data.splits["train"].images
    more = sum(images(killed).values()) - sum(images(whole).values())
    all_faults = list(faults)
    for kill in kills:
        all_faults += kill.faults
    remade = any(fault.startswith(("made again", "gone")) for fault in all_faults)
    is_torn = any(fault.startswith("torn") for fault in all_faults)
    answers = {
        f"the last command, which was not killed, ended with exit status {status}": status == 0,
        f"{len(rows(killed))} rows have the same status, performance, interval, checksum": same,
        "no finished file was made again": not remade,
        "no file is torn": not is_torn,
        f"{more:.0f} more training images, at most one epoch of {epoch} for each of {len(kills)} kills": (
            0 <= more <= epoch * len(kills)
        ),
    }
    return "\n".join(f"- {claim}: {'yes' if holds else '**no**'}" for claim, holds in answers.items()) + "\n"


if __name__ == "__main__":
    sys.exit(main())
