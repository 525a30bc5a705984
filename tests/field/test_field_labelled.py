from __future__ import annotations

from pathlib import Path

import pytest
import tiny_bundle

from pepr_edge.errors import DataError
from pepr_edge.field.labelled import class_targets, finding_targets, group_columns, read_labelled

NAMES = ("normal", "pneumonia")


def images(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tiny_bundle.image(path)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    images(tmp_path, "a.png", "b.png", "c.png")
    return tmp_path / "site.csv"


def test_a_folder_of_classes(tmp_path: Path) -> None:
    images(tmp_path, "Normal/a.png", "pneumonia/deep/b.png", "pneumonia/b_mask.png", "stray.png")
    (tmp_path / "pneumonia" / "notes.txt").write_text("x")
    read = read_labelled(tmp_path)
    assert [path.name for path in read.paths] == ["a.png", "b_mask.png", "b.png"]
    assert class_targets(read, NAMES).tolist() == [0, 1, 1]
    assert "1 image outside" in read.notes[0]


def test_of_splits_the_test_images_count(tmp_path: Path, table: Path) -> None:
    folder = tmp_path / "sets"
    images(folder, "train/normal/a.png", "train/pneumonia/a.png", "test/normal/b.png", "test/pneumonia/c.png")
    read = read_labelled(folder)
    assert [path.name for path in read.paths] == ["b.png", "c.png"]
    assert "2 images" in read.notes[0]
    table.write_text("path,label,split\na.png,normal,train\nb.png,normal,test\nc.png,pneumonia,Test\n")
    read = read_labelled(table)
    assert [path.name for path in read.paths] == ["b.png", "c.png"]


def test_a_table(table: Path) -> None:
    table.write_text("Image;Label;Sex\na.png;PNEUMONIA;f\nb.png;normal;m\n")
    read = read_labelled(table, {"path": "image"})
    assert class_targets(read, NAMES).tolist() == [1, 0]
    assert group_columns(read, ["sex"], ["age_band"]) == {"sex": ("f", "m")}


def test_several_findings_an_image(table: Path) -> None:
    names = ("mass", "effusion")
    table.write_text("path,Effusion,mass\na.png,1,0\nb.png,0,0\nc.png,1.0,1\n")
    assert finding_targets(read_labelled(table), names).tolist() == [[0, 1], [0, 0], [1, 1]]
    table.write_text("path,label\na.png,Effusion\nb.png,No Finding\nc.png,mass|effusion\n")
    assert finding_targets(read_labelled(table), names).tolist() == [[0, 1], [0, 0], [1, 1]]


@pytest.mark.parametrize(
    ("text", "keyword"),
    [
        ("path,label\na.png,tumour\n", "tumour"),
        ("path,label\na.png,\n", "class ''"),
        ("path,class\na.png,normal\n", "no column 'label'"),
        ("file,label\na.png,normal\n", "no column 'path'"),
        ("path,label\nd.png,normal\n", "no such file"),
        ("path,label\n../a.png,normal\n", "inside the folder"),
        ("path,label\na.png,normal\na.png,normal\n", "each image once"),
        ("path,label,label\na.png,normal,normal\n", "duplicate column"),
        ("path,label\n", "no images"),
        ("\0\0", "NUL"),
    ],
)
def test_faults_of_a_table_are_one_line(text: str, keyword: str, table: Path) -> None:
    table.write_text(text)
    with pytest.raises(DataError) as caught:
        class_targets(read_labelled(table), NAMES)
    assert keyword in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_letter_of_another_alphabet_is_named(table: Path) -> None:
    table.write_text("path,label\na.png,n\u043ermal\n", encoding="utf-8")
    with pytest.raises(DataError, match="CYRILLIC SMALL LETTER O"):
        class_targets(read_labelled(table), NAMES)
    table.write_text("path,label\na.png,Kr\u00e4nk\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"as the model names them\. Rename"):
        class_targets(read_labelled(table), NAMES)


def test_faults_of_findings_and_places(table: Path, tmp_path: Path) -> None:
    table.write_text("path,mass,effusion\na.png,1,maybe\n")
    with pytest.raises(DataError, match="maybe"):
        finding_targets(read_labelled(table), ("mass", "effusion"))
    images(tmp_path / "folder", "mass/a.png", "effusion/b.png")
    with pytest.raises(DataError, match="0 and 1"):
        finding_targets(read_labelled(tmp_path / "folder"), ("mass", "effusion"))
    for place in (tmp_path / "none", tmp_path / "a.png"):
        with pytest.raises(DataError, match="comes last"):
            read_labelled(place)


def test_a_column_of_patients_is_no_subgroup(table: Path, tmp_path: Path) -> None:
    images(tmp_path, *(f"p{number}.png" for number in range(21)))
    table.write_text("path,label,patient\n" + "".join(f"p{n}.png,normal,patient {n}\n" for n in range(21)))
    read = read_labelled(table)
    with pytest.raises(DataError, match="at most 20"):
        group_columns(read, ["patient"])
    with pytest.raises(DataError, match="no column 'sex'"):
        group_columns(read, ["sex"])
