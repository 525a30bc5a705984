"""Kill a real run at random moments, go on each time, and compare it with one that nobody killed.

    python tools/crash_test.py --work DIR [--kills 30] [--seed 0] [--out docs/benchmarks/crash.md]

Every other kill (SIGKILL) hits the parent alone, the rest all its processes at once. After each, every file of the run directory that has
its final name must be whole, and nothing that was finished may ever change. At the end the ranking's rows and performance values must be
those of the uninterrupted run, and no more images trained on than one epoch of one candidate for each kill. Which layout and precision is
the fastest is a measurement, so the uninterrupted run is given those that the killed one found. Latencies are measured, and differ. Linux
only.
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
from pepr_edge.run_dir.store import is_whole, read_record, sha256_file, write_text

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
LONGEST_S, POLL_S = 25.0, 0.005
# A stage is finished once its record is there; it and the files that it names are never to be written again.
FINISHED = {
    "train.json": ("checkpoint.safetensors", "logits.npz"),
    "export.json": ("model.onnx",),
    "profile.json": (),
}


class Kill(NamedTuple):
    """One attempt: when it was killed, and how, what was under way, what was finished by then, and what was wrong."""

    moment_s: float
    whom: str
    under_way: str
    finished: int
    faults: tuple[str, ...]


def main() -> int:
    """Run all, print the table; exit status 1 where anything is not as it should be."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="a folder that is empty or new")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    if any(given.work.iterdir()):
        parser.error(f"{given.work}: not empty")
    recipe, killed, whole = given.work / "crash.toml", given.work / "killed", given.work / "whole"
    recipe.write_text(RECIPE, encoding="utf-8")
    chance = random.Random(given.seed)
    kills, kept = [], dict[Path, str]()
    modes = given.work / "modes"
    for _ in tqdm(range(given.kills), "kills"):
        kills.append(attempt(recipe, killed, modes, kept, chance))
    end = start(recipe, killed)
    watch(killed, modes, end, None)
    faults = check(killed, kept)
    _seed_modes(modes, whole)
    start(recipe, whole).wait()
    text = table(kills) + "\n" + verdict(killed, whole, kills, faults, end.returncode)
    print(text)
    if given.out is not None:
        write_text(given.out, HEAD + text)
    return 0 if "**no**" not in text else 1


HEAD = """# Killed at random moments

What `python tools/crash_test.py` printed: a run of four candidates on generated images, killed (SIGKILL) and started again, and one that
was not killed. See the head of the tool for what is compared.

"""


def start(recipe: Path, run: Path) -> subprocess.Popen[bytes]:
    """The run, in a session of its own."""
    command = [sys.executable, "-m", "pepr_edge", "run", str(recipe), "--out", str(run), "-q"]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def attempt(recipe: Path, run: Path, modes: Path, kept: dict[Path, str], chance: random.Random) -> Kill:
    """Start the run and kill it, if it is not over before."""
    moment_s, everybody = chance.uniform(0.0, LONGEST_S), chance.random() < 0.5
    process = start(recipe, run)
    watch(run, modes, process, moment_s)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL) if everybody else process.kill()
    process.wait()
    under_way = stage(run)
    wait_for_the_workers(run)
    faults = check(run, kept)
    return Kill(moment_s, "all" if everybody else "parent", under_way, len(kept), tuple(faults))


def watch(run: Path, modes: Path, process: subprocess.Popen[bytes], until_s: float | None) -> None:
    """Wait, and keep a copy of each training.json that says which mode was chosen, and has no epochs yet."""
    begin = time.monotonic()
    while process.poll() is None and (until_s is None or time.monotonic() - begin < until_s):
        for path in run.glob("candidates/*/training.json"):
            kept = modes / path.parent.name / path.name
            if not kept.exists() and (content := _content(path)) and not json.loads(content)["epochs"]:
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_bytes(content)
        time.sleep(POLL_S)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _seed_modes(modes: Path, whole: Path) -> None:
    shutil.copytree(modes, whole / "candidates")
    start_record(whole)  # so that it is a run directory


def wait_for_the_workers(run: Path) -> None:
    """Where the parent alone was killed its workers end by themselves; nothing is written after that."""
    before: dict[Path, int] = {}
    while before != (now := {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}):
        before = now
        time.sleep(0.3)


def stage(run: Path) -> str:
    """What was under way, as far as the events tell."""
    try:
        lines = (run / "events.jsonl").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return "before its first event"
    last = json.loads(lines[-1])
    words = {
        "started": "training",
        "made": "training",
        "measured": "measuring",
        "search": "training",
        "finished": "nothing",
    }
    return f"{words.get(last['event'], last['event'])}, after {last['event']} {last.get('candidate') or ''}".strip()


def check(run: Path, kept: dict[Path, str]) -> list[str]:
    """What is torn, and what that was finished was made again. `kept`: every finished file so far, and its checksum."""
    faults = [f"torn: {path.relative_to(run)} ({fault})" for path in files(run) if (fault := torn(path))]
    for path in finished(run):
        found = f"{path.stat().st_mtime_ns} {sha256_file(path)}"
        if kept.setdefault(path, found) != found:
            faults.append(f"made again: {path.relative_to(run)}")
            kept[path] = found
    return faults + [f"gone: {path.relative_to(run)}" for path in kept if not path.exists()]


def finished(run: Path) -> list[Path]:
    """The records of finished stages, and the files that they name."""
    records = [path for path in files(run / "candidates") if path.name in FINISHED]
    return [
        path
        for record in records
        for path in (record, *(record.parent / name for name in FINISHED[record.name]))
    ]


def files(run: Path) -> list[Path]:
    """All files of a run but those that are being written, whose names begin with a dot, and logs, which nobody relies on."""
    return [
        path
        for path in run.rglob("*")
        if path.is_file() and not path.name.startswith(".") and path.name != "log.txt"
    ]


def torn(path: Path) -> str:
    """Why a file is not whole; empty where it is."""
    try:
        if path.suffix == ".json":
            json.loads(path.read_bytes())
        elif path.suffix == ".jsonl":
            [json.loads(line) for line in path.read_bytes().splitlines()]
        if path.name == "export.json" and path.parent.parent.parent.name == "candidates":
            record = read_record(path, Artifact)
            return "" if is_whole(path.parent / "model.onnx", record.sha256) else "another model.onnx"
        if path.name == "train.json":
            trained = read_record(path, TrainResult)
            return (
                ""
                if is_whole(path.parent / trained.checkpoint, trained.checkpoint_sha256)
                else "another checkpoint"
            )
        if path.name == "training.json":
            training = read_record(path, TrainingState)
            whole = training.state is None or is_whole(
                path.parent / training.state, training.state_sha256 or ""
            )
            return "" if whole else "another state"
    except Exception as fault:
        return f"{type(fault).__name__}: {fault}"
    return ""


def rows(run: Path) -> dict[tuple[str, str], Any]:
    """Of each row of the ranking what does not depend on a measurement: status, performance with its interval, sha256 of the file."""
    found = read_record(run / "ranking.json", Ranking).rows
    return {
        (row.candidate, row.variant or ""): (
            row.status,
            row.performance,
            row.performance_ci,
            row.artifact_sha256,
        )
        for row in found
    }


def images(run: Path) -> dict[str, float]:
    """Images that each candidate was trained on, lost ones included."""
    trained = (read_record(path, TrainResult) for path in sorted(run.glob("candidates/*/train.json")))
    return {one.candidate.id: one.cost.images.value or 0 for one in trained}


def table(kills: list[Kill]) -> str:
    """One line a kill."""
    lines = [
        "| kill | after, s | killed | under way | files finished | torn or made again |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for number, kill in enumerate(kills, start=1):
        found = "; ".join(kill.faults) or "none"
        lines.append(
            f"| {number} | {kill.moment_s:.1f} | {kill.whom} | {kill.under_way} | {kill.finished} | {found} |"
        )
    return "\n".join(lines) + "\n"


def verdict(killed: Path, whole: Path, kills: list[Kill], faults: list[str], status: int) -> str:
    """The comparison with the run that was not killed."""
    same = rows(killed) == rows(whole)
    epoch = read_record(killed / "run.json", RunInfo).data.splits["train"].images
    more = sum(images(killed).values()) - sum(images(whole).values())
    wrong = [fault for kill in kills for fault in kill.faults] + faults
    answers = {
        f"the command that nobody killed ended with exit status {status}": status == 0,
        f"{len(rows(killed))} rows, with status, performance, interval and checksum of the file as in the uninterrupted run": same,
        "nothing that was finished was made again": not any(
            fault.startswith(("made again", "gone")) for fault in wrong
        ),
        "no torn file": not any(fault.startswith("torn") for fault in wrong),
        f"{more:.0f} images more trained on, at most one epoch of {epoch} for each of {len(kills)} kills": 0
        <= more
        <= epoch * len(kills),
    }
    return "\n".join(f"- {words}: {'yes' if holds else '**no**'}" for words, holds in answers.items()) + "\n"


if __name__ == "__main__":
    sys.exit(main())
