from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from pepr_edge.errors import KitError
from pepr_edge.kit import wheels
from pepr_edge.kit.platforms import PLATFORMS

OWN = "own.whl[dicom]"
LINUX = PLATFORMS["linux-x86_64"]
WINDOWS = PLATFORMS["win-amd64"]


def wheel(folder: Path, name: str, version: str, *requires: str) -> Path:
    """Write a wheel that holds its metadata alone."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {version}",
        *(f"Requires-Dist: {line}" for line in requires),
    ]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}-{version}.dist-info/METADATA", "\n".join(lines) + "\n\nWords.\n")
    return path


def test_a_requirement_of_the_device_is_missing(tmp_path: Path) -> None:
    wheel(
        tmp_path,
        "click",
        "8.1",
        'colorama; platform_system == "Windows"',
        'tomli>=2; python_version < "3.11"',
        'pytest; extra == "dev"',
    )
    assert wheels.missing_requirements(tmp_path, WINDOWS.markers("3.11")) == ["colorama"]
    assert wheels.missing_requirements(tmp_path, LINUX.markers("3.11")) == []
    assert wheels.missing_requirements(tmp_path, LINUX.markers("3.10")) == ["tomli>=2"]
    wheel(tmp_path, "tomli", "2.1")
    assert wheels.missing_requirements(tmp_path, LINUX.markers("3.10")) == []


def test_a_wheel_of_another_version_does_not_count(tmp_path: Path) -> None:
    wheel(tmp_path, "one", "1.0", 'Numpy-Like>=2; python_version >= "3.12"', "numpy_like>=1")
    wheel(tmp_path, "numpy_like", "1.5")
    assert wheels.missing_requirements(tmp_path, LINUX.markers("3.11")) == []
    assert wheels.missing_requirements(tmp_path, LINUX.markers("3.12")) == ["Numpy-Like>=2"]


def test_pip_is_asked_until_nothing_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def pip(words: list[str], on_package: wheels.OnPackage) -> tuple[int, str]:
        at = words.index("--dest")
        asked.append(words[at + 2 :])
        for name, requires in (
            ("own", ['colorama; sys_platform == "win32"']),
            ("colorama", ['win; os_name == "nt"']),
            ("win", []),
        ):
            if name in words or name == "own":
                wheel(Path(words[at + 1]), name, "1.0", *requires)
        on_package("something")
        return 0, ""

    monkeypatch.setattr(wheels, "_pip", pip)
    packages: list[str] = []
    wheels.fetch(OWN, "win-amd64", "3.11", tmp_path, packages.append)
    assert asked == [[OWN, "pip"], [OWN, "pip", "colorama"], [OWN, "pip", "colorama", "win"]]
    assert packages == ["something"] * 3


def failing(monkeypatch: pytest.MonkeyPatch, words: str, exist: tuple[str, ...] = ()) -> None:
    def pip(arguments: list[str], on_package: wheels.OnPackage) -> tuple[int, str]:
        if arguments[0] == "index":
            return int(arguments[arguments.index("--python-version") + 1] not in exist), ""
        return 1, words

    monkeypatch.setattr(wheels, "_pip", pip)


@pytest.mark.parametrize(
    ("words", "exist", "said"),
    [
        (
            "WARNING: Retrying (...) after connection broken by 'NewConnectionError('...')'\n"
            "ERROR: Could not find a version that satisfies the requirement pip (from versions: none)\n",
            (),
            "the package index is not reached",
        ),
        (
            "ERROR: Could not find a version that satisfies the requirement onnxruntime>=1.18 (from x)\n"
            "ERROR: No matching distribution found for onnxruntime>=1.18\n",
            ("3.11", "3.12"),
            "^onnxruntime .* Python 3.15 on linux-x86_64 .* onnxruntime>=1.18. .*3.11, 3.12:",
        ),
        (
            "ERROR: No matching distribution found for numpy\n",
            (),
            "numpy has no wheel .* No other Python",
        ),
        ("ERROR: Something new.\n", (), r"ERROR: Something new\."),
        ("", (), "no reason"),
    ],
)
def test_the_reason_of_a_failure_is_one_line(
    words: str, exist: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, words, exist)
    with pytest.raises(KitError, match=said) as caught:
        wheels.fetch(Path("own.whl"), "linux-x86_64", "3.15", tmp_path, print)
    assert "\n" not in str(caught.value)


def test_pip_itself_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(KitError, match="-m ensurepip"):
        wheels.check_pip()
