"""Which DICOM files are of one patient, by a hash that tells nothing outside of this process.

`data check` asks, since images of one patient in training and in test make scores too good. Decoding an image
reads nothing of a patient.
"""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path

from pepr_edge.images.dicom import check_inflated, no_output
from pepr_edge.untrusted.files import open_regular

HASH_BYTES = 16
# Made anew in each process and never stored: nobody can find the number of a patient by trying all.
_KEY = secrets.token_bytes(32)


def patient_hash(path: Path) -> bytes | None:
    """Return a hash of a DICOM file's PatientID; None if the file has none or cannot be read.

    Neither the hash nor what it was made of may be stored or shown.
    """
    from pydicom import dcmread

    with no_output():
        try:
            with open_regular(path) as file:
                check_inflated(file, path.name)
                dataset = dcmread(file, force=True, stop_before_pixels=True, specific_tags=["PatientID"])
            patient = str(dataset.get("PatientID", "") or "").strip()
        except Exception:  # pydicom raises anything on a broken file; its message may hold patient data
            return None
    if not patient:
        return None
    return hashlib.blake2b(patient.encode(errors="replace"), digest_size=HASH_BYTES, key=_KEY).digest()
