"""report.html: one self-contained file, from a run's records. No network, and no script but the sorting and filtering of its tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pepr_edge import __version__
from pepr_edge.records import (
    Artifact,
    DataInfo,
    DeviceProfile,
    Failure,
    FieldReport,
    Ranking,
    RankingRow,
    SearchLog,
    TrainResult,
)
from pepr_edge.report import figures, provenance, quantised, tables, training_figures
from pepr_edge.report.figure import Figure, write_files
from pepr_edge.report.latencies import latencies
from pepr_edge.report.lifetime import over_patients
from pepr_edge.report.search_section import search_table, spent_and_saved
from pepr_edge.report.variant_trials import variant_trials_table
from pepr_edge.run_dir.layout import FIGURES, check_documents_free, write_document
from pepr_edge.text.sentences import answer, caveats, entry, ranked_rows
from pepr_edge.text.units import (
    MISSING,
    SPLIT_NAMES,
    energy,
    log_line,
    metric,
    mib,
    ms,
    performance,
    plural,
    printable,
    score,
)

# Budget -> what it is on, how it is written, where a row holds what it is compared with.
BUDGETS = {
    "latency_p90_s": ("latency at p90", ms),
    "peak_memory_bytes": ("peak memory", mib),
    "size_bytes": ("file size", mib),
}
FILTERED_FROM, LONG_FROM = (
    8,
    20,
)  # rows: from then on a table can be filtered, and scrolls in a box of its own


@dataclass(frozen=True)
class ReportInput:
    """All that the report shows. `budgets` in SI units: any of latency_p90_s, peak_memory_bytes, size_bytes.

    `answered`: what the first candidates answered on the test split. `field`: reports of devices by file, that `ranking` rests on.
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
    answered: tuple[quantised.Answered, ...] = ()
    field: Mapping[str, FieldReport] = field(default_factory=dict)


@dataclass(frozen=True)
class Drawn:
    """The figures of the page, by its sections."""

    performance: tuple[Figure, ...]
    latency: tuple[Figure, ...]
    curves: tuple[Figure, ...]
    search: tuple[Figure, ...]
    cost: tuple[Figure, ...]
    variants: tuple[Figure, ...]
    answers: tuple[Figure, ...]

    def all(self) -> tuple[Figure, ...]:
        """Every one of them."""
        groups = (
            self.performance,
            self.latency,
            self.curves,
            self.search,
            self.cost,
            self.variants,
            self.answers,
        )
        return tuple(figure for group in groups for figure in group)


@dataclass(frozen=True)
class Tile:
    """One figure of the answer, large: what, the value, what is to be said about it."""

    name: str
    value: str
    detail: str


def write(report: ReportInput, path: Path, force: bool = False) -> None:
    """Write the report as one HTML file, atomically, and its figures into the folder `report` beside it: SVG, PNG, and CSV of their data.

    Args:
        report: the records of a run; none of them needs to be there but the data's and the ranking.
        path: report.html in the run directory.
        force: replace files that pepr_edge did not write, too.
    Raises:
        OutputError: a name is taken by a file that is not ours.
    """
    drawn = draw(report)
    page = _page(report, drawn)
    if not force:
        check_documents_free(path.parent, [path.name])
    write_files(drawn.all(), path.parent, FIGURES, force)
    write_document(path.parent, path.name, page, force)


def render(report: ReportInput) -> str:
    """The report as HTML."""
    return _page(report, draw(report))


def draw(report: ReportInput) -> Drawn:
    """All figures."""
    ranking, trained = report.ranking, report.trained
    against = figures.against_resources(ranking, report.data, report.budgets)
    return Drawn(
        performance=(*against, figures.on_isoclines(ranking), figures.against_parameters(ranking)),
        latency=(latencies(ranking, report.profiles, report.budgets, report.field),),
        curves=(
            training_figures.learning_curves(ranking, trained),
            training_figures.pepr_curves(ranking, trained),
        ),
        search=(spent_and_saved(report.search),) if report.search is not None else (),
        cost=(training_figures.training_energy(trained), over_patients(ranking)),
        variants=(quantised.variants(ranking, report.artifacts),),
        answers=quantised.answers(report.answered, report.data.labels),
    )


def _page(report: ReportInput, drawn: Drawn) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(_content(report, drawn))


def _content(report: ReportInput, drawn: Drawn) -> dict[str, Any]:
    ranking, trained, artifacts = report.ranking, report.trained, report.artifacts
    ranked = ranked_rows(ranking)
    return {
        "title": printable(report.title),
        "subtitle": printable(
            " · ".join(name for name in (report.device, report.data.name) if name != report.title)
        ),
        "answer": printable(answer(ranking)),
        "found": bool(ranked),
        "bundle": printable(ranked[0].bundle or "") if ranked else "",
        "tiles": _tiles(report, ranked[0]) if ranked else (),
        "caveats": (
            *caveats(ranking, len(report.data.labels)),
            *_profile_caveats(report, ranked),
            *_budget_words(report),
        ),
        "ranking": tables.ranking(ranking),
        "scores": tables.scores(ranking),
        "depends": tables.depends_on(ranking),
        "devices": tables.devices(ranking),
        "drawn": drawn,
        "folder": FIGURES,
        "filtered_from": FILTERED_FROM,
        "long_from": LONG_FROM,
        "cost": tables.training_cost(trained),
        "variants_table": tables.variants(ranking, artifacts),
        "quality": tables.quality(artifacts),
        "rungs": variant_trials_table(artifacts),
        "search": search_table(report.search) if report.search is not None else None,
        "provenance": _provenance(report),
        "failures": [_failure(failure) for failure in report.failures],
        "missing": MISSING,
        "version": __version__,
    }


def _provenance(report: ReportInput) -> tuple[tables.ReportTable, ...]:
    reports = provenance.reports_table(report.field, report.artifacts)
    return (
        *([reports] if reports else []),
        provenance.resources_table(report.ranking, report.trained),
        provenance.profiles_table(report.artifacts, report.profiles),
        provenance.device_table(report.profiles),
        provenance.data_table(report.data),
        provenance.training_table(report.trained),
        provenance.checksums_table(report.artifacts, report.trained),
    )


def _tiles(report: ReportInput, best: RankingRow) -> tuple[Tile, ...]:
    name = metric(report.ranking.performance_metric)
    split = SPLIT_NAMES[report.ranking.performance_split]
    resources, budgets = best.resources, report.budgets
    interval = best.test_performance_ci
    between = (
        f"95 %: {score(interval[0])} to {score(interval[1])}"
        if interval
        else f"{split} {performance(best.performance, None)}"
    )
    return (
        Tile(f"test {name}", score(best.test_performance), between),
        Tile("latency at p90", ms(resources.get("latency")), _budget(budgets, "latency_p90_s")),
        Tile("peak memory", mib(resources.get("peak_memory")), _budget(budgets, "peak_memory_bytes")),
        Tile("file size", mib(best.size_bytes), _budget(budgets, "size_bytes")),
        Tile(
            "training energy",
            energy(resources.get("train_energy")),
            "" if resources.get("train_energy") is None else best.methods.get("train_energy", ""),
        ),
        Tile("PePR edge", score(best.pepr.get("edge")), "1 would be best"),
    )


def _budget(budgets: dict[str, float], name: str) -> str:
    return f"budget {BUDGETS[name][1](budgets[name])}" if name in budgets else "no budget"


def _budget_words(report: ReportInput) -> tuple[str, ...]:
    rows = report.ranking.rows
    counts = {
        "broke a budget and so got no rank": sum(row.status == "over_budget" for row in rows),
        "got no rank, since the search did not train them to their end": sum(
            row.status == "dropped" for row in rows
        ),
    }
    return tuple(f"{count} of {len(rows)} {words}." for words, count in counts.items() if count)


def _profile_caveats(report: ReportInput, ranked: list[RankingRow]) -> tuple[str, ...]:
    """What is to be said about the measurements on the device, that of the answer first."""
    if not ranked:
        return ()
    if report.field:
        return (
            f"Latency and memory are those that devices measured themselves: {plural(len(report.field), 'report')} from the field.",
        )
    best, found = ranked[0], []
    own = [profile for profile in report.profiles if profile.artifact_sha256 == best.artifact_sha256]
    for profile in own:
        if not profile.validity.valid and not any("INVALID" in warning for warning in best.warnings):
            found.append(
                f"Its measurement on the device is INVALID: {printable('; '.join(profile.validity.reasons))}."
            )
        if profile.rules == "quick":
            found.append(
                f"Latency was measured by the quick rules ({provenance.rules_words(profile.rules)}): good for a first look."
            )
        processor = (
            "" if report.ranking.measured_on else f" on {printable(profile.device.cpu)}"
        )  # else the ranking's caveats name it
        found.append(
            f"Its latency was measured{processor} with {plural(profile.settings.threads, 'thread')}."
        )
    if not own:
        found.append(f"The measurement on the device: {MISSING}.")
    known = {row.artifact_sha256: row for row in ranked[1:]}
    invalid = [
        profile
        for profile in report.profiles
        if not profile.validity.valid and profile.artifact_sha256 in known
    ]
    if invalid:
        names = ", ".join(printable(entry(known[profile.artifact_sha256])) for profile in invalid[:4])
        more = f" and {len(invalid) - 4} more" if len(invalid) > 4 else ""
        found.append(f"Other measurements are INVALID, so those ranks may be wrong: {names}{more}.")
    return tuple(found)


def _failure(failure: Failure) -> dict[str, Any]:
    name = f"{failure.candidate.id} {failure.variant}" if failure.variant else failure.candidate.id
    return {
        "name": printable(name),
        "stage": printable(failure.stage),
        "reason": printable(failure.reason),
        "log": "\n".join(log_line(line) for line in failure.log_tail),
    }
