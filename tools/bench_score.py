"""Measure `pepr-edge score --out` on a table of a million rows in a thousand groups, on one core.

    python tools/bench_score.py [--out docs/benchmarks/score.json] [--rows N] [--groups N] [--rounds N]

Each round is a new process pinned to one core. Time is from its start to its end; the process reports its
peak memory. Linux only.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from pepr_edge.device.facts import facts, versions
from pepr_edge.run_dir.store import write_text

RESOURCES = ("energy_j", "latency_s", "memory_bytes")
# The process reports its own peak: the kernel's value for a child may be the parent's, from before the exec.
CHILD = """
import sys
from pepr_edge.cli import entry
from pepr_edge.measure.memory import peak_memory_bytes
try:
    entry()
finally:
    print(peak_memory_bytes(), file=sys.stderr)
"""


def main() -> None:
    """Generate, measure, and write one JSON file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="write the result here, as JSON")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--groups", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder, "table.csv")
        generate(table, arguments.rows, arguments.groups)
        size_bytes = table.stat().st_size
        rounds = [
            measure(table)
            for _ in tqdm(range(arguments.rounds), desc="rounds", disable=not sys.stderr.isatty())
        ]
    result = {
        "schema_version": 1,
        "what": __doc__.splitlines()[0],
        "rows": arguments.rows,
        "groups": arguments.groups,
        "resources": len(RESOURCES),
        "table_bytes": size_bytes,
        "cores": 1,
        "seconds": statistics.median(seconds for seconds, _, _ in rounds),
        "cpu_seconds": statistics.median(cpu for _, cpu, _ in rounds),
        "peak_bytes": max(peak for _, _, peak in rounds),
        "seconds_of_rounds": [seconds for seconds, _, _ in rounds],
        "cpu_seconds_of_rounds": [cpu for _, cpu, _ in rounds],
        "load_average_before": load,
        "cpu": facts().cpu,
        "python": sys.version.split()[0],
        "versions": versions(("pepr_edge", "numpy")),
    }
    times = f"{result['seconds']:.2f} s ({result['cpu_seconds']:.2f} s of CPU)"
    print(f"{arguments.rows} rows: {times}, {result['peak_bytes'] / 2**20:.0f} MiB")
    if arguments.out is not None:
        write_text(arguments.out, json.dumps(result, indent=1) + "\n")


def generate(path: Path, rows: int, groups: int) -> None:
    """Write a table whose groups are mixed, not sorted."""
    rng = np.random.default_rng(0)
    group = [f"set{code:04d}" for code in rng.integers(0, groups, rows).tolist()]
    performance = np.round(rng.beta(8, 3, rows), 6).tolist()
    resources = [np.round(rng.lognormal(0, 1.5, rows), 6).tolist() for _ in RESOURCES]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["dataset", "model", "accuracy", *RESOURCES])
        writer.writerows(
            zip(group, (f"model{row}" for row in range(rows)), performance, *resources, strict=True)
        )


def measure(table: Path) -> tuple[float, float, int]:
    """Return wall seconds, CPU seconds and peak bytes of one run on one core."""
    words = [
        "score",
        str(table),
        "--performance",
        "accuracy",
        "--group",
        "dataset",
        "--out",
        str(table.with_name("scores.csv")),
    ]
    for name in RESOURCES:
        words += ["--resource", f"{name.rpartition('_')[0]}={name}"]
    core = max(os.sched_getaffinity(0))
    start = time.perf_counter()
    process = subprocess.Popen(
        ["taskset", "-c", str(core), sys.executable, "-c", CHILD, *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    output = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(output)
    return seconds, usage.ru_utime + usage.ru_stime, int(output.split()[-1])


if __name__ == "__main__":
    main()
