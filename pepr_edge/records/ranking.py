"""Records of a ranking: its rows, its bounds, and how far it depends on them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pepr_edge.records.base import Quantity, Record, Split, Versioned
from pepr_edge.records.data import PositiveBy
from pepr_edge.records.evaluation import Figure, Subgroups

# The reason of a row that the run has not reached yet.
NOT_DONE = "not done yet: run the same command again"
Status = Literal["ok", "over_budget", "no_skill", "dropped", "failed"]


class Bound(Record):
    """Min and max of a resource over the set of a score, and how its values were obtained."""

    lo: float
    hi: float
    unit: str
    method: str = ""


class RankingRow(Record):
    """One artifact in the ranking. If it failed, broke a budget or has no skill, it has a reason, no rank.

    `weights` are those that the training began with: "pretrained", "scratch" or the name of a file; empty in
    rankings of earlier versions. `performance` is measured on `Ranking.performance_split` and decides the
    ranking: the mean over `repeats` trainings with different seeds, `performance_sd` their standard deviation
    (None for one training). `test_performance` is read once, afterwards, and is that of the deployed file;
    its mean and deviation over several seeds are beside it. `skill` is the performance on a scale from 0, the
    majority-class baseline, to 1. `num_params` are the parameters of the deployed form, `trained_params`
    those of the trained one. A value of `pepr` is None if its resource was not measured. `resources_sd` holds
    the standard errors of the resources, as far as they were measured. `rank_ci` is the interval of the rank
    and `p_best` the share of first places when validation images, seeds and costs are drawn again;
    `Ranking.sources` says which of them could be. A row without skill has `p_best` if another run might rank
    it. `subgroups`: test performance of the deployed file by the columns that the recipe names.
    """

    rank: int | None
    candidate: str
    architecture: str
    weights: str = ""
    variant: str | None
    status: Status
    reason: str = ""
    num_params: int | None = None
    trained_params: int | None = None
    performance: float | None = None
    performance_ci: tuple[float, float] | None = None
    performance_sd: float | None = None
    repeats: int = 1
    skill: float | None = None
    test_performance: float | None = None
    test_performance_ci: tuple[float, float] | None = None
    test_performance_mean: float | None = None
    test_performance_sd: float | None = None
    resources: dict[str, float | None] = Field(default={})
    normalised: dict[str, float | None] = Field(default={})
    methods: dict[str, str] = Field(default={})
    resources_sd: dict[str, float] = Field(default={})
    pepr: dict[str, float | None] = Field(default={})
    size_bytes: int | None = None
    inference_energy_j: float | None = None
    lifetime_j_per_image: float | None = None
    rank_ci: tuple[int, int] | None = None
    p_best: float | None = None
    tied_with_best: bool | None = None
    subgroups: tuple[Subgroups, ...] = ()
    warnings: tuple[str, ...] = ()
    artifact_sha256: str | None = None
    bundle: str | None = None


class Baseline(Record):
    """The majority-class baseline: a model that always predicts one class and uses no resources.

    The class is the most frequent one of training, unless another is better by the metric. Its performance is
    its PePR. It is not in the set that the bounds rest on. `outranks` of the `of` ranked models have a lower
    score.
    """

    label: str
    performance: float
    outranks: int
    of: int


class AnswerFigures(Record):
    """The figures on the test images that the first row's task is judged by, beside the ranking's metric.

    Of two classes they are at the file's decision, which was fitted on validation: `target` is what the
    recipe asked for, `threshold` the probability of the positive class from which it is named, None if the
    more probable class is. For other tasks both are None.
    """

    figures: dict[str, Figure]
    target: str | None = None
    threshold: float | None = None


class Outlier(Record):
    """A model whose removal changes the best of the others: `enters` replace `leaves`."""

    name: str
    enters: tuple[str, ...]
    leaves: tuple[str, ...]


class Sensitivity(Record):
    """The range of one setting in which the winner stays, and the winners below and above it.

    `at` is the present value, `tried` the range that was tried, `stays` the range in which the winner stays.
    A winner below or above is None if the winner stays to that end of `tried`.
    """

    setting: str
    at: float
    tried: tuple[float, float]
    stays: tuple[float, float]
    winner_below: str | None
    winner_above: str | None


class Stretch(Record):
    """Range of numbers of images in which one model needs the least total energy. `until` None: no end."""

    name: str
    start: float
    until: float | None


class Lifetime(Record):
    """Total energy over a lifetime of `images`: the model with the lowest, by number of images.

    Models whose energy is not known are in `left_out`.
    """

    images: float
    stretches: tuple[Stretch, ...]
    methods: dict[str, str]
    left_out: tuple[str, ...] = ()
    reason: str = ""


class DeviceWinner(Record):
    """Best artifact by the figures of one class of devices, or by the worst over all classes ("worst case").

    `reports` are the field reports used; `latency_s` (p90) and `peak_memory_bytes` are the winner's there,
    None if not measured. `home_winner` is the winner by the run's own figures. `moved` holds one sentence for
    each change of rank against the run's own ranking.
    """

    device: str
    reports: tuple[str, ...]
    winner: str | None
    latency_s: float | None = None
    peak_memory_bytes: float | None = None
    home_winner: str | None
    moved: tuple[str, ...] = ()


class SiteFigure(Record):
    """A metric on the images of a site and on the test images at home; `difference_ci` is of site - home.

    `worse`: the 95 % interval of the difference lies on the worse side of 0.
    """

    metric: str
    home: Figure
    site: Figure
    difference_ci: tuple[float, float]
    worse: bool


class SiteComparison(Record):
    """An artifact on the images of a site, by a report of `evaluate`, against the test images at home."""

    report: str
    candidate: str
    variant: str
    images: int
    figures: tuple[SiteFigure, ...]
    note: str = ""


class Ranking(Versioned):
    """ranking.json. `set_id` names the set of models that `bounds`, and so every score, rests on.

    `outliers`, `sensitivity` and `winners` (by normalisation) say how far the first places depend on one
    model, on the weights and on the normalisation. `positive` is the positive of two classes, None for
    more, and `positive_by` how it was chosen, None in earlier runs. `answer_figures` are test figures
    of the first row; None without any, and in earlier versions. `measured_on` names the processors that the
    latencies were measured on, whatever the name of `device`. `task` is the kind of task.
    `ranked_by_skill`: the P of PePR is a row's skill.
    `settled`: a run with other seeds is expected to have the same first place, at 95 %. `sources` are the
    sources of chance that rank intervals include. `spent_energy_j` and `spent_time_s` are what all trainings
    cost together, repeats and pruned candidates included; None in rankings of earlier versions. `sites` says
    how artifacts do on the labelled images of sites, by reports of `evaluate`. If the energy
    of no training is known, `weights` has training time in its place, and `notes` say so.
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
    positive_by: PositiveBy | None = None
    answer_figures: AnswerFigures | None = None
    baseline: Baseline | None = None
    outliers: tuple[Outlier, ...] = ()
    sensitivity: tuple[Sensitivity, ...] = ()
    winners: dict[str, str | None] = Field(default={})
    lifetime: Lifetime | None = None
    devices: tuple[DeviceWinner, ...] = ()
    sites: tuple[SiteComparison, ...] = ()
    task: str = "multiclass"
    ranked_by_skill: bool = False
    settled: bool = False
    spent_energy_j: Quantity | None = None
    spent_time_s: Quantity | None = None
    sources: tuple[Literal["images", "seeds", "costs"], ...] = ()
    notes: tuple[str, ...] = ()
