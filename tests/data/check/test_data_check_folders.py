"""Folders as people have them: split folders by other names, stray images, masks, results of our own."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import made_images
import made_records
import pytest
import tiny_bundle
from PIL import Image

from pepr_edge.run_dir.store import write_record

SIX = {"no": 6, "yes": 6}


def nested(*parts: dict[str, int] | tuple[str, ...]) -> dict[str, int]:
    """Return counts of images by folder: the product of the parts, each a tuple of names or counts."""
    counts = {"": 1}
    for part in parts:
        factors = part if isinstance(part, dict) else dict.fromkeys(part, 1)
        counts = {
            f"{path}/{name}".lstrip("/"): n * m for path, n in counts.items() for name, m in factors.items()
        }
    return counts


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


def put_masks(root: Path, pattern: str) -> int:
    """Write a mask for each image of a folder; `pattern` makes its path from folder and stem."""
    images = list(root.rglob("*.png"))
    for number, path in enumerate(images):
        target = root / pattern.format(folder=path.parent.relative_to(root), stem=path.stem)
        target.parent.mkdir(parents=True, exist_ok=True)
        mask = Image.new("L", (48, 48))
        mask.paste(255, (number, 5, number + 9, 20))
        mask.save(target)
    return len(images)


@pytest.mark.parametrize(
    "pattern",
    [
        "{folder}/{stem}_mask.png",
        "{folder}/{stem}_mask_1.tif",
        "{folder}/mask_{stem}.png",
        "{folder}/{stem}-segmentation.png",
        "{folder}/masks/{stem}.png",
        "{folder}/Ground truth/{stem}_gt.png",
    ],
)
def test_masks_beside_images_are_left_out(tmp_path, check, pattern):
    root = made_images.folder(tmp_path / "d", SIX)
    masks = put_masks(root, pattern)
    done = check(root)
    problem = done.problem("companions_left_out")
    assert (done.status, problem["severity"], problem["count"]) == (0, "note", masks)
    assert done.counts == SIX
    assert set(done.kinds) == {"companions_left_out"}


@pytest.mark.parametrize(("images", "masks"), [("images", "masks"), ("imgs", "GT")])
def test_images_and_masks_within_a_class(tmp_path, check, images, masks):
    root = made_images.folder(tmp_path / "d", nested(("no", "yes"), (images,), {"": 6}))
    for label in SIX:
        for number in range(6):
            path = root / label / masks / f"m{number}.png"
            path.parent.mkdir(exist_ok=True)
            Image.new("L", (48, 48), number).save(path)
    done = check(root)
    assert (done.counts, done.problem("companions_left_out")["count"]) == (SIX, 12)


def test_images_and_masks_above_the_classes(tmp_path, check):
    root = made_images.folder(tmp_path / "d", nested(("images",), SIX))
    made_images.folder(root, nested(("masks",), SIX), first_seed=500)
    done = check(root)
    assert (done.counts, done.kinds) == (SIX, {"companions_left_out": "note"})


def test_a_class_may_be_called_mask(tmp_path, check):
    done = check(made_images.folder(tmp_path / "d", {"mask": 6, "no_mask": 6}))
    assert (done.counts, done.kinds) == ({"mask": 6, "no_mask": 6}, {})


def test_a_name_that_ends_like_a_mask_is_an_image_if_nothing_is_beside_it(tmp_path, check):
    root = made_images.folder(tmp_path / "d", SIX)
    for path in list(root.rglob("*.png")):
        path.rename(path.with_name(f"{path.stem}_roi.png"))
    assert (check(root).counts, check(root).kinds) == (SIX, {})


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


def test_a_bundle_and_a_report_among_the_images_are_left_out(tmp_path, check):
    root = made_images.folder(tmp_path / "d", SIX)
    bundle = tiny_bundle.write(root / "bundles" / "01-tiny@16-fp32")
    made_images.save(bundle / "figure.png", 77)
    done = check(root)
    assert (done.status, done.counts) == (0, SIX)
    assert done.kinds == {"own_results_left_out": "note"}


def test_a_run_directory_among_the_images_is_left_out(tmp_path, check):
    root = made_images.folder(tmp_path / "d", SIX)
    write_record(root / "runs" / "small" / "run.json", made_records.info("small"))
    made_images.save(root / "runs" / "small" / "report" / "figure.png", 77)
    done = check(root)
    assert (done.status, done.counts, done.kinds) == (0, SIX, {"own_results_left_out": "note"})


def test_written_files_in_a_class_folder_are_left_out_and_the_class_stays(tmp_path, check):
    from pepr_edge.run_dir.owned import write_owned

    root = made_images.folder(tmp_path / "d", SIX)
    write_owned(root / "no", "figure.png", (root / "no" / "00.png").read_bytes(), lambda path: False, False)
    done = check(root)
    assert (done.counts, done.kinds) == (SIX, {"own_results_left_out": "note"})


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("JPEG", "x.jfif"),
        ("PNG", "x"),
        ("TIFF", "x.dat"),
        ("BMP", "x.001"),
        ("PPM", "x.img"),
        ("WEBP", "1.2.3"),
    ],
)
def test_images_are_known_by_their_content(tmp_path, check, form, name):
    root = made_images.folder(tmp_path / "d", SIX)
    made_images.picture(99).save(root / "no" / name, form)
    done = check(root)
    assert (done.counts, done.kinds) == ({"no": 7, "yes": 6}, {})


@pytest.mark.parametrize("preamble", [True, False])
@pytest.mark.parametrize("name", ["scan.ima", "IM0001", "x.dcm.bak"])
def test_dicom_is_known_under_any_suffix(tmp_path, check, name, preamble):
    pytest.importorskip("pydicom")
    import made_dicom

    root = made_images.folder(tmp_path / "d", SIX)
    made_dicom.write(root / "no" / name, made_images.pixels(99), preamble=preamble)
    done = check(root)
    assert (done.counts, done.kinds) == ({"no": 7, "yes": 6}, {})


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("IMG_1.HEIC", b"\0\0\0\x18ftypheic" + bytes(99), "HEIC"),
        ("photo", b"\0\0\0\x1cftypavif" + bytes(99), "AVIF"),
        ("x.psd", b"8BPS\0\1" + bytes(99), "Photoshop"),
    ],
)
def test_an_image_of_a_format_that_is_not_read_is_not_dropped(tmp_path, check, name, content, word):
    root = made_images.folder(tmp_path / "d", SIX)
    (root / "no" / name).write_bytes(content)
    done = check(root)
    assert (done.status, done.kinds) == (1, {"unreadable_images": "error"})
    assert done.problem("unreadable_images")["examples"] == [f"no/{name}"]
    from pepr_edge.images.preprocess import decode

    with pytest.raises(Exception, match=word):
        decode(root / "no" / name)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.nii.gz", "files_not_read"),
        ("v.mp4", "files_not_read"),
        ("notes.txt", "other_files"),
        ("BMI.csv", "other_files"),
    ],
)
def test_other_files_are_counted_by_kind(tmp_path, check, name, kind):
    root = made_images.folder(tmp_path / "d", SIX)
    (root / "no" / name).write_bytes(b"BMI,P1 6 text")
    done = check(root)
    assert (done.counts, list(done.kinds)) == (SIX, [kind])
    assert done.problem(kind)["count"] == 1


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


def in_another_form(path: Path, form: str) -> None:
    image = Image.open(path)
    if form == "size":
        image.resize((60, 60)).save(path)
    elif form == "colour":
        tinted = Image.merge("RGB", (image, image.point(lambda level: level // 2), image))
        tinted.save(path)
    else:
        image.save(path.with_suffix(".bmp"))
        path.unlink()


@pytest.mark.parametrize("form", ["size", "colour", "format"])
def test_a_form_that_tells_the_class_is_said(tmp_path, check, form):
    root = made_images.folder(tmp_path / "d", {"no": 10, "yes": 10})
    for path in sorted((root / "yes").iterdir()):
        in_another_form(path, form)
    done = check(root)
    assert done.kinds == {"class_follows_file": "warning"}
    assert form in done.problem("class_follows_file")["remedy"]


@pytest.mark.parametrize("form", ["size", "colour", "format"])
def test_a_form_in_all_classes_is_not_bothered(tmp_path, check, form):
    root = made_images.folder(tmp_path / "d", {"no": 10, "yes": 10})
    for path in sorted(root.rglob("*.png"))[::2]:
        in_another_form(path, form)
    assert check(root).kinds == {}


@pytest.mark.parametrize("place", ["metadata.csv", "train/labels.TSV"])
def test_tables_beside_the_folders_are_said(tmp_path, check, place):
    root = made_images.folder(tmp_path / "d", nested(("train", "test"), SIX))
    (root / place).write_text("path,patient\n")
    done = check(root)
    assert done.kinds == {"tables_not_used": "note"}
    assert done.problem("tables_not_used")["examples"] == [place]
