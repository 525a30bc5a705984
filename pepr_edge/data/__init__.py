"""Images with labels, made ready for training: MedMNIST, image folders, CSV manifests (of DICOM too), tensor files, a generated phantom.

Each format is a module with the same functions, listed in `formats.FORMATS`; `cache` makes any of them into arrays of uint8.
"""

from pepr_edge.data.cache import SKIPPED, Dataset, load, prepare
from pepr_edge.data.formats import fingerprint
from pepr_edge.data.source import DataSettings
from pepr_edge.data.summary import describe

__all__ = [
    "SKIPPED",
    "DataSettings",
    "Dataset",
    "describe",
    "files",
    "fingerprint",
    "formats",
    "load",
    "phantom",
    "prepare",
    "source",
    "splits",
]
