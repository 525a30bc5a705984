"""How robust a ranking is, in sentences: chance, outliers, baseline, settings, and energy over a lifetime."""

from __future__ import annotations

from pepr_edge.records import Lifetime, Outlier, Ranking, Sensitivity, Stretch
from pepr_edge.text.rows import ranked_rows, row_name
from pepr_edge.text.units import image_count, listed, metric, percent, printable, score

CERTAIN = 0.95  # share of the draws in which a model is first; from here on its place is certain
LIKELY = 0.05  # other models are named from this share on
NAMED = 3
WATTS_SETTING = "declared watts, factor"

NO_OTHER = "none"
DEPENDENCE_HEADER = ("setting", "now", "winner unchanged", "other winners")


def ranking_caveats(ranking: Ranking) -> tuple[str, ...]:
    """Return what a reader must know about the order itself; empty if there is nothing to say."""
    sentences = [_first_place(ranking)]
    for outlier in ranking.outliers:
        change = outlier_sentence(outlier, "the best five")
        sentences.append(f"{change} Its cost sets the scale for all the others.")
    sentences.append(baseline_sentence(ranking))
    return tuple(sentence for sentence in sentences if sentence)


def _first_place(ranking: Ranking) -> str:
    """Say that another draw of the images might put another model first."""
    ranked = ranked_rows(ranking)
    if not ranked:
        return ""
    best = ranked[0]
    if best.p_best is None or best.p_best >= CERTAIN or best.rank_ci is None:
        return ""
    rivals = sorted(ranked[1:], key=lambda row: -(row.p_best or 0.0))
    likely = [row for row in rivals if (row.p_best or 0.0) >= LIKELY]
    others = [f"{row_name(row)} in {percent(row.p_best)}" for row in likely[:NAMED]]
    low, high = best.rank_ci
    place = f"its rank would be between {low} and {high}" if high > low else f"its rank would stay {low}"
    sentence = (
        "The first place is not certain: with other validation images this model would be first "
        f"in {percent(best.p_best)} of draws ({place})"
    )
    return f"{sentence}, {listed(others)}." if others else f"{sentence}."


def outlier_sentence(outlier: Outlier, best: str) -> str:
    """Say what an outlier changes: `Leaving out a alone changes the best five: b enters, c and d leave.`"""
    changes = []
    for names, verb in ((outlier.enters, "enter"), (outlier.leaves, "leave")):
        verb_form = f"{verb}s" if len(names) == 1 else verb
        changes.append(f"{listed([printable(name) for name in names])} {verb_form}")
    return f"Leaving out {printable(outlier.name)} alone changes {best}: {', '.join(changes)}."


def baseline_sentence(ranking: Ranking) -> str:
    """Say how many models score less than the majority-class baseline; empty if none does."""
    baseline = ranking.baseline
    if baseline is None or not baseline.outranks:
        return ""
    reached = f"{metric(ranking.performance_metric)} {score(baseline.performance)}"
    return (
        f"Always predicting {printable(baseline.label)!r} ({reached}) costs nothing and has a better PePR "
        f"edge than {baseline.outranks} of the {baseline.of} models. A good score alone is no reason to "
        "deploy a model."
    )


def dependence_rows(ranking: Ranking) -> tuple[tuple[str, str, str, str], ...]:
    """Return what the winner depends on, one row per setting, with the columns of DEPENDENCE_HEADER."""
    same_set = ranking.normalise != "reference"
    rows = [sensitivity_row(sensitivity, same_set) for sensitivity in ranking.sensitivity]
    ranked = ranked_rows(ranking)
    if ranked and ranking.winners:
        winner = row_name(ranked[0])
        same = [how for how, name in ranking.winners.items() if name == winner]
        others = [
            f"{how}: {printable(name or 'none')}" for how, name in ranking.winners.items() if name != winner
        ]
        rows.append(("normalisation", ranking.normalise, listed(same), "; ".join(others) or NO_OTHER))
    return tuple(rows)


def sensitivity_row(sensitivity: Sensitivity, same_set: bool) -> tuple[str, str, str, str]:
    """Return one row of the dependence table.

    Args:
        sensitivity: of one setting.
        same_set: the bounds come from the models themselves, so that other watts for all change nothing.
    """
    is_watts = sensitivity.setting == WATTS_SETTING
    name = "declared watts" if is_watts else sensitivity.setting.replace("_", " ")
    times = "x" if is_watts else ""
    now = f"{times}{sensitivity.at:.2g}"
    low, high = (f"{times}{value:.2g}" for value in sensitivity.stays)
    others = []
    if sensitivity.winner_below is not None:
        others.append(f"below: {printable(sensitivity.winner_below)}")
    if sensitivity.winner_above is not None:
        others.append(f"above: {printable(sensitivity.winner_above)}")
    other_winners = "; ".join(others) or NO_OTHER
    if same_set and is_watts and sensitivity.stays == sensitivity.tried:
        other_winners = "none: all energies change by the same factor"
    return (name, now, f"from {low} to {high}", other_winners)


def lifetime_sentences(lifetime: Lifetime) -> tuple[str, ...]:
    """Say which model needs the least energy for how many images."""
    if not lifetime.stretches:
        return (
            f"Energy per image over {image_count(lifetime.images)}: not known, because {lifetime.reason}.",
        )
    cheapest = "; ".join(stretch_text(stretch) for stretch in lifetime.stretches)
    methods = ", ".join(f"{name} {method}" for name, method in lifetime.methods.items())
    sentences = [f"Lowest total energy, training and predictions together: {cheapest}. Energies: {methods}."]
    if lifetime.left_out:
        names = listed([printable(name) for name in lifetime.left_out])
        sentences.append(f"Left out, because one of their energies is not known: {names}.")
    return tuple(sentences)


def stretch_text(stretch: Stretch) -> str:
    """Name a model and the numbers of images for which it needs the least energy."""
    name = printable(stretch.name)
    if stretch.until is not None and stretch.start > 1:
        return f"{name} from {image_count(stretch.start)} to {image_count(stretch.until)}"
    if stretch.until is not None:
        return f"{name} up to {image_count(stretch.until)}"
    if stretch.start > 1:
        return f"{name} from {image_count(stretch.start)} on"
    return f"{name} for any number of images"
