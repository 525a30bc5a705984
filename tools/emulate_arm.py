"""Install, verify and use a kit in an aarch64 Debian under qemu-user, without network; for tools/emulate.py.

debootstrap makes the root once: Debian 12 with Python 3.11 and nothing else. Its programs run with qemu-user:
the kernel starts it if it is registered (binfmt_misc), otherwise proot does.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pepr_edge.device.cpu import EMULATED
from pepr_edge.errors import PeprError
from pepr_edge.records import BenchResult, FieldReport

SUITE = "bookworm"
MIRROR = "http://deb.debian.org/debian"
QEMU = "qemu-aarch64-static"
# Needs "enabled", and flag F: the kernel opened the emulator at registration, so a root needs no copy of it.
BINFMT = Path("/proc/sys/fs/binfmt_misc/qemu-aarch64")
REGISTER = "Register it with the kernel (systemctl restart systemd-binfmt), or: apt install proot"
# Runs in a network namespace without a network; its mounts end with it. /sys is not mounted because it
# describes the host: onnxruntime crashes (SIGSEGV) on the other architecture's data, while an empty /sys only
# gives a warning.
ENTER = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
KIT = "/kit"
IMAGES = "/images"
FAILED = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `emulate.py arm`."""
    parser.add_argument(
        "kit",
        type=Path,
        metavar="KIT",
        help="folder made by `pepr-edge kit --platform linux-aarch64 --python 3.11`",
    )
    parser.add_argument(
        "--root",
        type=Path,
        required=True,
        help="folder of the Debian; made if it does not exist (as root, with network)",
    )
    parser.add_argument(
        "--cpu",
        default="cortex-a72",
        help="processor of qemu; a Raspberry Pi 4 by default [default: %(default)s]; max: all features",
    )
    parser.add_argument(
        "--images",
        type=Path,
        nargs="+",
        default=[],
        metavar="IMAGE",
        help="images that each bundle classifies",
    )
    parser.add_argument(
        "--expect",
        type=Path,
        metavar="LABELS.json",
        help="{bundle: {image's name: label}}; a different label is a failure",
    )
    parser.add_argument("--out", type=Path, metavar="REPORT.json", help="the report of `bench --quick`")


def arm(options: argparse.Namespace) -> int:
    """Make the root, install the kit, verify, predict and bench; return 3 if a step fails or a label differs.

    Raises:
        PeprError: there is no kit, or no way to run programs of this architecture here.
    """
    root: Path = options.root.absolute()
    if not (options.kit / "install.sh").is_file():
        raise PeprError(
            f"{options.kit}: contains no install.sh, expected a kit. "
            "Make one: pepr-edge kit --platform linux-aarch64"
        )
    enter = enter_command(root)
    if not (root / "usr/bin/python3").exists():
        make_root(root)
    device = Device([*enter, *environment(options.cpu)])
    replace_folder(options.kit, root / KIT[1:])
    if not device.step("install without network", "sh", "install.sh").ok:
        return FAILED
    bundles = sorted(path.name for path in (root / KIT[1:] / "bundles").iterdir() if path.is_dir())
    paths = [f"bundles/{name}" for name in bundles]
    failed = not device.step("verify", "./pepr-edge", "verify", *paths).ok
    if options.images:
        expected = json.loads(options.expect.read_text(encoding="utf-8")) if options.expect else {}
        passes = [
            predicts_as_expected(device, root, name, options.images, expected.get(name)) for name in bundles
        ]
        failed |= not all(passes)
    failed |= not benches(device, root, paths, options.out)
    print("FAILED" if failed else "passed")
    return FAILED if failed else 0


class Outcome:
    """The result of a step: whether its status was allowed, and its stdout."""

    def __init__(self, ok: bool, out: str) -> None:
        self.ok = ok
        self.out = out


class Device:
    """Runs commands in the kit's folder on the emulated device."""

    def __init__(self, enter: Sequence[str]) -> None:
        self._enter = enter

    def step(self, what: str, *command: str, quiet: bool = False, allowed: Sequence[int] = (0,)) -> Outcome:
        """Run a command, and print its status and duration; stdout is shown unless `quiet`."""
        begin = time.perf_counter()
        words = [*self._enter, "sh", "-c", f'cd {KIT} && exec "$@"', "sh", *command]
        done = subprocess.run(words, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, check=False)
        ok = done.returncode in allowed
        if not quiet:
            sys.stdout.write(done.stdout)
        print(
            f"-- {what}: {'ok' if ok else 'FAILED'}, exit status {done.returncode}, "
            f"{time.perf_counter() - begin:.0f} s",
            flush=True,
        )
        return Outcome(ok, done.stdout)


def enter_command(root: Path) -> list[str]:
    """Return the words before a command that run it in the root, without network.

    Raises:
        PeprError: qemu-user is missing, or nothing can start it.
    """
    if shutil.which(QEMU) is None:
        raise PeprError(f"{QEMU} not found. Install it: apt install qemu-user-static debootstrap")
    if os.geteuid() == 0 and registered():
        return ["unshare", "--net", "--mount", "sh", "-c", ENTER, str(root)]
    if shutil.which("proot"):
        alone = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
        return [*alone, *proot(root)]
    remedy = REGISTER if os.geteuid() == 0 else f"{REGISTER}, or be root"
    raise PeprError(f"nothing starts {QEMU} for the programs of {root}. {remedy}")


def registered() -> bool:
    """True if the kernel runs aarch64 programs with an emulator outside of the root."""
    try:
        lines = BINFMT.read_text(encoding="ascii").splitlines()
    except OSError:
        return False
    return "enabled" in lines and any(
        line.startswith("flags:") and "F" in line.partition(":")[2] for line in lines
    )


def proot(root: Path) -> list[str]:
    """Return the words before a command that run it in the root with proot."""
    return ["proot", "-0", "-q", QEMU, "-r", str(root), "-b", "/proc", "-b", "/dev", "-w", "/"]


def environment(cpu: str) -> list[str]:
    """Return the words that set the device's environment, without any of ours."""
    settings = {"HOME": "/root", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8", "QEMU_CPU": cpu}
    settings[EMULATED] = f"{cpu} under qemu-user"
    return ["/usr/bin/env", "-i", *(f"{name}={value}" for name, value in settings.items())]


def make_root(root: Path) -> None:
    """Make a Debian with Python by debootstrap, in two stages: the second runs the root's own programs.

    Raises:
        PeprError: debootstrap is missing or failed, or we are not root.
    """
    if shutil.which("debootstrap") is None or os.geteuid() != 0:
        raise PeprError(
            f"{root}: does not exist. Be root to make it, with debootstrap (apt install debootstrap)."
        )
    print(f"{root}: making a Debian for aarch64, once; this takes some minutes", file=sys.stderr)
    half = root.with_name(f".{root.name}.tmp")
    shutil.rmtree(half, ignore_errors=True)
    first = [
        "debootstrap",
        "--foreign",
        "--arch=arm64",
        "--variant=minbase",
        "--include=python3",
        SUITE,
        str(half),
        MIRROR,
    ]
    second = [
        *(["chroot", str(half)] if registered() else proot(half)),
        "/debootstrap/debootstrap",
        "--second-stage",
    ]
    for stage in (first, second):
        done = subprocess.run(stage, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            last = (done.stdout.strip().splitlines() or ["no message"])[-1]
            raise PeprError(
                f"debootstrap failed with status {done.returncode}: {last}. Its files are in {half}."
            )
    half.rename(root)


def replace_folder(source: Path, target: Path) -> None:
    """Copy a folder, in place of an earlier one."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


def predicts_as_expected(
    device: Device, root: Path, bundle: str, images: Sequence[Path], expected: dict[str, str] | None
) -> bool:
    """True if a bundle classifies the images, and as expected if labels are options."""
    folder = root / IMAGES[1:]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for image in images:
        shutil.copy(image, folder)
    inside = [f"{IMAGES}/{image.name}" for image in images]
    outcome = device.step(
        f"predict {bundle}", "./pepr-edge", "predict", "--json", f"bundles/{bundle}", *inside, quiet=True
    )
    if not outcome.ok:
        return False
    by_image = labels(json.loads(outcome.out))
    if expected is None:
        print(f"   {len(by_image)} labels, not compared")
        return True
    differences = [
        f"{name} {by_image.get(name)} (expected {label})"
        for name, label in expected.items()
        if by_image.get(name) != label
    ]
    counts = ", ".join(f"{label} {count}" for label, count in sorted(Counter(expected.values()).items()))
    summary = f"{len(expected) - len(differences)} of {len(expected)} labels as expected ({counts})"
    print(f"   {summary}", *differences, sep="\n   ")
    return not differences


def labels(predictions: Any) -> dict[str, str]:
    """Return the label of each image by its name, from `predict --json`."""
    return {Path(row["image"]).name: row["label"] for row in predictions["predictions"]}


def benches(device: Device, root: Path, bundles: Sequence[str], out: Path | None) -> bool:
    """True if `bench --quick` writes a complete report, marked emulated, whose self-tests passed.

    The times of an emulator may be INVALID (exit status 3).
    """
    written = root / KIT[1:] / "report.json"
    if not device.step(
        "bench --quick", "./pepr-edge", "bench", "--quick", *bundles, "--out", "report.json", allowed=(0, 3)
    ).ok:
        return False
    report = marked(written)
    if out is not None and report is not None:
        shutil.copy(written, out)
    return report is not None and all(map(passed, report.results))


def marked(path: Path) -> FieldReport | None:
    """Return a report if it is complete and marked emulated, else None; prints a summary."""
    try:
        report = FieldReport.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as fault:
        print(f"   unreadable report: {str(fault).splitlines()[0]}")
        return None
    tested = [passed(result) for result in report.results]
    marks = f"emulated {report.emulated}, partial {report.partial}, {report.device.cpu}"
    print(f"   report: {marks}; {sum(tested)} of {len(tested)} self-tests passed", flush=True)
    return report if report.emulated and not report.partial else None


def passed(result: BenchResult) -> bool:
    """True if a model decides on the device as at home."""
    return result.selftest is not None and result.selftest.passed
