from __future__ import annotations

import json

import command_line
import pytest

from pepr_edge.cli import doctor
from pepr_edge.device.facts import facts
from pepr_edge.measure.runtimes import RUNTIMES

MEASURE = "measure, predict, verify and rank (bench, predict, verify, rank, export, score)"


def test_the_machine_is_described(
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


def test_missing_parts_are_shown_with_a_fix(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "missing_for_training", lambda: ["torch"])
    monkeypatch.setattr(
        RUNTIMES["openvino"], "unavailable", lambda provider="cpu": "openvino cannot be imported."
    )
    text = " ".join(command_line.run(capsys, monkeypatch, "doctor").out.split())
    assert f"no {doctor.TRAIN}: torch not found. Run: pip install 'pepr_edge[train]'" in text
    assert "no measure with openvino: openvino cannot be imported." in text
    assert "but not train." in text


def test_each_missing_extra_is_named_with_its_install_command(
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


def test_packages_for_a_gpu_are_named_only_with_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
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
    energy = "measure the energy of an NVIDIA GPU"
    measure = "measure on an NVIDIA GPU"
    without = {
        ability.name: ability.reason for ability in doctor.abilities(facts().model_copy(update={"gpu": None}))
    }
    assert without[energy] == without[measure] == f"{doctor.NO_GPU}."
    with_gpu = {
        ability.name: ability.reason
        for ability in doctor.abilities(facts().model_copy(update={"gpu": "GTX 1650, 4 GiB"}))
    }
    assert "pip install 'pepr_edge[gpu]'" in with_gpu[energy]
    assert with_gpu[measure] == "no CUDA. Run: pip install onnxruntime-gpu"


def test_summary() -> None:
    everything = [doctor.Ability(name, "") for name in (doctor.TRAIN, doctor.MEASURE, doctor.CPU_ENERGY)]
    assert "every step" in doctor.summary(everything)
    assert "watts" not in doctor.summary(everything)
    without_counter = [*everything[:2], doctor.Ability(doctor.CPU_ENERGY, "no RAPL")]
    assert "every step" in doctor.summary(without_counter)
    assert "declare its watts" in doctor.summary(without_counter)
    assert "cannot run models" in doctor.summary([doctor.Ability(doctor.MEASURE, "no onnxruntime")])


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
    text = " ".join(doctor.advice(device, is_emulated=True))
    for keyword in ("emulated", "no VNNI", "on battery", "powersave", "load 7.5 on 2 cores"):
        assert keyword in text
    quiet = device.model_copy(
        update={"isa": ("avx_vnni",), "on_battery": False, "governor": None, "cores": 64}
    )
    assert not list(doctor.advice(quiet, is_emulated=False))


def test_limits_of_the_machine_are_shown() -> None:
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
    assert lines["instructions"].startswith("none")
