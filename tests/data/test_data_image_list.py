import os
from pathlib import Path, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pepr_edge.data import DataSettings, image_list
from pepr_edge.data.listed_files import Located
from pepr_edge.errors import DataError, ImageError

LIST = Path("folder", "list.x")


def lines(*rows):
    return [
        (number, dict(zip(("path", "label", "split", "group"), row, strict=False)))
        for number, row in enumerate(rows, 1)
    ]


def without(key, texts):
    return {name: text for name, text in texts.items() if name != key}


def test_lines_become_images():
    images = image_list.listed(LIST, lines((r"a\1.png", "x", "VALID", "p"), ("./b//2.png", "y", "test", "q")))
    assert [image.path for image in images] == ["a/1.png", "b/2.png"]
    assert [(image.line, image.label, image.split, image.group) for image in images] == [
        (1, "x", "val", "p"),
        (2, "y", "test", "q"),
    ]


@pytest.mark.parametrize("key", ["path", "label"])
def test_a_missing_text_is_an_error(key):
    faulty = [
        (number, without(key, texts) if number == 2 else texts)
        for number, texts in lines(("a", "x"), ("b", "y"))
    ]
    with pytest.raises(DataError, match=f"line 2: empty {key}"):
        image_list.listed(LIST, faulty)


@pytest.mark.parametrize("key", ["split", "group"])
@pytest.mark.parametrize("without_it", [1, 2])
def test_a_split_or_group_is_in_each_line_or_in_none(key, without_it):
    rows = lines(("a", "x", "train", "p"), ("b", "y", "test", "q"))
    faulty = [(number, without(key, texts) if number == without_it else texts) for number, texts in rows]
    with pytest.raises(DataError, match=f"line {without_it}: no {key}"):
        image_list.listed(LIST, faulty)
    images = image_list.listed(LIST, [(number, without(key, texts)) for number, texts in rows])
    assert {getattr(image, key) for image in images} == {None}


@given(st.text(max_size=20) | st.text(alphabet="a./\\:C\0\ud800", max_size=12))
def test_a_path_stays_inside(value):
    try:
        name = image_list.path_inside("list: line 1", value)
    except DataError:
        return
    assert not Path(name).is_absolute()
    assert not PureWindowsPath(name).drive
    assert ".." not in name.split("/")
    assert name == image_list.path_inside("", name)
    os.fsencode(name)


@pytest.mark.parametrize("value", ["", "set", "fold 1", "0"])
def test_a_split_has_a_known_name(value):
    with pytest.raises(DataError, match=r"line 1: split .*expected train, val or test"):
        image_list.split_named("list: line 1", value)


def test_labels_sort_by_value_if_all_are_numbers(tmp_path):
    for labels, expected in ((("10", "9"), ("9", "10")), (("10", "9", "x"), ("10", "9", "x"))):
        images = image_list.listed(LIST, lines(*((f"{label}.png", label) for label in labels)))
        source = image_list.open_list(tmp_path / "list.x", Located(images, []), "lists")
        assert (source.format, source.labels) == ("lists", expected)
        assert (source.given, source.groups) == (None, None)


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege here")
@pytest.mark.parametrize("name", ["none.png", "x" * 300, "circle/a.png", "circle", "pipe", "x/" * 3000])
def test_an_image_that_leads_nowhere_is_missing(tmp_path, name):
    (tmp_path / "circle").symlink_to("circle")
    os.mkfifo(tmp_path / "pipe")
    path = tmp_path / "list.x"
    images = image_list.listed(path, lines((name, "x")))
    with pytest.raises(DataError, match=r"line 1: .*: no such file"):
        image_list.check_files(path, images, DataSettings(str(path), 16))
    located = image_list.check_files(path, images, DataSettings(str(path), 16, on_bad_image="skip"))
    source = image_list.open_list(path, located, "lists")
    [read] = source.read(source.targets)
    assert isinstance(read, ImageError)
    assert len(image_list.stamp_list(path, images)) == 2
