from __future__ import annotations

from pathlib import Path

import pytest

from pepr_edge.engine import file_sync
from pepr_edge.engine.file_sync import FileChanges, pack, stamps, unpack


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_suffix(".new").write_text(text, encoding="utf-8")
        path.with_suffix(".new").replace(path)


def content(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()
    }


def test_a_folder_is_copied_whole(tmp_path: Path) -> None:
    write(tmp_path / "a", train_json="1", fp32__model_onnx="2", log_txt="3")
    made = pack(tmp_path / "a", {})
    assert made is not None
    unpack(made[0], tmp_path / "b")
    assert (
        content(tmp_path / "b")
        == content(tmp_path / "a")
        == {"train.json": "1", "fp32/model.onnx": "2", "log.txt": "3"}
    )


def test_only_changed_files_are_copied_and_removed_files_are_removed(tmp_path: Path) -> None:
    write(tmp_path, same_json="1", changed_json="2", gone_pt="3", below__gone_json="4")
    known = stamps(tmp_path)
    write(tmp_path, changed_json="5", new_pt="6")
    for name in ("gone.pt", "below/gone.json"):
        (tmp_path / name).unlink()
    made = pack(tmp_path, known)
    assert made is not None
    assert made[0] == FileChanges({"changed.json": b"5", "new.pt": b"6"}, ("below/gone.json", "gone.pt"))
    assert made[1] == stamps(tmp_path)
    again = pack(tmp_path, made[1])
    assert again is not None
    assert again[0] == FileChanges({})


def test_progress_is_without_subfolders_and_the_log(tmp_path: Path) -> None:
    write(tmp_path, spent_json="1", log_txt="2", fp32__export_json="3")
    known = stamps(tmp_path)
    write(tmp_path, spent_json="4", log_txt="5", fp32__export_json="6", int8__export_json="7")
    made = pack(tmp_path, known, entire=False)
    assert made is not None
    assert made[0] == FileChanges({"spent.json": b"4"})
    rest = pack(tmp_path, made[1])
    assert rest is not None
    assert sorted(rest[0].files) == ["fp32/export.json", "int8/export.json", "log.txt"]


def test_a_file_that_is_being_written_is_not_copied(tmp_path: Path) -> None:
    write(tmp_path, a_json="1")
    (tmp_path / ".model.onnx.77.tmp").write_text("half")
    made = pack(tmp_path, {})
    assert made is not None
    assert list(made[0].files) == ["a.json"]


@pytest.mark.parametrize("change", ["written", "new", "gone"])
def test_files_that_may_not_belong_together_are_not_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    write(tmp_path, training_json="2", b_pt="2")
    seen = file_sync.stamps

    def changing(folder: Path, entire: bool = True, repeat: int = 0) -> file_sync.Stamps:
        found = seen(folder, entire, repeat)
        if change == "gone":
            (tmp_path / "b.pt").unlink(missing_ok=True)
        else:
            write(tmp_path, **{"b_pt" if change == "written" else "c_pt": "3"})
        return found

    monkeypatch.setattr(file_sync, "stamps", changing)
    assert pack(tmp_path, {}) is None


def test_records_are_written_after_the_files_they_name_and_removals_come_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, training_json="1", old_pt="1")
    written: list[str] = []

    def noted(path: Path, content: bytes) -> None:
        written.append(path.name)
        assert (tmp_path / "old.pt").exists()

    monkeypatch.setattr(file_sync, "write_bytes", noted)
    unpack(
        FileChanges(
            {"a.json": b"", "new.pt": b"", "fp32/export.json": b"", "fp32/model.onnx": b""}, ("old.pt",)
        ),
        tmp_path,
    )
    assert written == ["new.pt", "model.onnx", "a.json", "export.json"]
    assert not (tmp_path / "old.pt").exists()


def test_other_seeds_of_a_candidate_stay_where_they_are(tmp_path: Path) -> None:
    write(tmp_path, train_json="0", **{"seed-1__train_json": "1", "seed-2__train_json": "2"})
    write(tmp_path, fp32__export_json="3")
    own = pack(tmp_path, {})
    assert own is not None
    assert set(own[0].files) == {"train.json", "fp32/export.json"}
    with_second = pack(tmp_path, {}, repeat=2)
    assert with_second is not None
    assert set(with_second[0].files) == {"train.json", "fp32/export.json", "seed-2/train.json"}
    of_seed = pack(tmp_path / "seed-1", {})
    assert of_seed is not None
    assert set(of_seed[0].files) == {"train.json"}
