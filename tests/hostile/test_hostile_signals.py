"""Signals that end a command: one line, exit status 130, no process and nothing half-written left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from small_run import RECIPE

pytestmark = [
    pytest.mark.slow,  # some seconds each
    pytest.mark.skipif(sys.platform != "linux", reason="signals of Unix, and /dev/full"),
]
ROOT = Path(__file__).resolve().parents[2]
IMAGES = 3000
ANSWERS = 30_000  # some ten seconds


# Signals that end a command, sent one after the other; those of a terminal reach all of its processes.
SIGNALS: dict[str, tuple[tuple[str, ...], bool]] = {
    "SIGTERM": (("SIGTERM",), False),
    "SIGTERM twice": (("SIGTERM", "SIGTERM"), False),
    "SIGHUP": (("SIGHUP",), False),
    "a terminal that is closed": (("SIGHUP",), True),
    "Ctrl-C": (("SIGINT",), True),
    "Ctrl-C twice": (("SIGINT", "SIGINT"), True),
}
# A command that takes some seconds, and the number of its children once it is at work.
LONG: dict[str, tuple[tuple[str, ...], int]] = {
    "run": (("run", "recipe.toml", "--out", "out"), 1),
    "bench": (("bench", "01-tiny@16-fp32", "--out", "r.json"), 1),
    "predict": (("predict", "01-tiny@16-fp32", *(f"many/a/{n % IMAGES}.png" for n in range(ANSWERS))), 1),
    "data check": (("data", "check", "many"), 0),
}
# What may be left: a run that continues, and a report of what was measured so far, marked as partial.
LEFT = {"run": {"out"}, "bench": {"r.json"}, "predict": set(), "data check": set()}


@pytest.fixture
def here(home: Path, tmp_path: Path) -> Path:
    """A folder with a bundle, a recipe of a long training, and thousands of images."""
    folder = Path(shutil.copytree(home, tmp_path / "here"))
    (folder / "recipe.toml").write_text(RECIPE.replace("epochs = 2", "epochs = 500"))
    for label in ("a", "b"):
        (folder / "many" / label).mkdir(parents=True)
        for number in range(IMAGES):
            os.link(folder / "good.png", folder / "many" / label / f"{number}.png")
    return folder


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("command", LONG)
def test_a_signal_ends_a_command_once(name: str, command: str, here: Path) -> None:
    words, children = LONG[command]
    before = set(here.iterdir())
    signals, reaches_all = SIGNALS[name]
    process = subprocess.Popen(
        [sys.executable, "-m", "pepr_edge", *words],
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_signals,
    )
    at_work = wait_for_children(process.pid, children)
    for signal_name in signals:
        number = getattr(signal, signal_name)
        os.killpg(process.pid, number) if reaches_all else os.kill(process.pid, number)
        time.sleep(0.05)
    _, err = process.communicate(timeout=30)
    # A shell says 130 of both.
    assert process.returncode in (130, -signal.SIGINT), err[-1000:]
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "interrupted"
    _, alive = psutil.wait_procs(at_work, timeout=5)
    assert not alive
    assert {path.name for path in set(here.iterdir()) - before} <= LEFT[command]
    assert not list(here.rglob("*.tmp"))


def heed_signals() -> None:
    """Heed signals that the tests' own process was started to ignore, as under nohup."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)


def wait_for_children(pid: int, wanted: int) -> list[psutil.Process]:
    """Wait until a process is at work; return its children."""
    process = psutil.Process(pid)
    deadline_s = time.monotonic() + 60
    children: list[psutil.Process] = []
    while len(children) < wanted and time.monotonic() < deadline_s:
        children = process.children(recursive=True)
        time.sleep(0.05)
    time.sleep(1.5)
    return process.children(recursive=True)


def test_a_terminal_that_is_gone_takes_no_message_and_the_status_tells(here: Path) -> None:
    line = "$P bench -q 01-tiny@16-fp32 --out r.json 2>/dev/full & sleep 2; kill -HUP $!; wait $!"
    environment = {**os.environ, "P": f"{sys.executable} -m pepr_edge", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["sh", "-c", line], cwd=here, env=environment, preexec_fn=heed_signals)
    assert done.returncode == 130
