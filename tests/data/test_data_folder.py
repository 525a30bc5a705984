import shutil

import numpy as np
import pytest
from PIL import Image

from pepr_edge.data import DataSettings, folder, load, prepare
from pepr_edge.errors import DataError
from pepr_edge.images.preprocess import to_pixels


def settings(root, **changes):
    return DataSettings(str(root), 16, **changes)


def split_layout(root, draw, names=("train", "val", "test"), each=3):
    for number, name in enumerate(names):
        for kind in range(2):
            for image in range(each):
                draw(root / name / "ab"[kind] / f"{image}.png", number * 100 + kind * 10 + image)
    return root


def test_pixels_are_those_of_preprocess(image_folder, tmp_path):
    info = prepare(settings(image_folder, interpolation="bicubic"), tmp_path / "out")
    assert (info.name, info.labels, info.channels, info.format) == ("pets", ("cat", "dog"), 1, "folder")
    expected = {}
    for path in image_folder.rglob("*.png"):
        pixels = to_pixels(Image.open(path), channels=1, image_size_px=16, interpolation="bicubic")
        expected[pixels.tobytes()] = ("cat", "dog").index(path.parent.name)
    data = load(tmp_path / "out")
    met = {
        image.tobytes(): label
        for pixels, labels in data.splits.values()
        for image, label in zip(pixels, labels.tolist(), strict=True)
    }
    assert met == expected
    assert len(met) == 20
    assert info.notes == ()


def test_class_layout_is_split_by_class_and_seed(image_folder, tmp_path):
    infos = {seed: prepare(settings(image_folder, seed=seed), tmp_path / str(seed)) for seed in (0, 1)}
    counts = {split: facts.class_counts for split, facts in infos[0].splits.items()}
    assert counts == {"train": (8, 5), "val": (2, 1), "test": (2, 2)}
    assert infos[0].sha256 == infos[1].sha256
    zero, one = (load(tmp_path / str(seed)).splits["test"][0] for seed in (0, 1))
    assert not np.array_equal(zero, one)
    prepare(settings(image_folder), tmp_path / "again")
    np.testing.assert_array_equal(load(tmp_path / "again").splits["test"][0], zero)


def test_split_layout_is_kept_whatever_the_spelling(tmp_path, draw):
    root = split_layout(tmp_path / "d", draw, ("Train", "validation", "TEST"))
    info = prepare(settings(root), tmp_path / "out")
    assert {split: facts.class_counts for split, facts in info.splits.items()} == dict.fromkeys(
        ("train", "val", "test"), (3, 3)
    )


@pytest.mark.parametrize("lacking", ["val", "test"])
def test_a_lacking_split_is_taken_from_train(tmp_path, draw, lacking):
    names = tuple(name for name in ("train", "val", "test") if name != lacking)
    info = prepare(settings(split_layout(tmp_path / "d", draw, names, each=8)), tmp_path / "out")
    kept = names[1]
    assert info.splits[kept].images == 16
    assert info.splits[lacking].images > 0
    assert info.splits["train"].images + info.splits[lacking].images == 16


def test_classes_may_be_called_like_splits(tmp_path, draw):
    for number in range(12):
        draw(tmp_path / "d" / ("test" if number % 2 else "control") / f"{number}.png", number)
    assert folder.open_source(settings(tmp_path / "d")).labels == ("control", "test")


def test_colour_gives_three_channels_unless_told_otherwise(image_folder, tmp_path, draw):
    draw(image_folder / "dog" / "19.png", 77, colour=True)
    assert prepare(settings(image_folder), tmp_path / "a").channels == 3
    assert load(tmp_path / "a").splits["train"][0].shape[1:] == (16, 16, 3)
    info = prepare(settings(image_folder, channels=1), tmp_path / "b")
    assert info.channels == 1
    assert info.notes == ()


def test_colour_missed_by_the_sample_is_noted(tmp_path, draw, monkeypatch):
    monkeypatch.setattr("pepr_edge.data.pixels.SAMPLE", 2)
    for number in range(12):
        draw(tmp_path / "d" / "ab"[number % 2] / f"{number:02}.png", number, colour=number == 6)
    info = prepare(settings(tmp_path / "d"), tmp_path / "out")
    assert info.channels == 1
    assert "1 colour image " in info.notes[0]


def test_other_files_are_skipped_with_a_note(image_folder, tmp_path):
    for name in ("Thumbs.db", "readme.TXT", ".hidden.png", "Doe^John.Doe", "Planted_4711"):
        (image_folder / "cat" / name).write_bytes(b"x")
    (image_folder / ".git").mkdir()
    (image_folder / "__MACOSX").mkdir()
    info = prepare(settings(image_folder), tmp_path / "out")
    assert sum(facts.images for facts in info.splits.values()) == 20
    assert info.notes == ("skipped files that are not images: 1 .db, 1 .txt, 2 of other kinds",)


def test_copies_across_splits_are_noted(tmp_path, draw):
    root = split_layout(tmp_path / "d", draw)
    Image.open(root / "train" / "a" / "0.png").save(root / "test" / "a" / "copy.bmp")
    shutil.copy(root / "val" / "b" / "1.png", root / "test" / "b" / "other.png")
    shutil.copy(root / "train" / "b" / "1.png", root / "train" / "b" / "same_split.png")
    assert "copies of 2 images" in prepare(settings(root), tmp_path / "out").notes[0]


def test_a_class_absent_from_test_is_noted(tmp_path, draw):
    root = split_layout(tmp_path / "d", draw)
    shutil.rmtree(root / "test" / "b")
    assert prepare(settings(root), tmp_path / "out").notes == ("test has no image of b",)


def one_class(root, draw):
    shutil.rmtree(root / "dog")


def empty_class(root, draw):
    (root / "fish").mkdir()


def texts_only(root, draw):
    (root / "fish").mkdir()
    (root / "fish" / "a.txt").write_text("x")


def flat(root, draw):
    shutil.rmtree(root / "dog")
    shutil.rmtree(root / "cat")
    draw(root / "a.png")


def beside_train(root, draw):
    (root / "train").mkdir()


def no_train(root, draw):
    flat(root, draw)
    split_layout(root, draw, ("val", "test"))


def twice_val(root, draw):
    flat(root, draw)
    split_layout(root, draw, ("train", "val", "valid"))


def link_back(root, draw):
    (root / "cat" / "again").symlink_to(root)


def bell(root, draw):
    draw(root / "f\x07sh" / "a.png")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (one_class, "pets: only the class 'cat', expected two or more"),
        (empty_class, "fish: no files, expected images"),
        (texts_only, "fish: no image among 1 files, expected images"),
        (flat, "no class folders, expected class/images"),
        (beside_train, "folder 'cat' beside train"),
        (no_train, "split folders test, val without train"),
        (twice_val, "both 'val' and 'valid' are the val split"),
        (link_back, "cat/again: a link"),
        (bell, r"class f\\x07sh, expected a name in UTF-8"),
    ],
)
def test_faults_are_reported_in_one_line_and_leave_no_files(image_folder, tmp_path, draw, spoil, message):
    spoil(image_folder, draw)
    with pytest.raises(DataError, match=message) as fault:
        prepare(settings(image_folder), tmp_path / "out")
    assert "\n" not in str(fault.value)
    assert not list((tmp_path / "out").glob("*"))
