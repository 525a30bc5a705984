from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from made_kit import made_at

from pepr_edge.errors import KitError
from pepr_edge.kit import install
from pepr_edge.kit import make as module


def test_the_kit_holds_all_that_is_needed(tmp_path: Path, no_network: list[str]) -> None:
    kit = made_at(tmp_path / "kit")
    assert no_network == ["pepr_edge-1-py3-none-any.whl 3.11", "pepr_edge-1-py3-none-any.whl 3.12"]
    parts = {"bundles", "wheels", "install.sh", "install.py", "START.txt", "kit.json", "checksums.txt"}
    assert {path.name for path in kit.folder.iterdir()} == parts
    assert [wheel.name for wheel in kit.wheels] == [
        "numpy-1-cp311-none-any.whl",
        "numpy-1-cp312-none-any.whl",
        "pepr_edge-1-py3-none-any.whl",
        "pip-1-py3-none-any.whl",
    ]
    assert kit.wheels[2].sha256 == hashlib.sha256(b"own").hexdigest()
    assert kit.bundles == ("01-tiny@16-fp32",)
    assert kit.warnings == ("made of nothing",)
    files = [path for path in kit.folder.rglob("*") if path.is_file()]
    assert kit.size_bytes == sum(path.stat().st_size for path in files)
    listed = dict(
        reversed(line.split("  ")) for line in (kit.folder / "checksums.txt").read_text().splitlines()
    )
    assert set(listed) == {path.relative_to(kit.folder).as_posix() for path in files} - {"checksums.txt"}
    assert all(
        hashlib.sha256((kit.folder / name).read_bytes()).hexdigest() == expected
        for name, expected in listed.items()
    )
    assert json.loads((kit.folder / "kit.json").read_text())["pythons"] == ["3.11", "3.12"]
    assert [path.name for path in tmp_path.iterdir()] == ["kit"]


@pytest.mark.parametrize(
    ("platform", "installer", "launch"),
    [("linux-aarch64", "install.sh", "sh"), ("win-amd64", "install.ps1", ".\\")],
)
def test_the_texts_are_for_the_platform(
    platform: str, installer: str, launch: str, tmp_path: Path, no_network: list[str]
) -> None:
    folder = made_at(tmp_path / "kit", platform=platform).folder
    texts = [(folder / name).read_text(encoding="ascii") for name in (installer, "START.txt")]
    assert not any("{{" in text for text in texts)
    assert "3.11 or 3.12" in texts[0]
    assert installer in texts[1]
    assert launch in texts[1]
    assert "NOT FOR DIAGNOSIS" in texts[1]
    assert all(len(line) <= 80 for line in texts[1].splitlines())


def test_a_kit_for_dicom_images_holds_the_dicom_extra(tmp_path: Path, no_network: list[str]) -> None:
    kit = made_at(tmp_path / "kit", pythons=("3.11",), extras=("dicom",))
    assert no_network == ["pepr_edge-1-py3-none-any.whl[dicom] 3.11"]
    assert install.read_kit(kit.folder)["extras"] == ["dicom"]


def test_a_kit_is_replaced_and_nothing_else(tmp_path: Path, no_network: list[str]) -> None:
    out = made_at(tmp_path / "kit").folder
    made_at(out)
    (out / "pepr").mkdir()  # an installation, in which the user may keep something
    (out / "pepr" / "patients.json").write_text("precious")
    with pytest.raises(KitError, match="'pepr'"):
        made_at(out)
    assert (out / "pepr" / "patients.json").read_text() == "precious"
    shutil.rmtree(out / "pepr")
    start = (out / "START.txt").read_text()
    for name in ("START.txt", "bundles/01-one/patients.txt"):
        before = (out / name).read_bytes() if (out / name).exists() else None
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("precious")
        with pytest.raises(KitError, match=f"{name} was added or changed"):
            made_at(out)
        assert (out / name).read_text() == "precious"
        (out / name).unlink() if before is None else (out / name).write_bytes(before)
    assert (out / "START.txt").read_text() == start
    (out / "report.json").write_text("precious")
    with pytest.raises(KitError, match=r"'report\.json'"):
        made_at(out)
    assert (out / "report.json").read_text() == "precious"
    (tmp_path / "other").mkdir()
    made_at(tmp_path / "other")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    with pytest.raises(KitError, match=r"'thesis\.txt'"):
        made_at(tmp_path / "full")
    with pytest.raises(KitError, match="a file, expected a folder"):
        made_at(tmp_path / "full" / "thesis.txt")


@pytest.mark.parametrize("fault", [KeyboardInterrupt, KitError("no network")])
def test_an_interrupted_kit_leaves_nothing(
    fault: BaseException | type[BaseException],
    tmp_path: Path,
    no_network: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*words: Any) -> None:
        raise fault

    monkeypatch.setattr(module.wheels, "fetch", stop)
    with pytest.raises((KeyboardInterrupt, KitError)):
        made_at(tmp_path / "kit")
    assert list(tmp_path.iterdir()) == []


def test_progress_grows(tmp_path: Path, no_network: list[str]) -> None:
    seen: list[tuple[int, int, str]] = []
    made_at(tmp_path / "kit", progress=lambda *words: seen.append(words))
    assert seen[0] == (0, 4, "bundles")
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert (3, 4, "numpy") in seen
