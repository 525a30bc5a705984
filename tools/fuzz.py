"""Fuzz every parser of untrusted input with valid inputs that are changed at random, or by coverage.

    python tools/fuzz.py [--target NAME] [--cases 20000] [--engine random|hypothesis|atheris] [--out fuzz.md]

Each target runs in its own process. A failure is a foreign exception, an error of several lines, more than 5
s of CPU time for one input or two minutes without an end, or more than 1 GiB of memory in addition to that at
the start (RLIMIT_AS). Failing inputs are kept in tests/fuzz/corpus, which the tests replay. Times are CPU
times, so other programs do not count. The engine "random" draws the same kinds of edits as "hypothesis", in a
hundredth of its time; "atheris" is guided by the coverage of the parsers.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "fuzz")]

LIMIT_S = 5.0
# An input that waits takes no CPU time. A machine that stands still waits, too, so there is a second try.
WAIT_S = 120.0
LIMIT_BYTES = 1 << 30
# hypothesis remembers every case of a batch.
BATCH = 500
SHOWN_FAILURES = 20


class Hang(BaseException):
    """An input takes too long."""


class Tally:
    """Counts and failures of one target."""

    def __init__(self, name: str) -> None:
        from fuzz_targets import TARGETS

        self.name = name
        self.target = TARGETS[name]
        self.cases = 0
        self.refused = 0
        self.slowest_s = 0.0
        self.failures: dict[str, str] = {}
        self.folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        self.begin_bytes = peak_bytes()
        signal.signal(signal.SIGPROF, self._late)
        signal.signal(signal.SIGALRM, self._late)

    @staticmethod
    def _late(number: int, frame: object) -> None:
        raise Hang

    def __call__(self, content: bytes) -> None:
        """Run one case."""
        refused, fault, taken_s = self._parsed(content)
        if isinstance(fault, Hang):
            refused, fault, taken_s = self._parsed(content)
        self.refused += refused
        self.cases += 1
        self.slowest_s = max(self.slowest_s, taken_s)
        if fault is not None:
            self._keep(content, fault)

    def _parsed(self, content: bytes) -> tuple[bool, BaseException | None, float]:
        """Parse an input: True if it was refused, what must not be raised, and the seconds."""
        from fuzz_targets import parse

        refused = False
        fault: BaseException | None
        begin = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
        signal.setitimer(signal.ITIMER_REAL, WAIT_S)
        try:
            refused, fault = parse(self.target, content, self.folder)
        except Hang as late:
            fault = late
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
        taken_s = time.process_time() - begin
        if taken_s > LIMIT_S and fault is None:
            fault = Hang(f"{taken_s:.1f} s")
        return refused, fault, taken_s

    def _keep(self, content: bytes, fault: BaseException) -> None:
        """Keep one input of each kind of failure: its exception, and the line of our code that raised it."""
        ours = [frame for frame in traceback.extract_tb(fault.__traceback__) if "pepr_edge" in frame.filename]
        where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"
        kind = f"{type(fault).__name__} at {where}"
        if kind not in self.failures and len(self.failures) < SHOWN_FAILURES:
            self.failures[kind] = " ".join(str(fault).split())[:160]
            if len(content) <= 1 << 16:
                kept = ROOT / "tests" / "fuzz" / "corpus" / self.name
                kept.mkdir(parents=True, exist_ok=True)
                (kept / hashlib.sha256(content).hexdigest()[:12]).write_bytes(content)

    def result(self) -> dict[str, Any]:
        """Return a row of the table."""
        grown = peak_bytes() - self.begin_bytes
        if grown > LIMIT_BYTES:
            self.failures["memory"] = f"{grown >> 20} MiB more than at the start"
        counts = {"cases": self.cases, "refused": self.refused}
        return {
            "target": self.name,
            **counts,
            "slowest_s": self.slowest_s,
            "grown_bytes": grown,
            "failures": self.failures,
        }


def peak_bytes() -> int:
    """Return the peak memory of this process (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def children_s() -> float:
    """Return the CPU time of all children that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def limit_memory() -> None:
    """Allow LIMIT_BYTES in addition to the current memory; beyond that, Python raises MemoryError."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + LIMIT_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def by_chance(tally: Tally, seeds: list[bytes], cases: int, first_seed: int) -> None:
    """Draw the edits of each case at random."""
    from fuzz_edits import apply, drawn

    rng = random.Random(first_seed)
    while tally.cases < cases:
        tally(apply(rng.choice(seeds), drawn(rng)))


def by_hypothesis(tally: Tally, seeds: list[bytes], cases: int, first_seed: int) -> None:
    """Run batches of hypothesis, each with its own seed."""
    from fuzz_edits import EDITS, apply
    from hypothesis import HealthCheck, Phase, given, seed, settings
    from hypothesis import strategies as st

    quiet = settings(
        max_examples=BATCH,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    batch = first_seed
    while tally.cases < cases:
        batch += 1
        left = cases - tally.cases

        @seed(batch)
        @settings(quiet, max_examples=min(BATCH, left))
        @given(whole=st.sampled_from(seeds), edits=EDITS)
        def fuzz(whole: bytes, edits: list[Any]) -> None:
            tally(apply(whole, edits))

        fuzz()


def by_atheris(tally: Tally, seeds: list[bytes], cases: int, first_seed: int) -> None:
    """Run libFuzzer's mutations, guided by the coverage of pepr_edge; ends the process after the result."""
    import atheris  # type: ignore[import-not-found]

    corpus = Path(tempfile.mkdtemp(prefix="fuzz-corpus-"))
    for number, whole in enumerate(seeds):
        (corpus / str(number)).write_bytes(whole)

    def one(content: bytes) -> None:
        tally(content)
        if tally.cases >= cases:
            print(json.dumps(tally.result()), flush=True)
            os._exit(0)

    options = [
        f"-seed={first_seed + 1}",
        "-max_len=65536",
        "-verbosity=0",
        "-rss_limit_mb=0",
        f"-timeout={LIMIT_S:.0f}",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], one)
    atheris.Fuzz()


ENGINES = {"random": by_chance, "hypothesis": by_hypothesis, "atheris": by_atheris}


def instrumented_tally(name: str) -> Tally:
    """Return a tally whose parsers report their coverage to atheris."""
    import atheris

    with atheris.instrument_imports(include=["pepr_edge"]):
        return Tally(name)


def child(name: str, cases: int, engine: str, first_seed: int) -> None:
    """Run one target in this process; its result is the last line on stdout."""
    tally = instrumented_tally(name) if engine == "atheris" else Tally(name)
    seeds = tally.target.seeds()
    for whole in seeds:
        tally(whole)
    if tally.failures:
        raise SystemExit(f"{name}: a valid input is refused: {tally.failures}")
    tally.begin_bytes = peak_bytes()
    tally.cases = 0
    tally.refused = 0
    tally.slowest_s = 0.0
    if seeds:
        if engine != "atheris":  # libFuzzer maps more than that
            limit_memory()
        ENGINES[engine](tally, seeds, cases, first_seed)
    print(json.dumps(tally.result()), flush=True)


def run(name: str, cases: int, engine: str, first_seed: int) -> dict[str, Any]:
    """Run one target in its own process; a process that dies is a failure."""
    words = [
        sys.executable,
        __file__,
        "--child",
        "--target",
        name,
        "--cases",
        str(cases),
        "--engine",
        engine,
        "--seed",
        str(first_seed),
    ]
    begin_s = children_s()
    done = subprocess.run(words, capture_output=True, text=True, errors="replace")
    taken_s = children_s() - begin_s
    try:
        row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        said = (done.stderr.strip().splitlines() or [""])[-1]
        row = {
            "target": name,
            "cases": 0,
            "refused": 0,
            "slowest_s": 0.0,
            "grown_bytes": 0,
            "failures": {f"exit status {done.returncode}": said[:300]},
        }
    return {**row, "taken_s": taken_s}


def line(row: dict[str, Any]) -> str:
    """Return a row as Markdown."""
    times = f"{row['taken_s']:.0f} | {row['slowest_s'] * 1e3:.0f}"
    memory_mib = f"{row['grown_bytes'] / 2**20:.0f}"
    counts = f"{row['target']} | {row['cases']} | {row['refused']}"
    return f"| {counts} | {times} | {memory_mib} | {len(row['failures'])} |"


def main() -> int:
    """Fuzz the targets; return 1 after a failure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--target", action="append", help="One target, or several; all if not given.")
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--engine", choices=sorted(ENGINES), default="random")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="Write the table here, as Markdown.")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(given.target[0], given.cases, given.engine, given.seed)
        return 0
    from fuzz_targets import TARGETS

    lines = [
        "| target | cases | refused | CPU, s | slowest case, CPU ms | memory, MiB more | failures |",
        "|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    failed = False
    for name in given.target or TARGETS:
        row = run(name, given.cases, given.engine, given.seed)
        lines.append(line(row))
        print(lines[-1], flush=True)
        for kind, words in row["failures"].items():
            print(f"    {kind}: {words}", flush=True)
        failed |= bool(row["failures"])
    if given.out is not None:
        given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
