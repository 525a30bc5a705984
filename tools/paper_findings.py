"""What else the published results of the PePR paper show: chance, outliers, a useless model, and energies that cannot be right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from paper_data import PLAUSIBLE_W, Experiment, mean, p_value, repeated, split

from pepr_edge.scoring.pepr import Scoring, combined_resource
from pepr_edge.scoring.robustness import best, binomial_performances, bounding, outliers, rank_spread
from pepr_edge.text.robustness import listed, percent

ENERGY = Scoring({"train_energy": 1.0})
BATCH = 32  # of the authors' loaders, which drop the last, incomplete batch of the test images. Source: train_medmnist.py, train.py
# Test images, and how many of them are of the commonest class. Source: MedMNIST v2, Yang et al. 2023.
TEST_IMAGES = {"derma": (2005, 1341), "pneumonia": (624, 390)}
MOST_IMAGES = 6000
MANY = 10  # models of one accuracy, before it is remarked on


def baseline(experiment: Experiment) -> float | None:
    """Performance of always saying the commonest class; None where the test images are not known."""
    known = _test_images(experiment)
    return known[1] / known[0] if known else None


def decided_images(experiment: Experiment) -> int | None:
    """How many test images a performance rests on: those of whole batches.

    Where their number is not known: the smallest number of whole batches in which all published performances are whole counts.
    """
    if known := _test_images(experiment):
        return known[0] - known[0] % BATCH
    for images in range(BATCH, MOST_IMAGES, BATCH):
        right = experiment.performance * images
        if np.abs(right - np.round(right)).max() < 1e-6:
            return images
    return None


def _test_images(experiment: Experiment) -> tuple[int, int] | None:
    """How many there are, and how many of them are of the commonest class."""
    return next((known for data, known in TEST_IMAGES.items() if experiment.name.startswith(data)), None)


def ranks(experiments: Sequence[Experiment]) -> str:
    """Which ranks other test images would leave possible for the five best of each experiment."""
    rows = []
    for experiment in experiments:
        images = decided_images(experiment)
        if images is None:
            continue
        performance = experiment.performance[:, -1]
        draws = binomial_performances(performance, np.full(len(performance), images))
        spread = rank_spread(performance, draws, combined_resource(experiment.models, ENERGY))
        scores = experiment.scores()
        for rank, name in enumerate(best(experiment.names, scores), start=1):
            at = experiment.names.index(name)
            shown = (
                f"{experiment.name} ({images} images; {np.sum(spread.low == 1)} may be first)"
                if rank == 1
                else ""
            )
            rows.append(
                (
                    shown,
                    rank,
                    name,
                    f"{scores[at]:.4f}",
                    f"{spread.low[at]} to {spread.high[at]}",
                    percent(float(spread.p_best[at])),
                )
            )
    return table(
        ("experiment", "rank", "model", "PePR-E", "95 % interval of the rank", "draws in which it is first"),
        rows,
    )


def outlying(experiments: Sequence[Experiment]) -> str:
    """On which models the bounds of each experiment hang, and what leaving one out would change."""
    rows = []
    for experiment in experiments:
        ends = [
            experiment.names[at] + (" (implausible, see below)" if experiment.implausible[at] else "")
            for at in bounding(experiment.models, ENERGY)
        ]
        energy = np.sort(experiment.energy_wh)
        changes = [
            f"without {one.name}: {', '.join(one.enters)} in place of {', '.join(one.leaves)}"
            for one in outliers(experiment.models, ENERGY)
        ]
        rows.append(
            (
                experiment.name,
                ", ".join(ends),
                f"{energy[-1]:.0f} and {energy[-2]:.0f} Wh",
                "; ".join(changes) or "nothing",
            )
        )
    return table(
        ("experiment", "its least or greatest energy", "greatest two", "what changes among the five best"),
        rows,
    )


def useless(experiments: Sequence[Experiment]) -> str:
    """How many models a useless one outranks, and how many may be useless themselves."""
    lines = []
    for experiment in experiments:
        value = baseline(experiment)
        if value is None:
            continue
        beaten = int(np.sum(experiment.scores() < value))
        lines.append(
            f"- {experiment.name}: a model that always says the commonest class, at no cost, has P = PePR-E = {value:.3f} and outranks "
            f"{beaten} of the {len(experiment.names)} models by PePR-E.{_one_class(experiment)}"
        )
    return "\n".join(lines)


def _one_class(experiment: Experiment) -> str:
    """That many models end at the accuracy of always saying the commonest class; "" where they do not."""
    known, images = _test_images(experiment), decided_images(experiment)
    assert known is not None
    assert images is not None
    values, counts = np.unique(np.round(experiment.performance[:, -1] * images), return_counts=True)
    most = int(counts.argmax())
    fewest = known[1] - (known[0] - images)  # where all images that were dropped were of that class
    if counts[most] < MANY or not fewest <= values[most] <= known[1]:
        return ""
    return (
        f" {counts[most]} models end at the same {values[most]:.0f} of {images} images: probably they say the commonest class to all, of "
        f"which there are {fewest} to {known[1]} among these. Their answers were not published, so that this is an inference."
    )


def doubts(experiments: Sequence[Experiment]) -> str:
    """Which energies cannot be right, in words; "" where nothing speaks against any."""
    repeats = any(repeated(experiments).values())
    co2eq = {e.name: e.resources["train_co2eq"] for e in experiments}
    pairs = [
        (co2eq[one][same], co2eq[other][same])
        for one, others in repeated(experiments).items()
        for other, same in others.items()
    ]
    found = [experiment for experiment in experiments if experiment.implausible.any()]
    said = []
    if repeats:
        said.append(
            "The energies of some models equal, to the last digit, those of the same models in another experiment"
            f"{' (CO2eq likewise)' if all(np.array_equal(*pair) for pair in pairs) else ''}, although that one had other images, or "
            "more of them."
        )
    if found:
        least = min(e.power_w[e.implausible].min() for e in found)
        most = max(
            (e.power_w[~e.implausible].max() for e in experiments if not e.implausible.all()), default=0.0
        )
        said.append(
            f"Divided by ten times the last epoch's time, energies of {listed([e.name for e in found])} would take {least:.0f} W or more, "
            f"where all others take at most {most:.0f} W: {'there lies the fault' if repeats else 'these cannot be right'}."
        )
    elif repeats:
        said.append(
            "Which of the two is at fault does not show: none would take more power than a workstation does."
        )
    warning = "Do not use them as measurements; scores over them, and means over experiments, carry it."
    return " ".join([*said, warning]) if said else ""


def energies(experiments: Sequence[Experiment]) -> str:
    """Which energies stand in two experiments, and what power each would take."""
    rows = []
    same = repeated(experiments)
    for experiment in experiments:
        watts, found = experiment.power_w, same[experiment.name]
        shared = ", ".join(
            f"{counted(int(where.sum()), 'model')} with {name}" for name, where in found.items()
        )
        again = np.any([*found.values(), np.zeros(len(watts), bool)], axis=0)
        both = (int(np.sum(experiment.implausible)), int(np.sum(experiment.implausible & again)))
        rows.append(
            (
                experiment.name,
                shared or "none",
                f"{np.median(watts):.0f} W",
                f"{watts.min():.0f} to {watts.max():.0f} W",
                *both,
            )
        )
    head = (
        "experiment",
        "the same energy, to the last digit",
        "median power",
        "range",
        f"models above {PLAUSIBLE_W:.0f} W",
    )
    return table((*head, "of these, the same energy elsewhere"), rows)


def flags(experiment: Experiment) -> str:
    """Which points of the authors' figures are marked as efficient, by row instead of by name."""
    order = np.lexsort((np.arange(len(experiment.names)), experiment.num_params))
    shown = experiment.efficient[order]
    return (
        f"{int(np.sum(shown != experiment.efficient))} of {len(shown)} points would be marked wrongly; of the "
        f"{int(experiment.efficient.sum())} efficient models, {int(np.sum(shown & experiment.efficient))} would be marked as such"
    )


def groups(experiments: Sequence[Experiment]) -> str:
    """Efficient architectures and CNNs against the others, for which the paper's wording is not known to us."""
    return table(("group", "value", "means", "n", "t", "p"), list(_groups(experiments)))


def _groups(experiments: Sequence[Experiment]) -> Iterator[tuple[object, ...]]:
    first = experiments[0]
    for name, chosen in (("efficient against other", first.efficient), ("CNN against other", first.cnn)):
        for value, values in (("P", mean(experiments)), ("PePR-E", mean(experiments, "scores"))):
            test = split(values, chosen)
            yield (
                name,
                value,
                f"{test.means[0]:.3f} and {test.means[1]:.3f}",
                f"{test.sizes[0]} and {test.sizes[1]}",
                f"{test.t:.2f}",
                p_value(test.p),
            )


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table; numbers and words alike are written as they are."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def counted(number: int, noun: str) -> str:
    """A number and its noun, in the plural where it takes one."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
