"""A kit in an aarch64 Debian under qemu-user, without network: installed, verified, and used as a clinic would. For tools/emulate.py.

The root is made once, by debootstrap: Debian 12 with Python 3.11 and nothing else. Programs in it run by qemu-user: the kernel starts it
for them where it is registered (binfmt_misc), else proot does.
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

SUITE, MIRROR = "bookworm", "http://deb.debian.org/debian"
QEMU = "qemu-aarch64-static"
# "enabled", and F: the emulator was opened when it was registered, so that a root needs none of its own.
BINFMT = Path("/proc/sys/fs/binfmt_misc/qemu-aarch64")
REGISTER = "Register it with the kernel (systemctl restart systemd-binfmt), or: apt install proot"
# In a network of its own, which has none, and with mounts that end with it. Without /sys, which is of the machine below: what onnxruntime
# reads there of another architecture ends it (SIGSEGV), while it merely complains of a /sys that is empty.
ENTER = 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"'
KIT, IMAGES = "/kit", "/images"
FAILED = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The words of `emulate.py arm`."""
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
        help="the Debian; made where it is not there yet (by root, with network)",
    )
    parser.add_argument(
        "--cpu",
        default="cortex-a72",
        help="of qemu; that of a Raspberry Pi 4 [default: %(default)s]; max: all it can",
    )
    parser.add_argument(
        "--images", type=Path, nargs="+", default=[], metavar="IMAGE", help="to be classified by each bundle"
    )
    parser.add_argument(
        "--expect",
        type=Path,
        metavar="LABELS.json",
        help="{bundle: {image's name: label}}; another label is a failure",
    )
    parser.add_argument("--out", type=Path, metavar="REPORT.json", help="the report of `bench --quick`")


def arm(given: argparse.Namespace) -> int:
    """Make the root, install the kit in it, verify, predict and bench; 3 where a step failed or a label is another than expected.

    Raises:
        PeprError: there is no kit, or no way to run programs of this architecture here.
    """
    root: Path = given.root.absolute()
    if not (given.kit / "install.sh").is_file():
        raise PeprError(
            f"{given.kit}: holds no install.sh, expected a folder made by `pepr-edge kit --platform linux-aarch64`."
        )
    enter = entrance(root)
    if not (root / "usr/bin/python3").exists():
        make_root(root)
    device = Device([*enter, *environment(given.cpu)])
    put(given.kit, root / KIT[1:])
    if not device.step("install without network", "sh", "install.sh").ok:
        return FAILED
    bundles = sorted(path.name for path in (root / KIT[1:] / "bundles").iterdir() if path.is_dir())
    paths = [f"bundles/{name}" for name in bundles]
    failed = not device.step("verify", "./pepr-edge", "verify", *paths).ok
    if given.images:
        expected = json.loads(given.expect.read_text(encoding="utf-8")) if given.expect else {}
        told = [predicts(device, root, name, given.images, expected.get(name)) for name in bundles]
        failed |= not all(told)
    failed |= not benches(device, root, paths, given.out)
    print("FAILED" if failed else "passed")
    return FAILED * failed


class Outcome:
    """How a step ended: whether with an allowed status, and its stdout."""

    def __init__(self, ok: bool, out: str) -> None:
        self.ok, self.out = ok, out


class Device:
    """Words that run a command in the kit's folder on the emulated device."""

    def __init__(self, enter: Sequence[str]) -> None:
        self._enter = enter

    def step(self, what: str, *command: str, quiet: bool = False, allowed: Sequence[int] = (0,)) -> Outcome:
        """Run a command, say how it ended and how long it took; its words are shown, stdout not where `quiet`."""
        begin = time.perf_counter()
        words = [*self._enter, "sh", "-c", f'cd {KIT} && exec "$@"', "sh", *command]
        done = subprocess.run(words, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, check=False)
        ok = done.returncode in allowed
        if not quiet:
            sys.stdout.write(done.stdout)
        print(
            f"-- {what}: {'ok' if ok else 'FAILED'}, exit status {done.returncode}, {time.perf_counter() - begin:.0f} s",
            flush=True,
        )
        return Outcome(ok, done.stdout)


def entrance(root: Path) -> list[str]:
    """The words before a command that is to run in the root, without network.

    Raises:
        PeprError: qemu-user is missing, or there is no way to have it started.
    """
    if shutil.which(QEMU) is None:
        raise PeprError(f"{QEMU} not found. Install it: apt install qemu-user-static debootstrap")
    if os.geteuid() == 0 and registered():
        return ["unshare", "--net", "--mount", "sh", "-c", ENTER, str(root)]
    if shutil.which("proot"):
        alone = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
        return [*alone, *proot(root)]
    raise PeprError(
        f"nothing starts {QEMU} for the programs of {root}. {REGISTER}" + ", or be root" * (os.geteuid() != 0)
    )


def registered() -> bool:
    """Whether the kernel runs aarch64 programs by an emulator that a root need not hold."""
    try:
        lines = BINFMT.read_text(encoding="ascii").splitlines()
    except OSError:
        return False
    return "enabled" in lines and any(
        line.startswith("flags:") and "F" in line.partition(":")[2] for line in lines
    )


def proot(root: Path) -> list[str]:
    """The words before a command that proot is to run in the root."""
    return ["proot", "-0", "-q", QEMU, "-r", str(root), "-b", "/proc", "-b", "/dev", "-w", "/"]


def environment(cpu: str) -> list[str]:
    """The words that set the environment of the device, and nothing of ours."""
    settings = {"HOME": "/root", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8", "QEMU_CPU": cpu}
    settings[EMULATED] = f"{cpu} under qemu-user"
    return ["/usr/bin/env", "-i", *(f"{name}={value}" for name, value in settings.items())]


def make_root(root: Path) -> None:
    """A Debian with Python, by debootstrap, in two stages: the second runs the root's own programs.

    Raises:
        PeprError: debootstrap is missing or failed, or we are not root.
    """
    if shutil.which("debootstrap") is None or os.geteuid() != 0:
        raise PeprError(
            f"{root}: not there yet. Be root to make it, with debootstrap (apt install debootstrap)."
        )
    print(f"{root}: a Debian for aarch64 is made, once; this takes some minutes", file=sys.stderr)
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
            last = (done.stdout.strip().splitlines() or ["it said nothing"])[-1]
            raise PeprError(
                f"debootstrap failed with status {done.returncode}: {last}. What it made lies in {half}."
            )
    half.rename(root)


def put(source: Path, target: Path) -> None:
    """A fresh copy of a folder, in place of what lies there from before."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


def predicts(
    device: Device, root: Path, bundle: str, images: Sequence[Path], expected: dict[str, str] | None
) -> bool:
    """Whether a bundle classifies the images, and as expected, where that is known."""
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
    found = labels(json.loads(outcome.out))
    if expected is None:
        print(f"   {len(found)} labels, compared with none")
        return True
    others = [
        f"{name} {found.get(name)} (expected {label})"
        for name, label in expected.items()
        if found.get(name) != label
    ]
    counted = ", ".join(f"{label} {count}" for label, count in sorted(Counter(expected.values()).items()))
    print(
        f"   {len(expected) - len(others)} of {len(expected)} labels as expected ({counted})",
        *others,
        sep="\n   ",
    )
    return not others


def labels(predictions: Any) -> dict[str, str]:
    """Image's name -> label, of `predict --json`."""
    return {Path(row["image"]).name: row["label"] for row in predictions["predictions"]}


def benches(device: Device, root: Path, bundles: Sequence[str], out: Path | None) -> bool:
    """Whether `bench --quick` writes a whole report that is marked emulated and whose self-tests passed.

    That the times be VALID is not asked of an emulator (exit status 3).
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
    """A report that is whole and marked emulated, None where it is not; says what it is."""
    try:
        report = FieldReport.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as fault:
        print(f"   no report that can be read: {str(fault).splitlines()[0]}")
        return None
    tested = [passed(result) for result in report.results]
    marks = f"emulated {report.emulated}, partial {report.partial}, {report.device.cpu}"
    print(f"   report: {marks}; {sum(tested)} of {len(tested)} self-tests passed", flush=True)
    return report if report.emulated and not report.partial else None


def passed(result: BenchResult) -> bool:
    """Whether a model decided on the device as at home."""
    return result.selftest is not None and result.selftest.passed
