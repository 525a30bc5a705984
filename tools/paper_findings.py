"""More findings in the PePR paper's results: chance, outliers, a trivial model, implausible energies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from paper_data import PLAUSIBLE_W, Experiment, mean, p_value, repeated, split_test

from pepr_edge.scoring.pepr import Scoring, combined_resource
from pepr_edge.scoring.robustness import best, binomial_performances, outliers, rank_spread, sole_extremes
from pepr_edge.text.units import listed, percent, plural

ENERGY = Scoring({"train_energy": 1.0})
# Batch size of the authors' loaders, which drop the last, incomplete batch of the test images.
# Source: train_medmnist.py, train.py.
BATCH = 32
# Number of test images, and how many of them have the most frequent class. Source: MedMNIST v2, Yang et al.
# 2023.
TEST_IMAGES = {"derma": (2005, 1341), "pneumonia": (624, 390)}
MAX_IMAGES = 6000
# At least this many models with the same accuracy are worth a remark.
MIN_EQUAL_MODELS = 10


def baseline(experiment: Experiment) -> float | None:
    """Return the accuracy of always answering the most frequent class; None if that is unknown."""
    counts = _test_images(experiment)
    return counts[1] / counts[0] if counts else None


def decided_images(experiment: Experiment) -> int | None:
    """Return the number of test images in complete batches, on which the accuracy was computed.

    If the number of test images is unknown: the smallest number of complete batches for which every published
    accuracy is a whole number of images.
    """
    counts = _test_images(experiment)
    if counts is not None:
        return counts[0] - counts[0] % BATCH
    for images in range(BATCH, MAX_IMAGES, BATCH):
        right = experiment.performance * images
        if np.abs(right - np.round(right)).max() < 1e-6:
            return images
    return None


def _test_images(experiment: Experiment) -> tuple[int, int] | None:
    """Return the number of test images, and how many of them have the most frequent class."""
    for dataset, counts in TEST_IMAGES.items():
        if experiment.name.startswith(dataset):
            return counts
    return None


def ranks(experiments: Sequence[Experiment]) -> str:
    """Return a table: the ranks that each experiment's five best could have with other test images."""
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
            index = experiment.names.index(name)
            label = f"{experiment.name} ({images} images; {np.sum(spread.low == 1)} may be first)"
            rows.append(
                (
                    label if rank == 1 else "",
                    rank,
                    name,
                    f"{scores[index]:.4f}",
                    f"{spread.low[index]} to {spread.high[index]}",
                    percent(float(spread.p_best[index])),
                )
            )
    return table(
        ("experiment", "rank", "model", "PePR-E", "95 % interval of the rank", "draws in which it is first"),
        rows,
    )


def outlying(experiments: Sequence[Experiment]) -> str:
    """Return a table: the models that set each experiment's bounds, and the effect of leaving one out."""
    rows = []
    for experiment in experiments:
        extremes = [
            experiment.names[index] + (" (implausible, see below)" if experiment.implausible[index] else "")
            for index in sole_extremes(experiment.models, ENERGY)
        ]
        energy = np.sort(experiment.energy_wh)
        changes = [
            f"without {outlier.name}: {', '.join(outlier.enters)} in place of {', '.join(outlier.leaves)}"
            for outlier in outliers(experiment.models, ENERGY)
        ]
        rows.append(
            (
                experiment.name,
                ", ".join(extremes),
                f"{energy[-1]:.0f} and {energy[-2]:.0f} Wh",
                "; ".join(changes) or "nothing",
            )
        )
    titles = (
        "experiment",
        "model with the lowest or highest energy",
        "two highest energies",
        "change among the five best",
    )
    return table(titles, rows)


def trivial_model(experiments: Sequence[Experiment]) -> str:
    """List how many models a trivial one outranks, and how many may be trivial themselves."""
    lines = []
    for experiment in experiments:
        value = baseline(experiment)
        if value is None:
            continue
        outranked = int(np.sum(experiment.scores() < value))
        lines.append(
            f"- {experiment.name}: a model that always answers the most frequent class, at no cost, has "
            f"P = PePR-E = {value:.3f} and outranks {outranked} of the {len(experiment.names)} models by "
            f"PePR-E.{_one_class(experiment)}"
        )
    return "\n".join(lines)


def _one_class(experiment: Experiment) -> str:
    """Return a remark if many models seem to answer the most frequent class for every image, else ""."""
    test_images = _test_images(experiment)
    images = decided_images(experiment)
    assert test_images is not None
    assert images is not None
    total, most_frequent = test_images
    values, counts = np.unique(np.round(experiment.performance[:, -1] * images), return_counts=True)
    mode = int(counts.argmax())
    low = most_frequent - (total - images)  # if all dropped images had that class
    if counts[mode] < MIN_EQUAL_MODELS or not low <= values[mode] <= most_frequent:
        return ""
    return (
        f" {counts[mode]} models end at the same {values[mode]:.0f} of {images} images: probably they "
        f"answer the most frequent class for every image. {low} to {most_frequent} of these images have "
        "that class. The answers were not published, so this is an inference."
    )


def energy_doubts(experiments: Sequence[Experiment]) -> str:
    """Say which energies cannot be right; "" if all are plausible."""
    same_energy = repeated(experiments)
    implausible = [experiment for experiment in experiments if experiment.implausible.any()]
    repeats = any(same_energy.values())
    sentences = []
    if repeats:
        same_co2eq = " (and the CO2eq too)" if _co2eq_repeats(experiments, same_energy) else ""
        sentences.append(
            "The energies of some models equal, to the last digit, those of the same models in another "
            f"experiment{same_co2eq}, although that experiment used other images, or more of them."
        )
    if implausible:
        low = min(e.power_w[e.implausible].min() for e in implausible)
        plausible = [e.power_w[~e.implausible].max() for e in experiments if not e.implausible.all()]
        cause = "these are the wrong ones" if repeats else "these cannot be right"
        sentences.append(
            "Divided by ten times the last epoch's time, energies of "
            f"{listed([e.name for e in implausible])} would need {low:.0f} W or more, while all others need "
            f"at most {max(plausible, default=0.0):.0f} W: {cause}."
        )
    elif repeats:
        sentences.append(
            "Nothing shows which of the two is wrong: neither needs more power than a workstation draws."
        )
    if sentences:
        sentences.append("Do not use them as measurements; they affect scores and means over experiments.")
    return " ".join(sentences)


def _co2eq_repeats(
    experiments: Sequence[Experiment], same_energy: Mapping[str, Mapping[str, NDArray[np.bool_]]]
) -> bool:
    """True if models with the same energy in two experiments also have the same CO2eq in both."""
    co2eq = {experiment.name: experiment.resources["train_co2eq"] for experiment in experiments}
    for name, others in same_energy.items():
        for other, same in others.items():
            if not np.array_equal(co2eq[name][same], co2eq[other][same]):
                return False
    return True


def energies(experiments: Sequence[Experiment]) -> str:
    """Return a table: the energies that occur in two experiments, and the power that each needs."""
    rows = []
    same_energy = repeated(experiments)
    for experiment in experiments:
        watts = experiment.power_w
        others = same_energy[experiment.name]
        shared = [f"{plural(int(same.sum()), 'model')} with {name}" for name, same in others.items()]
        repeated_anywhere = np.any([*others.values(), np.zeros(len(watts), bool)], axis=0)
        rows.append(
            (
                experiment.name,
                ", ".join(shared) or "none",
                f"{np.median(watts):.0f} W",
                f"{watts.min():.0f} to {watts.max():.0f} W",
                int(np.sum(experiment.implausible)),
                int(np.sum(experiment.implausible & repeated_anywhere)),
            )
        )
    titles = (
        "experiment",
        "the same energy, to the last digit",
        "median power",
        "range",
        f"models above {PLAUSIBLE_W:.0f} W",
        "of these, the same energy elsewhere",
    )
    return table(titles, rows)


def flags(experiment: Experiment) -> str:
    """Say how many points of the authors' figures are marked by row instead of by name."""
    order = np.lexsort((np.arange(len(experiment.names)), experiment.num_params))
    shown = experiment.efficient[order]
    return (
        f"{int(np.sum(shown != experiment.efficient))} of {len(shown)} points would be marked wrongly; of "
        f"the {int(experiment.efficient.sum())} efficient models, "
        f"{int(np.sum(shown & experiment.efficient))} would be marked as such"
    )


def groups(experiments: Sequence[Experiment]) -> str:
    """Return a table: efficient architectures against the others, and CNNs against the others."""
    return table(("group", "value", "means", "n", "t", "p"), list(_groups(experiments)))


def _groups(experiments: Sequence[Experiment]) -> Iterator[tuple[object, ...]]:
    first = experiments[0]
    for name, chosen in (("efficient against other", first.efficient), ("CNN against other", first.cnn)):
        for value, values in (("P", mean(experiments)), ("PePR-E", mean(experiments, "scores"))):
            test = split_test(values, chosen)
            yield (
                name,
                value,
                f"{test.means[0]:.3f} and {test.means[1]:.3f}",
                f"{test.sizes[0]} and {test.sizes[1]}",
                f"{test.t:.2f}",
                p_value(test.p),
            )


def table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table; cells are shown as they are."""
    return "\n".join([_table_line(titles), _table_line(["---"] * len(titles)), *map(_table_line, rows)])


def _table_line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
