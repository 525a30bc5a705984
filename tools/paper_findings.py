"""What else the published results of the PePR paper show: chance, outliers, a useless model, and energies that cannot be right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from paper_data import EPOCHS, Experiment, mean, repeated
from paper_markdown import counted, table
from paper_statistics import p_value, split

from pepr_edge.robustness import best, binomial_performances, bounding, outliers, rank_spread
from pepr_edge.score import Scoring, combined_resource

ENERGY = Scoring({"train_energy": 1.0})
BATCH = 32  # of the authors' loaders, which drop the last, incomplete batch of the test images. Source: train_medmnist.py, train.py
# Test images, and how many of them are of the commonest class. Source: MedMNIST v2, Yang et al. 2023.
TEST_IMAGES = {"derma": (2005, 1341), "pneumonia": (624, 390)}
MOST_IMAGES = 6000
PLAUSIBLE_W = 1000.0  # a workstation with one GPU of 24 GB, as the paper used, draws less


def baseline(experiment: Experiment) -> float | None:
    """Performance of always saying the commonest class; None where the test images are not known."""
    for data, (images, commonest) in TEST_IMAGES.items():
        if experiment.name.startswith(data):
            return commonest / images
    return None


def decided_images(experiment: Experiment) -> int | None:
    """How many test images a performance rests on: those of whole batches.

    Where their number is not known: the smallest number of whole batches in which all published performances are whole counts.
    """
    for data, (images, _) in TEST_IMAGES.items():
        if experiment.name.startswith(data):
            return images - images % BATCH
    for images in range(BATCH, MOST_IMAGES, BATCH):
        right = experiment.performance * images
        if np.abs(right - np.round(right)).max() < 1e-6:
            return images
    return None


def ranks(experiments: Sequence[Experiment]) -> str:
    """Where the five best of each experiment would stand if its test images were drawn again."""
    rows = []
    for experiment in experiments:
        images = decided_images(experiment)
        if images is None:
            continue
        performance = experiment.performance[:, -1]
        draws = binomial_performances(performance, np.full(len(performance), images))
        spread = rank_spread(performance, draws, combined_resource(experiment.models, ENERGY))
        scores = experiment.scores()
        could_win = int(np.sum(spread.low == 1))
        for rank, name in enumerate(best(experiment.names, scores), start=1):
            at = experiment.names.index(name)
            shown = (f"{experiment.name} ({images} images; {could_win} may be first)",) if rank == 1 else ("",)
            rows.append((*shown, rank, name, f"{scores[at]:.4f}", f"{spread.low[at]} to {spread.high[at]}", f"{spread.p_best[at]:.2f}"))
    return table(("experiment", "rank", "model", "PePR-E", "95 % interval of the rank", "probability of being first"), rows)


def outlying(experiments: Sequence[Experiment]) -> str:
    """On which models the bounds of each experiment hang, and what leaving one out would change."""
    rows = []
    for experiment in experiments:
        ends = [experiment.names[at] for at in bounding(experiment.models, ENERGY)]
        energy = np.sort(experiment.energy_wh)
        changes = [
            f"without {one.name}: {', '.join(one.enters)} in place of {', '.join(one.leaves)}"
            for one in outliers(experiment.models, ENERGY)
        ]
        rows.append((experiment.name, ", ".join(ends), f"{energy[-1]:.0f} and {energy[-2]:.0f} Wh", "; ".join(changes) or "nothing"))
    return table(("experiment", "its least or greatest energy", "greatest two", "what changes among the five best"), rows)


def useless(experiments: Sequence[Experiment]) -> str:
    """How many models a useless one outranks, and how many are useless themselves."""
    lines = []
    for experiment in experiments:
        value, images = baseline(experiment), decided_images(experiment)
        if value is None or images is None:
            continue
        beaten = int(np.sum(experiment.scores() < value))
        values, counts = np.unique(np.round(experiment.performance[:, -1] * images), return_counts=True)
        most = int(counts.argmax())
        line = (
            f"- {experiment.name}: a model that always says the commonest class, at no cost, has P = PePR-E = {value:.3f} and outranks "
            f"{beaten} of the {len(experiment.names)} models by PePR-E."
        )
        if counts[most] >= 10:
            line += f" {counts[most]} models end at the same {values[most] / images:.4f}: they have learnt to say one class."
        lines.append(line)
    return "\n".join(lines)


def energies(experiments: Sequence[Experiment]) -> str:
    """Which energies stand in two experiments, and what power each would take."""
    rows = []
    same = repeated(experiments)
    for experiment in experiments:
        watts = experiment.resources["train_energy"] / (EPOCHS * experiment.resources["train_time"])
        shared = ", ".join(f"{counted(int(where.sum()), 'model')} with {name}" for name, where in same[experiment.name].items())
        rows.append(
            (
                experiment.name,
                shared or "none",
                f"{np.median(watts):.0f} W",
                f"{watts.min():.0f} to {watts.max():.0f} W",
                int(np.sum(watts > PLAUSIBLE_W)),
            )
        )
    head = ("experiment", "the same energy, to the last digit", "median power", "range", f"models above {PLAUSIBLE_W:.0f} W")
    return table(head, rows)


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
