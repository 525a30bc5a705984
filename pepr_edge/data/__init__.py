"""Labelled images, prepared for training.

Each format is a module with the same functions, listed in `formats.FORMATS`. `cache` converts all of them to
uint8 arrays. `image_list` has what lists of images do alike.
"""

from pepr_edge.data.cache import SKIPPED, Dataset, load, prepare, read_check
from pepr_edge.data.dataset_summary import DatasetSummary, summarise
from pepr_edge.data.formats import fingerprint, known_kind, source_files
from pepr_edge.data.source import DataSettings
from pepr_edge.data.summary import describe

__all__ = [
    "SKIPPED",
    "DataSettings",
    "Dataset",
    "DatasetSummary",
    "check",
    "columns",
    "describe",
    "files",
    "finding_columns",
    "fingerprint",
    "formats",
    "image_list",
    "kinds",
    "known_kind",
    "layout",
    "load",
    "names",
    "phantom",
    "prepare",
    "read_check",
    "source",
    "source_files",
    "splits",
    "subgroups",
    "summarise",
    "table",
    "tree",
]
