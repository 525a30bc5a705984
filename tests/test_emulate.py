"""tools/emulate.py: its command lines and its errors. The emulators themselves run in the slow tier."""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import made_records
import pytest
import tiny_bundle

from pepr_edge.device.cpu import EMULATED
from pepr_edge.errors import PeprError
from pepr_edge.run_dir.store import write_record

if sys.platform != "linux":
    pytest.skip("emulates on Linux", allow_module_level=True)
TOOLS = Path(__file__).resolve().parents[1] / "tools"
TELL = (
    "import json, sys; from pepr_edge.device import cpu; "
    "print(json.dumps([cpu.emulated(), cpu.cpu_name(), cpu.isa(), sys.executable]))"
)


def tool(name: str) -> Any:
    """A module of tools/, which is no package."""
    if str(TOOLS) not in sys.path:
        sys.path.insert(0, str(TOOLS))
    return importlib.import_module(name)


emulate, arm, acceptance = tool("emulate"), tool("emulate_arm"), tool("emulate_acceptance")
needs_qemu = pytest.mark.skipif(not any(map(shutil.which, emulate.QEMU)), reason="no qemu-user")


@pytest.mark.parametrize(("text", "mebibytes"), [("512M", 512), ("2G", 2048)])
def test_sizes(text: str, mebibytes: int) -> None:
    assert emulate.mebibytes(text) == mebibytes


@pytest.mark.parametrize("text", ["", "0M", "512", "512MiB", "-1G"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="512M or 2G"):
        emulate.mebibytes(text)


def test_the_python_of_a_command_is_itself_or_lies_beside_it(tmp_path: Path) -> None:
    for name in ("python", "pepr-edge"):
        (tmp_path / name).write_text("#!/bin/sh\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    python, program = tmp_path / "python", tmp_path / "pepr-edge"
    assert emulate.interpreter([str(python), "-m", "x"]) == (python, ["-m", "x"])
    assert emulate.interpreter([str(program), "verify"]) == (python, [str(program), "verify"])
    python.unlink()
    with pytest.raises(PeprError, match="no python in its folder"):
        emulate.interpreter([str(program), "verify"])
    with pytest.raises(PeprError, match="no such program"):
        emulate.interpreter([str(tmp_path / "none")])


def test_small_confines_and_says_so(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(emulate, "CGROUP", tmp_path)
    limits = "len(os.sched_getaffinity(0)), resource.getrlimit(resource.RLIMIT_AS)[0]"
    script = f"import os, resource; print({limits}, os.environ['PEPR_EDGE_EMULATED'])"
    assert emulate.small(1, 300, [sys.executable, "-S", "-c", script]) == 0
    assert capfd.readouterr().out == f"1 {300 * 2**20} 1 core, 300 MiB address space\n"


def test_a_ceiling_on_memory_where_a_group_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cgroup.subtree_control").write_text("cpu memory\n", encoding="ascii")
    # A group's files are the kernel's and go with it.
    monkeypatch.setattr(Path, "rmdir", shutil.rmtree)
    with emulate.memory_limit(1000, tmp_path) as (words, kind):
        said = subprocess.run(
            [*words, "sh", "-c", "echo $$"], capture_output=True, text=True, check=True
        ).stdout
        (group,) = tmp_path.glob("pepr_edge_emulate_*")
        written = {path.name: path.read_text(encoding="ascii") for path in group.iterdir()}
    assert kind == "memory"
    assert written == {"memory.max": "1000", "cgroup.procs": said}
    assert not group.exists()


@pytest.mark.parametrize(
    "words",
    [
        ["x86", "--cpu", "Haswell"],
        ["small"],
        ["small", "--cores", "0", "--", "true"],
        ["small", "--", "no-such"],
    ],
)
def test_a_fault_is_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert emulate.main(words) == 1
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("error: ")


def test_a_folder_that_is_no_kit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert emulate.main(["arm", str(tmp_path), "--root", str(tmp_path / "root")]) == 1
    assert "no install.sh" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("enabled\ninterpreter /usr/bin/qemu-aarch64-static\nflags: POF\n", True),
        ("enabled\ninterpreter /usr/bin/qemu-aarch64-static\nflags: P\n", False),
        ("disabled\ninterpreter /usr/bin/qemu-aarch64-static\nflags: POF\n", False),
        (None, False),
    ],
)
def test_whether_the_kernel_starts_the_emulator(
    text: str | None, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arm, "BINFMT", tmp_path / "qemu-aarch64")
    if text is not None:
        arm.BINFMT.write_text(text, encoding="ascii")
    assert arm.registered() is expected


def test_without_binfmt_proot_starts_it_and_without_both_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arm, "registered", lambda: False)
    monkeypatch.setattr(arm.shutil, "which", lambda name: f"/usr/bin/{name}")
    words = arm.enter_command(tmp_path)
    assert words[0] == "unshare"
    assert "--net" in words
    assert words[words.index("-q") + 1] == arm.QEMU
    monkeypatch.setattr(arm.shutil, "which", lambda name: None if name == "proot" else f"/usr/bin/{name}")
    with pytest.raises(PeprError, match="apt install proot"):
        arm.enter_command(tmp_path)
    monkeypatch.setattr(arm.shutil, "which", lambda name: None)
    with pytest.raises(PeprError, match="apt install qemu-user-static"):
        arm.enter_command(tmp_path)


class Here:
    """A device on which `predict` gives these labels."""

    def __init__(self, found: dict[str, str], ok: bool = True) -> None:
        self.found, self.ok = found, ok

    def step(self, what: str, *command: str, **_: Any) -> Any:
        rows = [{"image": f"{arm.IMAGES}/{name}", "label": label} for name, label in self.found.items()]
        return arm.Outcome(self.ok, json.dumps({"predictions": rows}))


@pytest.mark.parametrize(
    ("found", "ok", "expected", "passes"),
    [
        ({"0.png": "a", "1.png": "b"}, True, {"0.png": "a", "1.png": "b"}, True),
        ({"0.png": "a", "1.png": "a"}, True, {"0.png": "a", "1.png": "b"}, False),
        ({"0.png": "a"}, True, {"0.png": "a", "1.png": "b"}, False),
        ({"0.png": "a"}, False, None, False),
        ({"0.png": "a"}, True, None, True),
    ],
)
def test_another_label_is_a_failure(
    found: dict[str, str],
    ok: bool,
    expected: dict[str, str] | None,
    passes: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    image = tiny_bundle.image(tmp_path / "0.png")
    assert arm.predicts_as_expected(Here(found, ok), tmp_path, "01-tiny", [image], expected) is passes
    if ok and not passes:
        assert "1.png" in capsys.readouterr().out
    assert (tmp_path / "images" / "0.png").is_file()


def test_the_device_gets_nothing_of_our_environment_but_what_it_is() -> None:
    words = arm.environment("cortex-a72")
    assert words[:2] == ["/usr/bin/env", "-i"]
    assert {"QEMU_CPU=cortex-a72", f"{EMULATED}=cortex-a72 under qemu-user"} <= set(words)


NAMED = "int8 saturation: ... 10 of 16 decisions agree. Use its float32 fallback"
JUDGED = {"agreeing": 10, "n": 16, "max_abs_diff": 22.2, "tolerance": 4.12}


@pytest.mark.parametrize(
    ("name", "status", "row", "judged", "said"),
    [
        (
            "a",
            0,
            {"passed": True, "reasons": [], "selftest": JUDGED},
            True,
            "a passed; 10 of 16 decisions, logits differ by 22.2, allowed 4.12",
        ),
        (
            "a-int8",
            3,
            {"passed": False, "reasons": [NAMED], "selftest": JUDGED},
            True,
            "a-int8 does not pass; 10 of 16",
        ),
        (
            "a-fp32",
            3,
            {"passed": False, "reasons": [NAMED], "selftest": JUDGED},
            False,
            "a-fp32 does not pass",
        ),
        (
            "a-int8",
            3,
            {"passed": False, "reasons": ["logits differ"], "selftest": None},
            False,
            "a-int8 does not pass",
        ),
        ("a", 132, {}, False, "verify a: FAILED, exit status 132"),
    ],
)
def test_a_bundle_has_to_pass_or_to_be_told_why_not(
    name: str,
    status: int,
    row: dict[str, Any],
    judged: bool,
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = json.dumps({"bundles": [row]})
    monkeypatch.setattr(
        acceptance, "on", lambda *words: subprocess.CompletedProcess(words, status, out, "core dumped")
    )
    assert acceptance.passes_or_explains("Haswell", Path(name)) is judged
    heard = capsys.readouterr().out
    assert said in heard
    assert all(reason in heard for reason in row.get("reasons", ["core dumped"]))


@pytest.mark.parametrize(
    ("status", "said", "refused"),
    [
        (1, "error: this processor (x) lacks avx.\n", True),
        (1, "error: this processor (x) lacks avx.\nTraceback\n", False),
        (1, "error: no such bundle\n", False),
        (132, "Illegal instruction (core dumped)\n", False),
        (0, "", False),
    ],
)
def test_a_processor_that_is_too_old_has_to_be_refused_in_one_line(
    status: int, said: str, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptance, "on", lambda *words: subprocess.CompletedProcess(words, status, "", said))
    assert acceptance.is_refused("core2duo", Path("a")) is refused


@pytest.mark.parametrize(
    ("emulated", "partial", "status", "measured"),
    [
        (True, False, 0, True),
        (True, False, 3, True),
        (False, False, 0, False),
        (True, True, 0, False),
        (True, False, 132, False),
    ],
)
def test_a_report_has_to_be_whole_and_marked(
    emulated: bool,
    partial: bool,
    status: int,
    measured: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "report.json"
    write_record(out, made_records.field_report(made_records.bench("a"), emulated=emulated, partial=partial))
    monkeypatch.setattr(acceptance, "on", lambda *words: subprocess.CompletedProcess(words, status, "", ""))
    assert acceptance.is_measured("Haswell", [Path("a")], out) is measured
    assert acceptance.is_measured("Haswell", [Path("a")], tmp_path / "none.json") is False
    assert acceptance.is_measured("Haswell", [], tmp_path / "none.json") is False


@needs_qemu
@pytest.mark.slow
def test_an_older_processor_is_told_from_this_one_by_parent_and_child(
    capfd: pytest.CaptureFixture[str],
) -> None:
    child = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {TELL!r}]))"
    for script in (TELL, child):
        assert emulate.main(["x86", "--cpu", "Haswell", "--", sys.executable, "-c", script]) == 0
        emulated, name, isa, executable = json.loads(capfd.readouterr().out)
        assert (emulated, name) == (True, "Haswell under qemu-user")
        assert {"avx", "avx2", "fma"} <= set(isa)
        assert not {"avx512f", "avx512_vnni", "avx_vnni"} & set(isa)
        assert Path(executable).parent != Path(sys.executable).parent
    assert emulate.main(["x86", "--cpu", "SandyBridge", "--", sys.executable, "-c", TELL]) == 0
    isa = json.loads(capfd.readouterr().out)[2]
    assert "avx" in isa
    assert "avx2" not in isa
