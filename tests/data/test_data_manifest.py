import csv
import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pepr_edge.data import DataSettings, load, manifest, prepare, table
from pepr_edge.data.splits import assign_splits
from pepr_edge.errors import DataError
from pepr_edge.images.preprocess import to_pixels


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("csv") / "m.csv"


def write(folder: Path, draw, text: str, images: str = "abcdefghijkl") -> Path:
    for number, name in enumerate(images):
        draw(folder / "img" / f"{name}.png", number)
    (folder / "m.csv").write_text(text, encoding="utf-8")
    return folder / "m.csv"


word = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Z")), min_size=1, max_size=8)
file_name = word.filter(lambda name: not set(name) & set("/\\:") and name.strip(".") != "")


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(
        st.tuples(file_name, word, st.sampled_from(["train", "Val", "TEST"]), word),
        min_size=1,
        max_size=10,
        unique_by=lambda r: r[0],
    )
)
def test_parse_reads_back_what_was_written(scratch, rows):
    text = io.StringIO()
    csv.writer(text).writerows([("path", "label", "split", "group"), *rows])
    scratch.write_bytes(text.getvalue().encode())
    read = [(row.path, row.label, row.split, row.group) for row in manifest.parse(scratch)]
    assert read == [(path, label, split.lower(), group) for path, label, split, group in rows]
    assert [row.line for row in manifest.parse(scratch)] == list(range(2, len(rows) + 2))


@settings(deadline=None, max_examples=100)
@given(
    st.binary(max_size=80)
    | st.text(alphabet='pathlbe,;"\n\r/.\\\0x1', max_size=60).map(
        lambda text: ("path,label\n" + text).encode()
    )
)
def test_parse_meets_any_file_with_rows_or_one_line(scratch, content):
    scratch.write_bytes(content)
    rows, fault = [], ""
    try:
        rows = manifest.parse(scratch)
    except DataError as raised:
        fault = str(raised)
    assert bool(rows) != bool(fault)
    assert "\n" not in fault
    for row in rows:
        assert (scratch.parent / row.path).resolve().is_relative_to(scratch.parent.resolve())
        assert row.label
    assert len({row.path for row in rows}) == len(rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: no column 'path' and 'label'"),
        ("path,class\nimg/a.png,x\n", "line 1: no column 'label'"),
        ("path,label,label\nimg/a.png,x,y\n", "line 1: .*'label'.* once"),
        ("path,label\n", "no images"),
        ("path,label\nimg/a.png,x\nimg/b.png, \n", "line 3: empty label"),
        ("path,label\n,x\n", "line 2: empty path"),
        ("path,label\nimg/a.png\n", "line 2: 1 values, expected 2"),
        ("path,label\nimg/a.png,x\nimg/none.png,y\n", "line 3: img/none.png: no such file"),
        ("path,label\nimg/a.png,x\nimg/b.png,y\n./img//a.png,x\n", "line 4: img/a.png .*line 2"),
        ("path,label\n../m.csv,x\n", r"line 2: path '../m.csv', expected .* inside"),
        ("path,label\nimg/../../x.png,x\n", "expected .* inside"),
        ("path,label\n/etc/hosts,x\n", "expected .* inside"),
        ("path,label\nC:\\x.png,x\n", "expected .* inside"),
        ("path,label,split\nimg/a.png,x,fold1\n", "line 2: split 'fold1', expected train, val or test"),
        ("path,label,group\nimg/a.png,x,\n", "line 2: empty group"),
        ('path,label\n"img/a.png,x\n', "not a CSV file in UTF-8"),
        (
            "path,label,split,group\nimg/a.png,x,train,p1\nimg/b.png,y,train,p2\nimg/c.png,x,test,p1\n",
            "line 4: group 'p1' is in test, .*line 2 in train",
        ),
    ],
)
def test_faults_are_reported_with_the_line_number(tmp_path, draw, text, message):
    path = write(tmp_path, draw, text)
    with pytest.raises(DataError, match=message) as fault:
        prepare(DataSettings(str(path), 16), tmp_path / "out")
    assert "\n" not in str(fault.value)
    assert str(path) in str(fault.value)
    assert not (tmp_path / "out" / "info.json").exists()


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege here")
@pytest.mark.parametrize("policy", ["fail", "skip"])
def test_a_link_out_of_the_folder_is_refused(tmp_path, draw, policy):
    path = write(tmp_path / "data", draw, "path,label\nimg/a.png,x\nimg/b.png,y\nelsewhere/c.png,y\n")
    draw(tmp_path / "private" / "c.png")
    (tmp_path / "data" / "elsewhere").symlink_to(tmp_path / "private")
    with pytest.raises(DataError, match=r"line 4: elsewhere/c\.png: a link"):
        prepare(DataSettings(str(path), 16, on_bad_image=policy), tmp_path / "out")
    (tmp_path / "data" / "elsewhere").unlink()
    (tmp_path / "data" / "elsewhere").symlink_to("img")
    assert manifest.open_source(DataSettings(str(path), 16)).targets.tolist() == [0, 1, 1]


def test_a_list_too_large_is_refused(tmp_path, draw, monkeypatch):
    path = write(tmp_path, draw, "path,label\nimg/a.png,x\nimg/b.png,y\n")
    monkeypatch.setattr(table, "MAX_TABLE_BYTES", path.stat().st_size)
    assert len(manifest.parse(path)) == 2
    monkeypatch.setattr(table, "MAX_TABLE_BYTES", path.stat().st_size - 1)
    with pytest.raises(DataError, match=r"m\.csv: .*larger than"):
        manifest.parse(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "m.csv")
    with pytest.raises(DataError, match="not a regular file"):
        manifest.parse(tmp_path / "m.csv")


def test_pixels_labels_and_given_splits(tmp_path, draw):
    rows = [
        "img/a.png,no,train",
        "img/b.png,yes,train",
        "img/c.png,yes,valid",
        "img/d.png,no,test",
        "img/e.png,yes,test",
    ]
    path = write(tmp_path, draw, "\ufeffPath;Label;Split\n" + "\n".join(rows).replace(",", ";"))
    info = prepare(DataSettings(str(path), 16), tmp_path / "out")
    assert (info.name, info.format, info.labels, info.channels) == ("m", "csv", ("no", "yes"), 1)
    data = load(tmp_path / "out")
    for split, names, labels in (("train", "ab", [0, 1]), ("val", "c", [1]), ("test", "de", [0, 1])):
        pixels, targets = data.splits[split]
        assert targets.tolist() == labels
        for position, name in enumerate(names):
            expected = to_pixels(
                Image.open(tmp_path / "img" / f"{name}.png"),
                channels=1,
                image_size_px=16,
                interpolation="bilinear",
            )
            np.testing.assert_array_equal(pixels[position], expected)


def test_groups_stay_together_and_numbers_sort_as_numbers(tmp_path, draw):
    lines = [
        f"img/{name}.png,{(number % 2) * 8 + 2},patient{number // 2}"
        for number, name in enumerate("abcdefghijkl")
    ]
    path = write(tmp_path, draw, "path,label,group\n" + "\n".join(lines))
    source = manifest.open_source(DataSettings(str(path), 16))
    assert source.labels == ("2", "10")
    splits = assign_splits(source, DataSettings(str(path), 16))
    homes = [set(source.groups[chosen]) for chosen in splits.values()]
    assert all(homes)
    assert sum(map(len, homes)) == 6


def test_missing_val_is_taken_from_train_by_group(tmp_path, draw):
    lines = [
        f"img/{n}.png,{i % 2},{'test' if i >= 8 else 'train'},{i // 2}" for i, n in enumerate("abcdefghijkl")
    ]
    source = manifest.open_source(
        DataSettings(str(write(tmp_path, draw, "path,label,split,group\n" + "\n".join(lines))), 16)
    )
    splits = assign_splits(source, DataSettings("", 16))
    assert splits["test"].tolist() == [8, 9, 10, 11]
    assert len(splits["val"]) == 2
    assert source.groups[splits["val"]].tolist()[0] == source.groups[splits["val"]].tolist()[1]


def test_sha256_follows_labels_and_pixels(tmp_path, draw):
    path = write(tmp_path, draw, "path,label\nimg/a.png,x\nimg/b.png,y\n")
    hashes = [manifest.open_source(DataSettings(str(path), 16)).sha256]
    path.write_text("path,label\nimg/a.png,y\nimg/b.png,x\n")
    hashes.append(manifest.open_source(DataSettings(str(path), 16)).sha256)
    draw(tmp_path / "img" / "a.png", 99)
    hashes.append(manifest.open_source(DataSettings(str(path), 16)).sha256)
    assert len(set(hashes)) == 3
