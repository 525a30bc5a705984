"""The records that pass between stages: frozen, versioned, in SI units with the unit in the name.

What was not measured is None, never 0. Raw samples are kept; summaries are computed on reading.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from pepr_edge.foreign import name_fault
from pepr_edge.places import without_places

Method = Literal["measured", "declared", "counted", "unavailable"]
# How long something is measured: see field/rules.py.
RulesName = Literal["full", "quick", "look"]
Status = Literal["ok", "over_budget", "dropped", "failed"]
Split = Literal["train", "val", "test"]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
Outcome = Literal["chosen", "slower", "quality", "memory", "size", "failed", "not tried"]
Provider = Literal["cpu", "cuda", "tensorrt", "directml"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]
NonNegative = Annotated[float, Field(ge=0)]


def plain_name(value: str) -> str:
    """A text that becomes a file's name, or a part of one.

    Raises:
        ValueError: no system would take it for one, or it leads elsewhere.
    """
    if fault := name_fault(value):
        raise ValueError(f"expected {fault}")
    return value


FileName = Annotated[str, AfterValidator(plain_name)]
# What went wrong, as a library or a log says it: it goes into reports, and from there to others.
Words = Annotated[str, AfterValidator(without_places)]


class Record(BaseModel):
    """Base of all records: immutable, no unknown keys, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def first_fault(fault: ValidationError) -> str:
    """Where and what the first fault of a document is, on one line whatever its keys are."""
    first = fault.errors()[0]
    where = " ".join(".".join(str(part) for part in first["loc"]).split()) or "the file"
    return f"{where}: {first['msg']}"


def other_version(fault: ValidationError) -> object | None:
    """The schema_version of a document that is of another version than this; None where that is not what is wrong with it."""
    return next((error["input"] for error in fault.errors() if error["loc"] == ("schema_version",)), None)


class Versioned(Record):
    """A record that is a file of its own."""

    schema_version: Literal[1] = 1


class Quantity(Record):
    """One figure and how it was obtained. The unit is in the name of the field that holds it."""

    value: NonNegative | None
    method: Method
    source: str = ""


class Estimate(Record):
    """A performance with its 95 % interval, on n images of one split."""

    value: float
    ci: tuple[float, float]
    split: Split
    n: int


class Preprocess(Record):
    """How an image becomes the model's input; see `pepr_edge.preprocess`."""

    channels: Literal[1, 3]
    image_size_px: Annotated[int, Field(ge=8, le=4096)]
    interpolation: Interpolation = "bilinear"
    mean: tuple[float, ...]
    std: tuple[Annotated[float, Field(gt=0)], ...]
    scale: Annotated[float, Field(gt=0)] = 255.0


class SplitInfo(Record):
    """Number of images of one split, in all and by class, in the order of the labels."""

    images: Count
    class_counts: tuple[Count, ...]


class DataInfo(Versioned):
    """What a dataset is, as recorded with everything that was trained on it.

    `majority_baseline` is the accuracy on the test split of a model that always says the commonest class of the training split.
    `skipped_images` could not be read and are in no split.
    """

    name: str
    format: str
    sha256: Sha256
    labels: tuple[str, ...]
    channels: Literal[1, 3]
    fraction: float = 1.0
    splits: dict[Split, SplitInfo]
    majority_baseline: float
    skipped_images: Count = 0
    notes: tuple[str, ...] = ()


class Candidate(Record):
    """One model to be tried: an architecture at an image size, from some initial weights ("pretrained", "scratch" or a file's name)."""

    architecture: FileName
    image_size_px: int
    weights: str = "scratch"
    weights_sha256: Sha256 | None = None
    in_channels: Literal[1, 3]
    num_classes: Annotated[int, Field(ge=2)]

    @property
    def id(self) -> str:
        """Name of the candidate's folder, `<architecture>@<px>`."""
        return f"{self.architecture}@{self.image_size_px}"


class Epoch(Record):
    """One epoch of training. `energy_j` is that of the training steps alone; None where it was not measured."""

    epoch: int
    train_loss: float
    val_loss: float
    val_performance: float
    duration_s: float
    energy_j: float | None


class ProbeResult(Record):
    """Throughput of one memory layout and precision, measured over a few training steps; None with the reason where it failed."""

    layout: Literal["contiguous", "channels_last"]
    precision: Literal["float32", "bfloat16", "float16"]
    images_per_s: float | None
    reason: Words = ""


class TrainCost(Record):
    """What the training cost, all epochs counted; the evaluation on validation and test apart.

    `peak_memory_bytes` is that of the training process, interpreter and libraries included.
    """

    energy_j: Quantity
    co2eq_g: Quantity
    duration_s: Quantity
    peak_memory_bytes: Quantity
    gpu_peak_memory_bytes: Quantity
    images: Quantity
    evaluation_energy_j: Quantity
    evaluation_duration_s: Quantity


class Environment(Record):
    """Where and with what a figure was obtained. Holds nothing that names a person or a machine."""

    python: str
    platform: str
    cpu: str
    cores: int
    threads: int
    accelerator: str = ""
    versions: dict[str, str]


class TrainResult(Versioned):
    """A trained candidate. `performance` holds `val_<metric>` and `<metric>` (test) by name."""

    key: str
    candidate: Candidate
    preprocess: Preprocess
    num_params: int
    checkpoint: FileName
    checkpoint_sha256: Sha256
    data_sha256: Sha256
    protocol: str
    mode: str
    layout: str
    precision: str
    probes: tuple[ProbeResult, ...]
    epochs: tuple[Epoch, ...]
    best_epoch: int
    stopped_early: bool
    performance_metric: str
    performance: dict[str, Estimate]
    cost: TrainCost
    environment: Environment
    seed: int


class Lost(Record):
    """What interruptions took from a training: it was spent, and is of no epoch. `energy_j` is None where it was not measured."""

    interruptions: Count = 0
    energy_j: NonNegative | None = 0.0
    duration_s: NonNegative = 0.0
    images: Count = 0


class Training(Versioned):
    """training.json: a training under way, after its mode was chosen (no epochs yet) and after each epoch.

    `cost` is all that was spent on it by then, what was `lost` included. `state` is the file that it goes on from, None before the first
    epoch. `stopped_early`: by its patience, so that more epochs are not to be had.
    """

    key: str
    candidate: Candidate
    num_params: int
    layout: Literal["contiguous", "channels_last"]
    precision: Literal["float32", "bfloat16", "float16"]
    probes: tuple[ProbeResult, ...]
    epochs: tuple[Epoch, ...] = ()
    epochs_wanted: int
    best_epoch: int = 0
    stopped_early: bool = False
    cost: TrainCost
    lost: Lost = Lost()
    state: str | None = None
    state_sha256: Sha256 | None = None


class CostProbe(Versioned):
    """probe.json: what an epoch of a candidate would cost, by a few training steps in its fastest mode.

    `epoch_energy_j` and `epoch_duration_s` are estimates for the training steps of one epoch. `cost` is all that was spent on the candidate
    by the end of the probe; a training that follows counts it in.
    """

    key: str
    candidate: Candidate
    num_params: int
    layout: str
    precision: str
    steps: int
    images_per_s: NonNegative
    epoch_energy_j: Quantity
    epoch_duration_s: Quantity
    peak_memory_bytes: Quantity
    gpu_peak_memory_bytes: Quantity
    cost: TrainCost


class Parity(Record):
    """Agreement of an ONNX file with PyTorch on real images. `tolerance` comes from the spread of PyTorch's logits."""

    images: int
    batches: tuple[int, ...]
    max_abs_diff: float
    tolerance: float
    passed: bool


class Flips(Record):
    """Decisions that differ from those of the model before, on n images of one split; `ci` is the 95 % interval of their share."""

    count: int
    n: int
    ci: tuple[float, float]
    split: Split = "test"


class SessionSettings(Record):
    """How the runtime was told to run.

    `precision` is that of what the file has in float32; `batch` is the one number of images that the model is compiled for, None for any.
    """

    runtime: str = "onnxruntime"
    provider: Provider = "cpu"
    threads: Annotated[int, Field(ge=1)] = 1
    spinning: bool = False
    arena: bool = True
    graph_optimisation: str = "all"
    precision: Literal["float32", "bfloat16"] = "float32"
    batch: Annotated[int, Field(ge=1)] | None = None


class Quality(Record):
    """What a file keeps on validation of its candidate's float32 file, run as it would run on the device.

    `performance` holds metrics by name, `kept` the share of the float32 file's value for those that the gate rests on. `passed`: each of
    these is at least `threshold`; `reason` says which is not.
    """

    settings: SessionSettings
    threshold: float
    performance: dict[str, Estimate]
    kept: dict[str, float]
    flips: Flips
    passed: bool
    reason: str = ""


class Trial(Record):
    """One file under one runtime with some options: the median of `n` latencies, taken in turn with the best so far of its ladder.

    `latency_s` is None where it could not be run; `reason` says why. `peak_memory_bytes` is that of its process.
    """

    settings: SessionSettings
    latency_s: NonNegative | None
    n: Count = 0
    load_s: NonNegative | None = None
    peak_memory_bytes: int | None = None
    reason: Words = ""


class Rung(Record):
    """One variant that a ladder tried or left out, and what became of it."""

    variant: str
    outcome: Outcome
    reason: Words
    remedy: str | None = None
    made_s: float | None = None
    size_bytes: int | None = None
    trials: tuple[Trial, ...] = ()
    quality: Quality | None = None


class Machine(Record):
    """What was measured, or chosen by measuring, holds for this processor with these versions of the libraries."""

    cpu: str
    versions: dict[str, str]


class Artifact(Versioned):
    """One ONNX file of a candidate. `performance` was measured on this very file as it will be run, as in TrainResult.

    `quantised` is None for float32, and else says whether int8 was made as the variant asks, or with which remedy. `settings` are those
    that a ladder chose on the machine `chosen_on`, whose `rungs` these are; None and empty where the recipe names its variants. `notes`
    say what to beware of.
    """

    key: str
    candidate: Candidate
    variant: str
    path: str
    sha256: Sha256
    size_bytes: int
    opset: int
    exporter: str
    producer: str
    dynamic_batch: bool
    simplified: bool = False
    quantised: str | None = None
    parity: Parity
    flips: Flips
    quality: Quality | None = None
    performance: dict[str, Estimate]
    performance_before: dict[str, Estimate]
    settings: SessionSettings | None = None
    rungs: tuple[Rung, ...] = ()
    chosen_on: Machine | None = None
    notes: tuple[str, ...] = ()
    duration_s: float


class Failure(Versioned):
    """A candidate or a variant that did not get through: the stage, the reason in one line, the end of its log."""

    key: str
    candidate: Candidate
    variant: str | None = None
    stage: str
    reason: Words
    log_tail: tuple[Words, ...] = ()


class Validity(Record):
    """Whether a measurement may be relied on, and if not, why."""

    valid: bool
    reasons: tuple[str, ...] = ()


class Percentiles(Record):
    """Early-stopping estimates of latency, seconds; None where there are too few samples."""

    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None


class DeviceFacts(Record):
    """What the device is and the state that it was in; nothing that identifies it or its owner. None where it cannot be read."""

    cpu: str
    architecture: str
    isa: tuple[str, ...]
    cores: int
    memory_bytes: int | None
    os: str
    python: str
    versions: dict[str, str]
    affinity: int | None = None
    cgroup_cpu_limit: float | None = None
    cgroup_memory_bytes: int | None = None
    governor: str | None = None
    frequency_mhz: float | None = None
    temperature_c: float | None = None
    on_battery: bool | None = None
    gpu: str | None = None

    @property
    def machine(self) -> Machine:
        """What figures from it hold for."""
        return Machine(cpu=self.cpu, versions=self.versions)


class SelfTestResult(Record):
    """A bundle's own test, run on this device: `agreeing` of its `n` decisions are as at home; None in a report from before it was kept."""

    passed: bool
    decisions_agree: bool
    max_abs_diff: float
    tolerance: float
    n: int
    agreeing: int | None = None


class DeviceProfile(Versioned):
    """One artifact on one device under one runtime. Latencies are raw, after warm-up, in the order they were taken.

    `peak_memory_bytes` comes from a pass of its own; `memory_stages_bytes` holds the high-water marks after import, load,
    first run and at the end.
    `provider_used` is what really ran, whatever was asked for.
    """

    key: str = ""
    artifact_sha256: Sha256
    settings: SessionSettings
    provider_used: str
    scenario: str = "single_stream"
    paced_s: float | None = None
    rules: RulesName
    input_shape: tuple[int, ...]
    validity: Validity
    latencies_s: tuple[NonNegative, ...]
    warmup_runs: int
    import_s: float
    load_s: float
    first_s: float
    peak_memory_bytes: int | None
    memory_stages_bytes: dict[str, int | None]
    cpu_s_per_inference: float | None
    energy_j_per_inference: Quantity
    load_before: float | None
    load_after: float | None
    steal_s: float | None
    device: DeviceFacts


class FirstLook(Versioned):
    """look.json: what an untrained candidate needs on the device in one variant. Its graph is that of the trained one.

    `profile` is None where that could not be found out, and `reason` says why. `machine` is the one that looked; None where there was no
    file to look at.
    """

    key: str
    candidate: Candidate
    variant: str
    size_bytes: int | None = None
    machine: Machine | None = None
    profile: DeviceProfile | None = None
    reason: Words = ""


class Prospect(Record):
    """What one variant of a candidate would use, by a first look at it and a cost probe; names and units as in RankingRow."""

    variant: str
    resources: dict[str, float | None]
    methods: dict[str, str]
    size_bytes: int | None


Verdict = Literal["open", "finished", "concluded", "dropped", "skipped", "rejected", "failed"]


class Searched(Record):
    """One candidate of a search, and what became of it so far.

    "finished": trained to its end; "concluded": the best when the search stopped, with the epochs that it had; "dropped": given up after
    some epochs; "skipped": never begun; "rejected": breaks a budget of the device; "open": none of these when the search stopped.
    `r` is its normalised cost in the run's score; `epochs` those trained; `spent_j` the energy of its training, its cost probe included;
    `full_j` what its whole training would take by that probe, or of a rejected one, which has none, by its latency beside the others'.
    """

    candidate: str
    verdict: Verdict
    reason: Words
    r: float | None = None
    epochs: int = 0
    spent_j: float | None = None
    full_j: float | None = None
    prospects: tuple[Prospect, ...] = ()


class SearchLog(Versioned):
    """search.json: the candidates of a run whose policy or whose budgets chose among them, and where that is by now.

    `key` is that of the run. `stopped` says why it stopped; empty while it goes on, and where the budgets alone chose. `spent_j` is the
    energy of all trainings, `saved_j` what the others would have taken, where it is known. `machine` is the one that was looked at.
    """

    key: str
    policy: str
    machine: Machine | None = None
    candidates: tuple[Searched, ...]
    stopped: str = ""
    spent_j: float | None = None
    saved_j: float | None = None


class RunInfo(Versioned):
    """run.json: what a run directory is of. `key` is the hash of all that its result depends on.

    `commit` is that of the checkout that pepr_edge ran from; None where it was installed from a wheel.
    """

    key: str
    recipe: str
    status: Literal["running", "finished"]
    candidates: tuple[Candidate, ...]
    data: DataInfo
    pepr_edge: str
    commit: str | None = None


class Bound(Record):
    """Least and greatest value of a resource over the set that a score was computed on, and how its values were obtained."""

    lo: float
    hi: float
    unit: str
    method: str = ""


class RankingRow(Record):
    """One artifact in the ranking. A row that failed or broke a budget has no rank, and its reason.

    `performance` is that on `Ranking.performance_split`, on which the choice rests; `test_performance` was read once, afterwards.
    `pepr` is None for an entry whose resource was not measured. `rank_ci` and `p_best` say how far its place would move, and how often it
    would be the first, if the validation images were drawn again; the resources stay as they are.
    """

    rank: int | None
    candidate: str
    architecture: str
    variant: str | None
    status: Status
    reason: str = ""
    num_params: int | None = None
    performance: float | None = None
    performance_ci: tuple[float, float] | None = None
    test_performance: float | None = None
    test_performance_ci: tuple[float, float] | None = None
    resources: dict[str, float | None] = {}
    normalised: dict[str, float | None] = {}
    methods: dict[str, str] = {}
    pepr: dict[str, float | None] = {}
    size_bytes: int | None = None
    inference_energy_j: float | None = None
    lifetime_j_per_image: float | None = None
    rank_ci: tuple[int, int] | None = None
    p_best: float | None = None
    tied_with_best: bool | None = None
    warnings: tuple[str, ...] = ()
    artifact_sha256: str | None = None
    bundle: str | None = None


class Baseline(Record):
    """A free model that always says one class, the commonest one of training if by the metric no other is better.

    Its performance is its PePR, since it uses nothing.

    It is no member of the set that the bounds rest on. `outranks` of the `of` ranked models score less.
    """

    label: str
    performance: float
    outranks: int
    of: int


class Outlier(Record):
    """A model that, left out alone, changes which are the best of the others: `enters` take the place of `leaves`."""

    name: str
    enters: tuple[str, ...]
    leaves: tuple[str, ...]


class Sensitivity(Record):
    """Between which values of one setting the winner stays the winner, and who wins beyond; None: it stays to the end of what was tried."""

    setting: str
    at: float
    tried: tuple[float, float]
    stays: tuple[float, float]
    winner_below: str | None
    winner_above: str | None


class Stretch(Record):
    """From how many images on, and to how many, one model needs the least energy in all. `until` None: for ever."""

    name: str
    start: float
    until: float | None


class Lifetime(Record):
    """Energy over a life of so many `images`: which model is the cheapest for how many, of those whose energy is known."""

    images: float
    stretches: tuple[Stretch, ...]
    methods: dict[str, str]
    left_out: tuple[str, ...] = ()
    reason: str = ""


class DeviceWinner(Record):
    """Which artifact is the best by the figures of one class of devices alone, or by the worst over all of them ("worst case").

    `reports` are the files that it rests on; `latency_s` (p90) and `peak_memory_bytes` are the winner's there, None where not measured.
    `home_winner` is that of the run's own figures. `moved` says in words what changed against the ranking at home, a sentence each.
    """

    device: str
    reports: tuple[str, ...]
    winner: str | None
    latency_s: float | None = None
    peak_memory_bytes: float | None = None
    home_winner: str | None
    moved: tuple[str, ...] = ()


class Ranking(Versioned):
    """ranking.json. `set_id` names the set of models that `bounds`, and with it every score, rests on.

    `outliers`, `sensitivity` and `winners` (by normalisation) say what the first places hang on. `positive` is the class that the metric is
    of, None where it is of all. `measured_on` names the processors that the latencies are of, whatever the `device` is called.
    """

    performance_metric: str
    performance_split: Split
    weights: dict[str, float]
    normalise: Literal["minmax", "max", "reference"]
    alpha: float
    set_id: str
    device: str
    measured_on: tuple[str, ...] = ()
    data: str
    majority_baseline: float
    bounds: dict[str, Bound]
    rows: tuple[RankingRow, ...]
    positive: str | None = None
    baseline: Baseline | None = None
    outliers: tuple[Outlier, ...] = ()
    sensitivity: tuple[Sensitivity, ...] = ()
    winners: dict[str, str | None] = {}
    lifetime: Lifetime | None = None
    devices: tuple[DeviceWinner, ...] = ()


class SelfTestSpec(Record):
    """How a bundle's selftest.npz is judged: logits within `tolerance`, and every decision the same.

    Of its `n` images the last `real_images` are of the data that the model was validated on, the others are generated.
    """

    n: int
    tolerance: float
    real_images: int = 0


class TensorSpec(Record):
    """Name, type and shape of a model's input or output; -1 is the batch."""

    name: str
    dtype: str = "float32"
    shape: tuple[int, ...]


class Fallback(Record):
    """The float32 file that lies in a bundle beside a model of another variant, for where that one does not pass its self-test."""

    file: str
    variant: str
    selftest: SelfTestSpec


class Manifest(Versioned):
    """manifest.json of a bundle: all that is needed to use the model, and where it comes from.

    How it was run at home is `profile.settings`.
    """

    architecture: str
    variant: str
    image_size_px: int
    num_params: int
    labels: tuple[str, ...]
    preprocess: Preprocess
    input: TensorSpec
    output: TensorSpec
    performance: dict[str, Estimate]
    performance_metric: str
    train_cost: TrainCost
    profile: DeviceProfile
    pepr: dict[str, float | None]
    rank: int
    bounds: dict[str, Bound]
    set_id: str
    selftest: SelfTestSpec
    fallback: Fallback | None = None
    provenance: dict[str, str | int | float | dict[str, str] | None]
    files: dict[str, Sha256]


class Preprocessing(Record):
    """From an image file to the model's input: decode, resize, scale. `source_px` is the width of that square JPEG, read once before."""

    median_s: NonNegative
    n: Count
    source_px: Count


class Throughput(Record):
    """Images per second when `batch` of them are given to the model at once."""

    batch: Annotated[int, Field(ge=1)]
    images_per_s: NonNegative
    n: Count


class ThreadTiming(Record):
    """Latency of one image with so many threads: the median of `n`; None where it could not be run."""

    threads: Annotated[int, Field(ge=1)]
    p50_s: NonNegative | None
    n: Count


class Sustained(Record):
    """Median latency of the first and of the last third of the measurement, seconds: a device that grows hot slows down."""

    first_third_s: NonNegative
    last_third_s: NonNegative


class BenchResult(Record):
    """One bundle under one scenario on the device that the report is of.

    `partial`: the measuring was cut short in it, and what it holds is all that there was. `fallback`: the float32 file beside the model
    was measured. `warnings` say what was not as it should be on the device, and what to do.
    """

    bundle: str
    artifact_sha256: Sha256
    runtime: str
    provider_used: str
    threads: int
    scenario: str
    rules: Literal["full", "quick"]
    validity: Validity
    latencies_s: tuple[NonNegative, ...]
    percentiles_s: Percentiles
    import_s: float
    load_s: float
    first_s: float
    peak_memory_bytes: int | None
    memory_stages_bytes: dict[str, int | None]
    cpu_s_per_inference: float | None
    energy_j_per_inference: float | None
    energy_method: Method = "unavailable"
    selftest: SelfTestResult | None
    settings: SessionSettings | None = None
    paced_s: float | None = None
    warmup_runs: int | None = None
    load_before: float | None = None
    load_after: float | None = None
    steal_s: float | None = None
    partial: bool = False
    fallback: bool = False
    preprocessing: Preprocessing | None = None
    throughput: tuple[Throughput, ...] = ()
    thread_sweep: tuple[ThreadTiming, ...] = ()
    sustained: Sustained | None = None
    warnings: tuple[str, ...] = ()


class FieldReport(Versioned):
    """bench --out: what one real device measured, to be brought home. `partial` where the measuring was cut short.

    `checksum` is the sha256 of all else in it (`field.seal`): a report that was changed on its way is noticed.
    """

    emulated: bool
    partial: bool
    device: DeviceFacts
    results: tuple[BenchResult, ...]
    checksum: Sha256 | None = None
