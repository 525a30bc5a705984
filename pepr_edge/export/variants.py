"""The export variants: how a model leaves. Each is a TOML file in export/, read into a frozen Variant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from pepr_edge.errors import RecipeError
from pepr_edge.recipe import variants_dir
from pepr_edge.toml import Section, read


class Quantise(Section):
    """Static quantisation in QDQ form, as onnxruntime's quantiser takes it."""

    activation: Literal["uint8", "int8"] = "uint8"
    weight: Literal["int8", "uint8"] = "int8"
    per_channel: bool = True
    reduce_range: bool = False
    calibration: Literal["minmax", "entropy", "percentile"] = "minmax"
    calibration_images: Annotated[int, Field(ge=1)] = 128


class Variant(Section):
    """One way for a model to leave.

    `parity_tolerance` is the greatest difference from PyTorch's logits, in standard deviations of those logits, that counts as parity.
    """

    schema_version: Literal[1] = 1
    name: str
    description: str
    precision: Literal["float32", "int8"]
    parity_tolerance: Annotated[float, Field(gt=0)]
    quantise: Quantise | None = None

    @model_validator(mode="after")
    def _complete(self) -> Variant:
        if (self.precision == "int8") != (self.quantise is not None):
            raise PydanticCustomError("expected", 'a [quantise] table with precision "int8", and none with "float32"')
        return self


def load(name: str) -> Variant:
    """The variant of that name.

    Raises:
        RecipeError: there is none, or its file is faulty.
    """
    path = variants_dir() / f"{name}.toml"
    if name != Path(name).name or not path.is_file():
        known = ", ".join(sorted(file.stem for file in variants_dir().glob("*.toml")))
        raise RecipeError(f"export.variants: {name!r}: unknown variant, expected some of {known}. Mend the name.")
    variant = read(path, Variant)
    if variant.name != name:
        raise RecipeError(f"{path}: name = {variant.name!r}, expected {name!r}, the file's own name.")
    return variant
