"""All errors, each reported in words for the person who can fix it.

PeprError                 exit status 1: an error in the user's input
├── RecipeError           a recipe or an export variant: all its errors at once
├── DataError             images, labels, splits
│   ├── DatasetError      folders or a table that do not say what was meant
│   └── ImageError        one image file; the others may be fine
├── ModelError            an architecture or a weights file
├── ExportError           a model that cannot be exported as a faithful ONNX file
├── RunError              a run directory: missing, torn, in use
├── EngineError           a cluster that cannot be joined, or has no room
├── BundleError           a bundle that is incomplete, altered or of another version
├── KitError              a kit for a clinic's device that cannot be made, or is not as it was made
├── SigningError          a key that cannot be used, or no package to sign with
├── SignatureError        a signature that is missing, damaged, foreign, or of something else
├── MeasurementError      a measurement that could not be taken
│   └── LibraryError      a library that cannot be loaded on this machine
│   └── NoAnswerError     a model that gives no usable answer for an image; it may for others
├── OutputError           an output path that holds something else
└── ScoreError            tables and weights that cannot be scored
InvalidMeasurement        exit status 3: a measurement that cannot be relied on
"""

from __future__ import annotations

# The exit status of a command that a signal ended.
INTERRUPTED = 130


class PeprError(Exception):
    """Reported as one line for each error: what failed, the value, what was expected, how to fix it."""


class RecipeError(PeprError):
    """A recipe or export variant that cannot be used."""


class DataError(PeprError):
    """Images, labels or splits that cannot be used."""


class DatasetError(DataError):
    """Folders or a table that do not say what was meant.

    `kind`, `count` and `examples` are those of the problem in `pepr-edge data check`.
    """

    def __init__(self, kind: str, message: str, count: int = 1, examples: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.kind = kind
        self.count = count
        self.examples = examples


class ImageError(DataError):
    """One image file that cannot be used: its name, the reason and the remedy."""

    def __init__(self, name: str, reason: str, remedy: str = "Replace or remove it.") -> None:
        super().__init__(name, reason, remedy)
        self.name = name
        self.reason = reason
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}. {self.remedy}"


class ModelError(PeprError):
    """An architecture or a weights file that cannot be used."""


class ExportError(PeprError):
    """A model that cannot be exported as a faithful ONNX file."""


class RunError(PeprError):
    """A run directory that is missing, torn or in use."""


class EngineError(PeprError):
    """A cluster that cannot be joined, has no room for a candidate, or has nodes of another version."""


class BundleError(PeprError):
    """A bundle that is incomplete, altered or of another version."""


class KitError(PeprError):
    """A kit that cannot be made, or is not as it was made.

    No network, no wheel for the platform, a folder that is in the way; or a file missing or changed.
    """


class SigningError(PeprError):
    """A private or public key that cannot be used, or no package to sign and check with."""


class SignatureError(PeprError):
    """A signature that is missing, damaged, by a key that is not trusted, or of something else."""


class MeasurementError(PeprError):
    """A measurement that could not be taken."""


class NoAnswerError(MeasurementError):
    """A model that gives no usable answer for an image: not finite, of another shape, too late, or none."""


class LibraryError(MeasurementError):
    """A library that runs models cannot be loaded on this machine. No bundle is to blame for it."""


class OutputError(PeprError):
    """An output path with a file that pepr_edge did not write, so that it is not replaced."""


class ScoreError(PeprError):
    """Tables or weights that cannot be scored."""


class InvalidMeasurement(Exception):  # noqa: N818 - the word that the report uses
    """A measurement was taken and is INVALID, or a check failed: exit status 3."""
