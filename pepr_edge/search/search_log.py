"""A search as a record: what became of each candidate so far, what it took, and what was saved."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence

from pepr_edge.records import (
    CostEstimate,
    ScreeningResult,
    SearchedCandidate,
    SearchLog,
    TrainCost,
    TrainResult,
    Verdict,
)
from pepr_edge.run_dir.reader import Results
from pepr_edge.scoring.resources import of_device
from pepr_edge.search import State
from pepr_edge.search.cost_estimates import CandidateCosts
from pepr_edge.search.screening import Screenings

ENDED = "trained to its end"
Out = tuple[Verdict, str]  # with the reason


def to_record(
    results: Results,
    screenings: Screenings,
    estimates: Mapping[str, CandidateCosts],
    state: State,
    spent: Mapping[str, TrainCost],
    out: Mapping[str, Out],
    stopped: str,
) -> SearchLog:
    """The record of a search.

    Args:
        results: of the run.
        looks: at all candidates, by id.
        outlooks: what the candidates that were probed would use.
        state: of the policy.
        spent: the cost of each training so far.
        out: those that the policy was not asked about, or that failed, by candidate.
        stopped: why the search stopped; empty while it goes on.
    """
    costs = {one.name: one.r for one in state.candidates}
    found = []
    for one in results.info.candidates:
        name = one.id
        verdict, reason = out.get(name) or _verdict(name, state, stopped)
        ahead = estimates.get(name)
        found.append(
            SearchedCandidate(
                candidate=name,
                verdict=verdict,
                reason=reason,
                r=costs.get(name),
                epochs=state.trained(name),
                spent_j=spent[name].energy_j.value,
                full_j=ahead.full.energy_j.value if ahead else None,
                prospects=ahead.prospects if ahead else tuple(_on_device(screenings[name])),
            )
        )
    return _summed(
        SearchLog(
            key=results.info.key,
            policy=results.recipe.search.policy,
            candidates=tuple(found),
            stopped=stopped,
        )
    )


def finalised(log: SearchLog, trained: Mapping[str, TrainResult]) -> SearchLog:
    """The record where the device alone chose, once all the others are trained."""
    found = []
    for one in log.candidates:
        if (result := trained.get(one.candidate)) is not None:
            joules = result.cost.energy_j.value
            ended = {
                "verdict": "finished",
                "reason": ENDED,
                "epochs": len(result.epochs),
                "spent_j": joules,
                "full_j": joules,
            }
            one = one.model_copy(update=ended)
        found.append(one)
    return _summed(log.model_copy(update={"candidates": tuple(found)}))


def _summed(log: SearchLog) -> SearchLog:
    """With what those that were never probed would have taken, and with the sums."""
    rates = [
        one.full_j / latency
        for one in log.candidates
        if one.full_j is not None and (latency := _latency_s(one))
    ]
    # As much more than the others' trainings as it takes longer on the device.
    rate = statistics.median(rates) if rates else None
    found = [
        one.model_copy(update={"full_j": latency * rate})
        if one.verdict == "rejected" and rate is not None and (latency := _latency_s(one)) is not None
        else one
        for one in log.candidates
    ]
    sums = {
        "spent_j": _sum([one.spent_j for one in found]),
        "saved_j": _sum([_saved_j(one) for one in found]),
    }
    return log.model_copy(update={"candidates": tuple(found), **sums})


def _latency_s(one: SearchedCandidate) -> float | None:
    known = (
        latency for prospect in one.prospects if (latency := prospect.resources.get("latency")) is not None
    )
    return min(known, default=None)


def _verdict(name: str, state: State, stopped: str) -> Out:
    choice = state.choice() if stopped else None
    if name in state.finished:
        return "finished", ENDED
    if choice is not None and name == choice.name:
        return "concluded", f"the best when the search stopped: {stopped}"
    if name in state.out:
        return "dropped" if state.trained(name) else "skipped", state.out[name]
    return "open", f"the search stopped: {stopped}" if stopped else ""


def _on_device(screenings: Sequence[ScreeningResult]) -> Iterator[CostEstimate]:
    """What the variants use on the device, where nothing is known of the training."""
    for screening in screenings:
        if screening.profile is not None:
            resources, methods = of_device(screening.profile)
            yield CostEstimate(
                variant=screening.variant,
                resources=resources,
                methods=methods,
                size_bytes=screening.size_bytes,
            )


def _saved_j(one: SearchedCandidate) -> float | None:
    """What was not spent on a candidate that was not trained to its end."""
    if one.verdict in ("finished", "failed") or one.full_j is None:
        return None
    return max(0.0, one.full_j - (one.spent_j or 0.0))


def _sum(values: Sequence[float | None]) -> float | None:
    """Of those that are known; None where none is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
