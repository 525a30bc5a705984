from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import pepr_edge
from pepr_edge.errors import KitError
from pepr_edge.kit import own_wheel


def install_by_hand(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the files of a small installed package of this name, as pip does."""
    files = {
        "pepr_edge/__init__.py": "",
        "pepr_edge/deep/table.csv": "1\n",
        "pepr_edge-9.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: pepr_edge\nVersion: 9.0\n",
        "pepr_edge-9.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "pepr_edge-9.0.dist-info/INSTALLER": "pip\n",
        "pepr_edge-9.0.dist-info/direct_url.json": "{}",
        "pepr_edge/__pycache__/__init__.cpython-311.pyc": "",
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    names = [*files, "../../../bin/pepr-edge", "pepr_edge-9.0.dist-info/RECORD"]
    (folder / "pepr_edge-9.0.dist-info" / "RECORD").write_text(
        "".join(f"{name},,\n" for name in names), encoding="utf-8"
    )
    found = importlib.metadata.PathDistribution(folder / "pepr_edge-9.0.dist-info")
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: found)
    return folder


def test_a_wheel_is_made_from_the_installed_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_by_hand(tmp_path / "site", monkeypatch)
    made = own_wheel.repack(tmp_path)
    assert made.name == "pepr_edge-9.0-py3-none-any.whl"
    with zipfile.ZipFile(made) as wheel:
        held = set(wheel.namelist())
        record = wheel.read("pepr_edge-9.0.dist-info/RECORD").decode().splitlines()
    information = {f"pepr_edge-9.0.dist-info/{name}" for name in ("METADATA", "WHEEL", "RECORD")}
    assert held == {"pepr_edge/__init__.py", "pepr_edge/deep/table.csv", *information}
    # The digest of an empty file in the format of PEP 376.
    assert "pepr_edge/__init__.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0" in record
    assert {line.split(",")[0] for line in record} == held


def test_a_missing_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (install_by_hand(tmp_path / "site", monkeypatch) / "pepr_edge" / "deep" / "table.csv").unlink()
    with pytest.raises(KitError, match=r"table\.csv: missing"):
        own_wheel.repack(tmp_path)


def test_an_editable_install_without_its_checkout_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    information = install_by_hand(tmp_path / "site", monkeypatch) / "pepr_edge-9.0.dist-info"
    (information / "RECORD").write_text("pepr_edge-9.0.dist-info/METADATA,,\n", encoding="utf-8")
    with pytest.raises(KitError, match="editable"):
        own_wheel.repack(tmp_path)


@pytest.mark.slow
def test_a_checkout_is_built_and_stays_clean(tmp_path: Path) -> None:
    root = own_wheel.PACKAGE.parent
    before = {path.name for path in root.iterdir()}
    made = own_wheel.build(root, tmp_path)
    assert made.name == f"pepr_edge-{pepr_edge.__version__}-py3-none-any.whl"
    assert {path.name for path in root.iterdir()} == before
    with zipfile.ZipFile(made) as wheel:
        held = set(wheel.namelist())
        wheel.extractall(tmp_path / "installed")
    assert {
        "pepr_edge/kit/START.txt",
        "pepr_edge/kit/install.sh",
        "pepr_edge/kit/install.ps1",
        "pepr_edge/kit/install.py",
    } <= held
    # The wheel made from these files holds the same files.
    program = (
        "from pathlib import Path; from pepr_edge.kit import own_wheel; print(own_wheel.make(Path('..')))"
    )
    (tmp_path / "again").mkdir()
    program = program.replace("..", "../again")
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path / "installed",
    )
    with zipfile.ZipFile(tmp_path / "installed" / done.stdout.strip()) as wheel:
        assert set(wheel.namelist()) == held
