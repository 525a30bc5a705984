"""DICOM images of one patient in several splits; no name and no number of a patient leaves the process."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import command_line
import made_dicom
import made_images
import pytest

from pepr_edge.images.dicom_patient import patient_hash

pytest.importorskip("pydicom")

PATIENT = "planted-{}"


def scans(root: Path, patient_of: list[int | str | None], splits: tuple[str, ...] = ()) -> Path:
    """Write a DICOM file for each patient of the list, of two classes, into the splits in turn."""
    for number, patient in enumerate(patient_of):
        # Two classes within each patient, so that a split by class divides patients.
        folder = root / (splits[number % len(splits)] if splits else "") / ("no", "yes")[number // 2 % 2]
        elements = {"PatientID": PATIENT.format(patient) if patient not in ("", None) else patient}
        made_dicom.write(folder / f"im{number:02}", made_images.pixels(number), **elements)
    return root


@pytest.mark.parametrize(
    ("patients", "images", "splits"),
    [(6, 24, ("train", "test")), (12, 24, ("train", "val", "test")), (3, 12, ("Training", "Testing"))],
)
def test_a_patient_in_two_given_splits_is_said(tmp_path, check, patients, images, splits):
    root = scans(tmp_path / "d", [number // (images // patients) for number in range(images)], splits)
    done = check(root)
    problem = done.problem("patients_across_splits")
    assert (done.status, problem["severity"], problem["count"]) == (0, "warning", patients)
    assert "in one split" in problem["remedy"]
    assert " ~ " in problem["examples"][0]


@pytest.mark.parametrize("each", [2, 4])
def test_a_random_split_that_divides_patients_is_said_with_the_key(tmp_path, check, each):
    done = check(scans(tmp_path / "d", [number // each for number in range(40)]))
    problem = done.problem("patients_across_splits")
    assert problem["severity"] == "warning"
    assert 0 < problem["count"] <= 40 // each
    assert "data.columns = {group" in problem["remedy"]


@pytest.mark.parametrize("numbers", [list(range(24)), [None] * 24, [""] * 24])
def test_a_patient_an_image_or_none_is_no_problem(tmp_path, check, numbers):
    assert check(scans(tmp_path / "d", numbers, ("train", "test"))).kinds == {}


def test_patients_that_are_in_one_split_each_are_no_problem(tmp_path, check):
    patient_of = [number % 3 * 10 + number // 12 for number in range(36)]
    assert check(scans(tmp_path / "d", patient_of, ("train", "val", "test"))).kinds == {}


def test_a_validation_split_at_random_may_divide_a_patient_too(tmp_path, check):
    patient_of = [number % 2 * 10 + number // 6 for number in range(24)]
    problem = check(scans(tmp_path / "d", patient_of, ("train", "test"))).problem("patients_across_splits")
    assert "val is taken from train" in problem["remedy"]


@pytest.mark.parametrize("number", ["ANON", 0])
@pytest.mark.parametrize("splits", [(), ("train", "test")])
def test_one_number_for_all_is_no_patient(tmp_path, check, number, splits):
    done = check(scans(tmp_path / "d", [number] * 24, splits))
    assert done.kinds == {"patients_not_told": "note"}


def test_the_groups_of_a_list_are_held_against_the_patients(tmp_path, check):
    scans(tmp_path / "d", [number // 4 for number in range(40)])
    paths = sorted(path.relative_to(tmp_path / "d") for path in (tmp_path / "d").rglob("im*"))

    def listed(group_size: int) -> Path:
        lines = ["path,label,group"]
        for path in paths:
            number = int(path.name.removeprefix("im"))
            lines.append(f"{path.as_posix()},{path.parts[0]},g{number // group_size}")
        (tmp_path / "d" / "list.csv").write_text("\n".join(lines) + "\n")
        return tmp_path / "d" / "list.csv"

    assert check(listed(4)).kinds == {}
    assert "same group" in check(listed(2)).problem("patients_across_splits")["remedy"]


def test_nothing_of_a_patient_is_shown(tmp_path, capsys, monkeypatch):
    root = scans(tmp_path / "d", [number // 4 for number in range(24)], ("train", "test"))
    said = ""
    for words in (("data", "check", root), ("data", "check", root, "--json"), ("-v", "data", "check", root)):
        done = command_line.run(capsys, monkeypatch, *words)
        said += done.out + done.err
    assert "patients across splits" in said
    assert "lanted" not in said
    plain = hashlib.blake2b(PATIENT.format(0).encode(), digest_size=16).hexdigest()
    assert plain not in said


def test_the_hash_tells_patients_apart_and_not_who_they_are(tmp_path):
    first, same, other = sorted(scans(tmp_path / "d", ["a", "a ", "b"]).rglob("im*"), key=lambda p: p.name)
    assert patient_hash(first) == patient_hash(same) != patient_hash(other)
    # The key is of this process alone, so trying all numbers finds none.
    unkeyed = hashlib.blake2b(PATIENT.format("a").encode(), digest_size=16).digest()
    assert patient_hash(first) != unkeyed
    made_images.save(tmp_path / "x.png", 0)
    assert patient_hash(tmp_path / "x.png") is None
    assert patient_hash(tmp_path / "nowhere") is None


def test_the_record_of_a_run_names_no_patient(tmp_path):
    from pepr_edge.data import DataSettings, prepare

    root = scans(tmp_path / "d", [number // 4 for number in range(24)], ("train", "test"))
    prepare(DataSettings(str(root), 16), tmp_path / "out")
    problems = json.loads((tmp_path / "out" / "data_check.json").read_text())["problems"]
    assert [problem["kind"] for problem in problems] == ["patients_across_splits"]
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or b"lanted" not in path.read_bytes()
