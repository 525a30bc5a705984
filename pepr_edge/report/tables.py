"""The report's tables as text with sort keys: ranking, scores, training cost, variants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pepr_edge.records import Artifact, Baseline, Estimate, Quantity, Ranking, RankingRow, TrainResult
from pepr_edge.text import robustness
from pepr_edge.text.rows import ranked_rows, training_names, unranked_rows
from pepr_edge.text.sentences import knowing_cost
from pepr_edge.text.units import (
    MISSING,
    SPLIT_NAMES,
    STATUS_NAMES,
    capitalised,
    co2eq,
    count,
    duration,
    energy,
    metric,
    mib,
    ms,
    plural,
    printable,
    probability,
    score,
)
from pepr_edge.train.cost import total_energy

# Letter of the PePR family -> its resource. Source: Selvan et al. 2025 (E, C, T, M, D); L and W are ours.
LETTERS = {
    "E": "training energy",
    "C": "training CO2eq",
    "T": "training time",
    "M": "training memory",
    "D": "training images",
    "L": "latency",
    "W": "memory on the device",
}
# Metric -> its name in the column headers of the quality table; a task has some of these metrics.
QUALITY = {
    "mean_auroc": "mean AUROC",
    "mean_average_precision": "mean average precision",
    "auroc": "AUROC",
    "balanced_accuracy": "balanced accuracy",
    "mean_absolute_error": "mean absolute error, in grades",
    "expected_calibration_error": "ECE",
}


@dataclass(frozen=True)
class Cell:
    """One cell; `detail` is shown in small type below it.

    `kind` is number, text, missing, bad or good. `sort` orders numeric columns; None sorts last.
    """

    text: str
    kind: str = "text"
    sort: float | None = None
    detail: str = ""


@dataclass(frozen=True)
class ReportTable:
    """A table with its title and caption. `dimmed`: indices of the rows without a rank."""

    name: str
    title: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    dimmed: frozenset[int] = frozenset()
    sortable: bool = True


EMPTY = Cell("")
NOT_MEASURED = Cell(MISSING, "missing")


def number(value: float | None, formatted: Callable[[float], str], detail: str = "") -> Cell:
    """Return a cell with a number; "not measured" if it is None."""
    return NOT_MEASURED if value is None else Cell(formatted(value), "number", value, detail)


def quantity(measured: Quantity, formatted: Callable[[float], str]) -> Cell:
    """Return a cell with a number and its method."""
    return number(measured.value, formatted, measured.method)


def ranking(ranking: Ranking) -> ReportTable:
    """Return all rows: those with a rank, then those that failed or were rejected, with the reason."""
    name = metric(ranking.performance_metric)
    header = (
        "rank",
        "candidate",
        "variant",
        "PePR edge",
        "skill",
        f"{SPLIT_NAMES[ranking.performance_split]} {name}",
        f"test {name}",
        "latency p90",
        "peak memory",
        "file size",
        "training energy",
    )
    ranked = ranked_rows(ranking)
    rows = [_ranking_row(row) for row in ranked]
    baseline = ranking.baseline
    baseline_index = None
    if baseline is not None:
        baseline_index = baseline.of - baseline.outranks
        rows.insert(baseline_index, _baseline_row(baseline, ranking.ranked_by_skill))
    dimmed = set() if baseline_index is None else {baseline_index}
    for row in unranked_rows(ranking):
        dimmed.add(len(rows))
        rows.append(_ranking_row(row))
    return ReportTable(
        "ranking", "Ranking", _ranking_caption(ranking, ranked), header, tuple(rows), frozenset(dimmed)
    )


def _ranking_caption(ranking: Ranking, ranked: Sequence[RankingRow]) -> str:
    caption = f"{plural(len(ranking.rows), 'model')} tried on {ranking.device}, with 95 % intervals."
    measured = [row for row in ranking.rows if row.resources.get("train_energy") is not None]
    methods = {row.methods.get("train_energy", "") for row in measured} - {""}
    if methods:
        caption += f" Training energy is {' or '.join(sorted(methods))}."
    if ranked:
        caption += (
            " Latency p90: 90 % of the images take at most this time. PePR edge: performance per unit of "
            "cost, higher is better."
        )
    if any(row.rank_ci for row in ranked):
        caption += (
            f" {capitalised(robustness.drawn_again(ranking))}: below a rank, its 95 % interval; below a "
            "score, the probability that the model is first. "
            "Skill: 0 is the majority-class baseline, 1 is perfect."
        )
    return caption


def _baseline_row(baseline: Baseline, by_skill: bool) -> tuple[Cell, ...]:
    """Return the row of the majority-class baseline; it has no cost."""
    name = Cell(
        f"always {printable(baseline.label)!r}", detail="no model: always predicts this class, at no cost"
    )
    performance = number(baseline.performance, score)
    no_cost = Cell("none", "missing")
    no_skill = number(0.0, score)
    pepr = no_skill if by_skill else performance
    return (EMPTY, name, EMPTY, pepr, no_skill, performance, EMPTY, no_cost, no_cost, no_cost, no_cost)


def _ranking_row(row: RankingRow) -> tuple[Cell, ...]:
    is_bad = row.rank is None or bool(row.warnings)
    return (
        _rank(row),
        Cell(printable(row.candidate), "bad" if is_bad else "text", detail=_notes(row)),
        Cell(printable(row.variant or "")),
        _edge_score(row),
        number(row.skill, score),
        _performance(row.performance, row.performance_ci),
        _performance(row.test_performance, row.test_performance_ci),
        number(row.resources.get("latency"), ms),
        number(row.resources.get("peak_memory"), mib),
        number(row.size_bytes, mib),
        number(row.resources.get("train_energy"), energy),
    )


def _rank(row: RankingRow) -> Cell:
    if row.rank is None:
        return EMPTY
    interval = f"{row.rank_ci[0]} to {row.rank_ci[1]}" if row.rank_ci else ""
    return number(row.rank, str, interval)


def _edge_score(row: RankingRow) -> Cell:
    if row.rank is None:
        return Cell("not scored", "missing")
    first = f"first {probability(row.p_best)}" if row.p_best else ""
    return number(row.pepr.get("edge"), score, first)


def _performance(value: float | None, ci: tuple[float, float] | None) -> Cell:
    return number(value, score, f"{score(ci[0])} to {score(ci[1])}" if ci else "")


def estimate_cell(estimate: Estimate | None) -> Cell:
    """Return a metric with its interval as a cell."""
    return NOT_MEASURED if estimate is None else _performance(estimate.value, estimate.ci)


def _notes(row: RankingRow) -> str:
    notes = [printable(warning) for warning in row.warnings]
    if row.rank is None:
        status = STATUS_NAMES[row.status]
        notes.insert(0, f"{status}: {printable(row.reason)}" if row.reason else status)
    elif row.tied_with_best:
        notes.insert(0, "tied with the first in performance")
    return "; ".join(note.rstrip(".") for note in notes)


def depends_on(ranking: Ranking) -> ReportTable:
    """Return for which weights, watts and normalisations the winner stays the same."""
    rows = tuple(tuple(Cell(text) for text in row) for row in robustness.dependence_rows(ranking))
    caption = (
        "Each setting is changed alone. If one weight changes, the other weights keep their proportions."
    )
    header = robustness.DEPENDENCE_HEADER
    return ReportTable("depends", "What the winner depends on", caption, header, rows, sortable=False)


def scores(ranking: Ranking) -> ReportTable:
    """Return the whole PePR family of each row that has a rank."""
    rows = []
    for row in ranked_rows(ranking):
        cells = [
            number(row.rank, str),
            Cell(printable(row.candidate)),
            Cell(printable(row.variant or "")),
            number(row.num_params, count, _trained_params(row)),
        ]
        for letter in (*LETTERS, "edge"):
            cells.append(number(row.pepr.get(letter), score))
        rows.append(tuple(cells))
    letters = ", ".join(f"{letter} {resource}" for letter, resource in LETTERS.items())
    caption = f"Performance per unit of a resource: {letters}; edge is the score over all weighted resources."
    header = ("rank", "candidate", "variant", "parameters", *LETTERS, "edge")
    return ReportTable("scores", "PePR scores", caption, header, tuple(rows))


def _trained_params(row: RankingRow) -> str:
    """Return the number of parameters of the trained form if it is another than the deployed one."""
    if row.trained_params is None or row.trained_params == row.num_params:
        return ""
    return f"{count(row.trained_params)} in training"


def training_cost(trained: Sequence[TrainResult], ranking: Ranking) -> ReportTable:
    """Return the cost of each training, without evaluation, each figure with its method; and the total."""
    rows = []
    for name, result in zip(training_names(trained), trained, strict=True):
        cost = result.cost
        cells = (
            Cell(name),
            quantity(cost.energy_j, energy),
            quantity(cost.co2eq_g, co2eq),
            quantity(cost.duration_s, duration),
            quantity(cost.peak_memory_bytes, mib),
            quantity(cost.gpu_peak_memory_bytes, mib),
            quantity(cost.images, count),
            quantity(cost.evaluation_energy_j, energy),
            quantity(cost.evaluation_duration_s, duration),
            _setup(cost.setup_energy_j, energy),
            _setup(cost.setup_duration_s, duration),
            quantity(total_energy(cost), energy),
        )
        rows.append(cells)
    header = (
        "candidate",
        "energy",
        "CO2eq",
        "duration",
        "peak memory",
        "peak GPU memory",
        "images seen",
        "evaluation energy",
        "evaluation duration",
        "setup energy",
        "setup duration",
        "total energy",
    )
    caption = (
        "All epochs of training. Evaluation on validation and test images is counted separately, and so is "
        "the setup: building the model, probes and warm-up. Total energy is the sum of the three. "
        "Below each figure: how it was obtained."
    )
    caption = " ".join(sentence for sentence in (knowing_cost(ranking), caption) if sentence)
    return ReportTable("cost", "Cost of training", caption, header, tuple(rows))


def _setup(setup: Quantity | None, unit: Callable[[float], str]) -> Cell:
    """Return a figure of the setup, which version 0.1.0 counted as training."""
    return Cell("in training", "missing") if setup is None else quantity(setup, unit)


def variants(ranking: Ranking, artifacts: Sequence[Artifact]) -> ReportTable:
    """Return each ONNX file beside the PyTorch model that it was made from."""
    name = ranking.performance_metric
    rows = []
    for artifact in artifacts:
        before = artifact.performance_before.get(name)
        after = artifact.performance.get(name)
        change = None if before is None or after is None else after.value - before.value
        cells = (
            Cell(printable(artifact.candidate.id)),
            Cell(printable(artifact.variant)),
            number(artifact.size_bytes, mib),
            estimate_cell(before),
            estimate_cell(after),
            number(change, _signed),
            Cell(f"{artifact.flips.count} of {artifact.flips.n}", "number", artifact.flips.count),
            _parity(artifact),
            Cell(printable(artifact.exporter), detail=f"opset {artifact.opset}"),
        )
        rows.append(cells)
    header = (
        "candidate",
        "variant",
        "file size",
        "test, PyTorch",
        "test, ONNX file",
        "change",
        "decisions changed",
        "parity",
        "exporter",
    )
    caption = (
        f"Test {metric(name)} before and after export. Decisions changed: on all test images, against "
        "PyTorch. Parity: the largest difference of logits on real images, and its tolerance."
    )
    return ReportTable("variants", "Variants", caption, header, tuple(rows))


def quality(artifacts: Sequence[Artifact]) -> ReportTable:
    """Return discrimination and calibration of each file on the test split, beside its PyTorch model.

    Metrics that no file has are left out, as they are those of other tasks.
    """
    known = {name for artifact in artifacts for name in artifact.performance}
    names = [name for name in QUALITY if name in known]
    header = ["candidate", "variant"]
    for name in names:
        header += [f"{QUALITY[name]}, PyTorch", f"{QUALITY[name]}, ONNX file"]
    rows = []
    for artifact in artifacts:
        cells = [Cell(printable(artifact.candidate.id)), Cell(printable(artifact.variant))]
        for name in names:
            cells.append(estimate_cell(artifact.performance_before.get(name)))
            cells.append(estimate_cell(artifact.performance.get(name)))
        rows.append(tuple(cells))
    caption = "On the test split, with 95 % intervals. ECE: expected calibration error, lower is better."
    return ReportTable("quality", "Discrimination and calibration", caption, tuple(header), tuple(rows))


def devices(ranking: Ranking) -> ReportTable | None:
    """Return the winner on each device of the field; None without field reports."""
    if not ranking.devices:
        return None
    rows = tuple(
        (
            Cell(printable(winner.device)),
            Cell(printable(winner.winner)) if winner.winner else Cell("none to deploy", "bad"),
            number(winner.latency_s, ms),
            number(winner.peak_memory_bytes, mib),
            Cell(printable(" ".join(winner.moved)) or "nothing"),
        )
        for winner in ranking.devices
    )
    header = ("device", "best there", "latency p90", "peak memory", "what changed against home")
    caption = "By each device's own measurements. The ranking above uses the worst case over all devices."
    return ReportTable("devices", "On the devices", caption, header, rows)


def _signed(value: float) -> str:
    return f"{value:+.3f}" if value else score(value)


def _parity(artifact: Artifact) -> Cell:
    parity = artifact.parity
    text = f"{parity.max_abs_diff:.2g} (tolerance {parity.tolerance:.2g})"
    if not parity.passed:
        return Cell(f"{text}, failed", "bad", parity.max_abs_diff)
    return Cell(text, "number", parity.max_abs_diff)
