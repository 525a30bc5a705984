"""The model of a bundle as it is run: its file, what it takes and gives, and the limits that it must keep."""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from pepr_edge.errors import BundleError

if TYPE_CHECKING:
    from pepr_edge.records import DeviceProfile, Manifest, SessionSettings

# Of a self-test: 80 colour images of 1024 px, the maximum of a recipe, are 240 MiB; the rest is for logits.
PIXEL_BYTES = 256 << 20
FILE_BYTES = PIXEL_BYTES + (16 << 20)
# A device may be this many times slower than the workstation: an emulated processor was 50 times slower.
SLOWER = 200.0
# Beyond that, for what does not grow with the model. The maximum is for a manifest that claims anything.
BASE_S = 5.0
MAX_S = 600.0
# Memory beyond that of the workstation, whose libraries may have been leaner.
BASE_BYTES = 512 << 20
PEAK_FACTOR = 2
# Some runtimes compile a model into copies of its weights.
FILE_FACTOR = 4
THREAD_BYTES = 16 << 20


class Limits(NamedTuple):
    """Seconds for loading a model and for one answer, and the bytes that both may add; None: no limit."""

    load_s: float
    answer_s: float
    memory_bytes: int | None


class BundleModel(NamedTuple):
    """A model of a bundle, how to run it, the shape (1, channels, px, px) of its input, and its limits.

    `novelty`: it has the second output.
    """

    path: Path
    settings: SessionSettings
    input_shape: tuple[int, ...]
    classes: int
    limits: Limits
    novelty: bool = False


def model_file(bundle: Path, manifest: Manifest, fallback: bool) -> str:
    """Return the file name of the model, or of its fallback.

    Raises:
        BundleError: there is no fallback.
    """
    if not fallback:
        return "model.onnx"
    if manifest.fallback is None:
        raise BundleError(
            f"{bundle}: has no float32 fallback, its model is the only one. Leave out --fallback."
        )
    return manifest.fallback.file


def bundle_model(
    bundle: Path, manifest: Manifest, settings: SessionSettings, fallback: bool = False
) -> BundleModel:
    """Return the model of a bundle, or its fallback.

    Args:
        bundle: the folder.
        manifest: its manifest.
        settings: how to run the runtime.
        fallback: the float32 file beside the model.
    Raises:
        BundleError: there is no fallback, or its file is missing.
    """
    path = bundle / model_file(bundle, manifest, fallback)
    try:
        size_bytes = path.stat().st_size
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}). Copy the bundle again.") from None
    limits = limits_of(manifest.profile, settings, size_bytes)
    shape = (1, *manifest.input.shape[1:])
    novelty = manifest.has_novelty(fallback)
    return BundleModel(path, settings, shape, len(manifest.labels), limits, novelty)


def limits_of(profile: DeviceProfile, settings: SessionSettings, size_bytes: int) -> Limits:
    """Return the limits of a model, in proportion to what it took on the workstation.

    Args:
        profile: measured on the workstation.
        settings: how it is run here.
        size_bytes: of its file.
    """
    typical_s = median(profile.latencies_s) if profile.latencies_s else profile.first_s
    memory_bytes = None
    if settings.provider == "cpu":  # a GPU's library maps the memory of the GPU too
        memory_bytes = BASE_BYTES + PEAK_FACTOR * max(0, profile.peak_memory_bytes or 0)
        memory_bytes += FILE_FACTOR * size_bytes + THREAD_BYTES * settings.threads
    return Limits(_limit_s(profile.load_s), _limit_s(typical_s), memory_bytes)


def _limit_s(at_home_s: float) -> float:
    """Return a time limit, in whole tenths of a second."""
    return round(min(MAX_S, BASE_S + SLOWER * max(0.0, at_home_s)), 1)
