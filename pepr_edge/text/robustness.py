"""How sound a ranking is, in words: chance, outliers, the free baseline, what the winner depends on, and energy over a life."""

from __future__ import annotations

from collections.abc import Sequence

from pepr_edge.records import Lifetime, Outlier, Ranking, Sensitivity
from pepr_edge.text.units import metric, printable, score

SETTLED = 0.95  # of the draws: then the first place is not called a matter of chance
NAMED = 3
SETTINGS = {"declared watts, factor": "declared watts"}


def soundness(ranking: Ranking) -> tuple[str, ...]:
    """What a reader must know about the order itself, as sentences; those that have nothing to say are left out."""
    return tuple(words for words in (_first_place(ranking), *_outliers(ranking), baseline(ranking)) if words)


def _first_place(ranking: Ranking) -> str:
    """That another draw of the images might have put another model first."""
    ranked = [row for row in ranking.rows if row.rank is not None]
    best = ranked[0] if ranked else None
    if best is None or best.p_best is None or best.p_best >= SETTLED or best.rank_ci is None:
        return ""
    rest = sorted(ranked[1:], key=lambda row: -(row.p_best or 0.0))
    others = [
        f"{name_of(row.candidate, row.variant)} in {percent(row.p_best)}"
        for row in rest
        if (row.p_best or 0.0) >= 0.05
    ][:NAMED]
    low, high = best.rank_ci
    place = f"its rank lies between {low} and {high}" if high > low else f"its rank stays {low}"
    words = f"The first place is not settled: with other images of the same kind it would be first in {percent(best.p_best)} of draws"
    return f"{words} ({place}){f', {listed(others)}' if others else ''}."


def _outliers(ranking: Ranking) -> tuple[str, ...]:
    return tuple(
        f"{leaving_out(one, 'the best five')} Its cost sets the scale of all the others."
        for one in ranking.outliers
    )


def leaving_out(one: Outlier, best: str) -> str:
    """What an outlier changes: `Leaving out a alone changes the best five: b enters, c and d leave.`"""
    sides = ((one.enters, "enter"), (one.leaves, "leave"))
    moved = [
        f"{listed([printable(name) for name in names])} {verb}{'s' * (len(names) == 1)}"
        for names, verb in sides
    ]
    return f"Leaving out {printable(one.name)} alone changes {best}: {', '.join(moved)}."


def baseline(ranking: Ranking) -> str:
    """How many models score less than what is free; empty where none does."""
    free = ranking.baseline
    if free is None or not free.outranks:
        return ""
    says = f"Always saying {printable(free.label)!r} ({metric(ranking.performance_metric)} {score(free.performance)}), which is free"
    return f"{says}, has a better PePR edge than {free.outranks} of the {free.of} models. A score alone is no reason to deploy one."


def depends_on(ranking: Ranking) -> tuple[tuple[str, str, str, str], ...]:
    """What the winner depends on, as rows: the setting, its value, where the winner stays the winner, who wins beyond.

    The table's header is `DEPENDS_HEADER`.
    """
    alike = ranking.normalise != "reference"
    rows = [setting(one, alike) for one in ranking.sensitivity]
    ranked = [row for row in ranking.rows if row.rank is not None]
    if ranked and ranking.winners:
        first = name_of(ranked[0].candidate, ranked[0].variant)
        same = [how for how, name in ranking.winners.items() if name == first]
        others = [
            f"{how}: {printable(name or 'none')}" for how, name in ranking.winners.items() if name != first
        ]
        rows.append(("normalisation", ranking.normalise, listed(same), "; ".join(others) or NO_OTHER))
    return tuple(rows)


NO_OTHER = "no other"
DEPENDS_HEADER = ("setting", "now", "the winner stays the winner", "beyond")


def setting(one: Sensitivity, alike: bool) -> tuple[str, str, str, str]:
    """One row; `alike`: bounds come from the same set, so that other watts for all of it move nothing."""
    sides = [
        f"{side}: {printable(name)}"
        for side, name in (("below", one.winner_below), ("above", one.winner_above))
        if name is not None
    ]
    times = "x" if one.setting in SETTINGS else ""
    low, high = (f"{times}{value:.2g}" for value in one.stays)
    now = f"{times}{one.at:.2g}"
    name = SETTINGS.get(one.setting, one.setting).replace("_", " ")
    if alike and one.setting in SETTINGS and one.stays == one.tried:
        return (name, now, f"from {low} to {high}", "no other: all energies scale alike")
    return (name, now, f"from {low} to {high}", "; ".join(sides) or NO_OTHER)


def life(found: Lifetime) -> tuple[str, ...]:
    """Which model needs the least energy for how many images, in sentences."""
    if not found.stretches:
        return (f"Energy per image over {images(found.images)}: not known, since {found.reason}.",)
    parts = []
    for one in found.stretches:
        start, until = images(one.start), "" if one.until is None else images(one.until)
        span = (
            "whatever their number"
            if one.start <= 1 and not until
            else f"up to {until}"
            if one.start <= 1
            else f"from {start} on"
        )
        parts.append(f"{printable(one.name)} {span}")
    how = ", ".join(f"{name} {method}" for name, method in found.methods.items())
    sentences = [f"Least energy in all, training and answers together: {'; '.join(parts)}. Energies: {how}."]
    if found.left_out:
        sentences.append(
            f"Without a figure, since an energy of theirs is not known: {listed([printable(name) for name in found.left_out])}."
        )
    return tuple(sentences)


def images(number: float) -> str:
    """A number of images, to three digits."""
    rounded = round(float(f"{number:.3g}"))
    return f"{rounded:,} image{'s' * (rounded != 1)}"


def percent(share: float | None) -> str:
    """A share in whole per cent; what is not nothing never reads as 0 %."""
    value = 100 * (share or 0.0)
    return "<1 %" if 0 < value < 1 else f"{value:.0f} %"


def name_of(candidate: str, variant: str | None) -> str:
    """What a row is of: `mobilenetv2_050@64 int8_static`."""
    return printable(f"{candidate} {variant}" if variant else candidate)


def listed(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else list(names))
