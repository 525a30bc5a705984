"""Several findings an image in a table: a column for each, or all names in one column."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import made_images
import numpy as np
import pytest

from pepr_edge.data import DataSettings, load, prepare
from pepr_edge.data.formats import open_source
from pepr_edge.data.label_matrix import joined
from pepr_edge.errors import DataError

FOUND = ((), ("edema",), ("mass",), ("edema", "mass"), ("hernia",), ())


def images(folder: Path, count: int = 24) -> list[str]:
    """Write images; return their names."""
    names = [f"{number}.png" for number in range(count)]
    for number, name in enumerate(names):
        made_images.save(folder / name, seed=number)
    return names


def table(folder: Path, header: str, lines: list[str]) -> Path:
    path = folder / "list.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def settings(path: Path, **more: object) -> DataSettings:
    return DataSettings(str(path), 16, kind="multilabel", **more)


def rows(path: Path, **more: object) -> tuple[tuple[str, ...], list[list[int]]]:
    source = open_source(settings(path, **more))
    return source.labels, source.targets[:6].tolist()


EXPECTED = [[0, 0, 0], [1, 0, 0], [0, 0, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize(("sign", "none"), [("|", "No Finding"), (";", ""), ("+", "none")])
def test_names_in_one_column_are_separated_by_a_sign(tmp_path, sign, none):
    lines = [f"{name},{sign.join(FOUND[number % 6]) or none}" for number, name in enumerate(images(tmp_path))]
    assert rows(table(tmp_path, "path,label", lines)) == (("edema", "hernia", "mass"), EXPECTED)


def test_another_sign_is_that_of_the_recipe(tmp_path):
    lines = [
        f"{name},{' and '.join(FOUND[number % 6]) or '-'}" for number, name in enumerate(images(tmp_path))
    ]
    labels, _ = rows(table(tmp_path, "path,label", lines), separator=" and ")
    assert labels == ("-", "edema", "hernia", "mass")


def test_a_word_for_no_finding_that_is_joined_is_a_finding(tmp_path):
    names = images(tmp_path)
    lines = [f"{name},{'none|mass' if number % 2 else 'none'}" for number, name in enumerate(names)]
    source_labels, _ = rows(table(tmp_path, "path,label", lines))
    assert source_labels == ("mass", "none")


def indicators(folder: Path, values: dict[str, str] | None = None) -> Path:
    text = values or {"yes": "1", "no": "0"}
    lines = []
    for number, name in enumerate(images(folder)):
        found = FOUND[number % 6]
        cells = [text["yes"] if label in found else text["no"] for label in ("mass", "edema", "hernia")]
        lines.append(f"{name},{number},{','.join(cells)}")
    return table(folder, "path,age,mass,edema,hernia", lines)


@pytest.mark.parametrize("values", [{"yes": "1", "no": "0"}, {"yes": "1.0", "no": "0.0"}])
def test_columns_of_0_and_1_keep_their_order(tmp_path, values):
    labels, targets = rows(indicators(tmp_path, values))
    assert labels == ("mass", "edema", "hernia")
    assert targets == [[0, 0, 0], [0, 1, 0], [1, 0, 0], [1, 1, 0], [0, 0, 1], [0, 0, 0]]


def test_named_columns_alone_are_used(tmp_path):
    source = open_source(settings(indicators(tmp_path), findings=("hernia", "mass")))
    assert source.labels == ("hernia", "mass")
    assert source.columns.used == ("path", "hernia", "mass")
    assert source.columns.ignored == ("age", "edema")


@pytest.mark.parametrize(
    ("header", "cells", "findings", "message"),
    [
        ("path,a,b", "1,-1", ("a", "b"), "line 2: b = '-1', expected 0 or 1"),
        ("path,a,b", "1,", ("a", "b"), "line 2: b = '', expected 0 or 1"),
        ("path,a,b", "1,0", ("a", "c"), "names 'c', which is there 0 times"),
        ("path,a,b", "1,x", (), "fewer than two columns of 0 and 1"),
    ],
)
def test_what_is_no_finding_is_one_clear_line(tmp_path, header, cells, findings, message):
    path = table(tmp_path, header, [f"{name},{cells}" for name in images(tmp_path, 6)])
    with pytest.raises(DataError) as fault:
        open_source(settings(path, findings=findings))
    assert message in str(fault.value)
    assert "\n" not in str(fault.value)


def test_prepared_labels_have_a_column_for_each_finding(tmp_path):
    info = prepare(settings(indicators(tmp_path)), tmp_path / "out")
    assert (info.kind, info.labels) == ("multilabel", ("mass", "edema", "hernia"))
    splits = load(tmp_path / "out").splits
    assert sum(len(pixels) for pixels, _ in splits.values()) == 24
    for split, (_, labels) in splits.items():
        assert set(np.unique(labels)) <= {0, 1}
        assert tuple(labels.sum(axis=0)) == info.splits[split].class_counts
        assert (labels.sum(axis=0) > 0).all()  # stratified: each split has each finding


def test_a_finding_that_no_training_image_has_is_refused(tmp_path):
    names = images(tmp_path, 12)
    lines = [
        f"{name},{number % 2},{int(number == 11)},{'test' if number > 8 else 'train'}"
        for number, name in enumerate(names)
    ]
    with pytest.raises(DataError, match="no image of the training split has 'b'"):
        prepare(settings(table(tmp_path, "path,a,b,split", lines)), tmp_path / "out")


def test_names_of_a_matrix_are_those_of_the_recipe(tmp_path):
    from made_tasks import multilabel_npz

    path = multilabel_npz(tmp_path / "own.npz", (12, 6, 6))
    source = open_source(settings(path, findings=("a", "b", "c")))
    assert source.labels == ("a", "b", "c")
    with pytest.raises(DataError, match="2 names"):
        open_source(settings(path, findings=("a", "b")))


def test_grades_are_ordered_by_number_or_by_the_recipe(tmp_path):
    names = images(tmp_path, 12)
    path = table(tmp_path, "path,label", [f"{name},grade {number % 3}" for number, name in enumerate(names)])
    source = open_source(DataSettings(str(path), 16, kind="ordinal"))
    assert (source.kind, source.labels) == ("ordinal", ("grade 0", "grade 1", "grade 2"))
    order = ("grade 2", "grade 0", "grade 1")
    source = open_source(DataSettings(str(path), 16, order=order))
    assert (source.kind, source.labels, source.targets[:3].tolist()) == ("ordinal", order, [1, 2, 0])
    with pytest.raises(DataError, match=r"task\.order"):
        open_source(DataSettings(str(path), 16, order=("grade 2", "grade 0")))


def test_grades_without_numbers_need_an_order(tmp_path):
    words = ("mild", "none", "severe")
    lines = [f"{name},{words[number % 3]}" for number, name in enumerate(images(tmp_path, 12))]
    path = table(tmp_path, "path,label", lines)
    with pytest.raises(DataError, match=r'task\.order = \["mild", "none", "severe"\]'):
        open_source(DataSettings(str(path), 16, kind="ordinal"))
    assert (
        open_source(DataSettings(str(path), 16, kind="ordinal", order=("none", "mild", "severe"))).labels[0]
        == "none"
    )


@pytest.mark.parametrize("kind", ["binary", "multilabel"])
def test_labels_of_another_kind_are_refused(tmp_path, kind):
    lines = [f"{name},{'abc'[number % 3]}" for number, name in enumerate(images(tmp_path, 12))]
    path = table(tmp_path, "path,label", lines)
    if kind == "multilabel":  # one finding an image is possible, too
        assert open_source(DataSettings(str(path), 16, kind=kind)).targets.sum() == 12
        return
    with pytest.raises(DataError, match='expected "multiclass"'):
        open_source(DataSettings(str(path), 16, kind=kind))


def test_a_sign_that_no_label_holds_is_refused_if_another_is_there(tmp_path: Path) -> None:
    lines = [f"{name},{'|'.join(FOUND[number % 6])}" for number, name in enumerate(images(tmp_path))]
    with pytest.raises(DataError, match=r'"\|" is in 4, as in \'edema\|mass\'') as fault:
        rows(table(tmp_path, "path,label", lines), separator=";")
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    ("labels", "kind", "words"),
    [
        (np.array([[2], [0]]), "multilabel", 'one class number per image.*Remove task.kind = "multilabel"'),
        (np.array([[1, 1], [0, 1]]), "ordinal", 'is a finding, remove task.kind = "ordinal"'),
        (np.array([[2, 1], [0, 1]]), "auto", "Choose one column"),
    ],
)
def test_a_matrix_that_does_not_fit_the_kind_says_what_to_write(
    labels: np.ndarray, kind: Literal["multilabel", "ordinal", "auto"], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        joined("train_labels", labels, DataSettings("", 16, kind=kind), [])
