"""Measure the overhead of `pepr-edge bench` over a bare loop of session.run, and its parent's CPU time.

    python tools/bench_overhead.py [--out docs/benchmarks/overhead.json] [--rounds N] [BUNDLE ...]

In each round `pepr-edge bench --quick` and a script with onnxruntime alone keep the same model open with the
same settings, pinned to the same core. Every half second one is stopped and the other continues, so that
other activity affects both equally. The tool compares their p50 over the ten seconds that bench measures.
Then it measures the CPU seconds of bench's parent over 30 s, with the full rules. Without bundles, a run of
two architectures at 224 px makes some. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from progress_lines import Lines
from tqdm import tqdm

from pepr_edge import pipeline
from pepr_edge.bundle.read import read_manifest
from pepr_edge.device.facts import facts, versions
from pepr_edge.measure.rules import QUICK
from pepr_edge.ranking.skill import SkillCheck
from pepr_edge.recipe import Recipe
from pepr_edge.recipe.toml import parse
from pepr_edge.records import FieldReport, RankingRow
from pepr_edge.run_dir.store import read_record, write_text
from pepr_edge.scoring.percentiles import early_stopping_percentile

SLICE_S = 0.5
WINDOW_S = 30.0
MAX_RATIO = 1.02
MAX_SHARE = 0.01
RECIPE = """
schema_version = 1
name = "overhead"
[device]
name = "this machine"
threads = 1
[data]
source = "phantom"
phantom_images = 60
[candidates]
architectures = ["mobilenetv2_050", "resnet18d"]
image_size_px = 224
[train]
epochs = 1
[workstation]
watts_per_core = 5.0
country = "DNK"
[export]
variants = ["fp32"]
[profile]
rules = "quick"
"""
# Program that records start and duration of each inference until it gets SIGTERM.
BARE_LOOP = """
import json, os, signal, sys, time
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads, options.inter_op_num_threads = 1, 1
for kind in ("intra", "inter"):
    options.add_session_config_entry(f"session.{kind}_op.allow_spinning", "0")
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
tensor = numpy.random.default_rng(0).standard_normal(json.loads(sys.argv[2]), numpy.float32)
feed = {session.get_inputs()[0].name: tensor}
going = [True]
signal.signal(signal.SIGTERM, lambda *_: going.clear())
print("ready", flush=True)
clock = time.perf_counter
taken = []
while going:
    begin = clock()
    session.run(None, feed)
    taken.append((begin, clock() - begin))
print(json.dumps(taken))
"""


class Round(NamedTuple):
    """p50 of bench and of the bare loop, seconds."""

    bench_s: float
    bare_s: float

    @property
    def ratio(self) -> float:
        """Latency in bench divided by that in the bare loop."""
        return self.bench_s / self.bare_s


def main() -> None:
    """Measure, and write one JSON file; exit status 1 if the overhead is too large."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundles", nargs="*", type=Path, metavar="BUNDLE")
    parser.add_argument("--out", type=Path, help="write the result here, as JSON")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            row(bundle, arguments.rounds, Path(folder)) for bundle in arguments.bundles or make(Path(folder))
        ]
    result = {
        "schema_version": 1,
        "what": __doc__.splitlines()[0],
        "rounds": arguments.rounds,
        "slice_s": SLICE_S,
        "expected": {"p50_ratio": MAX_RATIO, "parent_cpu_share": MAX_SHARE},
        "models": rows,
        "load_average_before": load,
        "load_average_after": os.getloadavg()[0],
        "cpu": facts().cpu,
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "versions": versions(("pepr_edge", "numpy", "onnxruntime")),
    }
    if arguments.out is not None:
        write_text(arguments.out, json.dumps(result, indent=1) + "\n")
    sys.exit(any(row["p50_ratio"] > MAX_RATIO or row["parent_cpu_share"] > MAX_SHARE for row in rows))


def make(folder: Path) -> list[Path]:
    """Make bundles of two architectures, whether they have learned anything or not."""

    def no_reason(check: SkillCheck, row: RankingRow) -> str:
        return ""

    setattr(SkillCheck, "reason", no_reason)  # noqa: B010 - mypy refuses a plain assignment
    pipeline.run(parse(RECIPE, Recipe, "overhead.toml"), RECIPE, folder / "run", pipeline.Options(), Lines())
    made = sorted((folder / "run" / "bundles").glob("*/"))
    if not made:
        sys.exit("The run made no bundles: its messages above say why.")
    return made


def row(bundle: Path, rounds: int, folder: Path) -> dict[str, Any]:
    """Return the figures of one model."""
    name = read_manifest(bundle).architecture
    bars = tqdm(range(rounds), desc=name, disable=not sys.stderr.isatty())
    # The process that starts first has the older memory, so they alternate.
    results = [compare(bundle, folder / "report.json", bench_first=number % 2 == 0) for number in bars]
    share = parent_share(bundle, folder / "report.json")
    ratio = statistics.median(result.ratio for result in results)
    print(f"{name}: p50 is {ratio:.4f} times the bare loop's; the waiting parent uses {share:.2%} of a core")
    return {
        "architecture": name,
        "p50_ratio": ratio,
        "p50_ratios": [result.ratio for result in results],
        "bench_p50_s": statistics.median(result.bench_s for result in results),
        "bare_p50_s": statistics.median(result.bare_s for result in results),
        "parent_cpu_share": share,
        "parent_window_s": WINDOW_S,
    }


def bench(bundle: Path, out: Path, *words: str) -> subprocess.Popen[bytes]:
    """Start `pepr-edge bench`."""
    command = [
        sys.executable,
        "-m",
        "pepr_edge",
        "bench",
        str(bundle),
        "--threads",
        "1",
        "--no-extras",
        "--out",
        str(out),
        *words,
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def bare(bundle: Path) -> subprocess.Popen[bytes]:
    """Start the bare loop and wait until it is ready."""
    shape = json.dumps([1, *read_manifest(bundle).input.shape[1:]])
    loop = subprocess.Popen(
        [sys.executable, "-c", BARE_LOOP, str(bundle / "model.onnx"), shape], stdout=subprocess.PIPE
    )
    assert loop.stdout is not None
    loop.stdout.readline()
    return loop


def compare(bundle: Path, out: Path, bench_first: bool) -> Round:
    """Run one round: both in turn, for the duration of bench's latency pass."""
    if bench_first:
        parent = bench(bundle, out, "--quick")
        loop = bare(bundle)
    else:
        loop = bare(bundle)
        parent = bench(bundle, out, "--quick")
    try:
        child = measuring_child(parent)
        core = max(os.sched_getaffinity(0))
        for pid in (child.pid, loop.pid):
            os.sched_setaffinity(pid, {core})
        by_turns(child, psutil.Process(loop.pid))
        ended_s = time.perf_counter()
        loop.send_signal(signal.SIGTERM)
        taken = json.loads(loop.communicate()[0])
    finally:  # the loop would run for ever
        loop.kill()
    if parent.wait() not in (0, 3):
        sys.exit(f"{bundle}: bench ended with status {parent.returncode}. Run it by hand to see why.")
    bench_p50_s = read_record(out, FieldReport).results[0].percentiles_s.p50
    same_period = [latency for begin, latency in taken if begin >= ended_s - QUICK.duration_s]
    bare_p50_s = early_stopping_percentile(same_period, 0.5)
    assert bench_p50_s is not None
    assert bare_p50_s is not None
    return Round(bench_p50_s, bare_p50_s)


def measuring_child(parent: subprocess.Popen[bytes]) -> psutil.Process:
    """Wait for the process in which bench measures, and return it."""
    while True:
        for child in psutil.Process(parent.pid).children():
            with suppress(psutil.NoSuchProcess):  # bench has other children too, which may have ended
                if "pepr_edge.measure.worker" in child.cmdline():
                    return child
        if parent.poll() is not None:
            sys.exit(f"bench ended with status {parent.returncode} before it measured anything.")
        time.sleep(0.01)


def by_turns(child: psutil.Process, loop: psutil.Process) -> None:
    """Stop one process while the other runs, in turn, until the child ends."""
    runs = child
    waits = loop
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        try:
            waits.suspend()
            runs.resume()
        except psutil.NoSuchProcess:
            break
        try:
            child.wait(SLICE_S)
        except psutil.TimeoutExpired:
            runs, waits = waits, runs
    loop.resume()


def parent_share(bundle: Path, out: Path) -> float:
    """Return the CPU seconds of bench's parent per second, while its child measures with the full rules."""
    out.unlink(missing_ok=True)
    parent = bench(bundle, out)
    while not out.exists() and parent.poll() is None:
        time.sleep(0.1)
    process = psutil.Process(parent.pid)
    begin_s = time.perf_counter()
    begin = process.cpu_times()
    time.sleep(WINDOW_S)
    end = process.cpu_times()
    took_s = time.perf_counter() - begin_s
    parent.terminate()
    parent.wait()
    return (end.user + end.system - begin.user - begin.system) / took_s


if __name__ == "__main__":
    main()
