"""Export variants: the forms in which a model is exported. Each is a TOML file in export/."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from pepr_edge.device.cpu import ISA
from pepr_edge.errors import RecipeError
from pepr_edge.recipe import variants_dir
from pepr_edge.recipe.toml import Section, read
from pepr_edge.records import Provider

Precision = Literal[
    "float32", "float32_optimised", "float16", "int8", "int8_dynamic", "int8_kernels", "int8_mixed"
]
WEIGHTED = ("Conv", "Gemm", "MatMul")
# The keys of Quantise that each precision takes; other precisions take no [quantise] table.
SETTINGS = {
    "int8": {
        "activation",
        "weight",
        "per_channel",
        "reduce_range",
        "operators",
        "outputs",
        "grouped",
        "calibration",
        "calibration_images",
    },
    "int8_dynamic": {"weight", "per_channel", "reduce_range", "operators"},
    "int8_kernels": {
        "per_channel",
        "reduce_range",
        "equalise",
        "correct",
        "calibration",
        "calibration_images",
    },
    "int8_mixed": {
        "per_channel",
        "reduce_range",
        "equalise",
        "correct",
        "calibration",
        "calibration_images",
    },
}
CALIBRATIONS = {
    "int8": ("minmax", "entropy", "percentile"),
    "int8_kernels": ("minmax", "mse"),
    "int8_mixed": ("minmax", "mse"),
}
WITH_PRESET = {"preset", "calibration", "calibration_images"}


class Quantise(Section):
    """Quantisation to 8 bits with onnxruntime's quantiser.

    `reduce_range`: weights of 7 bits. `operators`: the operators to quantise; empty: all that can be.
    `outputs`: also quantise the outputs of these operators, not only their inputs. `grouped`: also quantise
    grouped convolutions, such as depthwise ones. `preset`: a preset of optimum's AutoQuantizationConfig,
    which sets all of these. `equalise`: scale the channels between layers so that each uses its range;
    `correct`: correct the mean of each layer's result for what rounding shifts; calibration "mse": the range
    with the least error. These three come with the precisions "int8_kernels" and "int8_mixed".
    """

    activation: Literal["uint8", "int8"] = "uint8"
    weight: Literal["int8", "uint8"] = "int8"
    per_channel: bool = True
    reduce_range: bool = False
    operators: Annotated[tuple[Literal["Conv", "Gemm", "MatMul"], ...], Field(strict=False)] = ()
    outputs: bool = True
    grouped: bool = True
    preset: Literal["avx2", "avx512_vnni", "arm64"] | None = None
    equalise: bool = False
    correct: bool = False
    calibration: Literal["minmax", "entropy", "percentile", "mse"] = "minmax"
    calibration_images: Annotated[int, Field(ge=1)] = 128

    @model_validator(mode="after")
    def _without_contradiction(self) -> Quantise:
        extra = sorted(self.model_fields_set - WITH_PRESET)
        if self.preset is not None and extra:
            raise PydanticCustomError(
                "expected", "no {extra} beside a preset, which sets it", {"extra": ", ".join(extra)}
            )
        if not self.outputs and not self.operators:
            raise PydanticCustomError(
                "expected", "named operators with outputs = false: their outputs stay float32"
            )
        return self


class Auto(Section):
    """How autotuning tries a variant: lowest `order` first.

    `rescue`: tried only as a fallback, if a variant that was tried before loses quality. `providers`: the
    providers on which it is tried. On the CPU the processor needs at least one of the instruction sets in
    `needs`, if there are any, and none of those in `lacks`; other providers ignore both.
    """

    order: Annotated[int, Field(ge=0)]
    rescue: bool = False
    needs: Annotated[tuple[str, ...], Field(strict=False)] = ()
    lacks: Annotated[tuple[str, ...], Field(strict=False)] = ()
    providers: Annotated[tuple[Provider, ...], Field(strict=False, min_length=1)] = ("cpu",)

    @field_validator("needs", "lacks")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in value if name not in ISA]
        if unknown:
            names = {"unknown": ", ".join(unknown), "known": ", ".join(ISA)}
            raise PydanticCustomError("expected", "instruction sets among {known}, not {unknown}", names)
        return value

    def fits(self, isa: Collection[str], provider: str) -> bool:
        """True if the variant is worth trying with these instruction sets and this provider."""
        if provider not in self.providers:
            return False
        if provider != "cpu":
            return True
        has_needed = not self.needs or any(name in isa for name in self.needs)
        return has_needed and not any(name in isa for name in self.lacks)


class Variant(Section):
    """A form in which a model is exported.

    `parity_tolerance` is the max difference from PyTorch's logits that counts as parity, in standard
    deviations of those logits. Without `auto` the variant is made only if a recipe names it.
    """

    schema_version: Literal[1] = 1
    name: str
    description: str
    precision: Precision
    parity_tolerance: Annotated[float, Field(gt=0)]
    quantise: Quantise | None = None
    auto: Auto | None = None

    @model_validator(mode="after")
    def _complete(self) -> Variant:
        known = SETTINGS.get(self.precision)
        context: dict[str, str] = {"precision": self.precision}
        if known is None:
            if self.quantise is None:
                return self
            raise PydanticCustomError("expected", 'no [quantise] table with precision "{precision}"', context)
        if self.quantise is None:
            raise PydanticCustomError("expected", 'a [quantise] table with precision "{precision}"', context)
        if self.precision == "int8":
            known = known | WITH_PRESET
        calibrations = CALIBRATIONS.get(self.precision, ())
        if calibrations and self.quantise.calibration not in calibrations:
            context |= {"chosen": self.quantise.calibration, "known": ", ".join(calibrations)}
            raise PydanticCustomError(
                "expected",
                'quantise.calibration one of {known} with precision "{precision}", not {chosen}',
                context,
            )
        extra = sorted(self.quantise.model_fields_set - known)
        if extra:
            context |= {"extra": ", ".join(extra), "known": ", ".join(sorted(known))}
            raise PydanticCustomError(
                "expected", 'no quantise.{extra} with precision "{precision}", which takes {known}', context
            )
        return self


def load(name: str) -> Variant:
    """Return the variant of that name.

    Raises:
        RecipeError: there is none, or its file is faulty.
    """
    path = variants_dir() / f"{name}.toml"
    if name != Path(name).name or not path.is_file():
        raise RecipeError(
            f"export.variants: {name!r}: unknown variant, expected some of {', '.join(names())}. "
            "Correct the name."
        )
    variant = read(path, Variant)
    if variant.name != name:
        raise RecipeError(f"{path}: name = {variant.name!r}, expected {name!r}, as the file. Correct one.")
    return variant


def names() -> list[str]:
    """Return the names of the variants that come with pepr_edge, in alphabetical order."""
    return sorted(file.stem for file in variants_dir().glob("*.toml"))


def autotune_variants(isa: Collection[str], provider: str) -> tuple[Variant, ...]:
    """Return the variants that autotuning tries on a device, in this order.

    Args:
        isa: the processor's instruction sets, named as in `pepr_edge.device.cpu.ISA`.
        provider: the device's provider.
    """
    by_order: dict[tuple[int, str], Variant] = {}
    for variant in map(load, names()):
        if variant.auto is not None and variant.auto.fits(isa, provider):
            by_order[variant.auto.order, variant.name] = variant
    return tuple(by_order[key] for key in sorted(by_order))
