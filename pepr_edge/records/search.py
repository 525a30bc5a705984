"""Records of a search: what is known of a candidate before its training, and what was decided."""

from __future__ import annotations

from typing import Literal

from pepr_edge.records.base import Candidate, Message, Record, Versioned
from pepr_edge.records.measurement import DeviceProfile, Machine


class ScreeningResult(Versioned):
    """look.json: what an untrained candidate needs on the device in one variant. Its graph is that of the trained one.

    `profile` is None where that could not be found out, and `reason` says why. `machine` is the one that looked; None where there was no
    file to look at.
    """

    key: str
    candidate: Candidate
    variant: str
    size_bytes: int | None = None
    machine: Machine | None = None
    profile: DeviceProfile | None = None
    reason: Message = ""


class CostEstimate(Record):
    """What one variant of a candidate would use, by a first look at it and a cost probe; names and units as in RankingRow."""

    variant: str
    resources: dict[str, float | None]
    methods: dict[str, str]
    size_bytes: int | None


Verdict = Literal["open", "finished", "concluded", "dropped", "skipped", "rejected", "failed"]


class SearchedCandidate(Record):
    """One candidate of a search, and what became of it so far.

    "finished": trained to its end; "concluded": the best when the search stopped, with the epochs that it had; "dropped": given up after
    some epochs; "skipped": never begun; "rejected": breaks a budget of the device; "open": none of these when the search stopped.
    `r` is its normalised cost in the run's score; `epochs` those trained; `spent_j` the energy of its training, its cost probe included;
    `full_j` what its whole training would take by that probe, or of a rejected one, which has none, by its latency beside the others'.
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
    """search.json: the candidates of a run whose policy or whose budgets chose among them, and where that is by now.

    `key` is that of the run. `stopped` says why it stopped; empty while it goes on, and where the budgets alone chose. `spent_j` is the
    energy of all trainings, `saved_j` what the others would have taken, where it is known. `machine` is the one that was looked at.
    """

    key: str
    policy: str
    machine: Machine | None = None
    candidates: tuple[SearchedCandidate, ...]
    stopped: str = ""
    spent_j: float | None = None
    saved_j: float | None = None
