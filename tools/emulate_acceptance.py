"""The field kit on emulated devices, from a run to the report that goes home: what `make acceptance-arm` and `acceptance-x86` do.

    python tools/emulate_acceptance.py arm --work DIR [--run RUN_DIR] [--cpu cortex-a72]
    python tools/emulate_acceptance.py x86 --work DIR [--run RUN_DIR]

`arm`: a kit for linux-aarch64 is made of the run's best bundles, and used in a Debian of that architecture without network; its labels of
20 images have to be those that the same bundles give here. `x86`: each bundle is verified on older processors, down to one that the wheels
do not support. Without --run a small run on generated images is made first, once. Exit status: 3 where something failed.
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
from pepr_edge.store import write_text

IMAGES, SEED = 20, 9
# On an emulated x86 one image of resnet18d takes seconds.
TOP_ARM, TOP_X86 = 4, 2
CPUS = ("Haswell", "SandyBridge", "core2duo")
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("device", choices=("arm", "x86"))
    parser.add_argument("--work", type=Path, required=True, help="where the run, the kit, the images and the Debian go")
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
        raise PeprError(f"pepr-edge {words[0]} failed with status {done.returncode}; what it said stands above.")
    return done.stdout


def on_arm(work: Path, run: Path, cpu: str) -> int:
    """The kit in an aarch64 Debian; 3 where a step failed, or a label is another than here."""
    kit, images, expect = work / "kit-linux-aarch64", made_images(work / "images"), work / "expect.json"
    shutil.rmtree(kit, ignore_errors=True)
    pepr_edge("kit", str(run), "--platform", "linux-aarch64", "--python", "3.11", "--top", str(TOP_ARM), "--out", str(kit))
    words = [str(image) for image in images]
    here = {
        bundle.name: emulate_arm.labels(json.loads(pepr_edge("predict", "--json", str(bundle), *words)))
        for bundle in sorted((kit / "bundles").iterdir())
    }
    write_text(expect, json.dumps(here, indent=1) + "\n")
    places = ["--root", str(work / "debian-arm64"), "--expect", str(expect), "--out", str(work / "report-arm.json")]
    return emulate.main(["arm", str(kit), *places, "--cpu", cpu, "--images", *words])


def on_x86(work: Path, run: Path) -> int:
    """Each bundle on older processors. One that differs there has to be reported, not pass, and the oldest to be refused in one line."""
    bundles = work / "bundles-x86"
    shutil.rmtree(bundles, ignore_errors=True)
    pepr_edge("export", str(run), "--top", str(TOP_X86), "--out", str(bundles))
    failed = False
    for cpu in CPUS:
        print(f"-- {cpu}", flush=True)
        status = emulate.x86(cpu, [*COMMAND, "verify", *map(str, sorted(bundles.iterdir()))])
        print(f"   exit status {status}", flush=True)
        failed |= status not in ((1,) if cpu == CPUS[-1] else (0, 3))
    return emulate_arm.FAILED * failed


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
