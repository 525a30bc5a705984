"""`pepr-edge doctor`: what this machine is, what it can do, and what would mend the rest."""

from __future__ import annotations

import importlib.util
import textwrap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import click

from pepr_edge.cli.common import INSTALL, common, missing_for_training, print_json
from pepr_edge.records import DeviceFacts

WIDTH = 100
MEASURE = "measure, predict, verify and rank (bench, predict, verify, rank, export, score)"
TRAIN = "train and compare (run, report, compare)"
CPU_ENERGY = "count the energy of the processor"
NO_GPU = "no NVIDIA GPU was found (nvidia-smi names none)"


class Ability(NamedTuple):
    """Something that pepr_edge can do on some machines. `reason` is empty where it can here, else says why not and what mends it."""

    name: str
    reason: str


@click.command("doctor")
@common
def command(as_json: bool) -> None:
    """Say what this machine is, what it can do, what is missing and the command that mends it."""
    from pepr_edge.device.cpu import emulated
    from pepr_edge.device.facts import facts

    device, is_emulated = facts(), emulated()
    can, heed = list(abilities(device)), list(advice(device, is_emulated))
    if as_json:
        rows = [
            {"ability": ability.name, "available": not ability.reason, "reason": ability.reason or None}
            for ability in can
        ]
        print_json(
            {
                "summary": in_a_word(can),
                "emulated": is_emulated,
                "device": device.model_dump(mode="json"),
                "abilities": rows,
                "advice": heed,
            }
        )
        return
    click.echo(textwrap.fill(in_a_word(can), WIDTH))
    click.echo()
    for name, value in describe(device):
        click.echo(
            textwrap.fill(f"{name:<12} {value}", WIDTH, subsequent_indent=" " * 13, break_on_hyphens=False)
        )
    click.echo()
    for ability in can:
        click.echo(_paragraph(f"{'yes' if not ability.reason else 'no':<4} {ability.name}", ability.reason))
    if heed:
        click.echo()
    for sentence in heed:
        click.echo(textwrap.fill(sentence, WIDTH, initial_indent="note: ", subsequent_indent="      "))


def _paragraph(head: str, reason: str) -> str:
    text = f"{head}: {reason}" if reason else head
    return textwrap.fill(
        text, WIDTH, subsequent_indent="     ", break_on_hyphens=False, break_long_words=False
    )


def in_a_word(can: Sequence[Ability]) -> str:
    """What this machine is good for, in a sentence or two."""
    missing = {ability.name for ability in can if ability.reason}
    if MEASURE in missing:
        return "This machine cannot run models yet: see what is missing below."
    way = (
        "the whole way, from images to measured bundles"
        if TRAIN not in missing
        else "what a clinic's device has to, but not train"
    )
    energy = (
        " Its energy has no counter, so declare its watts in the recipe." if CPU_ENERGY in missing else ""
    )
    return f"This machine can do {way}.{energy}"


def describe(device: DeviceFacts) -> Iterator[tuple[str, str]]:
    """The machine in a few lines, name and value; what cannot be read is left out."""
    limits = []
    if device.affinity is not None and device.affinity < device.cores:
        limits.append(f"{device.affinity} of them for this process")
    if device.cgroup_cpu_limit is not None:
        limits.append(f"limited to {device.cgroup_cpu_limit:g} by a control group")
    yield "processor", device.cpu
    yield "cores", ", ".join([str(device.cores), *limits])
    yield "instructions", " ".join(device.isa) or "none of those that matter"
    if device.memory_bytes is not None:
        limit = device.cgroup_memory_bytes
        yield (
            "memory",
            f"{device.memory_bytes / 2**30:.1f} GiB"
            + (f", limited to {limit / 2**30:.1f} GiB" if limit else ""),
        )
    if device.gpu is not None:
        yield "GPU", device.gpu
    yield "system", f"{device.os} ({device.architecture})"
    yield (
        "Python",
        f"{device.python}; " + ", ".join(f"{name} {version}" for name, version in device.versions.items()),
    )


def abilities(device: DeviceFacts) -> Iterator[Ability]:
    """What can be done here, in the order of a user's way."""
    from pepr_edge.device.preflight import machine_fault
    from pepr_edge.energy import nvml, rapl
    from pepr_edge.energy.source import MeterSettings
    from pepr_edge.measure.runtimes import RUNTIMES

    if (fault := machine_fault()) is not None:
        # Nothing below can be asked without the imports that would end this process.
        yield Ability(MEASURE, fault)
        return
    missing = missing_for_training()
    yield Ability(TRAIN, f"{', '.join(missing)} not found. Run: {INSTALL}" if missing else "")
    if device.gpu is not None and not missing:
        yield Ability("train on the GPU", _training_gpu())
    yield Ability("train on several machines (run --engine ray)", _not_installed("ray", "ray"))
    yield Ability("read DICOM images", _not_installed("pydicom", "dicom"))
    yield Ability("read compressed DICOM images (JPEG, JPEG 2000)", _not_installed("pylibjpeg", "dicom"))
    yield Ability(MEASURE, RUNTIMES["onnxruntime"].unavailable("cpu") or "")
    reason = RUNTIMES["onnxruntime"].unavailable("cuda")
    yield Ability(
        "measure on an NVIDIA GPU",
        _of_gpu(device, f"{reason} Run: pip install onnxruntime-gpu" if reason else ""),
    )
    yield Ability("measure with OpenVINO", RUNTIMES["openvino"].unavailable() or "")
    settings = MeterSettings(watts_per_core=None, uses_gpu=device.gpu is not None)
    declare = ". Otherwise declare its watts in the recipe: workstation."
    reason = rapl.unavailable(settings, "cpu")
    yield Ability(CPU_ENERGY, f"{reason}{declare}watts_per_core" if reason else "")
    reason = nvml.unavailable(settings, "gpu")
    yield Ability(
        "count the energy of an NVIDIA GPU", _of_gpu(device, f"{reason}{declare}gpu_watts" if reason else "")
    )


def _not_installed(package: str, extra: str) -> str:
    found = importlib.util.find_spec(package) is not None
    return "" if found else f"{package} is not installed. Run: pip install 'pepr_edge[{extra}]'"


def _of_gpu(device: DeviceFacts, reason: str) -> str:
    """Why something is not to be had of a GPU: a package helps only where there is one."""
    return reason if device.gpu is not None or not reason else f"{NO_GPU}."


def _training_gpu() -> str:
    import torch

    return (
        ""
        if torch.cuda.is_available()
        else "this build of PyTorch finds no CUDA GPU. See https://pytorch.org/get-started/locally"
    )


def advice(device: DeviceFacts, is_emulated: bool) -> Iterator[str]:
    """What to heed before a figure from this machine is relied on."""
    from pepr_edge.device.load import busy

    if is_emulated:
        yield "this machine is emulated: times measured here are not those of a device."
    if device.architecture in ("x86_64", "AMD64") and not {"avx512_vnni", "avx_vnni"} & set(device.isa):
        yield "no VNNI: int8 models may give other results here than at home. `pepr-edge verify` tests a bundle."
    if device.on_battery:
        yield "on battery: plug the device in before you measure."
    if device.governor == "powersave":
        yield "the frequency governor is 'powersave': times may be longer, and drift. Set 'performance' while you measure."
    if words := busy(device.cores):
        yield f"{words}: close them before you measure."
