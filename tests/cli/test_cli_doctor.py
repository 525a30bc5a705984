from __future__ import annotations

import json

import command_line
import pytest

from pepr_edge.cli import doctor
from pepr_edge.device.facts import facts
from pepr_edge.measure.runtimes import RUNTIMES

MEASURE = "measure, predict, verify and rank (bench, predict, verify, rank, export, score)"


def test_it_says_what_this_machine_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = command_line.run(capsys, monkeypatch, "doctor")
    assert (done.status, done.err) == (0, "")
    device = facts()
    assert device.cpu in done.out
    assert f"yes  {MEASURE}" in done.out
    document = json.loads(command_line.run(capsys, monkeypatch, "doctor", "--json").out)
    assert document["device"]["cores"] == device.cores
    rows = {row["ability"]: row for row in document["abilities"]}
    assert rows[MEASURE] == {
        "ability": MEASURE,
        "available": True,
        "reason": None,
    }


def test_what_is_missing_comes_with_its_remedy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "missing_for_training", lambda: ["torch"])
    monkeypatch.setattr(
        RUNTIMES["openvino"], "unavailable", lambda provider="cpu": "openvino cannot be imported."
    )
    said = " ".join(command_line.run(capsys, monkeypatch, "doctor").out.split())
    assert (
        "no train and compare (run, report, compare): torch not found. Run: pip install 'pepr_edge[train]'"
        in said
    )
    assert "no measure with OpenVINO: openvino cannot be imported." in said
    assert said.startswith("This machine can do what a clinic's device has to, but not train.")


def test_each_extra_that_is_missing_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    found = {
        ability.name: ability.reason for ability in doctor.abilities(facts().model_copy(update={"gpu": None}))
    }
    assert found["read DICOM images"] == "pydicom is not installed. Run: pip install 'pepr_edge[dicom]'"
    assert (
        found["read compressed DICOM images (JPEG, JPEG 2000)"]
        == "pylibjpeg is not installed. Run: pip install 'pepr_edge[dicom]'"
    )
    assert (
        found["train on several machines (run --engine ray)"]
        == "ray is not installed. Run: pip install 'pepr_edge[ray]'"
    )


def test_what_a_gpu_would_need_is_said_only_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from pepr_edge.energy import nvml

    monkeypatch.setattr(
        nvml,
        "unavailable",
        lambda settings, part: "the package nvidia-ml-py is missing: pip install 'pepr_edge[gpu]'",
    )
    monkeypatch.setattr(
        RUNTIMES["onnxruntime"],
        "unavailable",
        lambda provider="cpu": "no CUDA." if provider == "cuda" else None,
    )
    monkeypatch.setattr(doctor, "missing_for_training", lambda: ["torch"])
    energy, measure = "count the energy of an NVIDIA GPU", "measure on an NVIDIA GPU"
    without = {
        ability.name: ability.reason for ability in doctor.abilities(facts().model_copy(update={"gpu": None}))
    }
    assert without[energy] == without[measure] == "no NVIDIA GPU was found (nvidia-smi names none)."
    with_one = {
        ability.name: ability.reason
        for ability in doctor.abilities(facts().model_copy(update={"gpu": "GTX 1650, 4 GiB"}))
    }
    assert "pip install 'pepr_edge[gpu]'" in with_one[energy]
    assert with_one[measure] == "no CUDA. Run: pip install onnxruntime-gpu"


def test_in_a_word() -> None:
    able = [doctor.Ability(name, "") for name in (doctor.TRAIN, doctor.MEASURE, doctor.CPU_ENERGY)]
    assert doctor.in_a_word(able) == "This machine can do the whole way, from images to measured bundles."
    uncounted = [*able[:2], doctor.Ability(doctor.CPU_ENERGY, "no RAPL")]
    assert doctor.in_a_word(uncounted).endswith(
        "Its energy has no counter, so declare its watts in the recipe."
    )
    assert "cannot run models yet" in doctor.in_a_word([doctor.Ability(doctor.MEASURE, "no onnxruntime")])


def test_advice_names_what_disturbs_a_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    from pepr_edge.device import load

    monkeypatch.setattr(load, "load_average", lambda: 7.5)
    device = facts().model_copy(
        update={
            "cores": 2,
            "architecture": "x86_64",
            "isa": ("avx2",),
            "on_battery": True,
            "governor": "powersave",
        }
    )
    said = " ".join(doctor.advice(device, is_emulated=True))
    assert all(
        word in said for word in ("emulated", "no VNNI", "on battery", "powersave", "load 7.5 on 2 cores")
    )
    quiet = device.model_copy(
        update={"isa": ("avx_vnni",), "on_battery": False, "governor": None, "cores": 64}
    )
    assert not list(doctor.advice(quiet, is_emulated=False))


def test_a_limited_machine_says_so() -> None:
    device = facts().model_copy(
        update={
            "cores": 8,
            "affinity": 2,
            "cgroup_cpu_limit": 1.5,
            "memory_bytes": 8 << 30,
            "cgroup_memory_bytes": 2 << 30,
            "isa": (),
        }
    )
    lines = dict(doctor.describe(device))
    assert lines["cores"] == "8, 2 of them for this process, limited to 1.5 by a control group"
    assert lines["memory"] == "8.0 GiB, limited to 2.0 GiB"
    assert lines["instructions"] == "none of those that matter"
