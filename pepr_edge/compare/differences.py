"""What two runs differ in, the question that this makes, and what must be said of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from pepr_edge.compare.model import Question
from pepr_edge.compare.runs import machines
from pepr_edge.records import DataInfo
from pepr_edge.run_dir.reader import Results
from pepr_edge.text.units import printable

FRACTION, WEIGHTS = "data.fraction", "candidates.weights"
# In what two runs may differ without there being a choice between two ways.
NO_CHOICE = ("seed", "device.name")


@dataclass(frozen=True)
class Difference:
    """One key of the recipes, and its two values."""

    key: str
    a: Any
    b: Any

    def words(self) -> str:
        """`seed: 0 in A, 1 in B`."""
        return printable(f"{self.key}: {self.a} in A, {self.b} in B")


def question(a: Results, b: Results) -> Question:
    """What two runs ask, by all that makes them differ."""
    found = list(differences(a, b))
    words = tuple(difference.words() for difference in found)
    keys = [difference.key for difference in found]
    # Other images are not a way of doing the same: nothing pays there.
    if all(key in NO_CHOICE for key in keys) or any(_images(a.info.data, b.info.data)):
        contrast = f"with B's {', '.join(keys)} instead of A's" if keys else "with B instead of A"
        return Question("Do A and B differ?", "B", 1, contrast, ("A", "B"), words, pays=False)
    if keys == [FRACTION]:
        return _more_data(found[0], words)
    if keys == [WEIGHTS] and "scratch" in (found[0].a, found[0].b):
        return _pretraining(found[0], words)
    return Question(
        "Does B's way pay?",
        "B's way",
        1,
        f"with B's way ({', '.join(keys)}) instead of A's",
        ("A", "B"),
        words,
    )


def _more_data(difference: Difference, words: tuple[str, ...]) -> Question:
    shares = [f"{100 * value:.3g} %" for value in (difference.a, difference.b)]
    treatment = 0 if difference.a > difference.b else 1
    contrast = f"with {shares[treatment]} instead of {shares[1 - treatment]} of the training images"
    a, b = (f"{share} of data" for share in shares)
    return Question("Does more data pay?", "more data", treatment, contrast, (a, b), words)


def _pretraining(difference: Difference, words: tuple[str, ...]) -> Question:
    treatment = 1 if difference.a == "scratch" else 0
    weights = printable(str(difference.b if treatment else difference.a))
    named = "pretrained weights" if weights == "pretrained" else f"weights of {weights}"
    a, b = ("scratch" if value == "scratch" else weights for value in (difference.a, difference.b))
    return Question(
        "Does pretraining pay?",
        "pretraining",
        treatment,
        f"with {named} instead of training from scratch",
        (a, b),
        words,
    )


def differences(a: Results, b: Results) -> Iterator[Difference]:
    """The keys of data, candidates.weights, train, seed and device that differ. The same images under another path are the same."""
    first, second = _compared(a), _compared(b)
    for key in first:
        if first[key] != second[key]:
            yield Difference(key, first[key], second[key])


def _compared(results: Results) -> Mapping[str, Any]:
    recipe, info = results.recipe, results.info
    found: dict[str, Any] = {f"data.{key}": value for key, value in recipe.data.model_dump().items()}
    found["data.source"] = f"{info.data.name} ({info.data.sha256[:8]})"
    named = recipe.candidates.weights
    digest = next(
        (candidate.weights_sha256 for candidate in info.candidates if candidate.weights_sha256), None
    )
    # A path may have held other weights for the other run.
    found[WEIGHTS] = f"{PurePath(named).name} ({digest[:8]})" if digest else named
    found |= {f"train.{key}": value for key, value in recipe.train.model_dump().items()}
    found["seed"] = recipe.seed
    return found | {f"device.{key}": value for key, value in recipe.device.model_dump().items()}


def caveats(a: Results, b: Results) -> tuple[str, ...]:
    """What makes the figures of two runs less comparable than they look."""
    found = [*_images(a.info.data, b.info.data)]
    if a.recipe.workstation != b.recipe.workstation:
        found.append(
            "The workstations' declared watts or country differ, and with them declared energies and CO2eq."
        )
    for first, second, what in zip(
        machines(a), machines(b), ("Trained", "Latency and memory measured"), strict=True
    ):
        if first and second and first != second:
            found.append(
                f"{what} in different ways (A: {'; '.join(first)}. B: {'; '.join(second)}.): that too is in the difference."
            )
    if a.info.pepr_edge != b.info.pepr_edge:
        found.append(f"Made by different versions of pepr_edge: {a.info.pepr_edge} and {b.info.pepr_edge}.")
    if a.recipe.seed != b.recipe.seed:
        found.append("The seeds differ: where the data has no test split of its own, the test images do too.")
    for letter, results in (("A", a), ("B", b)):
        settings = results.recipe.score
        if settings.alpha != 1 or settings.normalise != "minmax":
            found.append(
                f"The ranking of {letter} is by {settings.normalise}, alpha {settings.alpha:g}; here it is min-max, alpha 1."
            )
    return tuple(printable(sentence) for sentence in found)


def _images(a: DataInfo, b: DataInfo) -> Iterator[str]:
    if (a.name, a.labels) != (b.name, b.labels):
        yield f"The test images are not the same: {a.name} ({', '.join(a.labels)}) and {b.name} ({', '.join(b.labels)})."
    elif a.sha256 != b.sha256 or a.splits.get("test") != b.splits.get("test"):
        yield "The test images are not the same: the files or the splits of the two runs differ."
