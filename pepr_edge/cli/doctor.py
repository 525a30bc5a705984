"""`pepr-edge doctor`: show what this machine is, what it can do, and how to fix the rest."""

from __future__ import annotations

import importlib.util
import textwrap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import click

from pepr_edge.cli.common import INSTALL, common, echo, missing_for_training, print_json
from pepr_edge.records import DeviceFacts

WIDTH = 100
MEASURE = "measure, predict, verify and rank (bench, predict, verify, rank, export, score)"
TRAIN = "train and compare (run, report, compare)"
CPU_ENERGY = "measure the energy of the processor"
NO_GPU = "no NVIDIA GPU was found (nvidia-smi lists none)"


class Ability(NamedTuple):
    """Something that pepr_edge can do on some machines.

    `reason` is empty if it works here; else it says why not and how to fix it.
    """

    name: str
    reason: str


@click.command("doctor")
@common
def command(as_json: bool) -> None:
    """Show what this machine is, what it can do, and how to fix what is missing."""
    from pepr_edge.device.cpu import emulated
    from pepr_edge.device.facts import facts

    device = facts()
    is_emulated = emulated()
    listed = list(abilities(device))
    notes = list(advice(device, is_emulated))
    if as_json:
        rows = [
            {"ability": ability.name, "available": not ability.reason, "reason": ability.reason or None}
            for ability in listed
        ]
        document = {
            "summary": summary(listed),
            "emulated": is_emulated,
            "device": device.model_dump(mode="json"),
            "abilities": rows,
            "advice": notes,
        }
        print_json(document)
        return
    echo(_filled(summary(listed), ""))
    echo()
    for name, value in describe(device):
        echo(_filled(f"{name:<12} {value}", " " * 13))
    echo()
    for ability in listed:
        line = f"no   {ability.name}: {ability.reason}" if ability.reason else f"yes  {ability.name}"
        echo(_filled(line, "     "))
    if notes:
        echo()
    for note in notes:
        echo(_filled(f"note: {note}", "      "))


def _filled(text: str, indent: str) -> str:
    return textwrap.fill(
        text, WIDTH, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )


def summary(listed: Sequence[Ability]) -> str:
    """Return what this machine is useful for, in one or two sentences."""
    missing = {ability.name for ability in listed if ability.reason}
    if MEASURE in missing:
        return "This machine cannot run models yet: see below what is missing."
    if TRAIN in missing:
        use = "This machine can measure and run models as a clinic's device does, but not train."
    else:
        use = "This machine can do every step, from images to measured bundles."
    if CPU_ENERGY in missing:
        return f"{use} It has no energy counter, so declare its watts in the recipe."
    return use


def describe(device: DeviceFacts) -> Iterator[tuple[str, str]]:
    """Yield name and value of each known fact about the machine."""
    cores = str(device.cores)
    if device.affinity is not None and device.affinity < device.cores:
        cores += f", {device.affinity} of them for this process"
    if device.cgroup_cpu_limit is not None:
        cores += f", limited to {device.cgroup_cpu_limit:g} by a control group"
    yield "processor", device.cpu
    yield "cores", cores
    yield "instructions", " ".join(device.isa) or "none of the relevant sets"
    if device.memory_bytes is not None:
        memory = f"{device.memory_bytes / 2**30:.1f} GiB"
        if device.cgroup_memory_bytes:
            memory += f", limited to {device.cgroup_memory_bytes / 2**30:.1f} GiB"
        yield "memory", memory
    if device.gpu is not None:
        yield "GPU", device.gpu
    yield "system", f"{device.os} ({device.architecture})"
    versions = ", ".join(f"{name} {version}" for name, version in device.versions.items())
    yield "Python", f"{device.python}; {versions}"


def abilities(device: DeviceFacts) -> Iterator[Ability]:
    """Yield the abilities in the order in which a user needs them."""
    from pepr_edge.device.preflight import machine_fault
    from pepr_edge.energy import nvml, rapl
    from pepr_edge.energy.source import MeterSettings
    from pepr_edge.measure.runtimes import BUNDLE_RUNTIMES, RUNTIMES

    fault = machine_fault()
    if fault is not None:
        # The checks below need imports that would crash this process.
        yield Ability(MEASURE, fault)
        return
    missing = missing_for_training()
    yield Ability(TRAIN, f"{', '.join(missing)} not found. Run: {INSTALL}" if missing else "")
    if device.gpu is not None and not missing:
        yield Ability("train on the GPU", _training_gpu())
    yield Ability("train on several machines (run --engine ray)", _not_installed("ray", "ray"))
    yield Ability("read DICOM images", _not_installed("pydicom", "dicom"))
    yield Ability("read compressed DICOM images (JPEG, JPEG 2000)", _not_installed("pylibjpeg", "dicom"))
    yield Ability("sign, and check signatures (--sign, --trust)", _not_installed("cryptography", "sign"))
    yield Ability(MEASURE, RUNTIMES["onnxruntime"].unavailable("cpu") or "")
    reason = RUNTIMES["onnxruntime"].unavailable("cuda")
    cuda_fault = f"{reason} Run: pip install onnxruntime-gpu" if reason else ""
    yield Ability("measure on an NVIDIA GPU", _gpu_reason(device, cuda_fault))
    for name in BUNDLE_RUNTIMES:
        if name != "onnxruntime":
            yield Ability(f"measure with {name}", RUNTIMES[name].unavailable() or "")
    settings = MeterSettings(watts_per_core=None, uses_gpu=device.gpu is not None)
    declare = "Otherwise declare its watts in the recipe: workstation"
    reason = rapl.unavailable(settings, "cpu")
    yield Ability(CPU_ENERGY, f"{reason}. {declare}.watts_per_core" if reason else "")
    reason = nvml.unavailable(settings, "gpu")
    nvml_fault = f"{reason}. {declare}.gpu_watts" if reason else ""
    yield Ability("measure the energy of an NVIDIA GPU", _gpu_reason(device, nvml_fault))


def _not_installed(package: str, extra: str) -> str:
    if importlib.util.find_spec(package) is not None:
        return ""
    return f"{package} is not installed. Run: pip install 'pepr_edge[{extra}]'"


def _gpu_reason(device: DeviceFacts, reason: str) -> str:
    """Return the reason, or that there is no GPU: without one, no package helps."""
    return f"{NO_GPU}." if reason and device.gpu is None else reason


def _training_gpu() -> str:
    import torch

    if torch.cuda.is_available():
        return ""
    return "this build of PyTorch finds no CUDA GPU. See https://pytorch.org/get-started/locally"


def advice(device: DeviceFacts, is_emulated: bool) -> Iterator[str]:
    """Yield notes on conditions that make measurements on this machine less reliable."""
    from pepr_edge.device.load import busy_message

    if is_emulated:
        yield "this machine is emulated: times measured here are not those of a real device."
    if device.architecture in ("x86_64", "AMD64") and not {"avx512_vnni", "avx_vnni"} & set(device.isa):
        yield (
            "no VNNI: int8 models may give other results here than on the workstation. "
            "`pepr-edge verify` tests a bundle."
        )
    if device.on_battery:
        yield "on battery: plug the device in before you measure."
    if device.governor == "powersave":
        yield (
            "the frequency governor is 'powersave': times may be longer and may drift. "
            "Set 'performance' while you measure."
        )
    load = busy_message(device.cores)
    if load:
        yield f"{load}: close them before you measure."
