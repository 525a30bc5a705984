"""Links, locks and records of the user in place of ours: nothing is written or deleted through them."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from command_line import Run
from planted import PRECIOUS, assert_kept, files, plant, plant_images
from small_run import GOOD, RECIPE

from pepr_edge.run_dir.owned import start_record
from pepr_edge.run_dir.store import log_event, open_new


def test_a_lock_that_is_a_link_empties_nothing(own_run: Path, tmp_path: Path, recipe: Path, run: Run) -> None:
    planted = plant(tmp_path, "mine.txt")
    (own_run / ".pepr_edge").mkdir(exist_ok=True)
    lock = own_run / ".pepr_edge" / "lock"
    lock.unlink(missing_ok=True)
    lock.symlink_to(tmp_path / "mine.txt")
    recipe.write_text(RECIPE + "[score]\nalpha = 2.0\n")
    done = run("run", recipe, "--out", own_run)
    assert (done.status, "lock" in done.err) == (1, True)
    assert_kept(planted)


def test_links_are_not_followed_to_delete(own_run: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    assert run("export", own_run, "--out", out).status == 0
    planted = plant(tmp_path / "victim", "patients.txt", "model.onnx", "manifest.json")
    for name in ("._link", "link"):
        (out / name).symlink_to(tmp_path / "victim")
        assert run("export", own_run, "--out", out).status == 1
        assert_kept(planted)
        (out / name).unlink()
    planted |= plant(out, "._mine/notes.txt", "._notes")
    assert run("export", own_run, "--out", out).status == 1
    assert_kept(planted)


@pytest.mark.parametrize(
    "name", ["candidates", "bundles", "report", ".pepr_edge", f"candidates/{GOOD}@48/fp32"]
)
@pytest.mark.parametrize("fresh", [(), ("--fresh",)], ids=str)
def test_a_linked_folder_of_a_run_directory_is_refused(
    name: str, fresh: tuple[str, ...], own_run: Path, tmp_path: Path, recipe: Path, run: Run
) -> None:
    (own_run / name).mkdir(exist_ok=True)
    (own_run / name).rename(tmp_path / "elsewhere")
    (own_run / name).symlink_to(tmp_path / "elsewhere")
    before = files(tmp_path / "elsewhere")
    recipe.write_text(RECIPE + "[score]\nalpha = 2.0\n")
    done = run("run", recipe, "--out", own_run, *fresh)
    assert (done.status, "link" in done.err) == (1, True)
    assert files(tmp_path / "elsewhere") == before


def test_logs_are_written_through_no_link(own_run: Path, tmp_path: Path, recipe: Path, run: Run) -> None:
    planted = plant(tmp_path, "events.txt")
    (own_run / "events.jsonl").unlink()
    (own_run / "events.jsonl").symlink_to(tmp_path / "events.txt")
    recipe.write_text(RECIPE + "[score]\nalpha = 2.0\n")
    done = run("run", recipe, "--out", own_run)
    assert (done.status, "events.jsonl" in done.err) == (1, True)
    assert_kept(planted)


def test_a_second_name_of_the_log_keeps_its_content(tmp_path: Path) -> None:
    log_event(tmp_path, "first")
    os.link(tmp_path / "events.jsonl", tmp_path / "backup.jsonl")
    before = (tmp_path / "backup.jsonl").read_bytes()
    log_event(tmp_path, "second")
    assert (tmp_path / "backup.jsonl").read_bytes() == before
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 2
    (tmp_path / "victim.txt").write_bytes(PRECIOUS)
    (tmp_path / "log.txt").symlink_to(tmp_path / "victim.txt")
    with open_new(tmp_path / "log.txt") as file:
        file.write("new")
    assert (tmp_path / "victim.txt").read_bytes() == PRECIOUS


def test_a_record_of_files_of_the_user_is_kept(own_run: Path, tmp_path: Path, run: Run) -> None:
    table = tmp_path / "table.csv"
    table.write_text("model,energy_kwh,val_00,val_01\na,1,0.5,0.9\nb,2,0.5,0.8\nc,3,0.6,0.7\n")
    planted = plant(tmp_path / "replay", ".pepr_edge/files.json")
    assert run("search", "replay", table, "--out", tmp_path / "replay").status == 1
    planted |= plant(own_run, ".pepr_edge/files.json")
    assert run("report", own_run).status == 1
    assert_kept(planted)


def test_a_record_of_files_leads_to_no_file_outside(own_run: Path, run: Run) -> None:
    victim = own_run.parent / "victim.txt"
    victim.write_bytes(b"")
    start_record(own_run)
    record = own_run / ".pepr_edge" / "files.json"
    document = json.loads(record.read_text())
    document["files"]["report/../../victim.txt"] = [hashlib.sha256(b"").hexdigest()]
    record.write_text(json.dumps(document))
    assert run("report", own_run).status == 0
    assert victim.exists()


def test_a_lock_of_the_user_is_not_emptied(own_run: Path, recipe: Path, run: Run) -> None:
    planted = plant(own_run, ".pepr_edge/lock")
    recipe.write_text(RECIPE + "[score]\nalpha = 2.0\n")
    for content in (b"12345678901234567890\nprecious\n", b"   \n", b"123456789012345678901"):
        (own_run / ".pepr_edge" / "lock").write_bytes(content)
        planted = {own_run / ".pepr_edge" / "lock": content}
        assert run("run", recipe, "--out", own_run).status == 1
        assert_kept(planted)


def test_images_that_a_table_or_a_link_names_inside_the_run_directory(
    recipe: Path, tmp_path: Path, run: Run
) -> None:
    before = plant_images(tmp_path / "out" / "candidates" / "images")
    rows = [f"{path.relative_to(tmp_path)},{path.parent.name}" for path in before]
    (tmp_path / "images.csv").write_text("\n".join(["path,label", *rows]))
    before |= plant_images(tmp_path / "real")
    (tmp_path / "linked").mkdir()
    for label in ("benign", "malignant"):
        (tmp_path / "linked" / label).symlink_to(tmp_path / "real" / label)
    for data, out in (("images.csv", "out"), ("linked", "real/benign/run")):
        done = run("run", recipe, "--data", tmp_path / data, "--out", tmp_path / out, "--fresh")
        assert done.status == 1
        assert_kept(before)
        assert len(files(tmp_path / "real")) == 24
