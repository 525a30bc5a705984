"""Records of a ranking: its rows, its bounds, and what it depends on."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pepr_edge.records.base import Record, Split, Versioned

# The reason of a row that the run has not come to.
NOT_DONE = "not done yet: run the same command again"
Status = Literal["ok", "over_budget", "dropped", "failed"]


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
    resources: dict[str, float | None] = Field(default={})
    normalised: dict[str, float | None] = Field(default={})
    methods: dict[str, str] = Field(default={})
    pepr: dict[str, float | None] = Field(default={})
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
    winners: dict[str, str | None] = Field(default={})
    lifetime: Lifetime | None = None
    devices: tuple[DeviceWinner, ...] = ()
