from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import command_line
import hostile_models
import pytest
import tiny_bundle
from bench_command import measure_undisturbed

from pepr_edge.cli import bench as cli_bench
from pepr_edge.device import cpu, interference
from pepr_edge.energy import counter as energy_counter
from pepr_edge.errors import MeasurementError
from pepr_edge.field import bench as field_bench
from pepr_edge.measure import settings
from pepr_edge.measure.rules import RULES
from pepr_edge.records import FieldReport, SessionSettings
from pepr_edge.run_dir.store import sha256_file

TRAINING = ("torch", "timm", "onnx", "optimum", "sklearn", "scipy", "pandas", "matplotlib")


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure briefly, on a device without interference."""
    measure_undisturbed(monkeypatch)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle.write(tmp_path / "01-tiny@16-fp32")


def test_the_table_of_a_valid_measurement(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tiny_bundle.write(bundle.parent / f"02-{'very_' * 12}long@16-int8_static", seed=1)
    done = command_line.run(capsys, monkeypatch, "bench", "--quick", bundle, long)
    assert done.status == 0
    lines = done.out.splitlines()
    assert lines[0].split() == [
        "bundle",
        "p50",
        "ms",
        "p90",
        "ms",
        "p99",
        "ms",
        "CPU",
        "ms",
        "cold",
        "ms",
        "MiB",
        "result",
    ]
    assert len({len(line) for line in lines[:3]}) == 1
    assert max(map(len, lines)) <= 100
    assert "int8_static" in lines[2]
    assert all(line.endswith("VALID") for line in lines[1:3])
    assert lines[3] == "01-tiny@16-fp32"
    assert lines[4] == "  image to tensor 12.10 ms (1024 px JPEG); 16 at once: 310 images/s"
    assert len(lines) == 7
    assert "quick rules" in done.err


def test_a_sweep_measures_more_threads(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_bundle.fake_profile(monkeypatch)
    done = command_line.run(capsys, monkeypatch, "bench", "--quick", bundle, "--sweep", "--no-extras")
    assert done.out.splitlines()[2:] == ["01-tiny@16-fp32", "  with 2 threads: 0.71 of the time of 1 thread"]


@pytest.mark.parametrize("emulated", [True, False])
def test_energy_is_measured_only_on_a_real_device(monkeypatch: pytest.MonkeyPatch, emulated: bool) -> None:
    monkeypatch.setattr(cpu, "emulated", lambda: emulated)
    monkeypatch.setattr(energy_counter, "cpu_counter", lambda: ("RAPL", lambda: 1.0))
    found = cli_bench._counter()
    assert (found is None) == emulated
    assert found is None or (found.source, found.joules()) == ("RAPL", 1.0)


@pytest.mark.parametrize("emulated", [True, False])
def test_extras_need_a_real_device_and_no_paced_load(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, emulated: bool
) -> None:
    tiny_bundle.fake_profile(monkeypatch)
    monkeypatch.setattr(cpu, "emulated", lambda: emulated)
    words = [] if emulated else ["--paced", 2]
    done = command_line.run(capsys, monkeypatch, "bench", "--quick", bundle, "--json", *words)
    (result,) = json.loads(done.out)["results"]
    assert (result["preprocessing"], result["throughput"], result["thread_sweep"]) == (None, [], [])


def test_warnings_go_to_stderr_and_into_the_report(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_bundle.fake_profile(monkeypatch)
    monkeypatch.setattr(
        interference, "power", lambda: {"battery": "on battery: plug the device in and measure again"}
    )
    done = command_line.run(capsys, monkeypatch, "bench", "--quick", bundle, "--json")
    assert done.status == 0
    assert done.err.count("warning: on battery: plug the device in and measure again\n") == 1
    assert json.loads(done.out)["results"][0]["warnings"] == [
        "on battery: plug the device in and measure again"
    ]


def test_json_is_the_report(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = bundle.parent / "report.json"
    done = command_line.run(
        capsys, monkeypatch, "bench", bundle, "--quick", "--json", "--threads", 2, "--paced", 2, "--out", out
    )
    assert done.status == 0
    document = json.loads(done.out)
    assert document == json.loads(out.read_text())
    assert {"schema_version", "emulated", "partial", "device", "results", "checksum"} == set(document)
    result = document["results"][0]
    keys = """bundle artifact_sha256 runtime scenario validity latencies_s percentiles_s import_s load_s
    first_s peak_memory_bytes cpu_s_per_inference energy_j_per_inference selftest"""
    assert set(keys.split()) <= set(result)
    assert {"passed", "decisions_agree", "max_abs_diff"} <= set(result["selftest"])
    assert (result["threads"], result["scenario"], result["paced_s"]) == (2, "paced", 0.002)


def test_invalid_is_written_and_ends_with_3(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RULES, "full", tiny_bundle.FAST._replace(queries=10**9, cap_s=0.05))
    out = bundle.parent / "report.json"
    done = command_line.run(capsys, monkeypatch, "bench", bundle, "--out", out)
    assert done.status == 3
    assert done.out.splitlines()[1].endswith("INVALID")
    assert "INVALID 01-tiny@16-fp32: minimum queries: " in done.err
    report = FieldReport.model_validate_json(out.read_bytes())
    assert not report.partial
    assert not report.results[0].validity.valid


def test_a_failed_selftest_ends_with_3(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_bundle.spoil(bundle, "model.onnx")
    done = command_line.run(capsys, monkeypatch, "bench", "--quick", bundle)
    assert done.status == 3
    assert done.out.splitlines()[1].endswith("FAILED")
    assert "FAILED 01-tiny@16-fp32: the self-test differs" in done.err


def test_faults_are_reported_in_one_line(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*words: object) -> str:
        done = command_line.run(capsys, monkeypatch, "bench", *words)
        assert (done.status, done.out) == (1, "")
        assert done.err.count("\n") == 1
        return done.err

    assert "no such folder" in fault(bundle.parent / "none")
    (bundle.parent / "file").touch()
    assert "lies inside the bundle" in fault(bundle, "--out", bundle / "report.json")
    assert "lies inside the bundle" in fault(bundle, "--out", bundle / "model.onnx", "--force")
    assert "no earlier output" in fault(bundle, "--out", bundle.parent / "file")
    assert "onnxruntime has no CUDAExecutionProvider here" in fault(bundle, "--provider", "cuda")
    assert "cannot be written" in fault(bundle, "--out", bundle.parent / "file" / "report.json")
    assert "would take more than" in fault(bundle, "--paced", 1e6)
    (bundle / "MODEL_CARD.md").write_text("altered")
    assert "MODEL_CARD.md: sha256" in fault(bundle)


@pytest.mark.parametrize(
    "words",
    [
        ["--threads", "0"],
        ["--paced", "0"],
        ["--paced", "-5"],
        ["--runtime", "tflite"],
        ["--nonsense"],
        ["--fallback", "--provider", "cpu"],
        ["--paced", "5", "--sweep"],
    ],
)
def test_wrong_usage_ends_with_2(
    bundle: Path, words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command_line.run(capsys, monkeypatch, "bench", bundle, *words).status == 2
    assert command_line.run(capsys, monkeypatch, "bench").status == 2


def test_each_bundle_runs_as_on_the_workstation(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "usable_cores", lambda: 2)
    other = tiny_bundle.write(bundle.parent / "02-tiny@16-other", seed=1)
    tiny_bundle.measured_with(bundle, threads=8, arena=False, batch=1)
    tiny_bundle.measured_with(other, provider="tensorrt", spinning=True)
    done = command_line.run(capsys, monkeypatch, "bench", "--quick", bundle, other, "--json")
    assert done.status == 0
    found = [SessionSettings.model_validate(result["settings"]) for result in json.loads(done.out)["results"]]
    assert found == [SessionSettings(threads=2, arena=False, batch=1), SessionSettings(spinning=True)]
    assert "02-tiny@16-other runs on the CPU, not with tensorrt as at home: " in done.err
    assert "01-tiny" not in done.err


def test_the_fallback_is_measured(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tiny_bundle.write(bundle.parent / "02-tiny@16-int8_static", fallback=True)
    tiny_bundle.measured_with(made, runtime="openvino", threads=2, batch=1)
    monkeypatch.setattr(settings, "usable_cores", lambda: 2)
    done = command_line.run(capsys, monkeypatch, "bench", "--quick", "--fallback", made, "--json")
    assert done.status == 0
    (result,) = json.loads(done.out)["results"]
    assert result["artifact_sha256"] == sha256_file(made / "fallback.onnx")
    assert SessionSettings.model_validate(result["settings"]) == SessionSettings(threads=2)
    assert "02-tiny@16-int8_static: measures its fallback, fallback.onnx" in done.err


def test_a_bundle_that_cannot_be_measured_leaves_the_others_their_turn(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_bundle.fake_profile(monkeypatch)
    made = tiny_bundle.write(bundle.parent / "02-tiny@16-int8_static", fallback=True)
    altered = tiny_bundle.write(bundle.parent / "03-tiny@16-fp32", fallback=True)
    (altered / "model.onnx").write_bytes(b"altered")
    endless = tiny_bundle.write(bundle.parent / "04-tiny@16-fp32", fallback=True)
    hostile_models.spoil(endless, hostile_models.inputs(2), "fallback.onnx")
    words = ("bench", "--fallback", "--no-extras", bundle, altered, endless, made, bundle.parent / "none")
    done = command_line.run(capsys, monkeypatch, *words, "--json")
    assert done.status == 1
    assert [row["bundle"] for row in json.loads(done.out)["results"]] == [made.name]
    for keyword in ("has no float32 fallback", "model.onnx: sha256", "2 inputs", "no such folder"):
        assert keyword in done.err


@pytest.mark.slow
def test_field_commands_need_no_workstation_packages(tmp_path: Path) -> None:
    bundle = tiny_bundle.write(tmp_path / "01-tiny@16-int8_static", fallback=True)
    blocked = bundle.parent / "blocked"
    blocked.mkdir()
    # Blocks the packages in all child processes too.
    (blocked / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({TRAINING}))\n")
    program = f"""
    import sys
    from pepr_edge.cli import entry
    from pepr_edge.measure.job import MeasurementRules
    from math import inf
    from pepr_edge.measure import rules
    assert sys.modules["torch"] is None
    rules.RULES["quick"] = MeasurementRules{tuple(tiny_bundle.FAST)}
    vars(rules).update({tiny_bundle.UNDISTURBED})
    entry()
    """
    image = tiny_bundle.image(bundle.parent / "a.png")
    environment = {**os.environ, "PYTHONPATH": str(blocked)}
    table = bundle.parent / "t.csv"
    table.write_text("model,acc,energy_j,latency_s\na,0.5,1,2\nb,0.6,2,1\n")
    score = [
        "score",
        table,
        "--performance",
        "acc",
        "--resource",
        "energy=energy_j",
        "latency=latency_s",
        "--images",
        9,
    ]
    for words in (
        ["bench", "--quick", "--no-extras", bundle],
        ["predict", "--fallback", bundle, image],
        ["verify", bundle],
        score,
    ):
        command = [sys.executable, "-c", textwrap.dedent(program), *map(str, words), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        json.loads(done.stdout)


def test_a_bundle_that_fails_is_reported_after_the_others(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = tiny_bundle.write(bundle.parent / "02-tiny@16-damaged", seed=1)
    run = field_bench.selftest.run

    def fail_on_damaged(folder: Path, *words: object) -> object:
        if folder == damaged:
            raise MeasurementError("it died.")
        return run(folder, *words)  # type: ignore[arg-type]

    monkeypatch.setattr(field_bench.selftest, "run", fail_on_damaged)
    done = command_line.run(capsys, monkeypatch, "bench", "--quick", damaged, bundle)
    assert done.status == 1
    assert "01-tiny@16-fp32" in done.out
    assert done.err.endswith("error: 02-tiny@16-damaged: it died.\n")
