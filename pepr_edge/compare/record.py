"""comparison.json: every test that was made, with its effect sizes and its sentence."""

from __future__ import annotations

from typing import Literal

from pepr_edge.records import Record, Versioned

PERFORMANCE = "performance"  # the measure that is no score

SideName = Literal["A", "B"]
Verdict = Literal["up", "down", "maybe_up", "maybe_down", "none", "identical", "untested"]


class Finding(Record):
    """One measure in two groups. Differences are the second group minus the first; None where something is not defined.

    `t` and `p` are of the independent two-sample t-test, `ci` of the paired one where pairs are tested. `p_holm` and `paired_p_holm` are
    adjusted for the `tests` of the same family, see `findings`; the latter stands for Wilcoxon's where a paired t-test is not defined.
    `better` and `worse` count the pairs that are higher and lower in B. `side` is None where A and B themselves are the groups.
    `verdict` is on the second group, or on the side that the question is of.
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


class LeftOut(Record):
    """A candidate that was not compared, and why."""

    candidate: str
    reason: str


class SideInfo(Record):
    """Which side this is: what the user gave, and what it stands for here."""

    source: str
    label: str
    models: int


class Comparison(Versioned):
    """The whole answer in numbers and in words.

    `differs` names the keys of the recipes that differ; `per_resource` answers the question per unit of each resource that the headline
    does not name, `answers` those within each side. `notes` says what PePR rests on and what was left out of it.
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
