"""DICOM images of one patient in more than one split. Patients are compared by a hash, never named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from pepr_edge.data.check.copies import different, pairs_of
from pepr_edge.data.check.evidence import Evidence
from pepr_edge.data.source import SPLITS
from pepr_edge.records import Problem
from pepr_edge.text.units import plural

# One PatientID on at least this number of images, and on more than this share of all, is no patient: an
# archive wrote it in place of the real ones.
MIN_OF_PLACEHOLDER = 4
MAX_OF_ONE = 0.5
GROUP_COLUMN = (
    "List the images in a .csv file with a column group that holds a code of the patient: "
    'data.columns = {group = "..."} in a recipe names it if it is called otherwise.'
)


def problems(evidence: Evidence) -> Iterator[Problem]:
    """Yield the patients whose images the splits divide, or that patients cannot be told."""
    patient_of = _patients(evidence)
    if not patient_of:
        return
    counts = Counter(patient_of.values())
    [(placeholder, most)] = counts.most_common(1)
    if most >= MIN_OF_PLACEHOLDER and most > MAX_OF_ONE * len(patient_of):
        yield from _anonymised(evidence, most)
        patient_of = {index: patient for index, patient in patient_of.items() if patient != placeholder}
    images_of: dict[bytes, list[int]] = {}
    for index, patient in patient_of.items():
        images_of.setdefault(patient, []).append(index)
    splits = evidence.scan.splits
    divided = [indices for indices in images_of.values() if different(indices, splits.__getitem__)]
    if divided:
        yield Problem(
            kind="patients_across_splits",
            severity="warning",
            count=len(divided),
            examples=pairs_of(evidence, divided, splits.__getitem__, "~"),
            remedy=f"leakage: {plural(len(divided), 'patient')} of {len(images_of):,}, by the DICOM element "
            "PatientID, with images in more than one split, so test scores may be too good. "
            f"{_how_to_separate(evidence)}",
        )


def _patients(evidence: Evidence) -> dict[int, bytes]:
    """Return the hash of each DICOM image's patient, of those that name one, by the index of the image."""
    path_of = evidence.source.path_of
    if path_of is None or not evidence.scan.dicom:
        return {}
    from pepr_edge.images.dicom_patient import patient_hash

    hashes = ((index, patient_hash(path_of(index))) for index in sorted(evidence.scan.dicom))
    return {index: patient for index, patient in hashes if patient is not None}


def _anonymised(evidence: Evidence, images: int) -> Iterator[Problem]:
    """Yield that most images have one PatientID, unless groups say what belongs together."""
    if evidence.source.groups is None:
        yield Problem(
            kind="patients_not_told",
            severity="note",
            count=images,
            remedy=f"{plural(images, 'DICOM image')} with the same PatientID, as after anonymisation, so "
            f"patients cannot be told. If some have several images: {_how_to_separate(evidence)}",
        )


def _how_to_separate(evidence: Evidence) -> str:
    given = evidence.source.given
    if given is not None and len(given) == len(SPLITS):
        return "Keep the images of each patient in one split."
    if given is not None:
        made = " and ".join(split for split in SPLITS if split not in given)
        keep = f"Keep the images of each patient in one split; {made} is taken from train at random."
        return f"{keep} {GROUP_COLUMN}"
    if evidence.source.groups is not None:
        return "Give all images of a patient the same group."
    return GROUP_COLUMN
