"""Download the wheels of a package and of its requirements for another platform and Python.

pip resolves for the other platform, but evaluates requirement markers (`; platform_system == "Windows"`) for
the machine that it runs on. So this module evaluates the markers of the downloaded wheels itself, and asks
pip for each missing requirement by name, until none is missing.
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from email.parser import BytesHeaderParser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from pepr_edge.errors import KitError
from pepr_edge.kit.platforms import PLATFORMS, Platform

# Called with the name of the package that is being downloaded.
OnPackage = Callable[[str], None]

# pip's output without a network: errors of urllib3 and of the system.
NO_NETWORK = re.compile(
    "NewConnectionError|NameResolutionError|ConnectTimeoutError|ProxyError|Max retries exceeded"
    "|Temporary failure in name resolution"
)
NO_VERSION = re.compile(r"Could not find a version that satisfies the requirement (\S+)")
NO_MATCH = re.compile(r"No matching distribution found for (\S+)")
COLLECTING = re.compile(r"(?:Collecting|Processing) (\S+)")
# The characters that end a package's name in a requirement.
NAME_END = re.compile(r"[<>=!~;\[]")
METADATA = re.compile(r"[^/]+\.dist-info/METADATA")
# Tried for a suggestion if there are no wheels for the wanted Python.
PYTHONS = tuple(f"3.{minor}" for minor in range(10, 16))


def check_pip() -> None:
    """Check that this Python has pip.

    Raises:
        KitError: pip is not installed.
    """
    if importlib.util.find_spec("pip") is None:
        raise KitError(
            f"pip is not installed for {sys.executable}, but it is needed to download wheels. "
            f"Run: {sys.executable} -m ensurepip"
        )


def fetch(own: str, name: str, python: str, folder: Path, on_package: OnPackage) -> None:
    """Download the wheels for one Python into a folder: `own`, its requirements, and pip to install them.

    Args:
        own: the path of this package's wheel with its extras: "pepr_edge-1.0-py3-none-any.whl[dicom]".
        name: of the platform, in `PLATFORMS`.
        python: such as "3.11".
        folder: to download to; empty.
        on_package: called with the name of each package.
    Raises:
        KitError: no network, or no wheel for that platform and Python.
    """
    platform = PLATFORMS[name]
    wanted = [own, "pip"]
    while True:
        arguments = ["download", *_target(platform, python), "--dest", str(folder), *wanted]
        status, output = _pip(arguments, on_package)
        if status:
            raise KitError(_reason(output, name, platform, python))
        missing = missing_requirements(folder, platform.markers(python))
        more = [requirement for requirement in missing if requirement not in wanted]
        if not more:
            return
        wanted += more


def missing_requirements(folder: Path, markers: dict[str, str]) -> list[str]:
    """Return the requirements of a folder's wheels that none of these wheels meets, without duplicates.

    Args:
        folder: with the wheels.
        markers: values of requirement markers; requirements whose marker is false do not count.
    """
    versions: dict[str, Version] = {}
    wheels = sorted(folder.glob("*.whl"))
    for wheel in wheels:
        name, version, _, _ = parse_wheel_filename(wheel.name)
        versions[name] = version
    missing: dict[str, None] = {}
    for wheel in wheels:
        for requirement in requirements(wheel):
            if requirement.marker is not None and not requirement.marker.evaluate(markers):
                continue
            found = versions.get(canonicalize_name(requirement.name))
            if found is None or not requirement.specifier.contains(found, prereleases=True):
                missing[f"{requirement.name}{requirement.specifier}"] = None
    return list(missing)


def requirements(wheel: Path) -> Iterator[Requirement]:
    """Return the requirements in a wheel's metadata."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if METADATA.fullmatch(name)]
        headers = BytesHeaderParser().parsebytes(archive.read(name))
    return (Requirement(line) for line in headers.get_all("Requires-Dist", []))


def _target(platform: Platform, python: str) -> list[str]:
    """Return pip's options for another platform and Python than its own."""
    options = ["--only-binary=:all:"]
    for tag in platform.tags:
        options += ["--platform", tag]
    options += ["--python-version", python, "--implementation", "cp"]
    return [*options, "--abi", f"cp{python.replace('.', '')}"]


def _pip(arguments: Sequence[str], on_package: OnPackage) -> tuple[int, str]:
    """Run pip and return its exit status and output."""
    command = [sys.executable, "-m", "pip", *arguments]
    command += ["--disable-pip-version-check", "--no-input", "--retries", "2", "--no-color"]
    lines = []
    # `-m` puts the working directory first on the path. The user's may hold a file called pip.py.
    with (
        tempfile.TemporaryDirectory() as empty,
        subprocess.Popen(
            command,
            cwd=empty,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            collecting = COLLECTING.match(line.strip())
            if collecting is not None:
                on_package(_package(Path(collecting[1]).name))
    return process.returncode, "".join(lines)


def _package(requirement: str) -> str:
    """Return the name in a requirement."""
    return NAME_END.split(requirement)[0]


def _reason(output: str, name: str, platform: Platform, python: str) -> str:
    """Return why pip failed and what to do, on one line."""
    if NO_NETWORK.search(output):
        return (
            "the wheels cannot be downloaded: the package index is not reached. Connect this machine to the "
            "internet while the kit is made, or set a mirror for pip (PIP_INDEX_URL, PIP_FIND_LINKS)."
        )
    found = NO_VERSION.search(output) or NO_MATCH.search(output)
    if found is None:
        errors = [line.strip() for line in output.splitlines() if line.startswith("ERROR")]
        reason = errors[-1] if errors else "pip printed no reason"
        return f"the wheels for Python {python} on {name} cannot be downloaded: {reason}"
    requirement = found[1]
    package = _package(requirement)
    others = [other for other in PYTHONS if other != python and _has_wheel(package, platform, other)]
    hint = "No other Python has one either."
    if others:
        hint = f"It has wheels for Python {', '.join(others)}: give one of these as --python."
    return f"{package} has no wheel for Python {python} on {name} that fits {requirement}. {hint}"


def _has_wheel(package: str, platform: Platform, python: str) -> bool:
    status, _ = _pip(["index", "versions", *_target(platform, python), package], lambda _: None)
    return status == 0
