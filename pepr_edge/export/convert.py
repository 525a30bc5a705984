"""One variant of a float32 ONNX file. Imports no torch, but for optimum's presets, which do."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

from pepr_edge.errors import ExportError, PeprError
from pepr_edge.export.float16 import float16
from pepr_edge.export.mixed import mixed
from pepr_edge.export.optimise import optimise
from pepr_edge.export.prepare import Images, Prepared
from pepr_edge.export.quantise import dynamic, static
from pepr_edge.recipe.variants import Quantise, Variant

FEW_IMAGES = 16  # as many as one batch of the calibration
Accept = Callable[[Path], bool]


class Converted(NamedTuple):
    """How it went: the remedy as in Artifact.quantised, and what to beware of."""

    remedy: str | None
    notes: tuple[str, ...]


def convert(
    variant: Variant, base: Path | Prepared, path: Path, images: Images, accept: Accept | None = None
) -> Converted:
    """Write one variant of a float32 ONNX file.

    Args:
        variant: what is to be.
        base: the float32 file, or the same held open, which saves most of the time where several variants are made of it.
        path: the file to be; it is there whole, or not at all.
        images: model inputs to calibrate on, shape (n, channels, px, px), the same for all variants; no more of them are used than the
            variant asks for.
        accept: whether a file keeps its quality, for a variant that goes by it. Without it, what int8_mixed goes by is that the decisions
            on `images` are those of the float32 file.
    Raises:
        ExportError: it cannot be made.
    """
    settings, part = variant.quantise, path.with_name(f"{path.stem}.part.onnx")
    used = images[: settings.calibration_images] if settings is not None else images
    calibrated = settings is not None and variant.precision != "int8_dynamic"
    if calibrated and not len(used):
        raise ExportError(f"{variant.name}: no images to calibrate on, expected at least 1.")
    try:
        with Prepared(base) if isinstance(base, Path) else nullcontext(base) as prepared:
            remedy = CONVERTERS[variant.precision](prepared, part, used, settings or Quantise(), accept)
        part.replace(path)
    except (PeprError, OSError):
        raise
    except Exception as fault:  # the runtime and its tools raise whatever their graph passes raise
        words = " ".join(str(fault).split())[:200]
        raise ExportError(
            f"{variant.name}: cannot be made of this graph ({type(fault).__name__}: {words})."
        ) from fault
    finally:
        part.unlink(missing_ok=True)
    return Converted(remedy, _few(len(used)) if calibrated else ())


def _few(n: int) -> tuple[str, ...]:
    if n >= FEW_IMAGES:
        return ()
    return (
        f"calibrated on {n} image{'s' * (n > 1)}: ranges of other images may lie outside those that were seen, and are cut off there.",
    )


def _float32(
    prepared: Prepared, path: Path, images: Images, settings: Quantise, accept: Accept | None
) -> None:
    shutil.copyfile(prepared.base, path)


def _float32_optimised(
    prepared: Prepared, path: Path, images: Images, settings: Quantise, accept: Accept | None
) -> None:
    optimise(prepared.base, path, "extended")


def _float16(
    prepared: Prepared, path: Path, images: Images, settings: Quantise, accept: Accept | None
) -> None:
    float16(prepared, path)


def _int8(prepared: Prepared, path: Path, images: Images, settings: Quantise, accept: Accept | None) -> str:
    return static(prepared, path, images, settings)


def _int8_dynamic(
    prepared: Prepared, path: Path, images: Images, settings: Quantise, accept: Accept | None
) -> str:
    return dynamic(prepared, path, settings)


CONVERTERS: dict[str, Callable[[Prepared, Path, Images, Quantise, Accept | None], str | None]] = {
    "float32": _float32,
    "float32_optimised": _float32_optimised,
    "float16": _float16,
    "int8": _int8,
    "int8_dynamic": _int8_dynamic,
    "int8_mixed": mixed,
}
