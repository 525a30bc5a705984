"""A recipe: one TOML file that says for which device, on what data, and with which candidates; read into a frozen Recipe.

Keys carry the unit that a person would write (ms, MiB); properties give SI.
"""

from __future__ import annotations

import difflib
import math
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from pepr_edge import zoo
from pepr_edge.errors import RecipeError
from pepr_edge.recipe.toml import Section
from pepr_edge.records import Interpolation, Provider, SessionSettings
from pepr_edge.scoring.metrics import performance_fault
from pepr_edge.scoring.pepr import RESOURCES
from pepr_edge.untrusted.documents import name_fault

Positive = Annotated[float, Field(gt=0)]
AtLeastOne = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
SizePx = Annotated[int, Field(ge=16, le=1024)]


def _each_once(value: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(value))


def _plain(value: str) -> str:
    if fault := name_fault(value):
        raise PydanticCustomError("expected", "{fault}", {"fault": fault})
    return value


# What becomes the name of a file or a folder.
Name = Annotated[str, AfterValidator(_plain)]
Names = Annotated[tuple[Name, ...], Field(strict=False, min_length=1), AfterValidator(_each_once)]


def _not_rays(value: str) -> str:
    """The name of a resource that a node carries only where somebody gave it one."""
    if value in ("CPU", "GPU", "memory", "object_store_memory"):
        raise PydanticCustomError("expected", "a name of your own: Ray gives this one to nodes by itself")
    return value


def _bytes(mib: float | None) -> float | None:
    return None if mib is None else mib * 2.0**20


def _listed(value: Any) -> Any:
    """One size may be written without brackets."""
    return (value,) if isinstance(value, int) else value


def _named(value: Any) -> Any:
    """The word "zoo" stands for every architecture of the zoo; any other text is most likely a name without its brackets."""
    if value == "zoo":
        return tuple(zoo.architectures())
    if isinstance(value, str):
        raise PydanticCustomError(
            "expected", 'a list of names, or "zoo" for all those that `pepr-edge zoo list` shows'
        )
    return value


class Device(Section):
    """The device that the models are for. `memory_mib` is all that it has: no model may need more.

    `runtime` "auto" is onnxruntime; where the variants are "auto" too, whichever of those that are installed is the fastest. `allow_bf16`:
    a runtime may compute in bfloat16 what the file has in float32, if the quality measured under it passes.
    """

    name: str
    runtime: Literal["auto", "onnxruntime", "openvino", "pytorch"] = "auto"
    provider: Provider = "cpu"
    allow_bf16: bool = False
    threads: AtLeastOne = 2
    memory_mib: Positive | None = None
    watts_per_core: Positive | None = None

    def settings(self) -> SessionSettings:
        """How named variants are run on it: the same for all, so that their figures can be compared."""
        runtime = "onnxruntime" if self.runtime == "auto" else self.runtime
        return SessionSettings(runtime=runtime, provider=self.provider, threads=self.threads)


class Budgets(Section):
    """What a model may need on the device at most. Absent: no limit."""

    latency_p90_ms: Positive | None = None
    peak_memory_mib: Positive | None = None
    size_mib: Positive | None = None

    def si(self) -> dict[str, float]:
        """The budgets that were given: latency_p90_s, peak_memory_bytes, size_bytes."""
        given = {
            "latency_p90_s": (self.latency_p90_ms, 1e-3),
            "peak_memory_bytes": (self.peak_memory_mib, 2.0**20),
            "size_bytes": (self.size_mib, 2.0**20),
        }
        return {name: value * unit for name, (value, unit) in given.items() if value is not None}


class Data(Section):
    """The images. `source`: "phantom", a MedMNIST name, or the path of an .npz, .pt, .csv or folder.

    `on_bad_image`: an image of a folder or .csv that cannot be read stops the run, or is left out and listed: docs/images.md.
    """

    source: str = "phantom"
    channels: Literal["auto", 1, 3] = "auto"
    interpolation: Interpolation = "bilinear"
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    val_fraction: Share = 0.15
    test_fraction: Share = 0.2
    phantom_images: Annotated[int, Field(ge=60, le=1_000_000)] = 600
    on_bad_image: Literal["fail", "skip"] = "fail"


class Candidates(Section):
    """The models to try: each architecture at each size.

    `architectures`: names, or "zoo" for all 131 of zoo/catalogue.py. `weights`: "pretrained", "scratch", or a local weights file.
    """

    architectures: Annotated[Names, BeforeValidator(_named)]
    image_size_px: Annotated[
        tuple[SizePx, ...],
        Field(strict=False, min_length=1),
        BeforeValidator(_listed),
        AfterValidator(_each_once),
    ] = (64,)
    weights: str = "scratch"


class Train(Section):
    """How a candidate is trained. Protocol "paper" is Adam 5e-4, batch 32, 10 epochs, without the rest (Selvan et al. 2025).

    Mode "head" trains the classifier alone; without augmentation the features of its frozen backbone are then worked out once.
    """

    protocol: Literal["default", "paper"] = "default"
    mode: Literal["full", "head"] = "full"
    epochs: AtLeastOne = 10
    batch_size: Annotated[int, Field(ge=2)] = 32
    learning_rate: Positive = 2e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.02
    augment: Literal["light", "none"] = "light"
    flips: bool = False
    class_balanced: bool = False
    patience: AtLeastOne = 5
    device: Literal["auto", "cpu", "cuda"] = "auto"


class Cluster(Section):
    """What each candidate asks of a node, with `pepr-edge run --engine ray`. It is trained with as many threads as it asks for `cpus`.

    `device_resource`: of Ray, which the nodes carry that are, or stand for, the device: what is measured is measured on one of them. None:
    on the node on which the run was started.
    """

    cpus: AtLeastOne = 2
    gpus: Annotated[float, Field(ge=0)] = 0.0
    memory_mib: Positive | None = None
    device_resource: (
        Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$"), AfterValidator(_not_rays)] | None
    ) = None

    @property
    def memory_bytes(self) -> float | None:
        """In SI; None where none is asked for."""
        return _bytes(self.memory_mib)


class Workstation(Section):
    """The machine that trains, for what its counters cannot say. `country` is ISO 3166 alpha-3."""

    watts_per_core: Positive | None = None
    gpu_watts: Positive | None = None
    country: str | None = None


class WorkerLimits(Section):
    """What a process of one candidate may take before it is ended, so that the next one starts: a first look, a training with its export,
    or a choice of variants.

    `silence_min`: how long it may say nothing of how far it is, by which one that hangs is known. `memory_mib` is refused by Linux; on
    other systems the process is ended once it is seen to hold more. None changes what comes out, so nothing is made again for them.
    """

    time_h: Positive | None = None
    silence_min: Positive = 60.0
    memory_mib: Positive | None = None

    @property
    def time_s(self) -> float:
        """In SI; infinite where there is no limit."""
        return math.inf if self.time_h is None else self.time_h * 3600.0

    @property
    def silence_s(self) -> float:
        """In SI."""
        return self.silence_min * 60.0

    @property
    def memory_bytes(self) -> float | None:
        """In SI; None where there is no limit."""
        return _bytes(self.memory_mib)


AUTO, FLOAT32 = "auto", "fp32"


def _autotune_alone(value: Any) -> Any:
    """The word "auto" may stand without brackets; any other text is most likely a name without them."""
    if isinstance(value, str) and value != AUTO:
        raise PydanticCustomError("expected", '"auto", or a list of names of the files in export/')
    return (AUTO,) if value == AUTO else value


class Export(Section):
    """How the models leave: variants are files in export/, or "auto" for the fastest that keeps its quality, as measured on the device.

    `keep_performance`: the least share of the float32 file's performance on validation that a variant must keep (MLPerf's rule, 99 %).
    `time_budget_s`: for the ladder of one candidate. `selftest_real_images`: how many real images, of validation, each bundle holds to
    test itself on, beside generated ones: they leave with it, so by default there are none.
    """

    variants: Annotated[Names, BeforeValidator(_autotune_alone)] = (FLOAT32, "int8_static")
    keep_performance: Annotated[float, Field(ge=0, le=1)] = 0.99
    time_budget_s: Positive = 120.0
    selftest_real_images: Annotated[int, Field(ge=0, le=64)] = 0

    @property
    def auto(self) -> bool:
        """Whether there is a ladder to climb."""
        return AUTO in self.variants

    @property
    def named(self) -> tuple[str, ...]:
        """The variants that are ranked whatever comes out."""
        return tuple(name for name in self.variants if name != AUTO)

    @property
    def made(self) -> tuple[str, ...]:
        """The variants that are made whatever comes out: those named, and what a ladder starts from and falls back to."""
        return tuple(dict.fromkeys((*([FLOAT32] if self.auto else []), *self.named)))


class ProfileSettings(Section):
    """How long an artifact is measured: "full" (1024 queries and 60 s) or "quick" (128 queries and 10 s)."""

    rules: Literal["full", "quick"] = "full"


class ScoreSettings(Section):
    """What the ranking rests on."""

    performance: str = "accuracy"
    weights: dict[str, Annotated[float, Field(ge=0)]] = Field(
        default={"train_energy": 1.0, "latency": 1.0, "peak_memory": 1.0}
    )
    normalise: Literal["minmax", "max"] = "minmax"
    alpha: Annotated[float, Field(ge=1)] = 1.0

    @field_validator("performance")
    @classmethod
    def _known_metric(cls, value: str) -> str:
        if fault := performance_fault(value):
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
    """Which candidates energy is spent on: docs/search.md says what the policies do and what their parameters mean.

    A limit is on what all trainings take together, their cost probes included, evaluation apart. Of a parameter that is absent the
    policy's own default holds.
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
    def limited(self) -> bool:
        """Whether something may stop it before all is trained that the policy would train."""
        return any(limit is not None for limit in (self.max_energy_wh, self.max_time_h, self.max_co2eq_g))

    @property
    def chooses(self) -> bool:
        """Whether it decides after each epoch what to train on; else every candidate is trained to its end."""
        return self.policy != "exhaustive" or self.limited


class Bundles(Section):
    """How many of the ranked models a run leaves as bundles. Absent: all of them."""

    top: AtLeastOne | None = None


class Recipe(Section):
    """A whole recipe."""

    schema_version: Literal[1] = 1
    name: Name
    description: str = ""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    device: Device
    budgets: Budgets = Budgets()
    data: Data = Data()
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
        """What a model may need at most, by its budgets and the device's memory: latency_p90_s, peak_memory_bytes, size_bytes."""
        limits = self.budgets.si()
        if (all_bytes := _bytes(self.device.memory_mib)) is not None:
            limits["peak_memory_bytes"] = min(all_bytes, limits.get("peak_memory_bytes", math.inf))
        return limits

    @model_validator(mode="after")
    def _program(self) -> Recipe:
        """PyTorch runs what was trained, and no file that was made of it."""
        if self.device.runtime == "pytorch" and self.export.variants != (FLOAT32,):
            raise PydanticCustomError(
                "expected",
                'export.variants = ["fp32"] with device.runtime = "pytorch", which runs no other variant',
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _paper_protocol(cls, values: Any) -> Any:
        """Protocol "paper" brings defaults of its own; keys that the recipe gives still hold."""
        train = values.get("train") if isinstance(values, dict) else None
        if isinstance(train, dict) and train.get("protocol") == "paper":
            return {**values, "train": {**PAPER, **train}}
        return values


PAPER = {
    "epochs": 10,
    "batch_size": 32,
    "learning_rate": 5e-4,
    "weight_decay": 0.0,
    "augment": "none",
    "patience": 10,
}


def _one_of(value: str, known: Any) -> str:
    if value not in known:
        raise PydanticCustomError("expected", "one of {names}", {"names": ", ".join(known)})
    return value


def _shipped(folder: str, beside: str) -> Path:
    """A folder of TOML files: inside the package (wheel), else beside it (checkout, editable install)."""
    package = Path(__file__).parents[1]
    return package / folder if (package / folder).is_dir() else package.parent / beside


def recipes_dir() -> Path:
    """Where the recipes are that come with pepr_edge."""
    return _shipped("recipes", "recipes")


def variants_dir() -> Path:
    """Where the export variants are that come with pepr_edge."""
    return _shipped("variants", "export")


def find(name: str | Path) -> Path:
    """The file of a recipe, given as a path or as the name of one that comes with pepr_edge."""
    path = Path(name)
    bare = path.parent == Path() and path.suffix in ("", ".toml")
    if path.is_file() or (path.suffix == ".toml" and not bare):
        return path
    shipped = recipes_dir() / f"{path.stem}.toml"
    if bare and shipped.is_file():
        return shipped
    names = sorted(file.stem for file in recipes_dir().glob("*.toml"))
    near = difflib.get_close_matches(path.stem, names, n=1)
    hint = (
        f"Did you mean {near[0]!r}?"
        if near
        else "`pepr-edge recipes list` shows those that come with pepr_edge."
    )
    raise RecipeError(f"{name}: no such recipe. {hint}")
