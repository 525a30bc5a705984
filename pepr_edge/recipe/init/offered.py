"""Keys that a drafted recipe shows as comments: they need a decision, or words, that only people have."""

from __future__ import annotations

from typing import NamedTuple

from pepr_edge.tasks import TaskKind


class Offer(NamedTuple):
    """A key that is not set: its line, and a sentence above it."""

    line: str
    sentence: str

    @property
    def key(self) -> str:
        """The name of the key."""
        return self.line.split(" ", 1)[0]


SECTION_SENTENCES = {
    "decision": "How a probability becomes a decision, and when an image is for a person (docs/refer.md).",
    "about": "What only you know of the model; it goes into model card and dossier (docs/dossier.md).",
}
TARGET = Offer(
    'target = "sensitivity >= 0.90"',
    "The positive class is named from a threshold on, which is chosen on validation to reach this; without "
    "the line, the more probable class is.",
)
MAX_ERROR = Offer(
    "max_error = 0.05",
    "In place of refer_share: as many images are referred as leave at most this share of wrong decisions "
    "among the others.",
)
ABOUT = (
    Offer('intended_use = ""', "What the model is for, by whom, and with which part in the decision."),
    Offer('population = ""', "The patients or samples that it is for."),
    Offer('setting = ""', "Where it is used: screening, primary care, emergency, laboratory."),
    Offer('do_not_use_when = ""', "Where it must not be used."),
    Offer('reference_standard = ""', "How the labels of the data came about: by whom, from what."),
    Offer('acquisition = ""', "How the images were taken: scanners, protocols, places, dates."),
    Offer('inclusion = ""', "Which images were taken into the data, and which were left out."),
    Offer('licence = ""', "The licence of the model."),
    Offer('contact = ""', "Who answers questions and hears of errors."),
    Offer('version = ""', "Your own version of the model."),
    Offer('review_date = ""', 'The date by which the model is to be looked at again, such as "2027-01-31".'),
)


def offers(task: TaskKind, classes: int) -> dict[str, tuple[Offer, ...]]:
    """Return the keys that are shown as comments, by section.

    Args:
        task: what a label is. A threshold is for two classes or for findings, referring for one label.
        classes: how many labels there are.
    """
    decision = []
    if task == "multilabel" or (task != "ordinal" and classes == 2):
        decision.append(TARGET)
    if task != "multilabel":
        decision.append(MAX_ERROR)
    return {"decision": tuple(decision), "about": ABOUT}
