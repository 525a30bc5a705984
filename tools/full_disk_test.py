"""Let a real run fill its disk, continue it with room, and compare it with an undisturbed run.

    python tools/full_disk_test.py --work DIR [--mib 30] [--out FILE.md]

The run of tools/crash_test.py in a tmpfs that is too small for it: it must end with exit status 1 and one
line, and no file may be torn. Then the tmpfs gets more room and the same command must end with status 0, with
the rows and performance values of an undisturbed run that begins with the same measured modes of training.
A third run, of one candidate, begins with another precision: its rows differ, so two runs that measured other
modes need not be equal, full disk or not. Linux only, as root.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import crash_test
from tqdm import tqdm

from pepr_edge.records import TrainingState
from pepr_edge.run_dir.layout import CANDIDATES, TRAINING
from pepr_edge.run_dir.owned import start_record
from pepr_edge.run_dir.store import read_record, write_record, write_text

ROOM = "2g"


def main() -> int:
    """Run the test and print its answers; return 1 after any fault."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="a folder that is empty or new")
    parser.add_argument("--mib", type=int, default=30, help="size of the disk")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    work = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    if any(work.iterdir()):
        parser.error(f"{work}: not empty")
    recipe = work / "crash.toml"
    recipe.write_text(crash_test.RECIPE, encoding="utf-8")
    disk = work / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={arguments.mib}m", "tmpfs", disk], check=True)
    try:
        text = f"On a disk of {arguments.mib} MiB (a tmpfs):\n\n" + attempt(recipe, disk, work)
    finally:
        subprocess.run(["umount", disk], check=True)
    print(text)
    if arguments.out is not None:
        write_text(arguments.out, text)
    return 0 if "**no**" not in text else 1


def attempt(recipe: Path, disk: Path, work: Path) -> str:
    """Fill the disk, go on with room, run undisturbed, and return the comparison as a list."""
    run = disk / "run"
    steps = tqdm(total=4, disable=not sys.stderr.isatty())
    full_status, said = carry_out(recipe, run, work / "modes")
    torn = [fault for path in crash_test.files(run) if (fault := crash_test.torn(path))]
    steps.update()
    subprocess.run(["mount", "-o", f"remount,size={ROOM}", disk], check=True)
    status, _ = carry_out(recipe, run, work / "modes")
    steps.update()
    same = work / "same_modes"
    crash_test.seed_modes(work / "modes", same)
    carry_out(recipe, same, work / "modes_of_same")
    steps.update()
    candidate, changed = seed_other_mode(work / "modes", work / "other_mode")
    carry_out(recipe, work / "other_mode", work / "modes_of_other", "--only", candidate.partition("@")[0])
    steps.close()
    rows = crash_test.rows(run)
    answers = {
        f"the run ended with exit status {full_status} and one line, `{said[-1] if said else ''}`": (
            full_status == 1 and len(said) == 1
        ),
        "no file is torn": not torn,
        f"with room, the same command ended with exit status {status}": status == 0,
        f"its {len(rows)} rows have the status, performance, interval and checksum of an undisturbed run "
        "with the same modes of training": rows == crash_test.rows(same),
    }
    others = crash_test.rows(work / "other_mode")
    different = all(others[key] != rows[key] for key in others)
    answers[f"the {len(others)} rows of {candidate} are others with {changed}"] = different
    return "".join(f"- {claim}: {'yes' if holds else '**no**'}\n" for claim, holds in answers.items())


def carry_out(recipe: Path, run: Path, modes: Path, *words: str) -> tuple[int, list[str]]:
    """Run to the end; return the exit status and the lines on stderr. The modes of training are copied."""
    process = crash_test.start(recipe, run, *words, stderr=subprocess.PIPE)
    crash_test.watch(run, modes, process, None)
    assert process.stderr is not None
    said = process.stderr.read().decode(errors="replace").splitlines()
    return process.wait(), said


def seed_other_mode(modes: Path, run: Path) -> tuple[str, str]:
    """Let a run begin one candidate with another precision; return its name and what was changed."""
    folder = min(modes.iterdir())
    training = read_record(folder / TRAINING, TrainingState)
    precision = "bfloat16" if training.precision == "float32" else "float32"
    copy = run / CANDIDATES / folder.name / TRAINING
    copy.parent.mkdir(parents=True)
    write_record(copy, training.replace(precision=precision))
    start_record(run)
    return folder.name, f"{precision} in place of {training.precision}"


if __name__ == "__main__":
    sys.exit(main())
