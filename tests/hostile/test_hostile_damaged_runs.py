"""A run directory with one damaged file: the same command ends with the same ranking, or in one line.

The files are those of a real run. A finished run is shown again. One that ended before its ranking goes on:
what is damaged is made again, with new measurements, so its rows are compared without their ranks.

All rows take some ten minutes: they run if PEPR_ALL_DAMAGES is set. Else it is every third row of a finished
run and every sixth of one that goes on, so that each file and each damage is tried.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import small_run
import tiny_bundle
from command_line import Outcome
from hostile_check import PLACES, Run, check, in_place
from small_run import GOOD

from pepr_edge.report import html

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
SECONDS = 120
CANDIDATE = f"candidates/{GOOD}@48"
BUNDLE = f"bundles/{GOOD}@48-int8_static"  # as in the tables: the measured latencies decide its rank
# What a run reads when it goes on.
MADE = (
    "run.json",
    "ranking.json",
    f"{CANDIDATE}/train.json",
    f"{CANDIDATE}/checkpoint.safetensors",
    f"{CANDIDATE}/logits.npz",
    f"{CANDIDATE}/cost.json",
    f"{CANDIDATE}/fp32/export.json",
    f"{CANDIDATE}/fp32/model.onnx",
    f"{CANDIDATE}/fp32/predictions.npz",
    f"{CANDIDATE}/fp32/profile.json",
    f"{CANDIDATE}/int8_static/export.json",
    f"{CANDIDATE}/int8_static/model.onnx",
    f"{CANDIDATE}/int8_static/predictions.npz",
    f"{CANDIDATE}/int8_static/profile.json",
)
# What it writes, or adds to.
WRITTEN = (
    ".pepr_edge/files.json",
    ".pepr_edge/lock",
    "recipe.toml",
    "events.jsonl",
    "data_check.json",
    "ranking.csv",
    "report.html",
    f"{CANDIDATE}/log.txt",
    f"{BUNDLE}/manifest.json",
    f"{BUNDLE}/MODEL_CARD.md",
    f"{BUNDLE}/config.json",
    f"{BUNDLE}/preprocessor_config.json",
    f"{BUNDLE}/model.onnx",
    f"{BUNDLE}/fallback.onnx",
    f"{BUNDLE}/selftest.npz",
)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGES = {
    "empty": PLACES["empty"],
    "cut": _cut,
    "garbage": PLACES["random"],
    "missing": PLACES["missing"],
    "a folder": PLACES["a folder"],
    "a full folder": in_place(lambda path: (path / "x").mkdir(parents=True)),
    "a pipe": PLACES["a pipe"],
}
FAST = {
    ("run.json", "garbage"),
    ("recipe.toml", "a folder"),
    ("events.jsonl", "a pipe"),
    (f"{CANDIDATE}/fp32/profile.json", "cut"),
    (f"{BUNDLE}/model.onnx", "empty"),
}


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    """End a command that hangs: nothing else would."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"longer than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def words(flawless: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[object, ...]:
    """The command of the run, with a copy of its directory."""
    tiny_bundle.measure_briefly(monkeypatch)
    monkeypatch.setattr(html, "draw", lambda report: html.PageFigures())
    small_run.copy(flawless, tmp_path / "run")
    (tmp_path / "small.toml").write_text(small_run.FLAWLESS)
    return "run", tmp_path / "small.toml", "--out", tmp_path / "run", "--json"


def place(folder: Path, file: str) -> Path:
    """Return where a file of the tables is: a bundle's folder begins with its rank."""
    if not file.startswith("bundles/"):
        return folder / file
    bundle, name = file.removeprefix("bundles/").split("/")
    (found,) = (folder / "bundles").glob(f"[0-9][0-9]-{bundle}")
    return found / name


def rows(document: dict[str, Any], is_trained_again: bool = False) -> list[tuple[object, ...]]:
    """Return what does not depend on measurements, row by row.

    A training made again may have another performance: it probes the machine for its threads and precision.
    """
    keys = ("candidate", "variant", "status", "performance")[: 3 if is_trained_again else 4]
    return sorted(tuple(row[key] for key in keys) for row in document["rows"])


def is_one_line(done: Outcome) -> bool:
    """True if the command refused in one line; what it noted before does not count."""
    return done.status == 1 and done.out == "" and done.err.splitlines()[-1].startswith("error: ")


def tiers(table: dict[str, tuple[str, str]], fast: set[tuple[str, str]]) -> list[Any]:
    return [
        pytest.param(*row, id=name, marks=() if row in fast else pytest.mark.slow)
        for name, row in table.items()
    ]


def chosen(table: dict[str, tuple[str, str]], step: int) -> dict[str, tuple[str, str]]:
    """Return each row of a table if all are wanted, else one of `step`, and those of the default tier."""
    step = 1 if os.environ.get("PEPR_ALL_DAMAGES") else step
    return {
        name: row for number, (name, row) in enumerate(table.items()) if number % step == 0 or row in FAST
    }


FINISHED = chosen(
    {f"{file}, {damage}": (file, damage) for file in (*MADE, *WRITTEN) for damage in DAMAGES}, 3
)
# What is made again takes long, and less of it shows all: the files of one variant with all damages.
TRAINING = MADE[2:5]
ONE_VARIANT = MADE[5:10]
OTHER_VARIANT = MADE[10:]
SOME = ("cut", "a full folder", "a pipe")
STOPPED = chosen(
    {
        f"{file}, {damage}": (file, damage)
        for files, damages in (
            (TRAINING, SOME),
            (ONE_VARIANT, tuple(DAMAGES)),
            (OTHER_VARIANT, SOME[:2]),
            (WRITTEN[:10], SOME[1:]),
        )
        for file in files
        for damage in damages
    },
    6,
)


@pytest.mark.parametrize(("file", "damage"), tiers(FINISHED, FAST))
def test_a_finished_run(file: str, damage: str, words: tuple[object, ...], tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "run"
    ranking = json.loads((folder / "ranking.json").read_bytes())
    DAMAGES[damage](place(folder, file))
    done = run(*words)
    check(done, (0, 1))
    if done.status == 0 and file in ("run.json", "ranking.json"):
        assert rows(json.loads(done.out)) == rows(ranking)
    elif done.status == 0:
        assert json.loads(done.out) == ranking
    else:
        assert is_one_line(done), done.err


@pytest.mark.slow
@pytest.mark.parametrize(("file", "damage"), tiers(STOPPED, set()))
def test_a_run_that_goes_on(
    file: str, damage: str, words: tuple[object, ...], tmp_path: Path, run: Run
) -> None:
    folder = tmp_path / "run"
    ranking = json.loads((folder / "ranking.json").read_bytes())
    (folder / "ranking.json").unlink()
    DAMAGES[damage](place(folder, file))
    done = run(*words)
    check(done, (0, 1))
    if done.status == 0:
        is_trained_again = file in TRAINING
        assert rows(json.loads(done.out), is_trained_again) == rows(ranking, is_trained_again)
    else:
        assert is_one_line(done), done.err


def test_every_file_of_a_run_is_in_the_table(flawless: Path) -> None:
    others = (f"bundles/{GOOD}@48-fp32", "candidates/dla46_c@48")
    paths = (path.relative_to(flawless).as_posix() for path in flawless.rglob("*") if path.is_file())
    names = {re.sub(r"^bundles/\d\d-", "bundles/", path) for path in paths}
    assert {name for name in names if not name.startswith(others)} == {*MADE, *WRITTEN}
