"""A recipe: a TOML file with the device, the data and the candidates of a run, read into a frozen Recipe.

The unit in a key is the unit that people write (ms, MiB); properties return SI units.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from pepr_edge import zoo
from pepr_edge.recipe.about import AboutSettings
from pepr_edge.recipe.auto import AUTO, Auto, OrAuto
from pepr_edge.recipe.key_types import (
    AtLeastOne,
    FindingNames,
    Name,
    Names,
    Positive,
    Share,
    Sizes,
    Subgroups,
)
from pepr_edge.recipe.machines import Budgets, Cluster, Device, WorkerLimits, Workstation
from pepr_edge.recipe.toml import Section
from pepr_edge.recipe.training import PAPER, SCRATCH, Train
from pepr_edge.records import Candidate, Interpolation
from pepr_edge.scoring.metrics import performance_fault
from pepr_edge.scoring.pepr import RESOURCES
from pepr_edge.tasks import parse_target

PRETRAINED = "pretrained"
BILINEAR: Interpolation = "bilinear"
FLOAT32 = "fp32"
ColumnRole = Literal["path", "label", "split", "group"]
GreyBits = Annotated[int, Field(ge=8, le=16)]


def _architectures(value: Any) -> Any:
    """Replace "zoo" by every architecture of the zoo; refuse other text, likely a name without brackets."""
    if value == "zoo":
        return tuple(zoo.architectures())
    if isinstance(value, str):
        raise PydanticCustomError(
            "expected", 'a list of names, or "zoo" for all names in `pepr-edge zoo list`'
        )
    return value


class Data(Section):
    """The images. `source`: what a format of `pepr_edge.data.formats` recognises.

    `interpolation` "auto": the filter that a candidate's weights expect, and bilinear from scratch.
    `on_bad_image`: an unreadable image of a folder or a list stops the run ("fail"), or is left out and
    recorded ("skip"), see docs/images.md. `columns`: the columns of a table that have other names.
    `grey_bits`: the depth of grey images of more than 8 bits; "auto": what nearly all of their pixels need.
    `raters`: several targets of an image (.npz, .pt) are votes, and the majority counts. `subgroups`: columns
    of a table by whose values the test performance is reported. `findings`: the columns of 0 and 1 of a table
    whose images may have several, or names for the columns of a matrix. `separator`: between several labels.
    """

    source: str = "phantom"
    channels: Literal["auto", 1, 3] = "auto"
    interpolation: Literal[Auto, Interpolation] = AUTO
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    val_fraction: Share = 0.15
    test_fraction: Share = 0.2
    phantom_images: Annotated[int, Field(ge=60, le=1_000_000)] = 600
    on_bad_image: Literal["fail", "skip"] = "fail"
    columns: dict[ColumnRole, str] = Field(default={})
    grey_bits: Annotated[int | Auto, OrAuto(GreyBits, "an integer")] = AUTO
    raters: bool = False
    subgroups: Subgroups = ()
    findings: FindingNames = ()
    separator: Annotated[str, Field(max_length=8)] = ""

    def filter_for(self, candidate: Candidate) -> Interpolation:
        """Return the filter by which the images of a candidate are resized."""
        return self.filter_of(candidate.interpolation)

    def filter_of(self, expected: Interpolation | None) -> Interpolation:
        """Return the filter for weights that expect one, or none."""
        return (expected or BILINEAR) if self.interpolation == AUTO else self.interpolation


class TaskSettings(Section):
    """What a label is. `kind`: "auto" is what the data shows; grades are "ordinal" where the recipe says so.

    `positive`: the class of two that sensitivity speaks of; None: chosen by its name. `order`: the grades of
    an ordinal task, the lowest first; empty: by their numbers.
    """

    kind: Literal["auto", "multiclass", "binary", "ordinal", "multilabel"] = "auto"
    order: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(strict=False)] = ()
    positive: Annotated[str, Field(min_length=1)] | None = None


class DecisionSettings(Section):
    """How a probability becomes a decision. `target`: what the threshold is to reach, on validation.

    `refer_share`: share of images like those of validation that may be referred to a person. `max_error`:
    share of wrong decisions among those that are not. One of them, or neither: every image gets a class.
    """

    target: str = "argmax"
    refer_share: Annotated[float, Field(gt=0, le=0.5)] | None = None
    max_error: Annotated[float, Field(gt=0, lt=1)] | None = None

    @property
    def refer(self) -> str | None:
        """What the recipe asks for of referred images, as it is written there; None: no image is referred."""
        for name in ("refer_share", "max_error"):
            value = getattr(self, name)
            if value is not None:
                return f"{name} = {value:g}"
        return None

    @model_validator(mode="after")
    def _one_limit(self) -> DecisionSettings:
        if self.refer_share is not None and self.max_error is not None:
            raise PydanticCustomError(
                "expected", "refer_share or max_error, not both: each of them fixes which images are referred"
            )
        return self

    @field_validator("target")
    @classmethod
    def _known_target(cls, value: str) -> str:
        try:
            parse_target(value)
        except ValueError as fault:
            raise PydanticCustomError("expected", "{fault}", {"fault": str(fault)}) from None
        return value


class Candidates(Section):
    """The models to try: each architecture at each image size.

    `architectures`: names, or "zoo" for all 131 of zoo/catalogue.py. `image_size_px`: "auto" is the size that
    suits the images and the architecture (recipe/settings.py). `weights`: "pretrained", "scratch", "auto"
    (pretrained where they can be had, see train/weights/resolving.py), or the path of a weights file.
    `weights_dir`: a folder with files of pretrained weights, named by architecture.
    """

    architectures: Annotated[Names, BeforeValidator(_architectures)]
    image_size_px: Annotated[tuple[int, ...] | Auto, OrAuto(Sizes, "a list")] = (64,)
    weights: str = AUTO
    weights_dir: str | None = None

    @model_validator(mode="after")
    def _weights_dir_is_used(self) -> Candidates:
        if self.weights_dir is not None and self.weights not in (AUTO, PRETRAINED):
            raise PydanticCustomError(
                "expected", 'weights = "auto" or "pretrained" with weights_dir, which nothing else reads'
            )
        return self

    @property
    def weights_file(self) -> str | None:
        """The path of the weights file that the recipe names; None if it names none."""
        return None if self.weights in (AUTO, PRETRAINED, SCRATCH) else self.weights

    @property
    def count(self) -> int:
        """The number of models."""
        sizes = 1 if self.image_size_px == AUTO else len(self.image_size_px)
        return len(self.architectures) * sizes


def _variants(value: Any) -> Any:
    """Accept "auto" without brackets; refuse any other text, most likely a name without brackets."""
    if isinstance(value, str) and value != AUTO:
        raise PydanticCustomError("expected", '"auto", or a list of names of the files in export/')
    return (AUTO,) if value == AUTO else value


class Export(Section):
    """How the models are exported.

    `variants`: files in export/, or "auto" for the fastest variant that keeps its quality, as measured on
    the device. `keep_performance`: a variant that is shown to keep less than this share of the model's
    validation performance is rejected (99 %, as in MLPerf). `time_budget_s`: time for autotuning one
    candidate.
    `selftest_real_images`: number of real validation images in each bundle's self-test, besides generated
    images. They leave the site with the bundle, so the default is 0.
    """

    variants: Annotated[Names, BeforeValidator(_variants)] = (FLOAT32, "int8_static")
    keep_performance: Annotated[float, Field(ge=0, le=1)] = 0.99
    time_budget_s: Positive = 120.0
    selftest_real_images: Annotated[int, Field(ge=0, le=64)] = 0

    @property
    def auto(self) -> bool:
        """True if the variant is chosen by autotuning."""
        return AUTO in self.variants

    @property
    def named(self) -> tuple[str, ...]:
        """The variants that the recipe names; they are always ranked."""
        return tuple(name for name in self.variants if name != AUTO)

    @property
    def required(self) -> tuple[str, ...]:
        """The variants that are always made: the named ones, and fp32 as start and fallback of autotuning."""
        if not self.auto:
            return self.named
        return (FLOAT32, *(name for name in self.named if name != FLOAT32))


class ProfileSettings(Section):
    """How long an artifact is measured.

    "adaptive": 1,024 queries, and until the p90 is known to 2 % or its place in the ranking is certain; what
    is handed over in bundles is then measured by the full rules. "full": 1,024 queries and 60 s. "quick":
    128 queries and 10 s.
    """

    rules: Literal["adaptive", "full", "quick"] = "adaptive"


class ScoreSettings(Section):
    """How the ranking is computed.

    `floor`: the min performance of a ranked model; a model that is not shown to beat the majority-class
    baseline has no rank in any case. `skill`: rank by (P - P0) / (1 - P0) in place of the performance P, with
    P0 the performance of the baseline.
    """

    performance: str = "accuracy"
    floor: Share | None = None
    skill: bool = False
    weights: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default={"train_energy": 1.0, "latency": 1.0, "peak_memory": 1.0}
    )
    normalise: Literal["minmax", "max"] = "minmax"
    alpha: Annotated[float, Field(ge=1)] = 1.0

    @field_validator("performance")
    @classmethod
    def _known_metric(cls, value: str) -> str:
        fault = performance_fault(value)
        if fault:
            raise PydanticCustomError("expected", "{fault}", {"fault": fault})
        return value

    @field_validator("weights")
    @classmethod
    def _known_resources(cls, value: dict[str, float]) -> dict[str, float]:
        for name in value:
            _one_of(name, RESOURCES)
        if sum(value.values()) <= 0:
            raise PydanticCustomError("expected", "at least one weight above 0")
        return value


class SearchSettings(Section):
    """How training energy is shared among the candidates; docs/search.md explains policies and parameters.

    A limit applies to all trainings together, with their cost probes and without evaluation. For an absent
    parameter the policy's own default applies.
    """

    policy: Literal["exhaustive", "halving", "bounded"] = "exhaustive"
    max_energy_wh: Positive | None = None
    max_time_h: Positive | None = None
    max_co2eq_g: Positive | None = None
    confidence: Annotated[float, Field(ge=0, le=1)] | None = None
    share: Annotated[float, Field(gt=0, le=1)] | None = None
    least_trainings: Annotated[float, Field(ge=0)] | None = None
    eta: Annotated[int, Field(ge=2)] | None = None

    @property
    def has_stop_rules(self) -> bool:
        """True if a limit may end the search before the policy does."""
        return any(limit is not None for limit in (self.max_energy_wh, self.max_time_h, self.max_co2eq_g))

    @property
    def adaptive(self) -> bool:
        """True if the search decides after each epoch what to train; else it trains every candidate fully."""
        return self.policy != "exhaustive" or self.has_stop_rules


class Bundles(Section):
    """The number of ranked models that become bundles. Absent: all."""

    top: AtLeastOne | None = None


class Recipe(Section):
    """A complete recipe."""

    schema_version: Literal[1] = 1
    name: Name
    description: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    about: AboutSettings = AboutSettings()
    device: Device
    budgets: Budgets = Budgets()
    data: Data = Data()
    task: TaskSettings = TaskSettings()
    decision: DecisionSettings = DecisionSettings()
    candidates: Candidates
    train: Train = Train()
    workstation: Workstation = Workstation()
    cluster: Cluster = Cluster()
    worker: WorkerLimits = WorkerLimits()
    export: Export = Export()
    profile: ProfileSettings = ProfileSettings()
    score: ScoreSettings = ScoreSettings()
    search: SearchSettings = SearchSettings()
    bundles: Bundles = Bundles()

    def limits(self) -> dict[str, float]:
        """Return the limits of a model from the budgets and the device's memory.

        Keys: latency_p90_s, peak_memory_bytes, size_bytes; a limit that is not set is absent.
        """
        limits = self.budgets.si()
        device_memory_bytes = self.device.memory_bytes
        if device_memory_bytes is not None:
            limits["peak_memory_bytes"] = min(device_memory_bytes, limits.get("peak_memory_bytes", math.inf))
        return limits

    @model_validator(mode="after")
    def _teacher_fits(self) -> Recipe:
        """A student is a second training, and needs a teacher that is fully trained."""
        if self.train.teacher is None:
            return self
        if self.train.repeats != 1:
            raise PydanticCustomError("expected", "train.repeats = 1 with train.teacher")
        if self.search.adaptive:
            raise PydanticCustomError(
                "expected", 'search.policy = "exhaustive", without a limit, with train.teacher'
            )
        if self.train.mode == "head":
            raise PydanticCustomError("expected", 'train.mode = "full" or "gradual" with train.teacher')
        return self

    @model_validator(mode="after")
    def _pytorch_runs_fp32_only(self) -> Recipe:
        """PyTorch runs the trained model itself, not an exported file."""
        if self.device.runtime == "pytorch" and self.export.variants != (FLOAT32,):
            raise PydanticCustomError(
                "expected",
                'export.variants = ["fp32"] with device.runtime = "pytorch", which runs no other variant',
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _paper_protocol(cls, values: Any) -> Any:
        """Apply the defaults of protocol "paper"; keys in the recipe override them."""
        train = values.get("train") if isinstance(values, dict) else None
        if isinstance(train, dict) and train.get("protocol") == "paper":
            return {**values, "train": {**PAPER, **train}}
        return values


def _one_of(value: str, known: Any) -> str:
    if value not in known:
        raise PydanticCustomError("expected", "one of {names}", {"names": ", ".join(known)})
    return value
