"""The ranking for a terminal: its table, the answer, and what the order depends on, in lines of at most 100 characters."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pepr_edge.records import DeviceWinner, Ranking, RankingRow
from pepr_edge.text.robustness import DEPENDS_HEADER, depends_on, images, life, percent
from pepr_edge.text.sentences import answer, caveats, entry, ranked_rows, short_names, unranked_rows
from pepr_edge.text.tables import WIDTH, plain_table, shortened, wrapped
from pepr_edge.text.units import (
    MIB,
    SPLIT_NAMES,
    STATUS_NAMES,
    metric,
    mib,
    ms,
    printable,
    score,
    significant,
)

TEXT_COLUMNS = (1, 2, 12)
ABSENT = "-"
# Widest that the text columns may be before the candidate's name gives way, characters.
VARIANT_WIDTH, NOTES_WIDTH, CANDIDATE_LEAST = 12, 7, 8
# What changed on a device, sentences; the rest are counted.
MOVED_SHOWN = 5
# Candidates that a search spared, with the reason.
DROPPED_SHOWN = 8
NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.]*[A-Za-z_@])")  # a figure, not a part of a name


def conclusion(ranking: Ranking) -> str:
    """The answer and its caveats for a terminal."""
    lines = [*wrapped(answer(ranking)), ""]
    for caveat in caveats(ranking):
        lines += wrapped(caveat, "- ")
    return "\n".join(lines).rstrip()


def ranking_table(ranking: Ranking) -> str:
    """All rows of the ranking for a terminal: those with a rank, then those without and why, then the notes.

    Lines are at most 100 characters, ASCII where the names are. `-` stands for not measured.
    """
    ranked, notes = ranked_rows(ranking), _Notes()
    lines: list[str] = []
    if ranked:
        split = SPLIT_NAMES[ranking.performance_split]
        px = short_names([row.candidate for row in ranked])[1]
        size = f", {px} px images" if px else ""
        measure = metric(ranking.performance_metric) + (
            f" of {printable(ranking.positive)!r}" if ranking.positive else ""
        )
        lines += wrapped(
            f"Ranked by PePR edge on {ranking.device}{size}; {measure} on {split} (95 % interval)."
        )
        lines += _ranked_lines(ranking, ranked, notes)
    if unranked := unranked_rows(ranking):
        lines += ["", "Without a rank:"] if lines else ["Without a rank:"]
        for row in unranked:
            if row.status == "dropped":
                continue
            # What was not done or not measured yet did not fail.
            status = "" if row.reason.startswith("not ") else f" {STATUS_NAMES[row.status]}"
            reason = f": {printable(row.reason)}" if row.reason else ""
            lines += wrapped(f"{entry(row)}{status}{reason}", "  ", "      ")
        lines += _dropped_lines(unranked)
    lines += _legend(ranking, ranked, lines)
    lines += [line for number, note in enumerate(notes.texts(), 1) for line in wrapped(f"{number} {note}")]
    return "\n".join(lines)


def _dropped_lines(unranked: Sequence[RankingRow]) -> list[str]:
    """What a search spared, of which there may be a hundred: each candidate once, whatever its variants; the rest are counted."""
    reasons = {row.candidate: printable(row.reason) for row in unranked if row.status == "dropped"}
    shown = list(reasons.items())[:DROPPED_SHOWN]
    lines = [
        line
        for name, reason in shown
        for line in wrapped(f"{name} {STATUS_NAMES['dropped']}: {reason}", "  ", "      ")
    ]
    more = len(reasons) - len(shown)
    return lines + (
        [f"  and {more} more that were not trained to their end: ranking.json and report.html say why"]
        if more
        else []
    )


class _Notes:
    """Footnotes in the order of their first use; those that differ in their figures alone are one."""

    def __init__(self) -> None:
        self._alike: dict[str, list[str]] = {}

    def mark(self, note: str) -> str:
        """The number of a note."""
        shape = NUMBER.sub("#", note)
        self._alike.setdefault(shape, []).append(note)
        return str(list(self._alike).index(shape) + 1)

    def texts(self) -> list[str]:
        """All of them, a figure that differs as the range that it lies in."""
        return [_merged(notes) for notes in self._alike.values()]


def _merged(notes: Sequence[str]) -> str:
    """`load 1.2 on 2 cores`, `load 3.4 on 2 cores`: `load 1.2 to 3.4 on 2 cores`."""
    figures = [sorted(set(column), key=float) for column in zip(*map(NUMBER.findall, notes), strict=True)]
    ranges = iter(" to ".join(dict.fromkeys([column[0], column[-1]])) for column in figures)
    return NUMBER.sub(lambda _: next(ranges), notes[0])


def _ranked_lines(ranking: Ranking, ranked: list[RankingRow], notes: _Notes) -> list[str]:
    above = [
        "",
        "",
        "",
        ranking.performance_split,
        "test",
        "p90",
        "peak",
        "size",
        "train",
        "PePR",
        "rank",
        "first",
        "",
    ]
    below = [
        "",
        "candidate",
        "variant",
        "(95 % interval)",
        "",
        "ms",
        "MiB",
        "MiB",
        "Wh",
        "edge",
        "95 %",
        "%",
        "",
    ]
    names, _ = short_names([row.candidate for row in ranked])
    table = [above, below, *(_cells(row, names[row.candidate], notes) for row in ranked)]
    if (free := ranking.baseline) is not None:
        always = [
            "",
            "always",
            repr(printable(free.label)),
            score(free.performance),
            *[""] * 5,
            score(free.performance),
            "",
            "",
            "free",
        ]
        table.insert(2 + free.of - free.outranks, always)
    for cells in table:
        cells[2] = shortened(cells[2], VARIANT_WIDTH)
        cells[12] = shortened(cells[12], NOTES_WIDTH)
    widths = [max(len(cells[column]) for cells in table) for column in range(len(table[0]))]
    spare = WIDTH - (sum(widths) - widths[1]) - (len(widths) - 1)
    widths[1] = max(CANDIDATE_LEAST, min(widths[1], spare))
    lines = []
    for cells in table:
        cells[1] = shortened(cells[1], widths[1])
        lines.append(
            " ".join(_aligned(column, cell, widths[column]) for column, cell in enumerate(cells)).rstrip()[
                :WIDTH
            ]
        )
    return lines


def _aligned(column: int, cell: str, width: int) -> str:
    return cell.ljust(width) if column in TEXT_COLUMNS else cell.rjust(width)


def _cells(row: RankingRow, name: str, notes: _Notes) -> list[str]:
    ci = (
        f" ({score(row.performance_ci[0], 2)}-{score(row.performance_ci[1], 2)})"
        if row.performance_ci
        else ""
    )
    marks = ",".join(notes.mark(printable(warning)) for warning in row.warnings)
    return [
        str(row.rank),
        name,
        printable(row.variant or ""),
        ABSENT if row.performance is None else score(row.performance) + ci,
        _number(row.test_performance, None),
        _number(row.resources.get("latency"), 1e-3),
        _number(row.resources.get("peak_memory"), MIB),
        _number(row.size_bytes, MIB),
        _number(row.resources.get("train_energy"), 3600.0),
        _number(row.pepr.get("edge"), None),
        "" if row.rank_ci is None else "-".join(map(str, dict.fromkeys(row.rank_ci))),
        "" if row.p_best is None else percent(row.p_best).removesuffix(" %"),
        ("=" if row.tied_with_best else "") + marks,
    ]


def _number(value: float | None, scale: float | None) -> str:
    if value is None:
        return ABSENT
    return score(value) if scale is None else significant(value / scale)


def _legend(ranking: Ranking, ranked: list[RankingRow], lines: list[str]) -> list[str]:
    parts = []
    if any(row.tied_with_best for row in ranked):
        parts.append(
            f"= tied with the best in {'performance' if ranking.performance_metric == 'accuracy' else 'decisions'}."
        )
    needed = ("latency", "peak_memory", "train_energy")
    if any(row.resources.get(name) is None for row in ranked for name in needed) or any(
        row.size_bytes is None for row in ranked
    ):
        parts.append(f"{ABSENT} not measured.")
    if any(row.rank_ci is not None for row in ranked):
        parts.append(
            "Rank 95 % and first %: where it would stand if the validation images were drawn again, its costs the same."
        )
    if any(row.methods.get("train_energy") == "declared" for row in ranked):
        parts.append("Training energy is declared, not measured.")
    return (["", *wrapped(" ".join(parts))] if lines else []) if parts else []


def devices_table(ranking: Ranking) -> str:
    """Which artifact wins on which device and what changed against home, for a terminal; empty where no field report was brought home."""
    lines = ["On the devices:"]
    for one in ranking.devices:
        lines += wrapped(f"{printable(one.device)}: {_winner(one)}", "  ", "      ")
        shown = [
            *one.moved[:MOVED_SHOWN],
            *([f"and {more} more"] if (more := len(one.moved) - MOVED_SHOWN) > 0 else []),
        ]
        lines += [line for sentence in shown for line in wrapped(printable(sentence), "    - ", "      ")]
    return "\n".join(lines) if ranking.devices else ""


def _winner(one: DeviceWinner) -> str:
    if one.winner is None:
        return "none to deploy"
    kept = (
        "; ranks as at home"
        if not one.moved
        else "; the winner as at home"
        if one.winner == one.home_winner
        else ""
    )
    return f"{printable(one.winner)}, {ms(one.latency_s)} at p90, {mib(one.peak_memory_bytes)} peak{kept}"


def dependence_table(ranking: Ranking) -> str:
    """What the winner depends on, for a terminal; empty where nothing is ranked."""
    return (
        "\n".join(plain_table(DEPENDS_HEADER, depends_on(ranking)))
        if ranking.sensitivity or ranking.winners
        else ""
    )


def lifetime_table(ranking: Ranking) -> str:
    """Energy per image of each ranked model over its life, least first, and which is the cheapest for how many images."""
    found = ranking.lifetime
    if found is None:
        return ""
    known = [row for row in ranking.rows if row.lifetime_j_per_image is not None]
    cells = [
        (
            printable(entry(row)),
            _number(row.resources.get("train_energy"), 3600.0),
            _joules(row.inference_energy_j),
            _joules(row.lifetime_j_per_image),
        )
        for row in sorted(known, key=lambda row: row.lifetime_j_per_image or 0.0)
    ]
    header = ("model", "training Wh", "J an answer", f"J an image over {images(found.images)}")
    return "\n".join(
        [
            *(plain_table(header, cells) if cells else []),
            *(line for words in life(found) for line in wrapped(words)),
        ]
    )


def _joules(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.3g}"
