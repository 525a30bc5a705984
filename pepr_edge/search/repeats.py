"""Train candidates again with other seeds: a fixed number of times each, or until first place is settled.

Repeat k of a candidate has the seed recipe.seed + k. With `repeats = "auto"` only candidates that may be
first are trained again, each at most `max_repeats` times, while the stop rules of the search are kept, and
while further seeds may settle first place at all.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import NamedTuple

from pepr_edge.engine.engine import Engine
from pepr_edge.engine.job import CandidateFiles, CandidateJob
from pepr_edge.progress import ProgressView
from pepr_edge.ranking import rank
from pepr_edge.records import Candidate, Ranking, TrainResult
from pepr_edge.run_dir.current import current_repeats, deployed, is_complete, read_failure
from pepr_edge.run_dir.layout import candidate_folder, repeat_folder
from pepr_edge.run_dir.reader import Results, VariantState, is_pruned
from pepr_edge.run_dir.spent import training_costs
from pepr_edge.run_dir.store import log_event
from pepr_edge.search.candidate_search import limits_of
from pepr_edge.search.cost_estimates import cost_of
from pepr_edge.search.jobs import make_job, run_jobs
from pepr_edge.search.state import NO_COST, Cost


class Repeat(NamedTuple):
    """One training of a candidate, by its number from 0 on."""

    candidate: Candidate
    number: int


@dataclass(frozen=True)
class Plan:
    """The trainings to add now; none if there is a reason to stop."""

    repeats: tuple[Repeat, ...] = ()
    stop: str = ""
    settled: bool = False


def is_trained(results: Results, candidate: Candidate, trained: TrainResult | None) -> bool:
    """True if a training is as long as the recipe, or the search that concluded it, wants it."""
    if trained is None:
        return False
    epochs = concluded_epochs(results, candidate)
    if epochs is None:
        return is_complete(trained, results.recipe.train)
    return len(trained.epochs) == epochs


def concluded_epochs(results: Results, candidate: Candidate) -> int | None:
    """Return the epochs of a candidate whose training the search ended before its last epoch, else None."""
    for searched in results.search.candidates if results.search is not None else ():
        if searched.candidate == candidate.id and searched.verdict == "concluded":
            return searched.epochs
    return None


def is_left_out(results: Results, candidate: Candidate) -> bool:
    """True if a search pruned a candidate."""
    search = results.search
    if search is None:
        return False
    return any(is_pruned(one, search) for one in search.candidates if one.candidate == candidate.id)


def train_repeats(results: Results, files: CandidateFiles, engine: Engine, view: ProgressView) -> Results:
    """Train the seeds that the recipe wants of every candidate, without exports; nothing if it wants one.

    A training that failed before is tried again. The stop rules of a search hold for repeats as well.
    """
    number = results.recipe.train.first_repeats
    if number == 1:
        return results
    wanted = []
    for repeat in range(number):
        for candidate in results.info.candidates:
            training = results.trainings(candidate).get(repeat)
            if not is_left_out(results, candidate) and not is_trained(results, candidate, training):
                wanted.append(Repeat(candidate, repeat))
    if not results.recipe.search.has_stop_rules:
        return _train(results, wanted, files, engine, view)
    first = [repeat for repeat in wanted if repeat.number == 0]
    results = _train(results, first, files, engine, view)
    later = [repeat for repeat in wanted if repeat.number > 0]
    while later:
        affordable, broken_rule = _affordable(results, later[: engine.parallel])
        results = _train(results, affordable, files, engine, view)
        if broken_rule:
            _say_stop(results, f"another training would break {broken_rule}", False, view)
            break
        later = later[engine.parallel :]
    return results


def repeat_until_settled(
    results: Results, files: CandidateFiles, engine: Engine, view: ProgressView
) -> Results:
    """Train further seeds of the candidates that may be first, until first place is settled.

    Artifacts and measurements stay those of the trainings that were the best before; see `to_deploy`.

    Returns:
        The results with all trainings in `VariantState.repeats`.
    """
    failed: set[str] = set()
    while True:
        plan = _plan(results, rank(results), failed, engine.parallel)
        if not plan.repeats:
            _say_stop(results, plan.stop, plan.settled, view)
            return results
        before = _counts(results, {repeat.candidate.id for repeat in plan.repeats})
        results = _train(results, plan.repeats, files, engine, view)
        after = _counts(results, before)
        failed |= {name for name in before if after[name] == before[name]}


def to_deploy(results: Results) -> list[Candidate]:
    """Return the candidates whose exports are not of their best training."""
    changed = []
    for candidate in results.info.candidates:
        state = results.exports(candidate)[0]
        if deployed(state.repeats) != state.trained:
            changed.append(candidate)
    return changed


def _plan(results: Results, ranking: Ranking, failed: set[str], parallel: int) -> Plan:
    """Return the trainings that may tell which candidate is first."""
    rows = [row for row in ranking.rows if row.status == "ok" and row.rank is not None]
    if not rows:
        return Plan(stop="no candidate is ranked")
    if len({row.candidate for row in rows}) == 1:
        return Plan(stop="one candidate alone is ranked", settled=True)
    if ranking.settled:
        return Plan(stop="first place is settled", settled=True)
    first = [row.candidate for row in rows if row.rank_ci is not None and row.rank_ci[0] == 1]
    names = list(dict.fromkeys(first))
    if len(names) == 1 and all(repeats > 1 for repeats in _counts(results, names).values()):
        if len(first) > 1:
            # A candidate's variants share its trainings.
            return Plan(stop="only variants of one candidate may be first, and seeds cannot tell them apart")
        # In this run it is first, but another run might have the next one first.
        names.append(next(row.candidate for row in rows if row.candidate not in names))
    if "seeds" in ranking.sources and not rank(_with_most_repeats(results)).settled:
        return Plan(
            stop="first place is not settled, and it would not be with max_repeats trainings of each "
            "candidate like those so far"
        )
    candidates = {candidate.id: candidate for candidate in results.info.candidates}
    may_be_first = [candidates[name] for name in names if name not in failed]
    stop, wanted = _next_seeds(results, may_be_first, parallel)
    return Plan(tuple(wanted), stop if not wanted else "")


def _with_most_repeats(results: Results) -> Results:
    """Return the results as they would be with `max_repeats` trainings like those that are there."""

    def like_these(state: VariantState) -> VariantState:
        times = ceil(results.recipe.train.most_repeats / max(1, len(state.repeats)))
        return replace(state, repeats=state.repeats * times, repeat_folders=state.repeat_folders * times)

    return replace(results, entries=tuple(like_these(state) for state in results.entries))


def _counts(results: Results, names: Collection[str]) -> dict[str, int]:
    """Return the number of trainings of some candidates, by id."""
    return {
        candidate.id: len(results.trainings(candidate))
        for candidate in results.info.candidates
        if candidate.id in names
    }


def _next_seeds(
    results: Results, candidates: Sequence[Candidate], parallel: int
) -> tuple[str, Sequence[Repeat]]:
    """Return the next trainings of those candidates that have the fewest, or why there is none.

    Args:
        candidates: in the order of their ranks.
        parallel: so many are trained at once, before the ranking is made again.
    """
    if not candidates:
        return "first place is not settled, and each further training failed", ()
    counts = {candidate: len(results.trainings(candidate)) for candidate in candidates}
    fewest = min(counts.values())
    most = results.recipe.train.most_repeats
    if fewest >= most:
        return f"first place is not settled, and max_repeats = {most} is used up", ()
    wanted = [
        Repeat(candidate, _first_missing(results, candidate))
        for candidate, count in counts.items()
        if count == fewest
    ]
    # The first of them may show already that no further seed settles first place.
    affordable, broken_rule = _affordable(results, wanted[:parallel])
    return f"first place is not settled, and another training would break {broken_rule}", affordable


def _first_missing(results: Results, candidate: Candidate) -> int:
    """Return the lowest number of a training that is not there: it may have failed in an earlier run."""
    trainings = results.trainings(candidate)
    return next(number for number in range(len(trainings) + 1) if number not in trainings)


def _affordable(results: Results, wanted: Sequence[Repeat]) -> tuple[list[Repeat], str | None]:
    """Return the trainings that keep the stop rules together, and the rule that another one would break.

    A training is expected to cost as much as those of its candidate did on average.
    """
    limits = limits_of(results.recipe)
    if not results.recipe.search.has_stop_rules:
        return list(wanted), None
    spent = _spent(results)
    affordable = []
    broken_rule = None
    for repeat in wanted:
        after = spent + _expected(results, repeat.candidate)
        rule = limits.exceeded_by(after)
        if rule:
            broken_rule = rule
        else:
            affordable.append(repeat)
            spent = after
    return affordable, broken_rule


def _spent(results: Results) -> Cost:
    """Return the cost of all trainings so far, unfinished and pruned ones included."""
    total = NO_COST
    for cost in training_costs(results):
        total += cost_of(cost)
    return total


def _expected(results: Results, candidate: Candidate) -> Cost:
    """Return the mean cost of a candidate's trainings."""
    trainings = results.trainings(candidate).values()
    total = NO_COST
    for trained in trainings:
        total += cost_of(trained.cost)
    return total.scaled(1 / max(1, len(trainings)))


def _train(
    results: Results,
    repeats: Sequence[Repeat],
    files: CandidateFiles,
    engine: Engine,
    view: ProgressView,
) -> Results:
    """Train some repeats, and return the results with them; artifacts stay those that were made before."""

    def on_done(job: CandidateJob) -> None:
        line = _outcome(results, job)
        log_event(results.folder, "repeated", candidate=job.candidate.id, seed=job.recipe.seed, result=line)
        view.say(f"{job.label}: {line}")

    jobs = []
    for candidate, number in repeats:
        epochs = concluded_epochs(results, candidate)
        jobs.append(make_job(results, candidate, files, engine, "repeat", epochs, number))
    if jobs:
        run_jobs(jobs, engine, "trainings", view, on_done)
    return _with_trainings(results, {repeat.candidate.id for repeat in repeats})


def _outcome(results: Results, job: CandidateJob) -> str:
    """Return the outcome of a training in a line."""
    trained = _trainings(results, job.candidate).get(job.repeat)
    if trained is None:
        failure = read_failure(job.training_folder, {job.train_key})
        return f"failed: {failure.reason}" if failure is not None else "failed"
    return outcome(trained)


def outcome(trained: TrainResult) -> str:
    """Return the outcome of a training in a line."""
    metric = trained.performance_metric
    recorded = trained.performance.get(f"val_{metric}")
    value = "undefined" if recorded is None else f"{recorded.value:.3f}"
    duration_s = trained.cost.duration_s.value or 0.0
    return f"val {metric} {value} after {len(trained.epochs)} epochs, {duration_s:.0f} s"


def _trainings(results: Results, candidate: Candidate) -> dict[int, TrainResult]:
    folder = candidate_folder(results.folder, candidate)
    return current_repeats(folder, candidate, results.recipe, results.info.data)


def _with_trainings(results: Results, names: set[str]) -> Results:
    """Return the results with the trainings of some candidates read again, and nothing else."""
    read: dict[str, tuple[tuple[TrainResult, ...], tuple[Path, ...]]] = {}
    for candidate in results.info.candidates:
        if candidate.id in names:
            trainings = _trainings(results, candidate)
            folder = candidate_folder(results.folder, candidate)
            folders = tuple(repeat_folder(folder, number) for number in trainings)
            read[candidate.id] = tuple(trainings.values()), folders
    states = []
    for group in (results.entries, results.unranked):
        changed = []
        for state in group:
            if state.candidate.id in names:
                repeats, folders = read[state.candidate.id]
                state = replace(state, repeats=repeats, repeat_folders=folders)
            changed.append(state)
        states.append(tuple(changed))
    return replace(results, entries=states[0], unranked=states[1])


def _say_stop(results: Results, reason: str, settled: bool, view: ProgressView) -> None:
    """Say and log why no further training follows."""
    counts = _counts(results, {candidate.id for candidate in results.info.candidates})
    log_event(results.folder, "repeats", settled=settled, reason=reason, trainings=counts)
    view.say(f"repeats: {reason}")
