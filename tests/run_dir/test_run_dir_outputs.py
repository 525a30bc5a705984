"""Folders in the place of a candidate's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from pepr_edge.errors import RunError
from pepr_edge.run_dir.outputs import check_weights_separate, set_folders_aside

CANDIDATE = "candidates/small@64"


@pytest.mark.parametrize(
    "name",
    [
        "checkpoint.safetensors",
        "logits.npz",
        "training-3.pt",
        "seed-1/logits.npz",
        "fp32/model.onnx",
        "int8_static/predictions.npz",
        "looks/fp32/model.onnx",
    ],
)
def test_a_folder_in_place_of_a_file_is_kept_under_another_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / CANDIDATE / name
    path.mkdir(parents=True)
    (path / "mine.txt").write_text("mine")
    said: list[str] = []
    set_folders_aside(tmp_path, said.append)
    assert not path.exists()
    assert (path.with_name(f"{path.name}.kept-1") / "mine.txt").read_text() == "mine"
    assert [path.name in line for line in said] == [True]


def test_other_folders_and_files_stay(tmp_path: Path) -> None:
    for name in ("fp32/notes/x.txt", "seed-1/x.txt", "checkpoint.safetensors", "mine/checkpoint.safetensors"):
        path = tmp_path / CANDIDATE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    before = sorted(tmp_path.rglob("*"))
    set_folders_aside(tmp_path, lambda line: None)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("weights", "refused"),
    [
        (None, False),
        ("w.pth", False),
        ("run", False),
        ("run/w.safetensors", False),
        ("run/candidates", True),
        (f"run/{CANDIDATE}/checkpoint.safetensors", True),
        (f"link/{CANDIDATE}", True),
        (f"elsewhere/../run/{CANDIDATE}", True),
    ],
)
def test_weights_that_the_run_would_replace_are_refused(
    weights: str | None, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("run")
    if not refused:
        check_weights_separate([weights], Path("run"))
        return
    with pytest.raises(RunError, match="candidates"):
        check_weights_separate([weights], Path("run"))
