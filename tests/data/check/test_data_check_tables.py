"""Tables as people have them: dialects, columns by other names, paths from elsewhere."""

from __future__ import annotations

import os
import shutil
import unicodedata
from pathlib import Path

import command_line
import made_images
import pytest
from PIL import Image

NAMES = [f"{number:02}" for number in range(12)]


def rows(*columns) -> list[list[str]]:
    """Return a row for each image: its path, its label, and a value of each further column."""
    return [
        [f"img/{name}.png", ("no", "yes")[number % 2], *(str(column[number]) for column in columns)]
        for number, name in enumerate(NAMES)
    ]


def write(
    folder: Path, header: str, lines: list[list[str]], delimiter: str = ",", name: str = "m.csv"
) -> Path:
    made_images.folder(folder / "img", {"": len(NAMES)})
    text = "\n".join([header, *(delimiter.join(line) for line in lines)]) + "\n"
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


PATIENTS = [f"p{number // 3}" for number in range(12)]
SPLITS = ["train"] * 6 + ["val"] * 3 + ["test"] * 3


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["m.csv", "m.tsv"])
def test_any_usual_delimiter_is_read(tmp_path, check, delimiter, name):
    header = delimiter.join(["path", "label", "split"])
    done = check(write(tmp_path, header, rows(SPLITS), delimiter, name))
    assert (done.status, done.kinds, done.counts) == (0, {}, {"no": 6, "yes": 6})
    assert done.document["columns"] == {"used": ["path", "label", "split"], "ignored": []}


@pytest.mark.parametrize(
    ("change", "delimiter"),
    [
        (lambda text: "sep=;\n" + text, ";"),
        (lambda text: '"sep=\t"\r\n' + text.replace("\n", "\r\n"), "\t"),
        (lambda text: "\ufeff" + text, ","),
        (lambda text: text.replace("label", '"label, as read"').replace("path", '"path"'), ","),
        (lambda text: text.replace("label", '"label; as read"'), ","),
        (lambda text: text.replace("\n", ",\n"), ","),
        (lambda text: text + ",,\n\n", ","),
    ],
)
def test_what_spreadsheets_add_is_read(tmp_path, check, change, delimiter):
    path = write(tmp_path, delimiter.join(["path", "label", "split"]), rows(SPLITS), delimiter)
    text = path.read_text().replace("label", "label", 1)
    path.write_text(change(text), encoding="utf-8")
    recipe = tmp_path / "r.toml"
    name = next((name for name in ("label, as read", "label; as read") if name in path.read_text()), "label")
    recipe.write_text(RECIPE.format(columns=f'{{label = "{name}"}}'))
    done = check(recipe)
    assert (done.status, done.counts) == (0, {"no": 6, "yes": 6})


RECIPE = """schema_version = 1
name = "mine"
[device]
name = "any"
[data]
source = "m.csv"
columns = {columns}
[candidates]
architectures = ["resnet10t"]
"""


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_byte_order_mark_says_the_encoding(tmp_path, check, encoding):
    path = write(tmp_path, "path\tlabel", [[path, label + "é"] for path, label in rows()], "\t")
    path.write_text(path.read_text(encoding="utf-8"), encoding=encoding)
    assert check(path).counts == {"noé": 6, "yesé": 6}


@pytest.mark.parametrize("header", ["image,dx", "filename,diagnosis", "ID,value"])
def test_columns_that_are_not_found_are_shown(tmp_path, check, header):
    done = check(write(tmp_path, header, rows()))
    problem = done.problem("columns_not_found")
    assert (done.status, problem["severity"]) == (1, "error")
    assert problem["examples"] == header.split(",")
    assert "data.columns" in problem["remedy"]
    if "ID" not in header:
        assert f'path = "{header.split(",")[0]}"' in problem["remedy"]


def test_columns_are_named_by_recipe_and_by_option(
    tmp_path, check, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    path = write(tmp_path, "image,dx,who", rows(PATIENTS))
    (tmp_path / "r.toml").write_text(RECIPE.format(columns='{path = "image", label = "dx", group = "who"}'))
    done = check(tmp_path / "r.toml")
    assert (done.status, done.kinds, done.document["groups"]) == (0, {}, 4)
    options = ("--column", "path=image", "--column", "label=dx", "--column", "group=who")
    monkeypatch.chdir(tmp_path)
    drafted = command_line.run(capsys, monkeypatch, "init", path, *options, "--no-time", "--out", "n.toml")
    assert drafted.status == 0
    assert check("n.toml").document["groups"] == 4
    assert command_line.run(capsys, monkeypatch, "data", "check", path, "--column", "who=x").status == 2


@pytest.mark.parametrize("name", ["patient_id", "PatientID", "lesion", "Case", "study uid", "subject-no"])
def test_a_column_that_looks_like_a_group_is_said_with_the_key(tmp_path, check, name):
    done = check(write(tmp_path, f"path,label,{name}", rows(PATIENTS)))
    problem = done.problem("column_looks_like_group")
    assert (done.status, problem["severity"], problem["examples"]) == (0, "warning", [name])
    assert f'group = "{name}"' in problem["remedy"]
    assert done.document["columns"]["ignored"] == [name]


@pytest.mark.parametrize("name", ["group", "split"])
def test_a_column_that_is_named_as_the_label_is_nothing_else(tmp_path, check, name):
    write(tmp_path, f"path,{name}", rows())
    (tmp_path / "r.toml").write_text(RECIPE.format(columns=f'{{label = "{name}"}}'))
    done = check(tmp_path / "r.toml")
    assert (done.status, done.document["labels"], done.document["groups"]) == (0, ["no", "yes"], None)
    assert done.document["columns"]["used"] == ["path", name]


def test_a_group_column_is_no_problem_if_no_split_divides_it(tmp_path, check):
    done = check(write(tmp_path, "path,label,patient,split", rows(PATIENTS, SPLITS)))
    assert done.kinds == {"columns_ignored": "note"}
    divided = ["p0"] * 12
    done = check(write(tmp_path, "path,label,patient,split", rows(divided, SPLITS)))
    assert "1 of its values" in done.problem("column_looks_like_group")["remedy"]


@pytest.mark.parametrize("name", ["patient_id", "age", "site"])
def test_a_column_that_is_another_thing_is_named_only(tmp_path, check, name):
    done = check(write(tmp_path, f"path,label,{name}", rows(range(12))))
    assert done.kinds == {"columns_ignored": "note"}
    assert name in done.problem("columns_ignored")["remedy"]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("dataset_split", ("Training", "Validation", "Testing")),
        ("set", ("TRAIN", "DEV", "TEST")),
        ("usage", ("train", "valid", "holdout")),
    ],
)
def test_a_split_by_another_name_is_taken(tmp_path, check, name, values):
    column = [values[("train", "val", "test").index(split)] for split in SPLITS]
    done = check(write(tmp_path, f"path,label,{name}", rows(column)))
    assert done.kinds == {"split_column_taken": "note"}
    assert {split: sum(counts) for split, counts in done.document["splits"].items()} == {
        "train": 6,
        "val": 3,
        "test": 3,
    }


@pytest.mark.parametrize(("name", "values"), [("fold", "012"), ("is_test", "01"), ("Set", "AB")])
def test_a_column_that_looks_like_a_split_is_said(tmp_path, check, name, values):
    column = [values[number % len(values)] for number in range(12)]
    done = check(write(tmp_path, f"path,label,{name}", rows(column)))
    problem = done.problem("column_looks_like_split")
    assert (done.status, problem["severity"]) == (0, "warning")
    assert f'split = "{name}"' in problem["remedy"]


def test_of_several_split_columns_none_is_taken(tmp_path, check):
    done = check(write(tmp_path, "path,label,split_a,split_b", rows(SPLITS, SPLITS[::-1])))
    assert done.document["given_splits"] == []
    assert done.problem("column_looks_like_split")["count"] == 2


def test_absolute_paths_inside_the_folder_are_taken(tmp_path, check):
    lines = [[str(tmp_path / path), label] for path, label in rows()]
    assert check(write(tmp_path, "path,label", lines)).counts == {"no": 6, "yes": 6}
    (tmp_path / "link").symlink_to(tmp_path)
    assert check(tmp_path / "link" / "m.csv").counts == {"no": 6, "yes": 6}


@pytest.mark.parametrize("path", ["/etc/hosts", "C:\\x\\a.png", "../a.png"])
def test_paths_elsewhere_are_refused(tmp_path, check, path):
    done = check(write(tmp_path, "path,label", [*rows(), [path, "no"]]))
    assert done.status == 1
    assert "relative" in done.document["problems"][0]["remedy"]


def test_the_home_is_expanded(tmp_path, check, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    path = write(tmp_path / "data", "path,label", [["~/data/" + path, label] for path, label in rows()])
    assert check("~/data/m.csv").counts == {"no": 6, "yes": 6}
    (tmp_path / "r.toml").write_text(RECIPE.format(columns="{}").replace("m.csv", "~/data/m.csv"))
    assert check(tmp_path / "r.toml").counts == {"no": 6, "yes": 6}
    assert path.is_file()


@pytest.mark.parametrize("source", [r"D:\scans\train", r"C:\new\test", r"..\bilder", r"data\x\unread"])
def test_a_backslash_in_toml_says_how_to_write_windows_paths(
    tmp_path, source, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    recipe = tmp_path / "r.toml"
    recipe.write_text(RECIPE.format(columns="{}").replace("m.csv", source))
    done = command_line.run(capsys, monkeypatch, "data", "check", recipe)
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert "'C:\\scans'" in done.err


@pytest.mark.parametrize(
    "change",
    [str.upper, lambda path: unicodedata.normalize("NFD", path), lambda path: path.replace(" ", "  ")],
)
def test_paths_that_differ_in_spelling_only_are_found(tmp_path, check, change):
    lines = rows()
    made_images.save(tmp_path / "img" / "né 1.png", 77)
    done = check(write(tmp_path, "path,label", [*lines, [change("img/né 1.png"), "no"]]))
    problem = done.problem("paths_respelled")
    assert (done.status, done.counts["no"], problem["severity"]) == (0, 7, "note")
    assert problem["examples"] == ["img/né 1.png"]


@pytest.mark.parametrize("change", [lambda path: path.removesuffix(".png"), os.path.basename])
def test_files_are_found_without_suffix_or_folder(tmp_path, check, change):
    done = check(write(tmp_path, "path,label", [[change(path), label] for path, label in rows()]))
    assert (done.status, done.counts, done.kinds) == (
        0,
        {"no": 6, "yes": 6},
        {"files_found_by_name": "warning"},
    )


def test_a_name_in_two_folders_is_not_guessed(tmp_path, check):
    path = write(tmp_path, "path,label", [["00.png", "no"], *rows()[1:]])
    shutil.copytree(tmp_path / "img", tmp_path / "other")
    done = check(path)
    assert done.problem("listed_files_missing")["count"] == 1
    assert done.status == 1


def test_images_that_the_table_does_not_name_are_counted(tmp_path, check):
    path = write(tmp_path, "path,label", rows())
    for number in range(4):
        made_images.save(tmp_path / "img" / f"x{number}.png", 700 + number)
    problem = check(path).problem("images_not_listed")
    assert (problem["severity"], problem["count"]) == ("note", 4)


def test_listed_masks_are_left_out(tmp_path, check):
    lines = rows()
    for path, label in rows()[:5]:
        mask = path.replace(".png", "_mask.png")
        (tmp_path / "img").mkdir(exist_ok=True)
        Image.new("L", (48, 48)).save(tmp_path / mask)
        lines.append([mask, label])
    done = check(write(tmp_path, "path,label", lines))
    assert (done.counts, done.problem("companions_left_out")["count"]) == ({"no": 6, "yes": 6}, 5)


def test_labels_and_groups_that_differ_in_spelling_only(tmp_path, check):
    lines = rows([f"P{number // 3}" if number % 2 else f"p{number // 3} " for number in range(12)])
    lines[0][1] = "No"
    done = check(write(tmp_path, "path,label,group", lines))
    assert (done.counts, done.document["groups"]) == ({"no": 6, "yes": 6}, 4)
    assert done.kinds == {"labels_respelled": "warning", "groups_respelled": "note"}


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32", "cp1252", "gbk", "shift_jis"])
def test_other_encodings_are_named(tmp_path, check, encoding):
    text = "path,label\na.png,\u00d7\nb.png,b\n"  # a sign that all of them have
    (tmp_path / "m.csv").write_bytes(text.encode(encoding))
    done = check(tmp_path / "m.csv")
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert "UTF-8" in done.err
    assert "x00" not in done.err
