"""The differences between two runs, the question that follows from them, and their caveats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pepr_edge.compare.model import Question
from pepr_edge.compare.runs import machines
from pepr_edge.recipe import SCRATCH
from pepr_edge.records import Candidate, DataInfo
from pepr_edge.run_dir.keys import REPEATS
from pepr_edge.run_dir.reader import Results
from pepr_edge.text.units import listed, printable

FRACTION = "data.fraction"
WEIGHTS = "candidates.weights"
# Keys that nobody sets in order to gain something: of them one cannot ask whether they pay off.
NO_CHOICE = ("seed", "device.name")
MAX_NAMED = 3


@dataclass(frozen=True)
class Difference:
    """One key of the recipes, and its two values."""

    key: str
    a: Any
    b: Any

    def __str__(self) -> str:
        """Return `seed: 0 in A, 1 in B`."""
        return printable(f"{self.key}: {self.a} in A, {self.b} in B")


def question(a: Results, b: Results) -> Question:
    """Return the question that two runs answer, by their differences."""
    found = list(differences(a, b))
    texts = tuple(str(difference) for difference in found)
    keys = [difference.key for difference in found]
    has_other_images = bool(_image_caveats(a.info.data, b.info.data))
    if has_other_images or all(key in NO_CHOICE for key in keys):
        contrast = f"with B's {', '.join(keys)} instead of A's" if keys else "with B instead of A"
        return Question(
            "Do A and B differ?",
            subject="B",
            treatment=1,
            contrast=contrast,
            labels=("A", "B"),
            differs=texts,
            is_choice=False,
        )
    if keys == [FRACTION]:
        return _more_data(found[0], texts)
    if keys == [WEIGHTS] and SCRATCH in (found[0].a, found[0].b) and not are_mixed(a, b):
        return _pretraining(found[0], texts)
    contrast = f"with B's way ({', '.join(keys)}) instead of A's"
    return Question(
        "Does B's way pay off?",
        subject="B's way",
        treatment=1,
        contrast=contrast,
        labels=("A", "B"),
        differs=texts,
    )


def are_mixed(*runs: Results) -> bool:
    """True if the candidates of one of the runs began with different kinds of weights."""
    for run in runs:
        weights = {candidate.weights for candidate in run.info.candidates}
        if len(weights) > 1:
            return True
    return False


def _more_data(difference: Difference, texts: tuple[str, ...]) -> Question:
    a = f"{100 * difference.a:.3g} %"
    b = f"{100 * difference.b:.3g} %"
    treatment = 0 if difference.a > difference.b else 1
    more, less = (b, a) if treatment else (a, b)
    contrast = f"with {more} instead of {less} of the training images"
    labels = (f"{a} of data", f"{b} of data")
    return Question(
        "Does more data pay off?",
        subject="more data",
        treatment=treatment,
        contrast=contrast,
        labels=labels,
        differs=texts,
    )


def _pretraining(difference: Difference, texts: tuple[str, ...]) -> Question:
    treatment = 1 if difference.a == SCRATCH else 0
    weights = printable(str(difference.b if treatment else difference.a))
    labels = ("scratch", weights) if treatment else (weights, "scratch")
    name = "pretrained weights" if weights == "pretrained" else f"weights of {weights}"
    contrast = f"with {name} instead of training from scratch"
    return Question(
        "Does pretraining pay off?",
        subject="pretraining",
        treatment=treatment,
        contrast=contrast,
        labels=labels,
        differs=texts,
    )


def differences(a: Results, b: Results) -> Iterator[Difference]:
    """Yield the keys of data, candidates.weights, train, seed and device that differ.

    The same images under another path are no difference.
    """
    weights_a, weights_b = _weights_of_both(a, b)
    first = _compared_values(a, weights_a)
    second = _compared_values(b, weights_b)
    for key in first:
        if first[key] != second[key]:
            yield Difference(key, first[key], second[key])


def _compared_values(results: Results, weights: str) -> Mapping[str, Any]:
    recipe = results.recipe
    info = results.info
    values: dict[str, Any] = {f"data.{key}": value for key, value in recipe.data.model_dump().items()}
    values["data.source"] = f"{info.data.name} ({info.data.sha256[:8]})"
    values[WEIGHTS] = weights
    # How often a training is repeated changes none of them.
    train = recipe.train.model_dump(exclude={*REPEATS})
    values |= {f"train.{key}": value for key, value in train.items()}
    values["seed"] = recipe.seed
    values |= {f"device.{key}": value for key, value in recipe.device.model_dump().items()}
    return values


def _weights_of_both(a: Results, b: Results) -> tuple[str, str]:
    """Return what the common candidates began with in each run."""
    in_a, in_b = _common_candidates(a, b)
    first = _weights(in_a)
    second = _weights(in_b)
    if first != second:
        return first, second
    # The same words may mean other files, or other candidates that began from scratch.
    return first + _files(in_a, in_b), second + _files(in_b, in_a)


def _weights(candidates: Sequence[Candidate]) -> str:
    """Return what candidates began with, whether the recipe said so or "auto" found it."""
    kinds = {candidate.weights for candidate in candidates}
    if len(kinds) > 1:
        scratch = sum(candidate.weights == SCRATCH for candidate in candidates)
        return f"{scratch} of {len(candidates)} from scratch, the others pretrained"
    return kinds.pop() if kinds else SCRATCH


def _files(own: Sequence[Candidate], others: Sequence[Candidate]) -> str:
    """Return which candidates began otherwise than in the other run, with the hashes of their files."""
    texts = []
    for candidate, other in zip(own, others, strict=True):
        if candidate.weights_sha256 != other.weights_sha256:
            began = candidate.weights_sha256[:8] if candidate.weights_sha256 else SCRATCH
            texts.append(f"{candidate.id} {began}")
    return f" ({listed(texts, MAX_NAMED)})" if texts else ""


def _common_candidates(a: Results, b: Results) -> tuple[list[Candidate], list[Candidate]]:
    """Return the candidates of both runs that are in both, in the same order."""
    in_b = {candidate.id: candidate for candidate in b.info.candidates}
    in_a = [candidate for candidate in a.info.candidates if candidate.id in in_b]
    return in_a, [in_b[candidate.id] for candidate in in_a]


def caveats(a: Results, b: Results) -> tuple[str, ...]:
    """Return a sentence for each reason why the figures of two runs are not fully comparable."""
    found = _image_caveats(a.info.data, b.info.data)
    if a.recipe.workstation != b.recipe.workstation:
        found.append(
            "The workstations' declared watts or country differ, which changes declared energies and CO2eq."
        )
    for verb, in_a, in_b in zip(
        ("Trained", "Latency and memory measured"), machines(a), machines(b), strict=True
    ):
        if in_a and in_b and in_a != in_b:
            found.append(
                f"{verb} in different ways (A: {'; '.join(in_a)}. B: {'; '.join(in_b)}.): "
                "the differences include this effect."
            )
    if a.info.pepr_edge != b.info.pepr_edge:
        found.append(f"Made by different versions of pepr_edge: {a.info.pepr_edge} and {b.info.pepr_edge}.")
    if a.recipe.seed != b.recipe.seed:
        found.append("The seeds differ, and so do the test images if the data has no test split of its own.")
    for letter, results in (("A", a), ("B", b)):
        settings = results.recipe.score
        if settings.alpha != 1 or settings.normalise != "minmax":
            found.append(
                f"The ranking of {letter} uses {settings.normalise}, alpha {settings.alpha:g}; "
                "this comparison uses min-max, alpha 1."
            )
    return tuple(printable(sentence) for sentence in found)


def _image_caveats(a: DataInfo, b: DataInfo) -> list[str]:
    if (a.name, a.labels) != (b.name, b.labels):
        names = f"{a.name} ({', '.join(a.labels)}) and {b.name} ({', '.join(b.labels)})"
        return [f"The test images are not the same: {names}."]
    if a.sha256 != b.sha256 or a.splits.get("test") != b.splits.get("test"):
        return ["The test images are not the same: the files or the splits of the two runs differ."]
    return []
