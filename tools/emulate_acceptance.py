"""Test the field kit on emulated devices, from a run to its report (`make acceptance-arm`, `acceptance-x86`).

    python tools/emulate_acceptance.py arm --work DIR [--run RUN_DIR] [--cpu cortex-a72]
    python tools/emulate_acceptance.py x86 --work DIR [--run RUN_DIR]

`arm`: make a kit for linux-aarch64 of the run's best bundles, and use it in a Debian of that architecture
without network; its labels of 20 images must equal those of the same bundles here. `x86`: verify each bundle
on older processors and measure those in int8; a processor that the wheels do not support must be refused in
one line. Without
--run, a small run on generated images is made first, once. Exit status: 3 if something failed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import emulate
import emulate_arm
from PIL import Image

from pepr_edge.data import phantom
from pepr_edge.errors import PeprError
from pepr_edge.run_dir.store import write_text

IMAGES = 20
SEED = 9
# Number of bundles. On an emulated x86 one image of resnet18d takes seconds.
TOP_ARM = 4
TOP_X86 = 2
OLD_CPUS = ("Haswell", "SandyBridge")
TOO_OLD = "core2duo"
COMMAND = (sys.executable, "-m", "pepr_edge")
RECIPE = """schema_version = 1
name = "acceptance"
[device]
name = "this machine, 1 thread"
threads = 1
watts_per_core = 7.5
[data]
source = "phantom"
phantom_images = 700
[candidates]
architectures = ["mobilenetv2_050", "resnet18d"]
image_size_px = 48
[train]
epochs = 6
augment = "none"
[workstation]
watts_per_core = 7.5
country = "DNK"
[export]
keep_performance = 0.0
[profile]
rules = "quick"
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Make missing parts, and run the test of a device."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("device", choices=("arm", "x86"))
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for the run, the kit, the images and the Debian"
    )
    parser.add_argument("--run", type=Path, help="a run directory; without it, one is made")
    parser.add_argument(
        "--cpu", default="cortex-a72", help="processor of the ARM device [default: %(default)s]"
    )
    options = parser.parse_args(arguments)
    work: Path = options.work.absolute()
    try:
        work.mkdir(parents=True, exist_ok=True)
        run = options.run or make_run(work / "run")
        return on_arm(work, run, options.cpu) if options.device == "arm" else on_x86(work, run)
    except PeprError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 1


def make_run(folder: Path) -> Path:
    """Make a small run on generated images; an interrupted one continues."""
    recipe = folder.with_name("acceptance.toml")
    write_text(recipe, RECIPE)
    pepr_edge("run", str(recipe), "--out", str(folder))
    return folder


def pepr_edge(*words: str) -> str:
    """Run a command of pepr-edge; return its stdout.

    Raises:
        PeprError: it failed.
    """
    done = subprocess.run([*COMMAND, *words], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise PeprError(
            f"pepr-edge {words[0]} failed with status {done.returncode}, expected 0. See its messages above."
        )
    return done.stdout


def on_arm(work: Path, run: Path, cpu: str) -> int:
    """Test the kit in an aarch64 Debian; return 3 if a step failed, or a label differs from here."""
    kit = work / "kit-linux-aarch64"
    images = make_images(work / "images")
    expect = work / "expect.json"
    shutil.rmtree(kit, ignore_errors=True)
    pepr_edge(
        "kit",
        str(run),
        "--platform",
        "linux-aarch64",
        "--python",
        "3.11",
        "--top",
        str(TOP_ARM),
        "--out",
        str(kit),
    )
    words = [str(image) for image in images]
    here = {
        bundle.name: emulate_arm.labels(json.loads(pepr_edge("predict", "--json", str(bundle), *words)))
        for bundle in sorted((kit / "bundles").iterdir())
    }
    write_text(expect, json.dumps(here, indent=1) + "\n")
    places = [
        "--root",
        str(work / "debian-arm64"),
        "--expect",
        str(expect),
        "--out",
        str(work / "report-arm.json"),
    ]
    return emulate.main(["arm", str(kit), *places, "--cpu", cpu, "--images", *words])


def on_x86(work: Path, run: Path) -> int:
    """Test each bundle on older processors, and the refusal on a too old one; return 3 after a failure."""
    folder = work / "bundles-x86"
    shutil.rmtree(folder, ignore_errors=True)
    pepr_edge("export", str(run), "--top", str(TOP_X86), "--out", str(folder))
    bundles = sorted(folder.iterdir())
    ok = [passes_or_explains(cpu, bundle) for cpu in OLD_CPUS for bundle in bundles]
    ok += [
        is_measured(cpu, [bundle for bundle in bundles if "int8" in bundle.name], work / f"report-{cpu}.json")
        for cpu in OLD_CPUS
    ]
    ok.append(is_refused(TOO_OLD, bundles[0]))
    print("passed" if all(ok) else "FAILED")
    return 0 if all(ok) else emulate_arm.FAILED


def passes_or_explains(cpu: str, bundle: Path) -> bool:
    """True if a bundle passes on a processor, or is in int8 and `verify` names the fault and its remedy."""
    done = on(cpu, "verify", "--json", str(bundle))
    if done.returncode not in (0, 3):
        print(
            f"-- {cpu}: verify {bundle.name}: FAILED, exit status {done.returncode}\n{done.stderr}",
            flush=True,
        )
        return False
    (row,) = json.loads(done.stdout)["bundles"]
    test = row["selftest"]
    result = "no self-test"
    if test:
        differences = f"logits differ by {test['max_abs_diff']:.3g}, allowed {test['tolerance']:.3g}"
        result = f"{test['agreeing']} of {test['n']} decisions, {differences}"
    verdict = "passed" if row["passed"] else "does not pass"
    print(f"-- {cpu}: {bundle.name} {verdict}; {result}", *row["reasons"], sep="\n   ", flush=True)
    reasons = " ".join(row["reasons"])
    explained = all(word in reasons for word in ("int8 saturation", "decisions agree", "float32 fallback"))
    return bool(row["passed"]) or ("int8" in bundle.name and explained)


def is_measured(cpu: str, bundles: Sequence[Path], out: Path) -> bool:
    """True if `bench` writes a report of bundles on a processor, marked emulated; self-tests may fail."""
    if not bundles:
        print(f"-- {cpu}: FAILED, none of the best bundles is in int8", flush=True)
        return False
    done = on(cpu, "bench", "--quick", *map(str, bundles), "--out", str(out))
    print(
        f"-- {cpu}: bench --quick, exit status {done.returncode}\n{done.stdout}{done.stderr}",
        end="",
        flush=True,
    )
    return done.returncode in (0, 3) and emulate_arm.marked(out) is not None


def is_refused(cpu: str, bundle: Path) -> bool:
    """True if a processor that the wheels do not support is refused in one line."""
    done = on(cpu, "verify", str(bundle))
    print(f"-- {cpu}: verify, exit status {done.returncode}\n{done.stderr}", end="", flush=True)
    return (
        done.returncode == 1
        and done.stderr.startswith("error: this processor")
        and done.stderr.count("\n") == 1
    )


def on(cpu: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of pepr-edge on another x86 processor."""
    command = [sys.executable, emulate.__file__, "x86", "--cpu", cpu, "--", *COMMAND, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def make_images(folder: Path) -> list[Path]:
    """Write generated images that no run was trained on, as PNG files."""
    folder.mkdir(exist_ok=True)
    paths = []
    for number, pixels in enumerate(phantom.images(IMAGES, SEED)[0]):
        paths.append(folder / f"{number:02}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


if __name__ == "__main__":
    sys.exit(main())
