"""Fetch the wheels of a package and of all that it needs, for another platform and another Python than this one's.

pip resolves for the other platform, but judges the markers of requirements (`; platform_system == "Windows"`) by the machine that it runs
on. So what the wheels ask for by their markers there is looked up, and asked for by name, until nothing is missing.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from email.parser import BytesHeaderParser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from pepr_edge.errors import KitError
from pepr_edge.kit.platforms import PLATFORMS, Platform

# Called with the name of what is being fetched.
Said = Callable[[str], None]

# What pip says where there is no network, in the words of urllib3 and of the system.
NO_NETWORK = re.compile(
    r"NewConnectionError|NameResolutionError|ConnectTimeoutError|ProxyError|Max retries exceeded|Temporary failure in name resolution"
)
NO_VERSION = re.compile(r"Could not find a version that satisfies the requirement (\S+)")
NO_MATCH = re.compile(r"No matching distribution found for (\S+)")
COLLECTING = re.compile(r"(?:Collecting|Processing) (\S+)")
# Older and newer ones are looked for where one was asked for that has no wheels.
PYTHONS = tuple(f"3.{minor}" for minor in range(10, 16))


def check_pip() -> None:
    """Whether there is a pip to fetch wheels with.

    Raises:
        KitError: there is none.
    """
    if importlib.util.find_spec("pip") is None:
        raise KitError(
            f"pip is not installed for {sys.executable}, and it fetches the wheels. Run: {sys.executable} -m ensurepip"
        )


def fetch(own: str, name: str, python: str, folder: Path, said: Said) -> None:
    """Put the wheels for one Python into a folder: `own`, what it needs, and pip to install them with.

    Args:
        own: the path of this package's wheel, with its extras as pip takes them: "pepr_edge-1.0-py3-none-any.whl[dicom]".
        name: of the platform, in `PLATFORMS`.
        python: such as "3.11".
        folder: where to; empty.
        said: told what is being fetched.
    Raises:
        KitError: no network, or no wheel for that platform and Python.
    """
    platform, asked = PLATFORMS[name], [own, "pip"]
    while True:
        ended, words = _pip(["download", *_target(platform, python), "--dest", str(folder), *asked], said)
        if ended:
            raise KitError(_reason(words, name, platform, python))
        more = [wanted for wanted in lacking(folder, platform.markers(python)) if wanted not in asked]
        if not more:
            return
        asked += more


def lacking(folder: Path, markers: dict[str, str]) -> list[str]:
    """What the wheels in a folder need, by these markers, and is not in it: requirements without their markers, each once."""
    there: dict[str, Version] = {}
    wheels = sorted(folder.glob("*.whl"))
    for wheel in wheels:
        name, version, _, _ = parse_wheel_filename(wheel.name)
        there[name] = version
    wanted: dict[str, None] = {}
    for requirement in (needed for wheel in wheels for needed in requirements(wheel)):
        if requirement.marker is not None and not requirement.marker.evaluate(markers):
            continue
        found = there.get(canonicalize_name(requirement.name))
        if found is None or not requirement.specifier.contains(found, prereleases=True):
            wanted[f"{requirement.name}{requirement.specifier}"] = None
    return list(wanted)


def requirements(wheel: Path) -> Iterator[Requirement]:
    """What a wheel's metadata says that it needs."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)]
        headers = BytesHeaderParser().parsebytes(archive.read(name))
    return (Requirement(line) for line in headers.get_all("Requires-Dist", []))


def _target(platform: Platform, python: str) -> list[str]:
    """pip's options for another platform and Python than its own."""
    tags = [word for tag in platform.tags for word in ("--platform", tag)]
    abi = f"cp{python.replace('.', '')}"
    return ["--only-binary=:all:", *tags, "--python-version", python, "--implementation", "cp", "--abi", abi]


def _pip(words: Sequence[str], said: Said) -> tuple[int, str]:
    """Run pip; its exit status, and all that it said."""
    command = [
        sys.executable,
        "-m",
        "pip",
        *words,
        "--disable-pip-version-check",
        "--no-input",
        "--retries",
        "2",
        "--no-color",
    ]
    lines = []
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            lines.append(line)
            if (found := COLLECTING.match(line.strip())) is not None:
                said(re.split(r"[<>=!~;\[]", Path(found[1]).name)[0])
    return child.returncode, "".join(lines)


def _reason(words: str, name: str, platform: Platform, python: str) -> str:
    """Why the wheels could not be had, and what to do, on one line."""
    if NO_NETWORK.search(words):
        return (
            "the wheels cannot be fetched: the package index is not reached. Connect this machine to the internet for as long as the kit "
            "is made, or name a mirror to pip (PIP_INDEX_URL, PIP_FIND_LINKS)."
        )
    found = NO_VERSION.search(words) or NO_MATCH.search(words)
    if found is None:
        said = [line.strip() for line in words.splitlines() if line.startswith("ERROR")]
        return f"the wheels for Python {python} on {name} cannot be fetched: {said[-1] if said else 'pip ended without a word'}"
    wanted = found[1]
    package = re.split(r"[<>=!~;\[]", wanted)[0]
    there = [other for other in PYTHONS if other != python and _exists(package, platform, other)]
    return f"{package} has no wheel for Python {python} on {name} that fits {wanted}. " + (
        f"There are some for Python {', '.join(there)}: give one of these as --python."
        if there
        else "Nor for any other Python."
    )


def _exists(package: str, platform: Platform, python: str) -> bool:
    ended, _ = _pip(["index", "versions", *_target(platform, python), package], lambda _: None)
    return ended == 0
