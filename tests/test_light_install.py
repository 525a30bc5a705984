"""The field commands in their own processes: no workstation packages, no network, no files elsewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_bundle
from test_imports import HEAVY, PACKAGE

BLOCKED = sorted(HEAVY | {"jinja2", "pooch", "safetensors", "pydicom", "cryptography"})
# Executed by every Python process that is started. A module that is None in sys.modules cannot be imported.
SITE = f"""
import os, sys
for name in {BLOCKED}:
    sys.modules[name] = None
def note(event, arguments):
    if event.startswith("socket.") and event not in ("socket.__new__", "socket.gethostname"):
        with open(os.environ["NETWORK_LOG"], "a") as file:
            file.write(f"{{event}} {{arguments}}\\n")
sys.addaudithook(note)
"""
# Rules for a brief measurement.
BRIEF = (
    "from pepr_edge.measure import rules; "
    "rules.RULES['quick'] = rules.RULES['quick']._replace(warmup_s=0.0, queries=70, duration_s=0.05)"
)
RUN = f"import sys; from pepr_edge.cli import entry; {BRIEF}; sys.exit(entry())"
CALL = re.compile(r"^(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)")
NETWORK_CALLS = ("connect", "sendto", "sendmsg")
CALLS = (
    *NETWORK_CALLS,
    "open",
    "openat",
    "creat",
    "mkdir",
    "mkdirat",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "truncate",
)
NETWORK = re.compile(r"AF_INET|AF_NETLINK")


@pytest.fixture
def field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a device: an empty home, a bundle, an image, and a Python without the workstation's packages."""
    # This imports onnxruntime, so it comes before ORT_DISABLE_TELEMETRY is removed.
    tiny_bundle.write(tmp_path / "01-tiny@16-int8_static", fallback=True)
    tiny_bundle.image(tmp_path / "x.png")
    for number in range(6):
        path = tmp_path / "images" / tiny_bundle.LABELS[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        tiny_bundle.image(path, number)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SITE)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("NETWORK_LOG", str(tmp_path / "network.txt"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}{os.pathsep}{PACKAGE.parent}")
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "ORT_DISABLE_TELEMETRY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "tmp").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands() -> Iterator[tuple[str, ...]]:
    bundle = "01-tiny@16-int8_static"
    yield "verify", bundle
    yield "predict", bundle, "x.png"
    yield "evaluate", bundle, "images", "--out", "site.json"
    yield "bench", bundle, "--quick", "--out", "out/report.json"


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_the_field_commands_need_no_workstation_and_no_network(field: Path) -> None:
    network = field / "network.txt"
    for command in (*commands(), ("doctor",)):
        done = python("-c", RUN, *command)
        # A brief measurement may be INVALID. The report below shows that it took place.
        assert done.returncode in ((0, 3) if command[0] == "bench" else (0,)), done.stderr
        assert "Traceback" not in done.stderr
    assert '"confusion"' in (field / "site.json").read_text()
    assert '"latencies_s"' in (field / "out" / "report.json").read_text()
    assert not network.exists(), network.read_text()
    assert list((field / "home").iterdir()) == []
    assert list((field / "tmp").iterdir()) == []
    # Both guards work.
    assert python("-c", "import torch").returncode == 1
    python("-c", "import socket; socket.create_connection(('127.0.0.1', 9), 1)")
    assert "socket.connect" in network.read_text()


def strace(log: Path, *arguments: str) -> list[str]:
    """Run Python under strace, and return the lines with the system calls that connect or write."""
    options = f"-ff -y -qq -s 300 -e trace={','.join(CALLS)} -e signal=none -o".split()
    command = ["strace", *options, str(log), sys.executable, *arguments]
    subprocess.run(command, capture_output=True, timeout=120)
    lines = []
    # One log per process: in a common log, lines of several processes would be mixed.
    for path in log.parent.glob(f"{log.name}.*"):
        lines += path.read_text(errors="replace").splitlines()
        path.unlink()
    return lines


def written(lines: list[str]) -> Iterator[str]:
    """Yield the absolute paths that were written to, from the lines of strace."""
    for line in lines:
        call = CALL.match(line)
        if call is None or int(call["result"]) < 0 or call["name"] in NETWORK_CALLS:
            continue
        arguments = call["arguments"]
        if call["name"] in ("open", "openat") and not re.search(r"O_WRONLY|O_RDWR|O_CREAT", arguments):
            continue
        directory = re.search(r"AT_FDCWD<([^>]*)>", arguments)  # the working directory of that process
        for path in re.findall(r'"([^"]*)"', arguments):
            yield os.path.realpath(Path(directory[1] if directory else "") / path)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace here")
def test_there_is_no_network_call_and_no_file_elsewhere(field: Path) -> None:
    log = Path(tempfile.mkdtemp(dir=field)) / "calls"
    program = (
        "import socket, pathlib; pathlib.Path('a').write_text('b'); "
        "socket.socket().connect_ex(('127.0.0.1', 9))"
    )
    control = strace(log, "-c", program)
    if not control:
        pytest.skip("strace has no permission to trace here")
    assert any("connect" in line and NETWORK.search(line) for line in control)
    assert str(field.resolve() / "a") in set(written(control))
    allowed = (f"{field.resolve()}/", "/dev/null", "/dev/tty", "/proc/self/")
    for command in commands():
        lines = strace(log, "-c", RUN, *command)
        assert any("onnxruntime" in line for line in lines), "it ran no model"
        assert [line for line in lines if NETWORK.search(line) and "openat" not in line] == []
        assert [path for path in written(lines) if not path.startswith(allowed)] == []
