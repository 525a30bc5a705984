"""Files among the images: masks, our own results, formats that are not read, and tables."""

from __future__ import annotations

from pathlib import Path

import made_images
import made_records
import pytest
import tiny_bundle
from nested_folders import SIX, nested
from PIL import Image

from pepr_edge.run_dir.store import write_record


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
