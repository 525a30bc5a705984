"""The record comparison.json: every test with its effect sizes and its sentence."""

from __future__ import annotations

from typing import Literal

from pepr_edge.records import Record, Versioned

PERFORMANCE = "performance"  # the only measure that is no score

SideName = Literal["A", "B"]
Verdict = Literal["up", "down", "maybe_up", "maybe_down", "none", "identical", "untested"]


class Finding(Record):
    """One measure in two groups. Differences are the second group minus the first; undefined values are None.

    `side` is None if the groups are A and B. `t` and `p` are of the independent two-sample t-test. `ci` is
    the interval of the difference: of the paired t-test for A and B, else of the independent one. `p_holm`
    and `paired_p_holm` are adjusted for the `tests` of the same family, see `findings`. `paired_p_holm` is
    the adjusted Wilcoxon p if the paired t-test is undefined. `better` and `worse` count the pairs that are
    higher and lower in B. `verdict` is about the second group, or about the side with the treatment.
    """

    question: str
    side: SideName | None
    measure: str
    groups: tuple[str, str]
    n: tuple[int, int]
    mean: tuple[float | None, float | None]
    difference: float | None
    ci: tuple[float, float] | None
    t: float | None
    p: float | None
    p_holm: float | None = None
    paired_t: float | None = None
    paired_p: float | None = None
    paired_p_holm: float | None = None
    wilcoxon_p: float | None = None
    cohen_d: float | None = None
    d_z: float | None = None
    better: int | None = None
    worse: int | None = None
    tests: int = 0
    verdict: Verdict = "untested"
    sentence: str = ""

    @property
    def letter(self) -> str:
        """The letter of the score, or "performance"."""
        return self.measure.removeprefix("PePR-")

    @property
    def p_of_pairs(self) -> float | None:
        """The p value of the verdict on A and B: of the paired t-test, or Wilcoxon's if that is undefined."""
        return self.wilcoxon_p if self.paired_p is None else self.paired_p


class LeftOut(Record):
    """A candidate that was not compared, with the reason."""

    candidate: str
    reason: str


class SideInfo(Record):
    """One side: the user's argument, its short name here, and its number of models."""

    source: str
    label: str
    models: int


class Comparison(Versioned):
    """The whole answer in numbers and in words.

    `differs` names the keys of the recipes that differ. `per_resource` answers the question for each resource
    that the headline does not name, `answers` the questions within each side. `notes` explains the scores and
    tests.
    """

    a: SideInfo
    b: SideInfo
    question: str
    headline: str
    differs: tuple[str, ...]
    metric: str
    edge_weights: dict[str, float]
    pairs: int
    left_out: tuple[LeftOut, ...]
    tests: tuple[Finding, ...]
    per_resource: tuple[str, ...]
    answers: tuple[str, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    plots: tuple[str, ...] = ()
