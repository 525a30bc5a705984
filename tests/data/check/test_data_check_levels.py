"""Folders a level too high or too low: patients above the classes, archives unpacked twice, deep splits."""

from __future__ import annotations

import shutil
import sys

import made_images
import pytest


def wrong(check, folder, counts, kind):
    done = check(made_images.folder(folder, counts))
    problem = done.problem(kind)
    assert (done.status, problem["severity"]) == (1, "error")
    assert done.err.count("\n") == 1
    return problem["remedy"]


@pytest.mark.parametrize(
    "counts",
    [
        {"p_01/ill": 2, "p_02/ill": 2, "p_02/well": 2, "p_03/well": 2, "p_04/well": 2, "p_04/ill": 1},
        {"10253/0": 2, "10253/1": 2, "10254/0": 2, "10255/0": 2, "10255/1": 2},
    ],
)
def test_patients_above_the_classes_stop_also_if_some_lack_a_class(tmp_path, check, counts):
    remedy = wrong(check, tmp_path / "d", counts, "same_classes_in_every_folder")
    assert "patients" in remedy
    assert "column group" in remedy


@pytest.mark.parametrize(
    "counts",
    [{"A/x": 2, "A/y": 2, "A/z": 2, "B/x": 2, "B/y": 2, "C/x": 2}, {"a/no": 3, "a/yes": 3, "b/no": 3}],
)
def test_the_same_classes_in_most_folders_stop(tmp_path, check, counts):
    wrong(check, tmp_path / "d", counts, "same_classes_in_every_folder")


def test_a_site_without_one_of_the_classes_is_a_site(tmp_path, check):
    counts = {"site_1/no": 6, "site_1/yes": 6, "site_2/no": 6, "site_3/yes": 6, "site_3/no": 6}
    done = check(made_images.folder(tmp_path / "d", counts))
    assert (done.status, done.counts) == (0, {"no": 18, "yes": 12})


@pytest.mark.parametrize("above", ["d", "archive/data 2", "a/b/c"])
def test_a_folder_around_all_classes_is_no_class(tmp_path, check, above):
    made_images.folder(tmp_path / "d" / above, {"cat": 6, "dog": 6})
    done = check(tmp_path / "d")
    assert (done.status, done.kinds, done.counts) == (0, {}, {"cat": 6, "dog": 6})


@pytest.mark.parametrize("inner", [("training_set", "test_set"), ("Train", "Test")])
def test_a_split_folder_within_its_own_name_is_no_class(tmp_path, check, inner):
    train, test = inner
    counts = {f"{train}/{train}/{name}": 6 for name in ("cat", "dog")}
    counts |= {f"{test}/{test}/{name}": 3 for name in ("cat", "dog")}
    done = check(made_images.folder(tmp_path / "d", counts))
    assert (done.status, done.kinds, done.counts) == (0, {}, {"cat": 9, "dog": 9})


@pytest.mark.parametrize("inner", [("left", "right"), ("P001", "P002")])
def test_the_views_or_patients_of_an_only_class_are_no_classes(tmp_path, check, inner):
    done = check(made_images.folder(tmp_path / "d", {f"ill/{name}": 4 for name in inner}))
    assert done.status == 1
    assert "only the class 'ill'" in done.problem("not_usable")["remedy"]


@pytest.mark.parametrize(
    "counts",
    [
        {f"{name}/series/{split}": 4 for name in ("a", "b") for split in ("train", "test")},
        {f"{name}/x/y/{split}": 3 for name in ("a", "b") for split in ("Training", "val", "Testing")},
    ],
)
def test_splits_deeper_than_one_level_below_the_class_stop(tmp_path, check, counts):
    assert "class/split" in wrong(check, tmp_path / "d", counts, "splits_below_other_folders")


@pytest.mark.parametrize("test", [("unknown",), ("cat", "dog"), ("images of the test",)])
def test_a_split_with_none_of_the_trained_classes_stops(tmp_path, check, test):
    counts = {"train/0_cat": 4, "train/1_dog": 4} | {f"test/{name}": 3 for name in test}
    remedy = wrong(check, tmp_path / "d", counts, "classes_differ_between_splits")
    assert "predict" in remedy


@pytest.mark.parametrize(
    "patients", [("SOB_B_A-14-220AB", "SOB_B_A-14-221AB"), ("TCGA-A1-1234-01Z", "TCGA-B2-5678-01Z")]
)
def test_folders_of_patients_deep_below_the_class_are_said(tmp_path, check, patients):
    counts = {f"{name}/x/{patient}/40X": 4 for name in ("no", "yes") for patient in patients}
    done = check(made_images.folder(tmp_path / "d", counts))
    assert done.problem("folders_look_like_groups")["count"] == 4


@pytest.mark.parametrize("name", ["@eaDir", "$RECYCLE.BIN", "System Volume Information", "#recycle"])
def test_what_systems_and_network_drives_add_is_no_class(tmp_path, check, name):
    root = made_images.folder(tmp_path / "d", {"cat": 6, "dog": 6})
    made_images.save(root / name / "x.png", 90)
    made_images.save(root / "cat" / name / "00.png" / "THUMB_M.jpg", 91)
    done = check(root)
    assert (done.status, done.kinds, done.counts) == (0, {}, {"cat": 6, "dog": 6})


def test_files_that_a_cloud_drive_has_not_downloaded_are_said(tmp_path, check):
    root = made_images.folder(tmp_path / "d", {"cat": 6, "dog": 6})
    for number in range(3):
        (root / "cat" / f".{number}.jpg.icloud").write_bytes(b"bplist00")
    problem = check(root).problem("files_not_read")
    assert problem["count"] == 3
    assert "downloaded" in problem["remedy"]


def test_a_table_beside_images_without_classes_is_named(tmp_path, check):
    root = made_images.folder(tmp_path / "d", {"train": 4, "test": 3})
    (root / "test" / "metadata.csv").write_text("file_name,label\n00.png,a\n")
    (root / "train" / "metadata.csv").write_text("file_name,label\n00.png,a\n")
    assert "metadata.csv" in check(root).problem("split_without_classes")["remedy"]


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of folders are Unix's")
@pytest.mark.parametrize("place", ["cat", "cat/inner"])
def test_a_folder_that_cannot_be_opened_is_named(tmp_path, check, place, monkeypatch):
    root = made_images.folder(tmp_path / "d", {"cat": 4, "cat/inner": 2, "dog": 4})
    listed = type(root).iterdir

    def refused(path):  # as root, permissions do not count
        if path == root / place:
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(type(root), "iterdir", refused)
    done = check(root)
    monkeypatch.undo()
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert f"{place}: a folder that cannot be opened" in done.err
    shutil.rmtree(root)


@pytest.mark.parametrize(
    "name", ["1" * 60 + "x", "a" * 12 + "1" * 200 + "?", "a_" * 100 + "!", "1_1." * 60 + "x"]
)
def test_long_names_are_looked_at_in_no_time(tmp_path, check, name):
    made_images.folder(tmp_path / "d", {f"no/{name}": 6, "yes": 6})
    assert check(tmp_path / "d").status == 0
