"""The export variants: how a model leaves. Each is a TOML file in export/, read into a frozen Variant."""

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

Precision = Literal["float32", "float32_optimised", "float16", "int8", "int8_dynamic", "int8_mixed"]
WEIGHTED = ("Conv", "Gemm", "MatMul")
# What each precision takes of Quantise; those that are not here take no [quantise] table at all.
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
    "int8_mixed": {
        "activation",
        "weight",
        "per_channel",
        "reduce_range",
        "calibration",
        "calibration_images",
    },
}
WITH_PRESET = {"preset", "calibration", "calibration_images"}


class Quantise(Section):
    """Quantisation to 8 bits, as onnxruntime's quantiser takes it.

    `reduce_range`: weights of seven bits. `operators`: those that are quantised; none named: all that can be. `outputs`: whether what these
    give is 8 bits wide too, or only what they take. `grouped`: whether convolutions in groups, such as depthwise ones, are quantised.
    `preset`: a name of optimum's AutoQuantizationConfig, which then says all of this.
    """

    activation: Literal["uint8", "int8"] = "uint8"
    weight: Literal["int8", "uint8"] = "int8"
    per_channel: bool = True
    reduce_range: bool = False
    operators: Annotated[tuple[Literal["Conv", "Gemm", "MatMul"], ...], Field(strict=False)] = ()
    outputs: bool = True
    grouped: bool = True
    preset: Literal["avx2", "avx512_vnni", "arm64"] | None = None
    calibration: Literal["minmax", "entropy", "percentile"] = "minmax"
    calibration_images: Annotated[int, Field(ge=1)] = 128

    @model_validator(mode="after")
    def _without_contradiction(self) -> Quantise:
        if self.preset is not None and (more := sorted(self.model_fields_set - WITH_PRESET)):
            raise PydanticCustomError(
                "expected", "no {more} beside a preset, which says it", {"more": ", ".join(more)}
            )
        if not self.outputs and not self.operators:
            raise PydanticCustomError(
                "expected", "operators to be named where outputs = false: it is theirs that stay float32"
            )
        return self


class Auto(Section):
    """A variant's place in the ladder that recipes call "auto": lowest `order` first.

    `rescue`: tried only if the fastest int8 does not keep its quality. `providers`: where it is tried. On the CPU it needs at least one of
    the instruction sets in `needs`, if any are named, and none of those in `lacks`; on other providers these say nothing.
    """

    order: Annotated[int, Field(ge=0)]
    rescue: bool = False
    needs: Annotated[tuple[str, ...], Field(strict=False)] = ()
    lacks: Annotated[tuple[str, ...], Field(strict=False)] = ()
    providers: Annotated[tuple[Provider, ...], Field(strict=False, min_length=1)] = ("cpu",)

    @field_validator("needs", "lacks")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in value if name not in ISA]:
            names = {"unknown": ", ".join(unknown), "known": ", ".join(ISA)}
            raise PydanticCustomError(
                "expected", "instruction sets among {known}, and {unknown} is none", names
            )
        return value

    def fits(self, isa: Collection[str], provider: str) -> bool:
        """Whether it is worth a try on a processor with these instruction sets, under this provider."""
        if provider not in self.providers:
            return False
        able = not self.needs or any(name in isa for name in self.needs)
        return provider != "cpu" or (able and not any(name in isa for name in self.lacks))


class Variant(Section):
    """One way for a model to leave.

    `parity_tolerance` is the greatest difference from PyTorch's logits, in standard deviations of those logits, that counts as parity.
    Without `auto` it is made only where a recipe names it.
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
        takes = SETTINGS.get(self.precision)
        if (takes is not None) != (self.quantise is not None):
            wanted = "a [quantise] table" if takes else "no [quantise] table"
            raise PydanticCustomError(
                "expected",
                '{wanted} with precision "{precision}"',
                {"wanted": wanted, "precision": self.precision},
            )
        if self.quantise is not None and takes is not None:
            known = takes | WITH_PRESET if self.precision == "int8" else takes
            if more := sorted(self.quantise.model_fields_set - known):
                names = {
                    "more": ", ".join(more),
                    "precision": self.precision,
                    "known": ", ".join(sorted(known)),
                }
                raise PydanticCustomError(
                    "expected", 'no quantise.{more} with precision "{precision}", which takes {known}', names
                )
        return self


def load(name: str) -> Variant:
    """The variant of that name.

    Raises:
        RecipeError: there is none, or its file is faulty.
    """
    path = variants_dir() / f"{name}.toml"
    if name != Path(name).name or not path.is_file():
        raise RecipeError(
            f"export.variants: {name!r}: unknown variant, expected some of {', '.join(names())}. Mend the name."
        )
    variant = read(path, Variant)
    if variant.name != name:
        raise RecipeError(f"{path}: name = {variant.name!r}, expected {name!r}, the file's own name.")
    return variant


def names() -> list[str]:
    """Those that come with pepr_edge, in alphabetical order."""
    return sorted(file.stem for file in variants_dir().glob("*.toml"))


def autotune_variants(isa: Collection[str], provider: str) -> tuple[Variant, ...]:
    """The variants that "auto" stands for on a device, in the order in which they are tried.

    Args:
        isa: the processor's instruction sets, named as in `pepr_edge.device.cpu.ISA`.
        provider: that the device runs them with.
    """
    found = ((variant.auto, variant) for variant in map(load, names()))
    placed = [
        (auto.order, variant.name, variant)
        for auto, variant in found
        if auto is not None and auto.fits(isa, provider)
    ]
    return tuple(variant for _, _, variant in sorted(placed, key=lambda entry: entry[:2]))
