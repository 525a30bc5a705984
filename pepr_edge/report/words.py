"""The ranking in words: the answer in one sentence, its caveats, the table for the terminal. Needs no matplotlib or jinja2."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from pepr_edge.metrics import LEVEL
from pepr_edge.records import Ranking, RankingRow
from pepr_edge.report.soundness import DEPENDS_HEADER, depends_on, images, life, percent, soundness
from pepr_edge.report.units import MIB, SPLIT_NAMES, STATUS_NAMES, energy, metric, mib, ms, performance, printable, score, significant

NAMED_TIES = 4
TEXT_COLUMNS = (1, 2, 12)
WIDTH = 100
ABSENT = "-"
# Widest that the text columns may be before the candidate's name gives way, characters.
VARIANT_WIDTH, NOTES_WIDTH, CANDIDATE_LEAST = 12, 7, 8


def entry(row: RankingRow) -> str:
    """What a row is of: `mobilenetv2_050@64 int8_static`."""
    return f"{row.candidate} {row.variant}" if row.variant else row.candidate


def short_names(rows: Sequence[RankingRow]) -> tuple[dict[str, str], str]:
    """Candidates' names, and their size in pixels, which is left out of the names where all have the same; else it is empty."""
    sizes = {row.candidate.rpartition("@")[2] for row in rows}
    if len(sizes) != 1 or any("@" not in row.candidate for row in rows):
        return {row.candidate: printable(row.candidate) for row in rows}, ""
    return {row.candidate: printable(row.candidate.rpartition("@")[0]) for row in rows}, sizes.pop()


def ranked_rows(ranking: Ranking) -> list[RankingRow]:
    """The rows that have a rank, best first."""
    return sorted((row for row in ranking.rows if row.rank is not None), key=lambda row: row.rank or 0)


def unranked_rows(ranking: Ranking) -> list[RankingRow]:
    """The rows without a rank, in their order."""
    return [row for row in ranking.rows if row.rank is None]


def answer(ranking: Ranking) -> str:
    """Which model to deploy and what it costs, in one sentence; or that there is none, and why."""
    ranked = ranked_rows(ranking)
    if not ranked:
        return _no_answer(ranking)
    best = ranked[0]
    name = metric(ranking.performance_metric)
    if best.test_performance is not None:
        parts = [f"test {name} {performance(best.test_performance, best.test_performance_ci, 2)}"]
    else:
        split = SPLIT_NAMES[ranking.performance_split]
        parts = [f"{split} {name} {performance(best.performance, best.performance_ci, 2)}"]
    resources = best.resources
    latency, memory, joules = (resources.get(resource) for resource in ("latency", "peak_memory", "train_energy"))
    parts.append("latency not measured" if latency is None else f"{ms(latency, 2)} at p90")
    parts.append("peak memory not measured" if memory is None else f"{mib(memory, 2)} peak")
    method = best.methods.get("train_energy", "")
    parts.append("training energy not measured" if joules is None else f"trained for {energy(joules, 2)}{f' ({method})' if method else ''}")
    known = _beside_guessing(ranking, best, None)
    if known is not None and known[2] <= known[0]:
        return f"On {ranking.device} deploy none of these yet: the first of them, {entry(best)}, learnt nothing of use: {', '.join(parts)}."
    return f"On {ranking.device} deploy {entry(best)}: {', '.join(parts)}."


def _no_answer(ranking: Ranking) -> str:
    if not ranking.rows:
        return f"There is no model to deploy on {ranking.device}: no candidate was tried."
    parts = []
    for status, words in (("failed", "failed"), ("over_budget", "broke a budget"), ("ok", "could not be ranked")):
        if number := sum(row.status == status for row in ranking.rows):
            parts.append(f"{number} {words}")
    return f"There is no model to deploy on {ranking.device}: of {len(ranking.rows)} tried, {' and '.join(parts)}."


def caveats(ranking: Ranking, classes: int | None = None) -> tuple[str, ...]:
    """What a reader must know before relying on the answer, the gravest first; empty where there is no answer.

    Args:
        ranking: as the answer's.
        classes: number of classes, which says what guessing reaches in balanced accuracy.
    """
    ranked = ranked_rows(ranking)
    if not ranked:
        return ()
    best = ranked[0]
    found = [_against_guessing(ranking, best, classes), *(f"{printable(warning)}" for warning in best.warnings)]
    found += [_ties(ranking, ranked), *soundness(ranking), _basis(ranking, best), _energy_method(ranked)]
    return tuple(dict.fromkeys(sentence for sentence in found if sentence))


def conclusion(ranking: Ranking) -> str:
    """The answer and its caveats for a terminal, in lines of at most 100 characters."""
    lines = [*_wrapped(answer(ranking)), ""]
    for caveat in caveats(ranking):
        lines += _wrapped(caveat, "- ")
    return "\n".join(lines).rstrip()


def guessing(metric_name: str, majority_baseline: float, classes: int | None) -> tuple[float, str] | None:
    """What a model without any skill reaches in a metric, and the words for it; None where that is not known."""
    if metric_name == "accuracy":
        return majority_baseline, "always saying the commonest class"
    if metric_name == "auroc":
        return 0.5, "guessing"
    if metric_name == "balanced_accuracy" and classes:
        return 1 / classes, "always saying one class"
    if metric_name.startswith(("sensitivity_at_specificity", "specificity_at_sensitivity")):
        level = metric_name.rpartition("_")[2]
        return 1 - (float(level) if level[0].isdigit() else LEVEL), "guessing"
    return None


def _beside_guessing(
    ranking: Ranking, best: RankingRow, classes: int | None
) -> tuple[float, str, float, tuple[float, float] | None] | None:
    """What guessing reaches and its words, then what the model does and its interval; None where either is not known."""
    baseline = guessing(ranking.performance_metric, ranking.majority_baseline, classes)
    if baseline is None and ranking.baseline is not None:
        baseline = ranking.baseline.performance, "always saying the commonest class"
    value, ci = best.test_performance, best.test_performance_ci
    if value is None:  # the baseline is the test split's, and that of validation is close to it
        value, ci = best.performance, best.performance_ci
    return None if baseline is None or value is None else (*baseline, value, ci)


def _against_guessing(ranking: Ranking, best: RankingRow, classes: int | None) -> str:
    known = _beside_guessing(ranking, best, classes)
    if known is None:
        return ""
    baseline, words, value, ci = known
    reached = f"{words} ({metric(ranking.performance_metric)} {score(baseline)})"
    if value <= baseline:
        return f"The model does not beat {reached}: it has learnt nothing of use, do not deploy it."
    if ci is not None and ci[0] <= baseline:
        return f"The model is not clearly better than {reached}: its interval reaches down to that."
    return ""


def _ties(ranking: Ranking, ranked: list[RankingRow]) -> str:
    name = f"{SPLIT_NAMES[ranking.performance_split]} {metric(ranking.performance_metric)}"
    best, *others = ranked
    if best.tied_with_best is False:
        top = max(ranked, key=lambda row: row.performance or 0.0)
        reached = f"{entry(top)} reaches {score(top.performance, 2)}"
        return f"Others are better in {name} ({reached}), but at more cost: this one has the best PePR edge."
    tied = [entry(row) for row in others if row.tied_with_best]
    if not tied:
        return ""
    shown = ", ".join(tied[:NAMED_TIES]) + (f" and {len(tied) - NAMED_TIES} more" if len(tied) > NAMED_TIES else "")
    if ranking.performance_metric != "accuracy":
        name = f"{SPLIT_NAMES[ranking.performance_split]} decisions"  # which is what the test compares
    return f"Tied in {name}, as far as these images can tell: {shown}. The choice between them rests on their resources."


def _basis(ranking: Ranking, best: RankingRow) -> str:
    name = metric(ranking.performance_metric)
    if ranking.performance_split == "test":
        return f"The choice was made on the test split itself, so the test {name} is optimistic."
    figure = performance(best.performance, best.performance_ci, 2)
    return f"The choice rests on {SPLIT_NAMES[ranking.performance_split]} {name}, {figure}. Nothing was chosen on the test split."


def _energy_method(ranked: list[RankingRow]) -> str:
    best = ranked[0]
    methods = {row.methods.get("train_energy", "") for row in ranked if row.resources.get("train_energy") is not None}
    if best.resources.get("train_energy") is None:
        return "Training energy was not measured, so nothing here accounts for it."
    if len(methods) > 1:
        return f"Training energies were obtained in different ways ({', '.join(sorted(methods))}): do not compare them."
    if methods == {"declared"}:
        return "Training energy is declared watts times CPU seconds, not a counter's reading."
    return ""


def ranking_table(ranking: Ranking) -> str:
    """All rows of the ranking for a terminal: those with a rank, then those without and why, then the notes.

    Lines are at most 100 characters, ASCII where the names are. `-` stands for not measured.
    """
    ranked, notes = ranked_rows(ranking), _Notes()
    lines: list[str] = []
    if ranked:
        split = SPLIT_NAMES[ranking.performance_split]
        px = short_names(ranked)[1]
        size = f", {px} px images" if px else ""
        measure = metric(ranking.performance_metric)
        lines += _wrapped(f"Ranked by PePR edge on {ranking.device}{size}; {measure} on {split} (95 % interval).")
        lines += _ranked_lines(ranking, ranked, notes)
    if unranked := unranked_rows(ranking):
        lines += ["", "Without a rank:"] if lines else ["Without a rank:"]
        for row in unranked:
            reason = f": {printable(row.reason)}" if row.reason else ""
            lines += _wrapped(f"{entry(row)} {STATUS_NAMES[row.status]}{reason}", "  ", "      ")
    lines += _legend(ranked, lines)
    lines += [line for number, note in enumerate(notes, 1) for line in _wrapped(f"{number} {note}")]
    return "\n".join(lines)


class _Notes(list[str]):
    """Footnotes in the order of their first use."""

    def mark(self, note: str) -> str:
        if note not in self:
            self.append(note)
        return str(self.index(note) + 1)


def _ranked_lines(ranking: Ranking, ranked: list[RankingRow], notes: _Notes) -> list[str]:
    above = ["", "", "", ranking.performance_split, "test", "p90", "peak", "size", "train", "PePR", "rank", "first", ""]
    below = ["", "candidate", "variant", "(95 % interval)", "", "ms", "MiB", "MiB", "Wh", "edge", "95 %", "%", ""]
    names, _ = short_names(ranked)
    table = [above, below, *(_cells(row, names[row.candidate], notes) for row in ranked)]
    if (free := ranking.baseline) is not None:
        always = ["", "always", repr(printable(free.label)), score(free.performance), *[""] * 5, score(free.performance), "", "", "free"]
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
        lines.append(" ".join(_aligned(column, cell, widths[column]) for column, cell in enumerate(cells)).rstrip()[:WIDTH])
    return lines


def _aligned(column: int, cell: str, width: int) -> str:
    return cell.ljust(width) if column in TEXT_COLUMNS else cell.rjust(width)


def _cells(row: RankingRow, name: str, notes: _Notes) -> list[str]:
    ci = f" ({score(row.performance_ci[0], 2)}-{score(row.performance_ci[1], 2)})" if row.performance_ci else ""
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


def _legend(ranked: list[RankingRow], lines: list[str]) -> list[str]:
    parts = []
    if any(row.tied_with_best for row in ranked):
        parts.append("= tied with the best in performance.")
    needed = ("latency", "peak_memory", "train_energy")
    if any(row.resources.get(name) is None for row in ranked for name in needed) or any(row.size_bytes is None for row in ranked):
        parts.append(f"{ABSENT} not measured.")
    if any(row.rank_ci is not None for row in ranked):
        parts.append("Rank 95 % and first %: where it would stand if the validation images were drawn again.")
    if any(row.methods.get("train_energy") == "declared" for row in ranked):
        parts.append("Training energy is declared, not measured.")
    return (["", *_wrapped(" ".join(parts))] if lines else []) if parts else []


def dependence_table(ranking: Ranking) -> str:
    """What the winner depends on, for a terminal; empty where nothing is ranked."""
    return "\n".join(_plain_table(DEPENDS_HEADER, depends_on(ranking))) if ranking.sensitivity or ranking.winners else ""


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
    return "\n".join([*(_plain_table(header, cells) if cells else []), *(line for words in life(found) for line in _wrapped(words))])


def _joules(value: float | None) -> str:
    return ABSENT if value is None else f"{value:.3g}"


def _plain_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns side by side, the last one wrapped where a line would be too long."""
    widths = [max(len(cells[column]) for cells in (header, *rows)) for column in range(len(header) - 1)]
    lines = []
    for cells in (header, *rows):
        start = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=False)) + "  "
        lines += textwrap.wrap(start + cells[-1], WIDTH, subsequent_indent=" " * min(len(start), WIDTH // 2), drop_whitespace=True) or [
            start
        ]
    return lines


def _wrapped(text: str, first: str = "", rest: str = "  ") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)


def shortened(text: str, width: int) -> str:
    """Text cut in its middle to a width, so that the size at the end of a candidate's name stays."""
    if len(text) <= width:
        return text
    tail = min(8, (width - 2) // 2)
    return f"{text[: width - 2 - tail]}..{text[len(text) - tail :]}"
