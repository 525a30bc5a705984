"""Records of a search: the cost of a candidate before its training, and the decision about it."""

from __future__ import annotations

from typing import Literal

from pepr_edge.records.base import Candidate, Message, Record, Versioned
from pepr_edge.records.measurement import DeviceProfile, Machine


class ScreeningResult(Versioned):
    """look.json: one variant of an untrained candidate, measured on the device. Training keeps its graph.

    `profile` is None if it could not be measured; `reason` says why. `machine` is the one that measured; None
    if there was no file to measure.
    """

    key: str
    candidate: Candidate
    variant: str
    size_bytes: int | None = None
    machine: Machine | None = None
    profile: DeviceProfile | None = None
    reason: Message = ""


class CostEstimate(Record):
    """Estimated resources of one variant, by screening and cost probe; names and units as in RankingRow."""

    variant: str
    resources: dict[str, float | None]
    methods: dict[str, str]
    size_bytes: int | None


Verdict = Literal["open", "finished", "concluded", "dropped", "skipped", "rejected", "failed"]


class SearchedCandidate(Record):
    """One candidate of a search, and the decision about it so far.

    "finished": trained for all epochs; "concluded": the best when the search stopped, with the epochs it had
    by then; "dropped": stopped after some epochs; "skipped": never started; "rejected": breaks a budget of
    the device; "open": not decided yet, or none of these when the search stopped. `r` is its normalised cost
    in the run's score; `epochs` the number of epochs trained; `spent_j` the energy of its training and cost
    probe. `full_j` is the energy of a full training, estimated by the cost probe; for a rejected candidate,
    which has none, by its latency relative to the others'.
    """

    candidate: str
    verdict: Verdict
    reason: Message
    r: float | None = None
    epochs: int = 0
    spent_j: float | None = None
    full_j: float | None = None
    prospects: tuple[CostEstimate, ...] = ()


class SearchLog(Versioned):
    """search.json: the state of a search among the candidates of a run, by its policy or its budgets alone.

    `key` is the key of the run. `stopped` says why the search stopped; empty while it runs, and where only
    budgets decide. `spent_j` is the energy of all trainings, `saved_j` the known energy of the trainings left
    out. `machine` is the one that measured the candidates.
    """

    key: str
    policy: str
    machine: Machine | None = None
    candidates: tuple[SearchedCandidate, ...]
    stopped: str = ""
    spent_j: float | None = None
    saved_j: float | None = None
