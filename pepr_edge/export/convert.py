"""Convert a float32 ONNX file to one variant. Imports no torch, except for optimum's presets."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

from pepr_edge.errors import ExportError, PeprError
from pepr_edge.export.float16 import float16
from pepr_edge.export.int8.form import integer_kernels
from pepr_edge.export.int8.search import Accept, mixed
from pepr_edge.export.optimise import optimise
from pepr_edge.export.prepare import CALIBRATION_BATCH, Images, PreparedModel
from pepr_edge.export.quantise import dynamic, static
from pepr_edge.recipe.variants import Quantise, Variant
from pepr_edge.text.units import plural


class Converted(NamedTuple):
    """The remedy as in Artifact.quantised, and warnings about the file."""

    remedy: str | None
    notes: tuple[str, ...]


def convert(
    variant: Variant, base: Path | PreparedModel, path: Path, images: Images, accept: Accept | None = None
) -> Converted:
    """Write one variant of a float32 ONNX file.

    Args:
        variant: the variant to make.
        base: the float32 file, or the same held open: this saves most of the time if several variants are
            made.
        path: the file to write; it appears complete or not at all.
        images: model inputs for calibration, shape (n, channels, px, px), the same for all variants. A
            variant uses at most as many of them as its settings say.
        accept: True if a file keeps the quality; used by int8_mixed. If None, its files must decide on 99 %
            of `images` as the float32 file does.
    Raises:
        ExportError: the variant cannot be made.
    """
    settings = variant.quantise
    part = path.with_name(f"{path.stem}.part.onnx")
    calibrated = settings is not None and variant.precision != "int8_dynamic"
    if settings is not None:
        images = images[: settings.calibration_images]
    if calibrated and len(images) == 0:
        raise ExportError(f"{variant.name}: no images to calibrate on, expected at least 1.")
    converter = CONVERTERS[variant.precision]
    try:
        with PreparedModel(base) if isinstance(base, Path) else nullcontext(base) as prepared:
            remedy = converter(prepared, part, images, settings or Quantise(), accept)
        part.replace(path)
    except (PeprError, OSError):
        raise
    except Exception as fault:  # onnxruntime and its tools raise the errors of their graph passes
        words = " ".join(str(fault).split())[:200]
        raise ExportError(
            f"{variant.name}: cannot be made of this graph ({type(fault).__name__}: {words})."
        ) from fault
    finally:
        part.unlink(missing_ok=True)
    return Converted(remedy, _calibration_notes(len(images)) if calibrated else ())


def _calibration_notes(count: int) -> tuple[str, ...]:
    """Warn if fewer images than one calibration batch were used."""
    if count >= CALIBRATION_BATCH:
        return ()
    return (f"calibrated on {plural(count, 'image')} only: values outside their ranges are cut off.",)


def _float32(
    prepared: PreparedModel, path: Path, images: Images, settings: Quantise, accept: Accept | None
) -> None:
    shutil.copyfile(prepared.float32_path, path)


def _float32_optimised(
    prepared: PreparedModel, path: Path, images: Images, settings: Quantise, accept: Accept | None
) -> None:
    optimise(prepared.float32_path, path, "extended")


def _float16(
    prepared: PreparedModel, path: Path, images: Images, settings: Quantise, accept: Accept | None
) -> None:
    float16(prepared, path)


def _int8(
    prepared: PreparedModel, path: Path, images: Images, settings: Quantise, accept: Accept | None
) -> str:
    return static(prepared, path, images, settings)


def _int8_kernels(
    prepared: PreparedModel, path: Path, images: Images, settings: Quantise, accept: Accept | None
) -> str:
    return integer_kernels(prepared, path, images, settings)


def _int8_dynamic(
    prepared: PreparedModel, path: Path, images: Images, settings: Quantise, accept: Accept | None
) -> str:
    return dynamic(prepared, path, settings)


CONVERTERS: dict[str, Callable[[PreparedModel, Path, Images, Quantise, Accept | None], str | None]] = {
    "float32": _float32,
    "float32_optimised": _float32_optimised,
    "float16": _float16,
    "int8": _int8,
    "int8_dynamic": _int8_dynamic,
    "int8_kernels": _int8_kernels,
    "int8_mixed": mixed,
}
