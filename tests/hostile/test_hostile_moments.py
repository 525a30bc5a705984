"""Ctrl-C, twice, at several moments of each command: one line, and files that are whole or not there."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import made_records
import pytest
import signed_files
import tiny_bundle
from made_records import RECIPE

from pepr_edge.run_dir.store import write_record

pytestmark = [
    pytest.mark.slow,  # a second each
    pytest.mark.skipif(sys.platform != "linux", reason="signals of Unix"),
]
ROOT = Path(__file__).resolve().parents[2]
BUNDLE = "01-tiny@16-fp32"
MOMENTS_S = (0.2, 0.5, 0.9, 1.4)
RESULTS = (
    "dataset,model,type,efficient,num_params,gpu_memory_gb,energy_kwh,co2eq_g,last_epoch_s,test_00\n"
    + (
        "".join(
            f"{name},m{number},CNN,1,1000,0.5,0.{number + 1},1,2,0.{number % 10}\n"
            for name in ("a", "b")
            for number in range(2000)
        )
    )
)
CURVES = "model,energy_kwh,val_00,val_01\n" + "".join(
    f"m{number},{number + 1},0.5,0.{number}\n" for number in range(1000)
)
# What a command is, and the files that it writes: all of them, or none.
COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "evaluate": (("evaluate", BUNDLE, "site", "--out", "e.json"), ("e.json",)),
    "dossier": (
        ("dossier", BUNDLE, "--out", "papers"),
        tuple(
            f"papers/{name}"
            for name in (
                "label.html",
                "checklists.html",
                "claim_2024.csv",
                "tripod_ai.csv",
                "ml-bom.cdx.json",
            )
        ),
    ),
    "weights import": (
        ("weights", "import", "w.safetensors", "--architecture", "resnet14t", "--out", "o.safetensors"),
        (),
    ),
    "weights fetch": (("weights", "fetch", "r.toml", "--out", "fetched"), ()),
    "kit of the web": (("kit", "run", "--platform", "web", "--web-runtime", "w.tgz", "--out", "kit"), ()),
    "keys make": (("keys", "make", "key"), ("key", "key.pub")),
    "keys show": (("keys", "show", "vendor.pub"), ()),
    "rank": (("rank", "run", "--field", "r.json"), ()),
    "compare": (("compare", "results.csv:a", "results.csv:b"), ()),
    "score": (
        (
            "score",
            "results.csv",
            "--performance",
            "test_00",
            "--resource",
            "E=energy_kwh",
            "--group",
            "dataset",
            "--out",
            "s.csv",
        ),
        ("s.csv",),
    ),
    "search": (("search", "replay", "curves.csv"), ()),
    "recipes check": (("recipes", "check", "r.toml"), ()),
    "verify": (("verify", BUNDLE), ()),
    "data check": (("data", "check", "site"), ()),
}


@pytest.fixture
def here(home: Path, tmp_path: Path) -> Path:
    """A folder with what the commands need."""
    folder = Path(shutil.copytree(home, tmp_path / "here"))
    made_records.write_run(folder / "run", "small")
    write_record(folder / "r.json", made_records.field_report(made_records.bench("small")))
    signed_files.pair(folder, "vendor")
    (folder / "r.toml").write_text(RECIPE.replace('"small", "middle", "large"', '"resnet14t"'))
    (folder / "results.csv").write_text(RESULTS)
    (folder / "curves.csv").write_text(CURVES)
    for name in ("w.safetensors", "w.tgz"):
        (folder / name).write_bytes(bytes(1000))
    for number in range(60):
        path = folder / "site" / tiny_bundle.LABELS[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        tiny_bundle.image(path, number)
    return folder


def start(words: tuple[str, ...], here: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "pepr_edge", *words],
        cwd=here,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=default_signals,  # a test run in the background ignores some
    )


def default_signals() -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize("moment_s", MOMENTS_S)
@pytest.mark.parametrize("command", COMMANDS)
def test_ctrl_c_twice(command: str, moment_s: float, here: Path) -> None:
    words, files = COMMANDS[command]
    before = {path: path.stat().st_size for path in here.rglob("*")}
    process = start(words, here)
    time.sleep(moment_s)
    for _ in range(2):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.05)
    out, err = process.communicate(timeout=30)
    assert process.returncode in (0, 1, 130, -signal.SIGINT), err[-1000:]
    # Before our program begins, Python itself answers.
    assert "Traceback" not in out + err or "__main__.py" not in err
    if process.returncode == 130:
        assert err.splitlines()[-1] == "interrupted"
    assert len({(here / name).exists() for name in files}) <= 1
    assert not list(here.rglob("*.tmp"))
    assert {path: path.stat().st_size for path in before} == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_serve_ends_at_once(number: signal.Signals, here: Path) -> None:
    for name in ("index.html", "kit.json"):
        (here / name).write_text("x")
    process = start(("serve", ".", "--port", "0"), here)
    assert process.stdout is not None
    address = process.stdout.readline().split()[-1]
    with socket.create_connection(("127.0.0.1", int(address.rstrip("/").rpartition(":")[2]))):
        for _ in range(2):
            os.killpg(process.pid, number)
            time.sleep(0.05)
        _, err = process.communicate(timeout=10)
    assert process.returncode in (0, 130)
    assert err.splitlines()[-1] in ("ended", "interrupted")
    assert "Traceback" not in err
