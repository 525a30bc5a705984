"""The log of a search (search.json): the verdict on each candidate, its energy, and the energy saved."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from pepr_edge.records import Machine, SearchedCandidate, SearchLog, TrainCost, TrainResult, Verdict
from pepr_edge.run_dir.reader import Results
from pepr_edge.search.cost_estimates import CandidateCosts, cost_of, device_estimates
from pepr_edge.search.screening import Screenings
from pepr_edge.search.state import State

TRAINED = "trained to its end"
Exclusion = tuple[Verdict, str]  # and its reason


def to_record(
    results: Results,
    machine: Machine,
    screenings: Screenings,
    estimates: Mapping[str, CandidateCosts],
    state: State,
    spent: Mapping[str, TrainCost],
    excluded: Mapping[str, Exclusion],
    stopped: str,
) -> SearchLog:
    """Return the record of a search.

    Args:
        results: of the run.
        machine: on which the candidates were screened.
        screenings: of all candidates, by id.
        estimates: costs of the candidates that were probed, by id.
        state: of the policy.
        spent: cost of each training so far, by id.
        excluded: candidates that the policy did not decide about or that failed, by id.
        stopped: why the search stopped; empty while it goes on.
    """
    r = {candidate.name: candidate.r for candidate in state.candidates}
    searched = []
    for candidate in results.info.candidates:
        name = candidate.id
        verdict, reason = excluded.get(name) or _verdict(name, state, stopped)
        costs = estimates.get(name)
        searched.append(
            SearchedCandidate(
                candidate=name,
                verdict=verdict,
                reason=reason,
                r=r.get(name),
                epochs=state.trained(name),
                spent_j=cost_of(spent[name]).energy_j,
                full_j=costs.full.energy_j.value if costs else None,
                prospects=costs.variants if costs else tuple(device_estimates(screenings[name])),
            )
        )
    return _with_totals(
        SearchLog(
            key=results.info.key,
            policy=results.recipe.search.policy,
            machine=machine,
            candidates=tuple(searched),
            stopped=stopped,
        )
    )


def with_trainings(log: SearchLog, trained: Mapping[str, TrainResult]) -> SearchLog:
    """Return the log of a search by budgets alone, after the other candidates were trained."""
    searched = []
    for candidate in log.candidates:
        result = trained.get(candidate.candidate)
        if result is not None:
            candidate = candidate.replace(
                verdict="finished",
                reason=TRAINED,
                epochs=len(result.epochs),
                spent_j=cost_of(result.cost).energy_j,
                full_j=result.cost.energy_j.value,
            )
        searched.append(candidate)
    return _with_totals(log.replace(candidates=tuple(searched)))


def _with_totals(log: SearchLog) -> SearchLog:
    """Return the log with the estimated energy of the rejected candidates, and with the totals."""
    j_per_latency_s = []
    for candidate in log.candidates:
        latency_s = _latency_s(candidate)
        if candidate.full_j is not None and latency_s:
            j_per_latency_s.append(candidate.full_j / latency_s)
    searched = []
    for candidate in log.candidates:
        latency_s = _latency_s(candidate)
        if candidate.verdict == "rejected" and latency_s is not None and j_per_latency_s:
            # Assume that training energy is proportional to the latency on the device.
            candidate = candidate.replace(full_j=latency_s * statistics.median(j_per_latency_s))
        searched.append(candidate)
    return log.replace(
        candidates=tuple(searched),
        spent_j=_sum([candidate.spent_j for candidate in searched]),
        saved_j=_sum([_saved_j(candidate) for candidate in searched]),
    )


def _latency_s(candidate: SearchedCandidate) -> float | None:
    """Return the latency of a candidate's fastest variant; None if it was not measured."""
    latencies_s = [variant.resources.get("latency") for variant in candidate.prospects]
    return min((latency_s for latency_s in latencies_s if latency_s is not None), default=None)


def _verdict(name: str, state: State, stopped: str) -> Exclusion:
    """Return the verdict on a candidate that the policy decides about."""
    if name in state.finished:
        return "finished", TRAINED
    choice = state.choice() if stopped else None
    if choice is not None and name == choice.name:
        return "concluded", f"the best when the search stopped: {stopped}"
    if name in state.pruned:
        return "dropped" if state.trained(name) else "skipped", state.pruned[name]
    return "open", f"the search stopped: {stopped}" if stopped else ""


def _saved_j(candidate: SearchedCandidate) -> float | None:
    """Return the energy that was not spent on a candidate; None if it finished, failed, or is not known."""
    if candidate.verdict in ("finished", "failed") or candidate.full_j is None:
        return None
    return max(0.0, candidate.full_j - (candidate.spent_j or 0.0))


def _sum(values: Sequence[float | None]) -> float | None:
    """Return the sum of the known values; None if no value is known."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
