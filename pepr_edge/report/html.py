"""report.html: one self-contained page from a run's records, without network access."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pepr_edge import __version__
from pepr_edge.records import (
    About,
    Artifact,
    DataInfo,
    DeviceProfile,
    Failure,
    FieldReport,
    InitialWeights,
    Ranking,
    RankingRow,
    RunSettings,
    SearchLog,
    StageName,
    TrainResult,
)
from pepr_edge.report import figures, provenance, quantised, tables, training_figures
from pepr_edge.report.about import about_table
from pepr_edge.report.figure import ReportFigure, write_files
from pepr_edge.report.latencies import latencies
from pepr_edge.report.lifetime import over_patients
from pepr_edge.report.operating_points import OperatingPoint, operating_points_table
from pepr_edge.report.predictions import ModelPredictions
from pepr_edge.report.refer import coverage_figures
from pepr_edge.report.search_section import search_table, spent_and_saved
from pepr_edge.report.sites import sites_table
from pepr_edge.report.subgroups import subgroups_table
from pepr_edge.report.variant_trials import variant_trials_table
from pepr_edge.run_dir.layout import FIGURES
from pepr_edge.run_dir.outputs import check_documents_free, write_document
from pepr_edge.text.rows import ranked_rows, row_name
from pepr_edge.text.sentences import REJECTED_BECAUSE, answer, caveats, figures_sentence
from pepr_edge.text.units import (
    MISSING,
    SPLIT_NAMES,
    energy,
    listed,
    log_line,
    metric,
    mib,
    ms,
    performance,
    plural,
    printable,
    score,
)

# Budget -> the function that formats it.
BUDGETS: dict[str, Callable[[float], str]] = {
    "latency_p90_s": ms,
    "peak_memory_bytes": mib,
    "size_bytes": mib,
}
# Number of rows from which a table can be filtered, and above which it scrolls in its own box.
FILTERED_FROM = 8
LONG_FROM = 20
MAX_NAMED_INVALID = 4


@dataclass(frozen=True)
class ReportInput:
    """All records that the report shows.

    `budgets`: in SI units, any of latency_p90_s, peak_memory_bytes, size_bytes. `predictions`: of the first
    candidates on the test split. `field`: field reports by file, which the ranking uses. `trained`: the
    training of each candidate that is deployed. `repeats`: all trainings, where candidates have several.
    `stage_times_s`: called once the figures are drawn, as they take a part of the time. `settings`: those
    that the recipe leaves to the images. `weights`: the initial weights by candidate. `operating_points`: of
    the first files by rank. `about`: the words of the makers.
    """

    title: str
    device: str
    budgets: dict[str, float]
    data: DataInfo
    ranking: Ranking
    trained: tuple[TrainResult, ...]
    artifacts: tuple[Artifact, ...]
    profiles: tuple[DeviceProfile, ...]
    failures: tuple[Failure, ...]
    search: SearchLog | None = None
    predictions: tuple[ModelPredictions, ...] = ()
    weights: Mapping[str, InitialWeights] = field(default_factory=dict)
    field: Mapping[str, FieldReport] = field(default_factory=dict)
    repeats: tuple[TrainResult, ...] = ()
    stage_times_s: Callable[[], Mapping[StageName, float]] = dict
    settings: RunSettings | None = None
    operating_points: tuple[OperatingPoint, ...] = ()
    about: About | None = None

    @property
    def trainings(self) -> tuple[TrainResult, ...]:
        """All trainings."""
        return self.repeats or self.trained


@dataclass(frozen=True)
class PageFigures:
    """The figures of the page, by section."""

    performance: tuple[ReportFigure, ...] = ()
    latency: tuple[ReportFigure, ...] = ()
    curves: tuple[ReportFigure, ...] = ()
    search: tuple[ReportFigure, ...] = ()
    cost: tuple[ReportFigure, ...] = ()
    variants: tuple[ReportFigure, ...] = ()
    predictions: tuple[ReportFigure, ...] = ()
    referred: tuple[ReportFigure, ...] = ()

    def all(self) -> tuple[ReportFigure, ...]:
        """Return the figures of all sections."""
        return (
            *self.performance,
            *self.latency,
            *self.curves,
            *self.search,
            *self.cost,
            *self.variants,
            *self.predictions,
            *self.referred,
        )


@dataclass(frozen=True)
class Tile:
    """One large figure of the answer: its name, its value, and a detail."""

    name: str
    value: str
    detail: str


def write(report: ReportInput, path: Path, force: bool = False) -> None:
    """Write the report as one HTML file, atomically, and its figures into the folder `report` beside it.

    Args:
        report: the records of a run; all but data and ranking may be empty.
        path: report.html in the run directory.
        force: also replace files that pepr_edge did not write.
    Raises:
        OutputError: pepr_edge did not write a file that has one of these names.
    """
    drawn = draw(report)
    page = _page(report, drawn)
    if not force:
        check_documents_free(path.parent, [path.name])
    write_files(drawn.all(), path.parent, FIGURES, force)
    write_document(path.parent, path.name, page, force)


def render(report: ReportInput) -> str:
    """Return the report as HTML."""
    return _page(report, draw(report))


def draw(report: ReportInput) -> PageFigures:
    """Draw all figures."""
    ranking = report.ranking
    trained = report.trained
    against = figures.against_resources(ranking, report.data, report.budgets)
    return PageFigures(
        performance=(*against, figures.on_isoclines(ranking), figures.against_parameters(ranking)),
        latency=(latencies(ranking, report.profiles, report.budgets, report.field),),
        curves=(
            training_figures.learning_curves(ranking, trained),
            training_figures.pepr_curves(ranking, trained),
        ),
        search=() if report.search is None else (spent_and_saved(report.search),),
        cost=(training_figures.training_energy(report.trainings), over_patients(ranking)),
        variants=(quantised.variants(ranking, report.artifacts),),
        predictions=quantised.prediction_figures(
            report.predictions, report.data.labels, report.data.positive_index
        ),
        referred=coverage_figures(report.operating_points),
    )


def _page(report: ReportInput, drawn: PageFigures) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(_content(report, drawn))


def _content(report: ReportInput, drawn: PageFigures) -> dict[str, Any]:
    ranking = report.ranking
    artifacts = report.artifacts
    ranked = ranked_rows(ranking)
    subtitle = " · ".join(name for name in (report.device, report.data.name) if name != report.title)
    return {
        "title": printable(report.title),
        "subtitle": printable(subtitle),
        "answer": printable(answer(ranking)),
        "answer_figures": figures_sentence(ranking),
        "has_answer": bool(ranked),
        "bundle": printable(ranked[0].bundle or "") if ranked else "",
        "tiles": _tiles(report, ranked[0]) if ranked else (),
        "caveats": _caveats(report, ranked),
        "ranking": tables.ranking(ranking),
        "scores": tables.scores(ranking),
        "depends": tables.depends_on(ranking),
        "devices": tables.devices(ranking),
        "sites": sites_table(ranking),
        "subgroups": subgroups_table(ranking),
        "drawn": drawn,
        "folder": FIGURES,
        "filtered_from": FILTERED_FROM,
        "long_from": LONG_FROM,
        "cost": tables.training_cost(report.trainings, ranking),
        "variants": tables.variants(ranking, artifacts),
        "quality": tables.quality(artifacts),
        "decisions": operating_points_table(report.operating_points),
        "variant_trials": variant_trials_table(artifacts),
        "search": None if report.search is None else search_table(report.search),
        "provenance": _provenance(report),
        "failures": [_failure(failure) for failure in report.failures],
        "missing": MISSING,
        "version": __version__,
    }


def _provenance(report: ReportInput) -> tuple[tables.ReportTable, ...]:
    from_the_field = provenance.reports_table(report.field, report.artifacts)
    times = provenance.stage_times_table(report.stage_times_s())
    about = about_table(report.about)
    return (
        *((about,) if about else ()),
        *((from_the_field,) if from_the_field else ()),
        provenance.resources_table(report.ranking, report.trainings),
        provenance.profiles_table(report.artifacts, report.profiles),
        provenance.device_table(report.profiles),
        provenance.data_table(report.data),
        provenance.training_table(report.trainings, report.settings, report.weights),
        *((times,) if times else ()),
        provenance.checksums_table(report.artifacts, report.trainings),
    )


def _tiles(report: ReportInput, best: RankingRow) -> tuple[Tile, ...]:
    name = metric(report.ranking.performance_metric)
    split = SPLIT_NAMES[report.ranking.performance_split]
    resources = best.resources
    test_detail = f"{split} {performance(best.performance, None)}"
    if best.test_performance_ci is not None:
        low, high = best.test_performance_ci
        test_detail = f"95 %: {score(low)} to {score(high)}"
    joules = resources.get("train_energy")
    energy_method = "" if joules is None else best.methods.get("train_energy", "")
    return (
        Tile(f"test {name}", score(best.test_performance), test_detail),
        Tile("latency at p90", ms(resources.get("latency")), _budget(report, "latency_p90_s")),
        Tile("peak memory", mib(resources.get("peak_memory")), _budget(report, "peak_memory_bytes")),
        Tile("file size", mib(best.size_bytes), _budget(report, "size_bytes")),
        Tile("training energy", energy(joules), energy_method),
        Tile("PePR edge", score(best.pepr.get("edge")), "best possible: 1"),
    )


def _budget(report: ReportInput, name: str) -> str:
    return f"budget {BUDGETS[name](report.budgets[name])}" if name in report.budgets else "no budget"


def _caveats(report: ReportInput, ranked: list[RankingRow]) -> tuple[str, ...]:
    sentences = [*caveats(report.ranking, len(report.data.labels)), *_profile_caveats(report, ranked)]
    if not ranked:
        return tuple(sentences)  # the answer itself says why no model has a rank
    rows = report.ranking.rows
    rejected = sum(row.status == "over_budget" for row in rows)
    unskilled = sum(row.status == "no_skill" for row in rows)
    pruned = sum(row.status == "dropped" for row in rows)
    if rejected:
        sentences.append(
            f"Rejected, so without a rank: {rejected} of {len(rows)} models ({REJECTED_BECAUSE})."
        )
    if unskilled:
        sentences.append(
            f"Not shown to beat a model that looks at no image, so without a rank: {unskilled} of "
            f"{len(rows)} models."
        )
    if pruned:
        sentences.append(
            f"Not fully trained, so without a rank: {pruned} of {len(rows)} models (left out by the search)."
        )
    return tuple(sentences)


def _profile_caveats(report: ReportInput, ranked: list[RankingRow]) -> tuple[str, ...]:
    """Return what to know about the measurements on the device, first about that of the best model."""
    if not ranked:
        return ()
    if report.field:
        reports = plural(len(report.field), "field report")
        return (f"Latency and memory were measured by the devices themselves: {reports}.",)
    best = ranked[0]
    sentences: list[str] = []
    own = [profile for profile in report.profiles if profile.artifact_sha256 == best.artifact_sha256]
    for profile in own:
        if not profile.validity.valid and not any("INVALID" in warning for warning in best.warnings):
            reasons = printable("; ".join(profile.validity.reasons))
            sentences.append(f"The measurement of this model is INVALID: {reasons}.")
        if profile.rules == "quick":
            rules = provenance.rules_text(profile.rules)
            sentences.append(f"Latency was measured by the quick rules (at least {rules}): a first estimate.")
        # If the ranking names the processors, its own caveats do so.
        where = "" if report.ranking.measured_on else f" on {printable(profile.device.cpu)}"
        threads = plural(profile.settings.threads, "thread")
        sentences.append(f"Latency of this model was measured{where} with {threads}.")
    if not own:
        sentences.append(f"This model was {MISSING} on the device.")
    others = _invalid_names(report, ranked[1:])
    if others:
        sentences.append(f"Other measurements are INVALID, so these ranks may be wrong: {others}.")
    return tuple(sentences)


def _invalid_names(report: ReportInput, rows: list[RankingRow]) -> str:
    """Return the names of the rows whose measurement is INVALID; the first few of many."""
    by_sha256 = {row.artifact_sha256: row for row in rows}
    names = [
        row_name(by_sha256[profile.artifact_sha256])
        for profile in report.profiles
        if not profile.validity.valid and profile.artifact_sha256 in by_sha256
    ]
    return listed(names, MAX_NAMED_INVALID)


def _failure(failure: Failure) -> dict[str, str]:
    name = f"{failure.candidate.id} {failure.variant or ''}"
    return {
        "name": printable(name),
        "stage": printable(failure.stage),
        "reason": printable(failure.reason),
        "log": "\n".join(log_line(line) for line in failure.log_tail),
    }
