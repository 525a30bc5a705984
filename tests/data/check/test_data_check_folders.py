"""Folders as people have them: splits by other names, levels of folders, images outside of classes."""

from __future__ import annotations

import unicodedata

import made_images
import pytest
from nested_folders import SIX, nested


def splits_of(done) -> dict[str, int]:
    return {split: sum(counts) for split, counts in done.document["splits"].items()}


@pytest.mark.parametrize(
    "names",
    [
        ("Training", "Testing"),
        ("train_set", "val_set", "test_set"),
        ("TRAIN-data", "Validation-data", "Holdout"),
        ("tr", "dev", "te"),
        ("01_training", "02_valid", "03_testing"),
        ("TrainImages", "TestImages"),
        ("images_train", "images_val", "hold_out"),
    ],
)
def test_split_folders_by_usual_names_are_splits(tmp_path, check, names):
    done = check(made_images.folder(tmp_path / "d", nested(names, SIX)))
    assert (done.status, done.kinds) == (0, {})
    assert list(done.counts) == ["no", "yes"]
    if len(names) == 3:
        assert splits_of(done) == dict.fromkeys(("train", "val", "test"), 12)
    else:
        assert done.document["given_splits"] == ["train", "test"]


@pytest.mark.parametrize(
    "top", [("A", "B"), ("2019", "2020"), ("part one", "part two"), ("yes-no", "no-yes")]
)
def test_the_same_classes_in_every_folder_stop(tmp_path, check, top):
    done = check(made_images.folder(tmp_path / "d", nested(top, {"benign": 3, "malignant": 3})))
    problem = done.problem("same_classes_in_every_folder")
    assert (done.status, problem["severity"], problem["count"]) == (1, "error", 2)
    assert "benign, malignant" in problem["remedy"]
    assert "train" in problem["remedy"]


@pytest.mark.parametrize(
    "top", [("site1", "site2", "site3"), ("Hospital A", "Hospital B"), ("scanner_x", "scanner_y")]
)
def test_folders_named_as_sites_are_pooled(tmp_path, check, top):
    done = check(made_images.folder(tmp_path / "d", nested(top, SIX)))
    assert (done.status, done.kinds) == (0, {"sites_pooled": "note"})
    assert list(done.counts) == ["no", "yes"]


@pytest.mark.parametrize(
    "inner", [("left", "right"), ("P001", "P002", "P003"), ("40x", "100x"), ("patient 1", "patient 2")]
)
def test_views_and_patients_within_classes_are_no_classes(tmp_path, check, inner):
    done = check(made_images.folder(tmp_path / "d", nested(("benign", "malignant"), dict.fromkeys(inner, 5))))
    assert done.status == 0
    assert list(done.counts) == ["benign", "malignant"]


@pytest.mark.parametrize(
    "names", [("train", "test"), ("Training", "Validation", "Test set"), ("tr", "val", "te")]
)
def test_splits_below_the_class_are_honoured(tmp_path, check, names):
    done = check(made_images.folder(tmp_path / "d", nested(("benign", "malignant"), names, {"": 6})))
    assert (done.status, done.kinds) == (0, {})
    assert done.counts == {"benign": 6 * len(names), "malignant": 6 * len(names)}
    assert "train" in done.document["given_splits"]
    assert splits_of(done)["test"] == 12


def test_splits_below_some_classes_stop(tmp_path, check):
    counts = nested(("benign",), ("train", "test"), {"": 6}) | {"malignant": 6}
    done = check(made_images.folder(tmp_path / "d", counts))
    assert (done.status, done.kinds) == (1, {"splits_in_some_classes": "error"})


@pytest.mark.parametrize("layout", [("train", "test"), ("",)])
def test_images_outside_classes_are_counted(tmp_path, check, layout):
    root = made_images.folder(tmp_path / "d", nested(layout, SIX))
    for number in range(4):
        made_images.save(root / layout[-1] / f"stray{number}.png", 900 + number)
    done = check(root)
    problem = done.problem("images_outside_classes")
    assert (done.status, problem["severity"], problem["count"]) == (0, "warning", 4)
    assert len(problem["examples"]) == 3
    assert "stray0.png" in problem["examples"][0]


@pytest.mark.parametrize("name", ["test", "Testing", "holdout"])
def test_a_test_folder_without_classes_stops(tmp_path, check, name):
    root = made_images.folder(tmp_path / "d", nested(("train",), SIX) | {name: 5})
    done = check(root)
    problem = done.problem("split_without_classes")
    assert (done.status, problem["severity"], problem["count"]) == (1, "error", 5)
    assert "pepr-edge predict" in problem["remedy"]


def test_a_training_folder_without_classes_stops(tmp_path, check):
    done = check(made_images.folder(tmp_path / "d", {"train": 6, "test": 6}))
    assert done.kinds == {"split_without_classes": "error"}


def test_a_validation_folder_beside_classes_stops(tmp_path, check):
    root = made_images.folder(tmp_path / "d", SIX | nested(("validation",), SIX))
    assert check(root).kinds == {"classes_at_two_levels": "error"}


def test_a_flat_folder_names_the_table_beside_the_images(tmp_path, check):
    root = made_images.folder(tmp_path / "d", {"": 6})
    (root / "labels.csv").write_text("path,label\n")
    done = check(root)
    assert done.kinds == {"no_class_folders": "error"}
    assert "labels.csv" in done.problem("no_class_folders")["remedy"]


def test_a_class_may_have_the_name_of_a_split(tmp_path, check):
    done = check(made_images.folder(tmp_path / "d", {"train": 6, "bus": 6, "car": 6}))
    assert list(done.counts) == ["bus", "car", "train"]
    done = check(made_images.folder(tmp_path / "e", {"test": 6, "control": 6}))
    assert list(done.counts) == ["control", "test"]


@pytest.mark.parametrize("wrapper", ["data", "chest_xray", "images"])
def test_a_folder_around_split_folders_is_entered(tmp_path, check, wrapper):
    done = check(made_images.folder(tmp_path / "d", nested((wrapper,), ("train", "test"), SIX)))
    assert (done.status, list(done.counts)) == (0, ["no", "yes"])


@pytest.mark.parametrize(
    ("one", "other"),
    [("Normal", "normal"), ("COVID 19", "covid  19"), ("Lésion", unicodedata.normalize("NFD", "lésion"))],
)
@pytest.mark.parametrize("layout", ["class", "split"])
def test_labels_that_differ_in_spelling_only_are_one_class(tmp_path, check, one, other, layout):
    if layout == "class":
        counts = {one: 7, other: 3, "sick": 6}
    else:
        counts = {f"train/{one}": 7, "train/sick": 6, f"test/{other}": 3, "test/sick": 6}
    done = check(made_images.folder(tmp_path / "d", counts))
    assert (done.status, done.kinds["labels_respelled"]) == (0, "warning")
    assert done.counts[one] == 10
    assert len(done.counts) == 2


@pytest.mark.parametrize(
    ("one", "other"), [("lung cancer", "lung_cancer"), ("1", "01"), ("covid-19", "covid19")]
)
def test_labels_that_may_be_one_class_are_said(tmp_path, check, one, other):
    done = check(made_images.folder(tmp_path / "d", {one: 6, other: 6}))
    assert (len(done.counts), done.kinds) == (2, {"labels_look_alike": "warning"})


@pytest.mark.parametrize(
    ("one", "other"), [("HER2+", "HER2-"), ("1", "10"), ("grade 1", "grade 2"), ("1.5", "15")]
)
def test_labels_that_differ_are_not_bothered(tmp_path, check, one, other):
    assert check(made_images.folder(tmp_path / "d", {one: 6, other: 6})).kinds == {}


def test_a_link_to_another_class_is_refused(tmp_path, check):
    root = made_images.folder(tmp_path / "d", SIX)
    (root / "maybe").symlink_to("yes")
    done = check(root)
    assert done.status == 1
    assert "link" in done.document["problems"][0]["remedy"]


def test_folders_nested_too_deeply_are_refused(tmp_path, check):
    root = made_images.folder(tmp_path / "d", SIX)
    made_images.save(root / "no" / "/".join(["x"] * 40) / "a.png", 99)
    assert "folders deep" in check(root).document["problems"][0]["remedy"]


@pytest.mark.parametrize(
    "names", [("trainA", "trainB", "testA", "testB"), ("train_no", "train_yes", "test_no", "test_yes")]
)
def test_a_split_in_the_name_of_a_class_stops(tmp_path, check, names):
    done = check(made_images.folder(tmp_path / "d", dict.fromkeys(names, 6)))
    assert (done.status, done.kinds) == (1, {"split_in_class_names": "error"})


@pytest.mark.parametrize("pattern", ["P{:03}", "patient_{}", "1.2.840.{}"])
def test_folders_of_patients_within_classes_are_said(tmp_path, check, pattern):
    counts = {f"{label}/{pattern.format(n + 10 * (label == 'no'))}": 3 for label in SIX for n in range(4)}
    done = check(made_images.folder(tmp_path / "d", counts))
    problem = done.problem("folders_look_like_groups")
    assert (done.status, problem["severity"], problem["count"]) == (0, "warning", 8)
    assert "group" in problem["remedy"]


@pytest.mark.parametrize("label", ["nan", "N/A"])
def test_a_label_that_is_not_there_is_said(tmp_path, check, label):
    made_images.folder(tmp_path / "img", {"": 18})
    names = ("no", "yes", label)
    lines = "\n".join(f"img/{number:02}.png,{names[number % 3]}" for number in range(18))
    (tmp_path / "m.csv").write_text(f"path,label\n{lines}\n")
    assert check(tmp_path / "m.csv").kinds == {"label_looks_missing": "warning"}
