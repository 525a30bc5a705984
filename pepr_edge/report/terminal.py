"""The ranking in a terminal: answer, table, and what the order depends on, at most 100 characters a line."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pepr_edge.records import DeviceWinner, Ranking, RankingRow
from pepr_edge.scoring.metrics import is_one_sided
from pepr_edge.text.robustness import DEPENDENCE_HEADER, dependence_rows, drawn_again, lifetime_sentences
from pepr_edge.text.rows import ranked_rows, row_name, short_names, unranked_rows
from pepr_edge.text.sentences import answer, caveats, figures_sentence
from pepr_edge.text.sites import comparison_sentence
from pepr_edge.text.subgroups import HEADER, group_rows, hidden_sentence, metric_of
from pepr_edge.text.tables import WIDTH, aligned_table, clip_middle, wrapped, wrapped_table
from pepr_edge.text.units import (
    MIB,
    SPLIT_NAMES,
    STATUS_NAMES,
    image_count,
    metric,
    mib,
    ms,
    printable,
    probability,
    score,
    significant,
)
from pepr_edge.text.weights import SCRATCH, are_mixed, start_text

ABSENT = "-"
UNRANKED_HEADING = "Without a rank:"
# Columns of the ranking: alignment and the two lines of the header. The split is filled in.
COLUMNS = (
    ("r", "", ""),
    ("l", "", "candidate"),
    ("l", "", "variant"),
    ("r", "{split}", "(95 % interval)"),
    ("r", "test", ""),
    ("r", "p90", "ms"),
    ("r", "peak", "MiB"),
    ("r", "train", "Wh"),
    ("r", "skill", ""),
    ("r", "PePR", "edge"),
    ("r", "rank", "95 %"),
    ("r", "first", "%"),
    ("l", "", ""),
)
ALIGN = "".join(align for align, _, _ in COLUMNS)
CANDIDATE = 1
VARIANT = 2
NOTES = 12
# Widths in characters: of variant and notes at most, of the candidate at least.
VARIANT_WIDTH = 12
NOTES_WIDTH = 9
MIN_CANDIDATE_WIDTH = 8
# Maximum numbers of lines; the rest are counted.
MAX_CHANGES = 5
MAX_PRUNED = 8
NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.]*[A-Za-z_@])")  # a number that is no part of a name


def conclusion(ranking: Ranking) -> str:
    """Return the answer, its figures on test, and its caveats."""
    lines = [*wrapped(answer(ranking)), *wrapped(figures_sentence(ranking)), ""]
    for caveat in caveats(ranking):
        lines += wrapped(caveat, "- ")
    return "\n".join(lines).rstrip()


def ranking_table(ranking: Ranking) -> str:
    """Return all rows of the ranking: those with a rank, those without and why, then the notes.

    Lines have at most 100 characters, all ASCII unless a name is not. `-` stands for not measured.
    """
    ranked = ranked_rows(ranking)
    footnotes = _Footnotes()
    lines: list[str] = []
    if ranked:
        lines += wrapped(_title(ranking, ranked))
        lines += _ranked_lines(ranking, ranked, footnotes)
    unranked = unranked_rows(ranking)
    if unranked:
        lines += ["", UNRANKED_HEADING] if lines else [UNRANKED_HEADING]
        lines += _unranked_lines(unranked)
    legend = _legend(ranking, ranked)
    if legend:
        lines += ["", *wrapped(legend)]
    for number, note in enumerate(footnotes.texts(), 1):
        lines += wrapped(f"[{number}] {note}")
    return "\n".join(lines)


def _title(ranking: Ranking, ranked: list[RankingRow]) -> str:
    _, image_size_px = short_names([row.candidate for row in ranked])
    details = f"; {image_size_px} px images" if image_size_px else ""
    start = start_text(ranking)
    if start:
        details += f"; {start}"
    name = metric(ranking.performance_metric)
    if ranking.positive and is_one_sided(ranking.performance_metric):
        name += f" of {printable(ranking.positive)!r}"
    split = SPLIT_NAMES[ranking.performance_split]
    return f"Ranked by PePR edge; device: {ranking.device}{details}; {name} on {split} (95 % interval)."


def _unranked_lines(unranked: list[RankingRow]) -> list[str]:
    """Return the rows without a rank and their reasons; of many pruned candidates the rest are counted."""
    lines = []
    pruned: dict[str, str] = {}
    for row in unranked:
        reason = printable(row.reason)
        if row.status == "dropped":
            pruned[row.candidate] = reason  # the same for all variants
            continue
        # A row that was not done or not measured yet did not fail.
        status = "" if reason.startswith("not ") else f" {STATUS_NAMES[row.status]}"
        text = f"{row_name(row)}{status}"
        lines += wrapped(f"{text}: {reason}" if reason else text, "  ", "      ")
    for name, reason in list(pruned.items())[:MAX_PRUNED]:
        lines += wrapped(f"{name} {STATUS_NAMES['dropped']}: {reason}", "  ", "      ")
    more = len(pruned) - MAX_PRUNED
    if more > 0:
        lines.append(f"  and {more} more {STATUS_NAMES['dropped']}: ranking.json and report.html say why")
    return lines


class _Footnotes:
    """Footnotes in the order of their first use. Notes that differ only in their numbers share a footnote."""

    def __init__(self) -> None:
        self._notes_by_shape: dict[str, list[str]] = {}

    def number(self, note: str) -> int:
        """Add a note and return the number of its footnote."""
        shape = NUMBER.sub("#", note)
        self._notes_by_shape.setdefault(shape, []).append(note)
        return list(self._notes_by_shape).index(shape) + 1

    def texts(self) -> list[str]:
        """Return the text of each footnote; numbers that differ become a range."""
        return [_merged(notes) for notes in self._notes_by_shape.values()]


def _merged(notes: Sequence[str]) -> str:
    """Merge notes of one shape: `load 1.2` and `load 3.4` become `load 1.2 to 3.4`."""
    ranges = []
    for numbers in zip(*(NUMBER.findall(note) for note in notes), strict=True):
        low = min(numbers, key=float)
        high = max(numbers, key=float)
        ranges.append(low if low == high else f"{low} to {high}")
    remaining = iter(ranges)
    return NUMBER.sub(lambda _: next(remaining), notes[0])


def _ranked_lines(ranking: Ranking, ranked: list[RankingRow], footnotes: _Footnotes) -> list[str]:
    split = SPLIT_NAMES[ranking.performance_split]
    names, _ = short_names([row.candidate for row in ranked])
    mixed = are_mixed(ranking)
    rows = [_cells(row, names[row.candidate], footnotes, mixed) for row in ranked]
    baseline = ranking.baseline
    if baseline is not None:
        performance = score(baseline.performance)
        label = repr(printable(baseline.label))
        pepr = score(0.0) if ranking.ranked_by_skill else performance
        cells = ["", "always", label, performance, "", "", "", "", score(0.0, 2), pepr, "", "", "no cost"]
        rows.insert(baseline.of - baseline.outranks, cells)
    top = [line.format(split=split) for _, line, _ in COLUMNS]
    bottom = [line for _, _, line in COLUMNS]
    table = [top, bottom, *rows]
    for cells in table:
        cells[VARIANT] = clip_middle(cells[VARIANT], VARIANT_WIDTH)
        cells[NOTES] = clip_middle(cells[NOTES], NOTES_WIDTH)
    width = max(MIN_CANDIDATE_WIDTH, WIDTH - _width_without_candidate(table))
    for cells in table:
        cells[CANDIDATE] = clip_middle(cells[CANDIDATE], width)
    return [line[:WIDTH] for line in aligned_table(table, ALIGN, gap=" ")]


def _width_without_candidate(table: list[list[str]]) -> int:
    widths = [max(len(cells[column]) for cells in table) for column in range(len(COLUMNS))]
    gaps = len(widths) - 1
    return sum(widths) - widths[CANDIDATE] + gaps


def _cells(row: RankingRow, name: str, footnotes: _Footnotes, mixed: bool) -> list[str]:
    """Return the cells of a row; `mixed`: not all models began with the same kind of weights."""
    performance = _number(row.performance)
    if row.performance_ci:
        performance += f" ({score(row.performance_ci[0], 2)}-{score(row.performance_ci[1], 2)})"
    rank_interval = ""
    if row.rank_ci is not None:
        low, high = row.rank_ci
        rank_interval = str(low) if low == high else f"{low}-{high}"
    notes = list(row.warnings)
    if mixed and row.weights == SCRATCH:
        notes.append("trained from scratch")
    numbers = ",".join(str(footnotes.number(printable(note))) for note in notes)
    return [
        str(row.rank),
        name,
        printable(row.variant or ""),
        performance,
        _number(row.test_performance),
        _scaled(row.resources.get("latency"), 1e-3),
        _scaled(row.resources.get("peak_memory"), MIB),
        _scaled(row.resources.get("train_energy"), 3600.0),
        ABSENT if row.skill is None else score(row.skill, 2),
        _number(row.pepr.get("edge")),
        rank_interval,
        "" if row.p_best is None else probability(row.p_best).removesuffix(" %"),
        _marks(row, numbers),
    ]


def _marks(row: RankingRow, footnotes: str) -> str:
    """Return the signs at the end of a row: `=` for a tie, and its footnotes, such as `= [1,2]`."""
    marks = ["="] if row.tied_with_best else []
    if footnotes:
        marks.append(f"[{footnotes}]")
    return " ".join(marks)


def _number(value: float | None) -> str:
    return ABSENT if value is None else score(value)


def _scaled(value: float | None, unit: float) -> str:
    return ABSENT if value is None else significant(value / unit)


def _legend(ranking: Ranking, ranked: list[RankingRow]) -> str:
    """Explain the signs that the table uses; empty if it uses none."""
    parts = []
    if any(row.tied_with_best for row in ranked):
        compared = "performance" if ranking.performance_metric == "accuracy" else "decisions"
        parts.append(f"= tied with the first in {compared}.")
    if any(_lacks_a_figure(row) for row in ranked):
        parts.append(f"{ABSENT} not measured.")
    if any(row.skill is not None for row in ranked):
        parts.append("Skill: 0 is the majority-class baseline, 1 is perfect.")
    if any(row.repeats > 1 for row in ranked):
        most = max(row.repeats for row in ranked)
        parts.append(
            f"Performance on {SPLIT_NAMES[ranking.performance_split]}: mean over up to {most} seeds."
        )
    if any(row.rank_ci is not None for row in ranked):
        parts.append(
            f"Rank 95 % and first %: its rank, and the probability that it is first, {drawn_again(ranking)}."
        )
    if any(row.methods.get("train_energy") == "declared" for row in ranked):
        parts.append("Training energy is declared, not measured.")
    return " ".join(parts)


def _lacks_a_figure(row: RankingRow) -> bool:
    names = ("latency", "peak_memory", "train_energy")
    return row.skill is None or any(row.resources.get(name) is None for name in names)


def devices_table(ranking: Ranking) -> str:
    """Return the winner on each device and what changed against home; empty without field reports."""
    if not ranking.devices:
        return ""
    lines = ["On the devices:"]
    for winner in ranking.devices:
        lines += wrapped(f"{printable(winner.device)}: {_winner(winner)}", "  ", "      ")
        changes = list(winner.moved[:MAX_CHANGES])
        more = len(winner.moved) - MAX_CHANGES
        if more > 0:
            changes.append(f"and {more} more")
        for change in changes:
            lines += wrapped(printable(change), "    - ", "      ")
    return "\n".join(lines)


def subgroups_table(ranking: Ranking) -> str:
    """Return the test performance of the first model by subgroup; empty without subgroups."""
    ranked = [row for row in ranked_rows(ranking) if row.subgroups]
    if not ranked:
        return ""
    columns = ranked[0].subgroups
    title = f"{row_name(ranked[0])} by subgroup, {metric_of(columns)} on test:"
    lines = [*wrapped(title), *aligned_table([HEADER, *group_rows(columns)], "llrll", indent="  ")]
    return "\n".join([*lines, *wrapped(hidden_sentence(columns), "  ")])


def sites_table(ranking: Ranking) -> str:
    """Return how the models do on the images of sites against home; empty without reports of evaluate."""
    if not ranking.sites:
        return ""
    lines = ["On labelled images of sites:"]
    for comparison in ranking.sites:
        lines += wrapped(comparison_sentence(comparison), "  ", "      ")
    return "\n".join(lines)


def _winner(winner: DeviceWinner) -> str:
    if winner.winner is None:
        return "none to deploy"
    text = f"{printable(winner.winner)}, {ms(winner.latency_s)} at p90, {mib(winner.peak_memory_bytes)} peak"
    if not winner.moved:
        return f"{text}; ranks as at home"
    if winner.winner == winner.home_winner:
        return f"{text}; the winner as at home"
    return text


def dependence_table(ranking: Ranking) -> str:
    """Return what the winner depends on; empty if nothing is ranked."""
    if not ranking.sensitivity and not ranking.winners:
        return ""
    return "\n".join(wrapped_table(DEPENDENCE_HEADER, dependence_rows(ranking)))


def lifetime_table(ranking: Ranking) -> str:
    """Return the energy per image of each ranked model over its lifetime, lowest first."""
    lifetime = ranking.lifetime
    if lifetime is None:
        return ""
    known = [row for row in ranking.rows if row.lifetime_j_per_image is not None]
    known.sort(key=lambda row: row.lifetime_j_per_image or 0.0)
    cells = [
        (
            row_name(row),
            _scaled(row.resources.get("train_energy"), 3600.0),
            _joules(row.inference_energy_j),
            _joules(row.lifetime_j_per_image),
        )
        for row in known
    ]
    header = ("model", "training Wh", "J per prediction", f"J per image over {image_count(lifetime.images)}")
    lines = wrapped_table(header, cells) if cells else []
    for sentence in lifetime_sentences(lifetime):
        lines += wrapped(sentence)
    return "\n".join(lines)


def _joules(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.3g}"
