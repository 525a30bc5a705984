"""How robust a ranking is, in sentences: chance, outliers, baseline, settings, and energy over a lifetime."""

from __future__ import annotations

from pepr_edge.records import Lifetime, Outlier, Ranking, RankingRow, Sensitivity, Stretch
from pepr_edge.scoring.pepr import normalised_weights
from pepr_edge.text.rows import ranked_rows, row_name
from pepr_edge.text.units import capitalised, image_count, listed, metric, printable, probability, score
from pepr_edge.text.weights import mixed_weights

NAMED = 4
# Sources of chance in a ranking -> their name in "with ... drawn again".
SOURCES = {"images": "the validation images", "seeds": "the seeds", "costs": "the costs"}
# A model that is first less often than this in other runs is not named.
RARE = 0.05
WATTS_SETTING = "declared watts, factor"

# A note of rankings in which `scoring.stand_in` changed the weights.
TIME_FOR_ENERGY = (
    "The energy of the trainings is not known, so training time takes its place in the score. "
    "To rank by energy, declare `workstation.watts_per_core` in the recipe."
)

NO_OTHER = "none"
DEPENDENCE_HEADER = ("setting", "now", "winner unchanged", "other winners")


def ranking_caveats(ranking: Ranking) -> tuple[str, ...]:
    """Return what a reader must know about the order itself; empty if there is nothing to say."""
    sentences = [mixed_weights(ranking), first_place(ranking), one_training(ranking)]
    if TIME_FOR_ENERGY in ranking.notes:
        sentences.append(TIME_FOR_ENERGY)
    for outlier in ranking.outliers:
        change = outlier_sentence(outlier, "the best five")
        sentences.append(f"{change} Its cost sets the scale for all the others.")
    sentences.append(baseline_sentence(ranking))
    return tuple(sentence for sentence in sentences if sentence)


def may_be_first(ranking: Ranking) -> list[RankingRow]:
    """Return the rows whose rank interval includes the first place, in the order of their ranks."""
    return [row for row in ranked_rows(ranking) if row.rank_ci is not None and row.rank_ci[0] == 1]


def may_gain_skill(ranking: Ranking) -> list[RankingRow]:
    """Return the rows without skill that might have it in another run, and be first there."""
    return [row for row in ranking.rows if row.rank is None and (row.p_best or 0.0) >= RARE]


def first_place(ranking: Ranking) -> str:
    """Name the models that may be first if the first place is not settled, and say which to take and why."""
    ranked = ranked_rows(ranking)
    rivals = may_be_first(ranking)
    gaining = may_gain_skill(ranking)
    if ranking.settled or len(ranked) + len(gaining) < 2 or not rivals:
        return ""
    best = ranked[0]
    if len(rivals) + len(gaining) == 1:
        again = "The first place is not settled: another run of this recipe may have another model first."
        # With one training the reason is the seed, and `one_training` says so.
        return "" if one_training(ranking) else again
    named = [f"{row_name(row)} ({probability(row.p_best)})" for row in rivals]
    named += [f"{row_name(row)} ({probability(row.p_best)}, no skill shown in this run)" for row in gaining]
    may_be = capitalised(f"{drawn_again(ranking)}, these models may be first: {listed(named, NAMED)}.")
    return f"The first place is not settled. {may_be} {_choice(ranking, best, rivals, bool(gaining))}"


def drawn_again(ranking: Ranking) -> str:
    """Return what the intervals of a ranking draw again: `with the validation images drawn again`."""
    sources = [SOURCES[source] for source in ranking.sources] or [SOURCES["images"]]
    return f"with {listed(sources)} drawn again"


def _choice(ranking: Ranking, best: RankingRow, rivals: list[RankingRow], is_part: bool) -> str:
    """Say why the first model is the one to take: it costs least, or its score is the best.

    `is_part` is True if models without skill were named, too.
    """
    costs = {row_name(row): combined_resource(ranking, row) or 0.0 for row in rivals}
    cheapest = min(rivals, key=lambda row: costs[row_name(row)])
    if costs[row_name(best)] <= costs[row_name(cheapest)]:
        of = "of those with skill" if is_part else "of these"
        return f"Take {row_name(best)}: {of} it costs least."
    return (
        f"Take {row_name(best)}: it has the best PePR edge. {row_name(cheapest)} costs less, "
        "and is not shown to be worse."
    )


def combined_resource(ranking: Ranking, row: RankingRow) -> float | None:
    """Return the weighted mean of a row's normalised resources, in [0, 1]; None if one of them is unknown."""
    combined = 0.0
    for name, weight in normalised_weights(ranking.weights).items():
        value = row.normalised.get(name)
        if value is None:
            return None
        combined += weight * value
    return combined


def one_training(ranking: Ranking) -> str:
    """Say that the seed's part is not known, if a model that may be first was trained once."""
    ranked = ranked_rows(ranking)
    if len({row.candidate for row in ranked}) < 2:
        return ""
    once = dict.fromkeys(row.candidate for row in may_be_first(ranking) if row.repeats < 2)
    if not once:
        return ""
    which = "each model"
    if any(row.repeats > 1 for row in ranked):
        which = listed([printable(name) for name in once])
    return f"One training of {which}: another seed may rank otherwise. `train.repeats` trains several."


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
