"""The field commands in processes of their own: without the workstation's packages, without a network, and nothing written elsewhere."""

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

BLOCKED = sorted(HEAVY | {"pandas", "jinja2", "pooch", "safetensors", "openvino", "pydicom"})
# Read by every Python that is started, children too. What is None in sys.modules cannot be imported.
SITE = f"""
import os, sys
for name in {BLOCKED}:
    sys.modules[name] = None
def note(event, arguments):
    if event.startswith("socket.") and event not in ("socket.__new__", "socket.gethostname"):
        with open(os.environ["HEARD"], "a") as file:
            file.write(f"{{event}} {{arguments}}\\n")
sys.addaudithook(note)
"""
# As long as a test may measure.
BRIEF = "from pepr_edge.measure import rules; rules.RULES['quick'] = rules.RULES['quick']._replace(warmup_s=0.0, queries=70, duration_s=0.05)"
RUN = f"import sys; from pepr_edge.cli import entry; {BRIEF}; sys.exit(entry())"
WRITES = re.compile(r"^(?P<call>\w+)\((?P<words>.*)\) += (?P<result>-?\d+)")
NETWORK = re.compile(r"AF_INET|AF_NETLINK")


@pytest.fixture
def field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A device: an empty home, a bundle, an image, and a Python in which the workstation's packages cannot be imported."""
    # Before ORT_DISABLE_TELEMETRY is taken away: this process imports onnxruntime for it.
    tiny_bundle.write(tmp_path / "01-tiny@16-int8_static", fallback=True)
    tiny_bundle.image(tmp_path / "x.png")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SITE)
    (tmp_path / "home").mkdir()
    for name, value in (
        *(
            ("HOME", tmp_path / "home"),
            ("HEARD", tmp_path / "heard.txt"),
            ("TMPDIR", tmp_path / "tmp"),
            ("PYTHONDONTWRITEBYTECODE", 1),
        ),
        ("PYTHONPATH", f"{tmp_path / 'site'}{os.pathsep}{PACKAGE.parent}"),
    ):
        monkeypatch.setenv(name, str(value))
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "ORT_DISABLE_TELEMETRY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "tmp").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands() -> Iterator[tuple[str, ...]]:
    bundle = "01-tiny@16-int8_static"
    yield "verify", bundle
    yield "predict", bundle, "x.png"
    yield "bench", bundle, "--quick", "--out", "out/report.json"


def python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=120)


@pytest.mark.slow
def test_the_field_commands_need_no_workstation_and_no_network(field: Path) -> None:
    heard = field / "heard.txt"
    for words in (*commands(), ("doctor",)):
        done = python("-c", RUN, *words)
        # So brief a measurement may be INVALID. That it was taken is asked below.
        assert done.returncode in ((0, 3) if words[0] == "bench" else (0,)), done.stderr
        assert "Traceback" not in done.stderr
    assert '"latencies_s"' in (field / "out" / "report.json").read_text()
    assert not heard.exists(), heard.read_text()
    assert list((field / "home").iterdir()) == []
    assert list((field / "tmp").iterdir()) == []
    # The guards guard.
    assert python("-c", "import torch").returncode == 1
    python("-c", "import socket; socket.create_connection(('127.0.0.1', 9), 1)")
    assert "socket.connect" in heard.read_text()


def strace(log: Path, *words: str) -> list[str]:
    calls = "connect,sendto,sendmsg,open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,truncate"
    subprocess.run(
        [
            "strace",
            "-ff",
            "-y",
            "-qq",
            "-s",
            "300",
            "-e",
            f"trace={calls}",
            "-e",
            "signal=none",
            "-o",
            str(log),
            sys.executable,
            *words,
        ],
        capture_output=True,
        timeout=120,
    )
    found = list(log.parent.glob(f"{log.name}.*"))  # one a process: in a common one calls would be torn apart
    lines = [line for path in found for line in path.read_text(errors="replace").splitlines()]
    for path in found:
        path.unlink()
    return lines


def written(lines: list[str]) -> Iterator[str]:
    """Absolute paths that were written to, as the system calls name them."""
    for line in lines:
        found = WRITES.match(line)
        if found is None or int(found["result"]) < 0 or found["call"] in ("connect", "sendto", "sendmsg"):
            continue
        if found["call"] in ("open", "openat") and not re.search(r"O_WRONLY|O_RDWR|O_CREAT", found["words"]):
            continue
        base = re.search(r"AT_FDCWD<([^>]*)>", found["words"])  # where that process was
        yield from (
            os.path.realpath(Path(base[1] if base else "") / path)
            for path in re.findall(r'"([^"]*)"', found["words"])
        )


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace here")
def test_the_kernel_sees_no_network_call_and_no_file_elsewhere(field: Path) -> None:
    log = Path(tempfile.mkdtemp(dir=field)) / "calls"
    control = strace(
        log,
        "-c",
        "import socket, pathlib; pathlib.Path('a').write_text('b'); socket.socket().connect_ex(('127.0.0.1', 9))",
    )
    if not control:
        pytest.skip("strace may not trace here")
    assert any("connect" in line and NETWORK.search(line) for line in control)
    assert str(field.resolve() / "a") in set(written(control))
    allowed = (f"{field.resolve()}/", "/dev/null", "/dev/tty", "/proc/self/")
    for words in commands():
        lines = strace(log, "-c", RUN, *words)
        assert any("onnxruntime" in line for line in lines), "it ran no model"
        assert [line for line in lines if NETWORK.search(line) and "openat" not in line] == []
        assert [path for path in written(lines) if not path.startswith(allowed)] == []
