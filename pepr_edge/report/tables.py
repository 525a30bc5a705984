"""The report's tables as text with sort keys: ranking, scores, cost of training, variants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pepr_edge.records import Artifact, Baseline, Estimate, Quantity, Ranking, RankingRow, TrainResult
from pepr_edge.text import robustness
from pepr_edge.text.robustness import percent
from pepr_edge.text.sentences import ranked_rows, unranked_rows
from pepr_edge.text.units import (
    MISSING,
    SPLIT_NAMES,
    STATUS_NAMES,
    co2eq,
    count,
    duration,
    energy,
    metric,
    mib,
    ms,
    plural,
    printable,
    score,
)

# Letter of the PePR family -> what it is per unit of. Source: Selvan et al. 2025 (E, C, T, M, D); L and W are ours.
LETTERS = {
    "E": "training energy",
    "C": "training CO2eq",
    "T": "training time",
    "M": "training memory",
    "D": "training images",
    "L": "latency",
    "W": "memory on the device",
}


@dataclass(frozen=True)
class Cell:
    """One cell, `detail` small below it. `sort` orders numeric columns; None sorts last. `kind`: number, text, missing, bad or good."""

    text: str
    kind: str = "text"
    sort: float | None = None
    detail: str = ""


@dataclass(frozen=True)
class ReportTable:
    """A table with its title and caption. `dimmed`: indices of rows that have no rank."""

    name: str
    title: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    dimmed: frozenset[int] = frozenset()
    sortable: bool = True


def number(value: float | None, words: Callable[[float | None], str]) -> Cell:
    """A cell with a figure; "not measured" where there is none."""
    return Cell(MISSING, "missing") if value is None else Cell(words(value), "number", value)


def quantity(found: Quantity, words: Callable[[float | None], str]) -> Cell:
    """A cell with a figure and how it was obtained."""
    return (
        Cell(MISSING, "missing")
        if found.value is None
        else Cell(words(found.value), "number", found.value, found.method)
    )


def ranking(shown: Ranking) -> ReportTable:
    """All rows: first those with a rank, then those that failed or broke a budget, with the reason."""
    name = metric(shown.performance_metric)
    header: tuple[str, ...] = (
        "rank",
        "candidate",
        "variant",
        "PePR edge",
        f"{SPLIT_NAMES[shown.performance_split]} {name}",
        f"test {name}",
    )
    header += ("latency p90", "peak memory", "file size", "training energy")
    ranked, others = ranked_rows(shown), unranked_rows(shown)
    methods = sorted(
        {
            row.methods.get("train_energy", "")
            for row in shown.rows
            if row.resources.get("train_energy") is not None
        }
        - {""}
    )
    caption = f"{plural(len(shown.rows), 'model')} tried on {shown.device}, with 95 % intervals."
    if methods:
        caption += f" Training energy is {' or '.join(methods)}."
    if any(row.rank_ci for row in ranked):
        caption += " Below a rank its 95 % interval, below a score how often it came first, if the images were drawn again."
    rows = [_ranking_row(row) for row in (*ranked, *others)]
    dimmed = set(range(len(ranked), len(rows)))
    if (free := shown.baseline) is not None:
        place = free.of - free.outranks
        rows.insert(place, _baseline_row(free))
        dimmed = {place, *(number + 1 for number in dimmed)}
    return ReportTable("ranking", "Ranking", caption, header, tuple(rows), frozenset(dimmed))


def _baseline_row(free: Baseline) -> tuple[Cell, ...]:
    """The model that always says one class, which costs nothing, at the place that its score gives it."""
    nothing = [Cell("nothing", "missing") for _ in range(4)]
    name = Cell(
        f"always {printable(free.label)!r}", detail="no model: the commonest class of the training images"
    )
    return (
        Cell(""),
        name,
        Cell(""),
        number(free.performance, score),
        number(free.performance, score),
        Cell(""),
        *nothing,
    )


def _ranking_row(row: RankingRow) -> tuple[Cell, ...]:
    resources = row.resources
    return (
        _rank(row),
        Cell(
            printable(row.candidate),
            "bad" if row.rank is None or row.warnings else "text",
            detail=_notes(row),
        ),
        Cell(printable(row.variant or "")),
        _edge(row),
        _performance(row.performance, row.performance_ci),
        _performance(row.test_performance, row.test_performance_ci),
        number(resources.get("latency"), ms),
        number(resources.get("peak_memory"), mib),
        number(row.size_bytes, mib),
        number(resources.get("train_energy"), energy),
    )


def _rank(row: RankingRow) -> Cell:
    """A rank and where it would lie if the images were drawn again."""
    if row.rank is None:
        return Cell("")
    return Cell(
        str(row.rank), "number", row.rank, f"{row.rank_ci[0]} to {row.rank_ci[1]}" if row.rank_ci else ""
    )


def _edge(row: RankingRow) -> Cell:
    """The score that ranks, and how often it would be the first if the images were drawn again."""
    if row.rank is None:
        return Cell("not scored", "missing")
    return Cell(
        score(row.pepr.get("edge")),
        "number",
        row.pepr.get("edge"),
        f"first {percent(row.p_best)}" if row.p_best else "",
    )


def depends_on(shown: Ranking) -> ReportTable:
    """Within which weights, watts and normalisations the winner stays the winner."""
    rows = tuple(tuple(Cell(text) for text in row) for row in robustness.depends_on(shown))
    caption = (
        "Each setting varied alone, the others as they are; weights keep the proportions among the rest."
    )
    return ReportTable(
        "depends", "What the winner depends on", caption, robustness.DEPENDS_HEADER, rows, sortable=False
    )


def _performance(value: float | None, ci: tuple[float, float] | None) -> Cell:
    if value is None:
        return Cell(MISSING, "missing")
    return Cell(score(value), "number", value, f"{score(ci[0])} to {score(ci[1])}" if ci else "")


def _notes(row: RankingRow) -> str:
    notes = [printable(warning) for warning in row.warnings]
    if row.rank is None:
        notes.insert(0, f"{STATUS_NAMES[row.status]}{f': {printable(row.reason)}' if row.reason else ''}")
    elif row.tied_with_best:
        notes.insert(0, "tied with the best in performance")
    return "; ".join(notes)


def scores(shown: Ranking) -> ReportTable:
    """The whole PePR family of each row that has a rank."""
    header = ("rank", "candidate", "variant", "parameters", *LETTERS, "edge")
    rows = tuple(
        (
            Cell(str(row.rank), "number", row.rank),
            Cell(printable(row.candidate)),
            Cell(printable(row.variant or "")),
            number(row.num_params, count),
            *(number(row.pepr.get(letter), score) for letter in (*LETTERS, "edge")),
        )
        for row in ranked_rows(shown)
    )
    letters = ", ".join(f"{letter} {words}" for letter, words in LETTERS.items())
    return ReportTable(
        "scores",
        "PePR scores",
        f"Performance per resource unit: {letters}; edge is over the weighted resources together.",
        header,
        rows,
    )


def training_cost(trained: Sequence[TrainResult]) -> ReportTable:
    """What the training of each candidate cost, evaluation apart, each figure with its method."""
    header = (
        "candidate",
        "energy",
        "CO2eq",
        "duration",
        "peak memory",
        "peak GPU memory",
        "images seen",
        "evaluation energy",
    )
    rows = []
    for result in trained:
        cost = result.cost
        rows.append(
            (
                Cell(printable(result.candidate.id)),
                quantity(cost.energy_j, energy),
                quantity(cost.co2eq_g, co2eq),
                quantity(cost.duration_s, duration),
                quantity(cost.peak_memory_bytes, mib),
                quantity(cost.gpu_peak_memory_bytes, mib),
                quantity(cost.images, count),
                quantity(cost.evaluation_energy_j, energy),
                quantity(cost.evaluation_duration_s, duration),
            )
        )
    caption = "All epochs of training; the evaluation on validation and test apart. Beside each figure: how it was obtained."
    return ReportTable("cost", "Cost of training", caption, (*header, "evaluation duration"), tuple(rows))


def variants(shown: Ranking, artifacts: Sequence[Artifact]) -> ReportTable:
    """Each ONNX file against the PyTorch model that it came from."""
    name = shown.performance_metric
    header = (
        "candidate",
        "variant",
        "file size",
        "test in PyTorch",
        "test of the file",
        "change",
        "decisions changed",
        "parity",
        "exporter",
    )
    rows = []
    for artifact in artifacts:
        before, after = artifact.performance_before.get(name), artifact.performance.get(name)
        rows.append(
            (
                Cell(printable(artifact.candidate.id)),
                Cell(printable(artifact.variant)),
                number(artifact.size_bytes, mib),
                _estimate(before),
                _estimate(after),
                number(None if before is None or after is None else after.value - before.value, _signed),
                Cell(f"{artifact.flips.count} of {artifact.flips.n}", "number", artifact.flips.count),
                _parity(artifact),
                Cell(printable(artifact.exporter), detail=f"opset {artifact.opset}"),
            )
        )
    caption = f"Test {metric(name)} before and after export. Decisions: on the whole test split, against PyTorch. Parity: greatest difference"
    return ReportTable(
        "variants",
        "Variants",
        f"{caption} of logits on real images, and what was allowed.",
        header,
        tuple(rows),
    )


# Metric -> how the column is named that holds it before and after.
QUALITY = {"auroc": "AUROC", "balanced_accuracy": "balanced accuracy", "expected_calibration_error": "ECE"}


def quality(artifacts: Sequence[Artifact]) -> ReportTable:
    """Discrimination and calibration of each file on the test split, beside those of the PyTorch model that it came from."""
    header = ["candidate", "variant"]
    for words in QUALITY.values():
        header += [f"{words} in PyTorch", f"{words} of the file"]
    rows = []
    for artifact in artifacts:
        cells = [Cell(printable(artifact.candidate.id)), Cell(printable(artifact.variant))]
        for name in QUALITY:
            cells += [
                _estimate(artifact.performance_before.get(name)),
                _estimate(artifact.performance.get(name)),
            ]
        rows.append(tuple(cells))
    caption = "On the test split, with 95 % intervals. ECE: expected calibration error, less is better."
    return ReportTable("quality", "Discrimination and calibration", caption, tuple(header), tuple(rows))


def devices(shown: Ranking) -> ReportTable | None:
    """Which model wins on which device of the field; None where none was heard of."""
    if not shown.devices:
        return None
    header = ("device", "best there", "latency p90", "peak memory", "what changed against home")
    rows = tuple(
        (
            Cell(printable(one.device)),
            Cell(printable(one.winner)) if one.winner else Cell("none to deploy", "bad"),
            number(one.latency_s, ms),
            number(one.peak_memory_bytes, mib),
            Cell(printable(" ".join(one.moved)) or "nothing"),
        )
        for one in shown.devices
    )
    return ReportTable(
        "devices",
        "On the devices",
        "By what they measured themselves; the ranking above is of the worst case.",
        header,
        rows,
    )


def _estimate(found: Estimate | None) -> Cell:
    return _performance(None, None) if found is None else _performance(found.value, found.ci)


def _signed(value: float | None) -> str:
    return score(value) if not value else f"{value:+.3f}"


def _parity(artifact: Artifact) -> Cell:
    parity = artifact.parity
    text = f"{parity.max_abs_diff:.2g} of {parity.tolerance:.2g}"
    return (
        Cell(text, "number", parity.max_abs_diff)
        if parity.passed
        else Cell(f"{text}, failed", "bad", parity.max_abs_diff)
    )
