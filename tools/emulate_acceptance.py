"""The field kit on emulated devices, from a run to the report that goes home: what `make acceptance-arm` and `acceptance-x86` do.

    python tools/emulate_acceptance.py arm --work DIR [--run RUN_DIR] [--cpu cortex-a72]
    python tools/emulate_acceptance.py x86 --work DIR [--run RUN_DIR]

`arm`: a kit for linux-aarch64 is made of the run's best bundles, and used in a Debian of that architecture without network; its labels of
20 images have to be those that the same bundles give here. `x86`: each bundle is verified on older processors and those in int8 are
measured there; one that the wheels do not support has to be refused in one line. Without --run a small run on generated images is made
first, once. Exit status: 3 where something failed.
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

IMAGES, SEED = 20, 9
# On an emulated x86 one image of resnet18d takes seconds.
TOP_ARM, TOP_X86 = 4, 2
CPUS, TOO_OLD = ("Haswell", "SandyBridge"), "core2duo"
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
    """Make what is missing, and try it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("device", choices=("arm", "x86"))
    parser.add_argument(
        "--work", type=Path, required=True, help="where the run, the kit, the images and the Debian go"
    )
    parser.add_argument("--run", type=Path, help="a run directory; without it, one is made")
    parser.add_argument("--cpu", default="cortex-a72", help="of the ARM device [default: %(default)s]")
    given = parser.parse_args(arguments)
    work: Path = given.work.absolute()
    try:
        work.mkdir(parents=True, exist_ok=True)
        run = given.run or made_run(work / "run")
        return on_arm(work, run, given.cpu) if given.device == "arm" else on_x86(work, run)
    except PeprError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 1


def made_run(folder: Path) -> Path:
    """A small run on generated images; taken up where it was left."""
    recipe = folder.with_name("acceptance.toml")
    write_text(recipe, RECIPE)
    pepr_edge("run", str(recipe), "--out", str(folder))
    return folder


def pepr_edge(*words: str) -> str:
    """What a command of ours says on stdout.

    Raises:
        PeprError: it failed.
    """
    done = subprocess.run([*COMMAND, *words], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise PeprError(
            f"pepr-edge {words[0]} failed with status {done.returncode}; what it said stands above."
        )
    return done.stdout


def on_arm(work: Path, run: Path, cpu: str) -> int:
    """The kit in an aarch64 Debian; 3 where a step failed, or a label is another than here."""
    kit, images, expect = work / "kit-linux-aarch64", made_images(work / "images"), work / "expect.json"
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
    """Each bundle on older processors; 3 where one of them, or the one that is too old, does not do as it should."""
    folder = work / "bundles-x86"
    shutil.rmtree(folder, ignore_errors=True)
    pepr_edge("export", str(run), "--top", str(TOP_X86), "--out", str(folder))
    bundles = sorted(folder.iterdir())
    ok = [is_judged(cpu, bundle) for cpu in CPUS for bundle in bundles]
    ok += [
        is_measured(cpu, [bundle for bundle in bundles if "int8" in bundle.name], work / f"report-{cpu}.json")
        for cpu in CPUS
    ]
    ok.append(is_refused(TOO_OLD, bundles[0]))
    print("passed" if all(ok) else "FAILED")
    return 0 if all(ok) else emulate_arm.FAILED


def is_judged(cpu: str, bundle: Path) -> bool:
    """Whether a bundle passes on a processor, or is one in int8 of which `verify` says by name what is wrong and what to do."""
    done = on(cpu, "verify", "--json", str(bundle))
    if done.returncode not in (0, 3):
        print(
            f"-- {cpu}: verify {bundle.name}: FAILED, exit status {done.returncode}\n{done.stderr}",
            flush=True,
        )
        return False
    (row,) = json.loads(done.stdout)["bundles"]
    test = row["selftest"]
    off = test and f"logits off by {test['max_abs_diff']:.3g}, allowed {test['tolerance']:.3g}"
    told = test and f"{test['agreeing']} of {test['n']} decisions, {off}"
    print(
        f"-- {cpu}: {bundle.name} {'passed' if row['passed'] else 'does not pass'}; {told}",
        *row["reasons"],
        sep="\n   ",
        flush=True,
    )
    told_of = all(
        word in " ".join(row["reasons"])
        for word in ("int8 saturation", "decisions agree", "float32 fallback")
    )
    return bool(row["passed"]) or ("int8" in bundle.name and told_of)


def is_measured(cpu: str, bundles: Sequence[Path], out: Path) -> bool:
    """Whether `bench` measures bundles on a processor, into a report that is marked emulated; that they pass is not asked of it."""
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
    """Whether a processor that the wheels do not support is said to be so, in one line."""
    done = on(cpu, "verify", str(bundle))
    print(f"-- {cpu}: verify, exit status {done.returncode}\n{done.stderr}", end="", flush=True)
    return (
        done.returncode == 1
        and done.stderr.startswith("error: this processor")
        and done.stderr.count("\n") == 1
    )


def on(cpu: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A command of ours, run on another x86 processor."""
    command = [sys.executable, emulate.__file__, "x86", "--cpu", cpu, "--", *COMMAND, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def made_images(folder: Path) -> list[Path]:
    """Generated images that no run was trained on, as PNG files."""
    folder.mkdir(exist_ok=True)
    paths = []
    for number, pixels in enumerate(phantom.images(IMAGES, SEED)[0]):
        paths.append(folder / f"{number:02}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


if __name__ == "__main__":
    sys.exit(main())
