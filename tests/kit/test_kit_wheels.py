from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from pepr_edge.errors import KitError
from pepr_edge.kit import wheels
from pepr_edge.kit.platforms import PLATFORMS

OWN = "own.whl[dicom]"
LINUX, WINDOWS = PLATFORMS["linux-x86_64"], PLATFORMS["win-amd64"]


def wheel(folder: Path, name: str, version: str, *requires: str) -> Path:
    """A wheel that holds nothing but its metadata."""
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


def test_what_a_marker_asks_for_on_the_device_is_lacking(tmp_path: Path) -> None:
    wheel(
        tmp_path,
        "click",
        "8.1",
        'colorama; platform_system == "Windows"',
        'tomli>=2; python_version < "3.11"',
        'pytest; extra == "dev"',
    )
    assert wheels.lacking(tmp_path, WINDOWS.markers("3.11")) == ["colorama"]
    assert wheels.lacking(tmp_path, LINUX.markers("3.11")) == []
    assert wheels.lacking(tmp_path, LINUX.markers("3.10")) == ["tomli>=2"]
    wheel(tmp_path, "tomli", "2.1")
    assert wheels.lacking(tmp_path, LINUX.markers("3.10")) == []


def test_a_version_that_a_marker_rules_out_is_lacking(tmp_path: Path) -> None:
    wheel(tmp_path, "one", "1.0", 'Numpy-Like>=2; python_version >= "3.12"', "numpy_like>=1")
    wheel(tmp_path, "numpy_like", "1.5")
    assert wheels.lacking(tmp_path, LINUX.markers("3.11")) == []
    assert wheels.lacking(tmp_path, LINUX.markers("3.12")) == ["Numpy-Like>=2"]


def test_it_is_asked_for_until_nothing_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def pip(words: list[str], said: wheels.Said) -> tuple[int, str]:
        at = words.index("--dest")
        asked.append(words[at + 2 :])
        for name, requires in (
            ("own", ['colorama; sys_platform == "win32"']),
            ("colorama", ['win; os_name == "nt"']),
            ("win", []),
        ):
            if name in words or name == "own":
                wheel(Path(words[at + 1]), name, "1.0", *requires)
        said("something")
        return 0, ""

    monkeypatch.setattr(wheels, "_pip", pip)
    heard: list[str] = []
    wheels.fetch(OWN, "win-amd64", "3.11", tmp_path, heard.append)
    assert asked == [[OWN, "pip"], [OWN, "pip", "colorama"], [OWN, "pip", "colorama", "win"]]
    assert heard == ["something"] * 3


def failing(monkeypatch: pytest.MonkeyPatch, words: str, exist: tuple[str, ...] = ()) -> None:
    def pip(arguments: list[str], said: wheels.Said) -> tuple[int, str]:
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
            "ERROR: Could not find a version that satisfies the requirement onnxruntime>=1.18 (from pepr-edge) (from versions: none)\n"
            "ERROR: No matching distribution found for onnxruntime>=1.18\n",
            ("3.11", "3.12"),
            "^onnxruntime has no wheel for Python 3.15 on linux-x86_64 that fits onnxruntime>=1.18. There are some for Python 3.11, 3.12:",
        ),
        (
            "ERROR: No matching distribution found for numpy\n",
            (),
            "numpy has no wheel .* Nor for any other Python",
        ),
        ("ERROR: Something new.\n", (), r"cannot be fetched: ERROR: Something new\."),
        ("", (), "pip ended without a word"),
    ],
)
def test_why_they_cannot_be_had_is_one_line(
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
