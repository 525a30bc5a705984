"""Labels and groups as tables hold them: several in one, none, measured, shifted rows, rounded numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import made_images
import numpy as np
import pytest


@pytest.fixture
def table(tmp_path: Path):
    """Write a table of images that exist, and return its path."""

    def write(header: Sequence[str], *columns: Sequence[object], paths: Sequence[str] = ()) -> Path:
        names = paths or [f"{number}.png" for number in range(len(columns[0]))]
        lines = [",".join(["path", *header])]
        for seed, name in enumerate(names):
            made_images.save(tmp_path / name, seed)
            lines.append(",".join([name, *(str(column[seed]) for column in columns)]))
        path = tmp_path / "list.csv"
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


@pytest.mark.parametrize(
    ("labels", "joined"),
    [
        (["Effusion", "Mass", "Effusion|Mass", "No Finding|Hernia"], {"Effusion|Mass", "No Finding|Hernia"}),
        (["clear", "haze", "clear haze"], {"clear haze"}),
        (["['a'; 'b']", "['a']", "c"], {"['a'; 'b']"}),
        (["cat", "dog", "cat and dog", "Dog/cat"], {"cat and dog", "Dog/cat"}),
    ],
)
def test_several_labels_in_one_are_said(table, check, labels, joined):
    done = check(table(["label"], labels * 6))
    problem = done.problem("labels_look_joined")
    assert (done.status, problem["severity"], set(problem["examples"])) == (0, "warning", joined)


@pytest.mark.parametrize(
    "labels", [["lung cancer", "no cancer"], ["HER2+", "HER2-"], ["B/C", "A"], ["5-10", "10-15"]]
)
def test_names_of_several_words_are_one_label(table, check, labels):
    assert check(table(["label"], labels * 6)).kinds == {}


@pytest.mark.parametrize(
    ("labels", "missing"),
    [
        (["0", "1", "-1"], "-1"),
        (["a", "b", "unlabeled"], "unlabeled"),
        (["1", "2", "Not_labelled"], "Not_labelled"),
    ],
)
def test_labels_for_no_label_are_said(table, check, labels, missing):
    assert check(table(["label"], labels * 6)).problem("label_looks_missing")["examples"] == [missing]


@pytest.mark.parametrize("labels", [["-1", "0", "1", "-2"], ["-1", "positive"]])
def test_negative_labels_may_be_meant(table, check, labels):
    assert check(table(["label"], labels * 6)).kinds == {}


@pytest.mark.parametrize("labels", [["Sick", "sick.", "well"], ["stage 1:", "stage-1", "none"]])
def test_labels_that_differ_by_a_last_sign_are_said(table, check, labels):
    assert check(table(["label"], labels * 6)).problem("labels_look_alike")["count"] == 1


@pytest.mark.parametrize("labels", [range(20, 80), [number / 7 for number in range(40)]])
def test_a_measurement_as_label_says_what_to_do(table, check, labels):
    done = check(table(["label"], list(labels)))
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert "ranges" in done.err


@pytest.mark.parametrize("labels", [[*range(20)] * 4, [0.5, 1, 1.5, 2, 2.5, 3] * 5])
def test_many_numbers_as_labels_are_said(table, check, labels):
    done = check(table(["label"], labels))
    assert done.problem("labels_look_measured")["severity"] == "warning"


@pytest.mark.parametrize(("first", "wrong"), [(["b", "a", "b"], 2), (["b", "b", "a"], 3)])
def test_labels_against_the_folders_of_the_paths_are_said(table, check, first, wrong):
    labels = [*first, "a", "a", "a", "b", "b", "b", *("b" if wrong == 2 else "a", "b", "b")]
    paths = [f"set 1/{'aaaaaabbbbbb'[number]}/{number}.png" for number in range(12)]
    assert check(table(["label"], labels, paths=paths)).problem("labels_against_folders")["count"] == wrong


@pytest.mark.parametrize("folders", ["01", "xy"])
def test_folders_that_are_no_class_are_not_compared_with_labels(table, check, folders):
    paths = [f"{folders[number % 2]}/{number}.png" for number in range(12)]
    assert check(table(["label"], [0, 1, 1, 0] * 3, paths=paths)).kinds == {}


@pytest.mark.parametrize(
    ("groups", "kind", "count"),
    [
        (["1.23457E+11", "1.23458E+11", "9,1e+12"], "groups_look_rounded", 3),
        (["nan", "nan", "p1", "p2", "p3"], "group_looks_missing", 8),
        (["7", "007", "8", "9"], "groups_look_alike", 1),
        (["12", "12.0", "3", "4"], "groups_look_alike", 1),
        (["?", "p1", "p2"], "group_looks_missing", 7),
    ],
)
def test_groups_that_stand_for_others_are_said(table, check, groups, kind, count):
    values = [f'"{groups[number % len(groups)]}"' for number in range(20)]
    done = check(table(["label", "group"], [0, 1] * 10, values))
    problem = done.problem(kind)
    assert (problem["severity"], problem["count"]) == ("warning", count)


@pytest.mark.parametrize("values", ["01", ["0.0", "1.0"]])
def test_columns_of_0_and_1_in_place_of_a_label_are_named(table, check, values):
    rows = [[values[number % 3 == column] for number in range(9)] for column in range(3)]
    done = check(table(["MEL", "NV", "age"], *rows[:2], range(9)))
    remedy = done.problem("columns_not_found")["remedy"]
    assert done.status == 1
    assert "MEL, NV hold only 0 and 1" in remedy


@pytest.mark.parametrize(
    "text",
    [
        "# made by a program\npath,label\na.png,x\n",
        '"path,label"\n"a.png,x"\n',
        "path label\na.png x\n",
        "<html>\n",
    ],
)
def test_a_first_line_of_one_column_says_how_columns_are_separated(tmp_path, check, text):
    path = tmp_path / "list.csv"
    path.write_text(text)
    done = check(path)
    assert (done.status, done.kinds) == (1, {"columns_not_found": "error"})
    assert "semicolon" in done.err


@pytest.mark.parametrize("start", [1, 3])
@pytest.mark.parametrize("suffix", [".npz", ".pt"])
def test_class_numbers_that_do_not_begin_with_0_stop(tmp_path, check, start, suffix):
    images = np.random.default_rng(0).integers(0, 256, (12, 16, 16), dtype=np.uint8)
    labels = start + np.arange(12) % 2
    path = tmp_path / f"x{suffix}"
    if suffix == ".npz":
        np.savez(path, train_images=images, train_labels=labels)
    else:
        torch = pytest.importorskip("torch")
        torch.save({"images": torch.from_numpy(images), "targets": torch.from_numpy(labels)}, path)
    done = check(path)
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert f"from {start} to {start + 1}" in done.err


@pytest.mark.parametrize("classes", [2, 5])
def test_one_hot_labels_say_so(tmp_path, check, classes):
    images = np.random.default_rng(0).integers(0, 256, (20, 16, 16), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", train_images=images, train_labels=np.eye(classes)[np.arange(20) % classes])
    done = check(tmp_path / "x.npz")
    assert done.status == 1
    assert "one-hot" in done.err
    assert "argmax" in done.err


@pytest.mark.parametrize(
    ("name", "word"), [("list.xlsx", "CSV"), ("images.zip", "Unpack"), ("organmnist3d", "3-D")]
)
def test_what_cannot_be_read_says_how_to_convert_it(tmp_path, monkeypatch, capsys, name, word):
    import command_line

    monkeypatch.chdir(tmp_path)
    if "." in name:
        (tmp_path / name).write_bytes(b"PK\x03\x04")
    done = command_line.run(capsys, monkeypatch, "data", "check", name)
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert word in done.err


@pytest.mark.parametrize("label", ["\"['Edema', 'Effusion']\"", '"{1, 2}"', '"(a,b)"'])
def test_a_list_as_label_is_said(table, check, label):
    done = check(table(["label"], [label, "x"] * 6))
    assert done.problem("labels_look_joined")["count"] == 1


@pytest.mark.parametrize("folders", [("train", "test"), ("x/Training", "x/Validation")])
def test_paths_through_folders_of_splits_without_a_column_split_are_said(table, check, folders):
    paths = [f"{folders[number % 3 == 0]}/{number}.png" for number in range(18)]
    done = check(table(["label"], [0, 1] * 9, paths=paths))
    assert done.problem("split_in_paths")["severity"] == "warning"
    splits = ["val" if number % 3 == 0 else "train" for number in range(18)]
    assert "split_in_paths" not in check(table(["label", "split"], [0, 1] * 9, splits, paths=paths)).kinds


@pytest.mark.parametrize("folders", [("a", "b"), ("train", "bus")])
def test_paths_through_other_folders_are_not(table, check, folders):
    paths = [f"{folders[number % 2]}/{number}.png" for number in range(12)]
    assert check(table(["label"], [0, 1] * 6, paths=paths)).kinds == {}
