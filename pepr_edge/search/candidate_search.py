"""The search of a run: in turns, the policy decides, and a candidate is trained for an epoch or pruned.

The state of a search is read from the run directory, so a search that was killed continues.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pepr_edge.engine.engine import Engine
from pepr_edge.engine.job import CandidateFiles
from pepr_edge.engine.measurement_host import MeasurementHost
from pepr_edge.errors import RunError
from pepr_edge.progress import ProgressView
from pepr_edge.ranking import lowest_skilled
from pepr_edge.recipe import Recipe
from pepr_edge.records import Candidate, Failure, SearchLog, TrainCost, Verdict
from pepr_edge.run_dir.current import current_search, current_training, current_training_state, is_complete
from pepr_edge.run_dir.keys import train_key
from pepr_edge.run_dir.layout import FAILURE, SEARCH, candidate_folder
from pepr_edge.run_dir.reader import Results, reread
from pepr_edge.run_dir.store import log_event, read_record, write_record
from pepr_edge.scoring.metrics import training_metric
from pepr_edge.search.cost_estimates import CandidateCosts, cost_of, estimate_costs, normalised_costs
from pepr_edge.search.jobs import make_job, run_jobs
from pepr_edge.search.policies import POLICIES, decide
from pepr_edge.search.screening import Screenings, is_screening_wanted, rejection, screen
from pepr_edge.search.search_log import Exclusion, to_record, with_trainings
from pepr_edge.search.state import NO_COST, Cost, Decision, Limits, SearchCandidate, Settings, State
from pepr_edge.train.cost import no_cost

# The policy decides at most this often in a training: each time a job opens it, which takes about a second.
DECISIONS = 10
J_PER_WH = 3600.0
S_PER_H = 3600.0


@dataclass(frozen=True)
class TrainingProgress:
    """Progress of a training: validation performance by epoch, cost so far, and if it ended by itself."""

    curve: tuple[float, ...] = ()
    cost: TrainCost = field(default_factory=no_cost)
    ended: bool = False


def search(
    results: Results,
    files: CandidateFiles,
    engine: Engine,
    host: MeasurementHost,
    view: ProgressView,
) -> Results:
    """Reject candidates that break a budget of the device, and train those that the recipe's policy promotes.

    The log is written to search.json. Without budgets and a policy there is nothing to do.

    Args:
        results: of the run.
        files: the prepared images, and weights files.
        engine: runs the jobs, one epoch after another, since each decides the next.
        host: where candidates are screened.
        view: shows the progress.
    Returns:
        The results with the log of the search, and with the failures of its jobs.
    Raises:
        ScoreError: the policy needs a cost that is not known.
    """
    if not is_screening_wanted(results.recipe):
        return results
    screenings = screen(results, files, engine, host, view)
    run = CandidateSearch(results, screenings, files, engine, host, view)
    if results.recipe.search.adaptive:
        log = run.run()
        return reread(results, results.info.candidates).with_search(log)
    if run.excluded:
        return results.with_search(run.write(""))
    # A log can be there from a slower device, which rejected candidates.
    (results.folder / SEARCH).unlink(missing_ok=True)
    return results.with_search(None)


def complete_search_log(results: Results) -> Results:
    """Estimate the training energy of rejected candidates from the trainings of the others."""
    if results.search is None or results.recipe.search.adaptive:
        return results
    trained = {entry.candidate.id: entry.repeats[0] for entry in results.entries if entry.repeats}
    log = with_trainings(results.search, trained)
    write_record(results.folder / SEARCH, log)
    return results.with_search(log)


class CandidateSearch:
    """An open search in a run directory: progress of the candidates, and the state for the policy.

    `excluded` are the candidates that the policy does not decide about: rejected, failed, or not probed.
    """

    def __init__(
        self,
        results: Results,
        screenings: Screenings,
        files: CandidateFiles,
        engine: Engine,
        host: MeasurementHost,
        view: ProgressView,
    ) -> None:
        """Reject the candidates that break a budget, and read the progress of all."""
        self.results = results
        self.screenings = screenings
        self.view = view
        self._files = files
        self._engine = engine
        self._machine = host.machine
        self.candidates = {candidate.id: candidate for candidate in results.info.candidates}
        self.progress = {name: self._progress(candidate) for name, candidate in self.candidates.items()}
        self.excluded: dict[str, Exclusion] = {}
        self.estimates: dict[str, CandidateCosts] = {}
        self.state = State((), results.recipe.train.epochs)
        for name in self.candidates:
            reason = rejection(screenings[name], results.recipe)
            if reason:
                self._exclude(name, "rejected", reason)

    def run(self) -> SearchLog:
        """Probe the costs, then decide and train until the policy stops.

        Returns:
            The final log.
        Raises:
            ScoreError: the policy needs a cost that is not known.
        """
        self._probe_costs()
        self.state = self._read_state()
        settings = _settings(self.results.recipe)
        decision = decide(self.state, settings)
        while decision.action != "stop":
            self._apply(decision, settings)
            self.write("")
            decision = decide(self.state, settings)
        self._log("stop", decision.reason)
        return self.write(decision.reason)

    def write(self, stopped: str) -> SearchLog:
        """Write search.json: the state of the search, and why it stopped if it did."""
        spent = {name: progress.cost for name, progress in self.progress.items()}
        log = to_record(
            self.results,
            self._machine,
            self.screenings,
            self.estimates,
            self.state,
            spent,
            self.excluded,
            stopped,
        )
        write_record(self.results.folder / SEARCH, log)
        return log

    def _probe_costs(self) -> None:
        """Probe the cost of an epoch where it is not known, within the stop rules."""
        candidates = [candidate for name, candidate in self.candidates.items() if name not in self.excluded]
        waiting = [candidate for candidate in candidates if self._estimate(candidate) is None]
        limits = limits_of(self.results.recipe)
        batch_size = self._engine.parallel if self.results.recipe.search.has_stop_rules else len(waiting)
        broken_rule: str | None = None
        while waiting:
            broken_rule = limits.exceeded_by(self._spent(candidates))
            if broken_rule:
                break
            batch = waiting[:batch_size]
            waiting = waiting[batch_size:]
            jobs = [make_job(self.results, one, self._files, self._engine, kind="probe") for one in batch]
            run_jobs(jobs, self._engine, "cost probes", self.view)
            for candidate in batch:
                self.progress[candidate.id] = self._progress(candidate)
        for candidate in candidates:
            estimate = self._estimate(candidate)
            # Without a variant that was screened, the cost in the score is not known.
            if estimate is not None and (estimate.variants or not self._needs_costs):
                self.estimates[candidate.id] = estimate
            elif candidate in waiting:
                self._exclude(candidate.id, "skipped", f"its cost probe would break {broken_rule}")
            else:
                self._exclude_failed(candidate)

    def _spent(self, candidates: Iterable[Candidate]) -> Cost:
        """Return the cost of the trainings of some candidates so far."""
        total = NO_COST
        for candidate in candidates:
            total += cost_of(self.progress[candidate.id].cost)
        return total

    @property
    def _needs_costs(self) -> bool:
        return POLICIES[self.results.recipe.search.policy].NEEDS_COSTS

    def _estimate(self, candidate: Candidate) -> CandidateCosts | None:
        return estimate_costs(
            candidate,
            self._folder(candidate),
            self._key(candidate),
            self.results.recipe,
            self.screenings[candidate.id],
            self.results.info.data.splits["train"].images,
        )

    def _folder(self, candidate: Candidate) -> Path:
        return candidate_folder(self.results.folder, candidate)

    def _key(self, candidate: Candidate) -> str:
        return train_key(candidate, self.results.recipe, self.results.info.data)

    def _progress(self, candidate: Candidate) -> TrainingProgress:
        """Read the progress of a candidate's training from the run directory."""
        folder = self._folder(candidate)
        key = self._key(candidate)
        trained = current_training(folder, key)
        if trained is not None and is_complete(trained, self.results.recipe.train):
            curve = tuple(epoch.val_performance for epoch in trained.epochs)
            return TrainingProgress(curve, trained.cost, ended=True)
        unfinished = current_training_state(folder, key)
        if unfinished is None:
            return TrainingProgress()
        curve = tuple(epoch.val_performance for epoch in unfinished.epochs)
        ended = unfinished.stopped_early or len(curve) >= unfinished.epochs_wanted
        return TrainingProgress(curve, unfinished.cost, ended)

    def _read_state(self) -> State:
        """Return the state of the search from the run directory, with the decisions of earlier processes."""
        recipe = self.results.recipe
        costs = normalised_costs(list(self.estimates.values()), recipe.score, self._needs_costs)
        candidates = []
        curves = {}
        probe = NO_COST
        for name, estimate in self.estimates.items():
            candidates.append(SearchCandidate(name, costs[name], estimate.epoch))
            probe += estimate.probe
            if self.progress[name].curve:
                curves[name] = self.progress[name].curve
        baseline, min_performance = lowest_skilled(
            training_metric(recipe.score.performance), self.results.info.data, recipe.score.floor
        )
        return State(
            candidates=tuple(candidates),
            epochs=recipe.train.epochs,
            curves=curves,
            finished=frozenset(name for name in self.estimates if self.progress[name].ended),
            pruned=self._pruned_before(),
            spent=self._spent(estimate.candidate for estimate in self.estimates.values()),
            probe=probe,
            limits=limits_of(recipe),
            alpha=recipe.score.alpha,
            kept_epoch="best",
            first_kept_epoch=recipe.train.first_kept_epoch,
            min_performance=min_performance,
            baseline=baseline if recipe.score.skill else 0.0,
        )

    def _pruned_before(self) -> dict[str, str]:
        """Return the candidates that an earlier process of this search pruned, with the reasons."""
        log = current_search(self.results.folder, self.results.info)
        if log is None or log.machine != self._machine:
            return {}  # its decisions rest on the latencies of another machine
        return {
            searched.candidate: searched.reason
            for searched in log.candidates
            if searched.verdict in ("dropped", "skipped")
            and searched.candidate in self.estimates
            and not self.progress[searched.candidate].ended
        }

    def _apply(self, decision: Decision, settings: Settings) -> None:
        """Carry out a decision, and update the state."""
        assert decision.candidate is not None
        if decision.action == "train":
            assert decision.to_epoch is not None
            until_epoch = self._next_decision_epoch(decision.candidate, decision.to_epoch, settings)
            self._train(decision.candidate, until_epoch, decision.reason)
        else:
            verdict = "dropped" if decision.action == "drop" else "skipped"
            self._log(verdict, decision.reason, decision.candidate)
            self.state = self.state.without(decision.candidate, decision.reason)

    def _next_decision_epoch(self, name: str, epoch: int, settings: Settings) -> int:
        """Return the epoch after which the policy must decide again, because performance then matters.

        One job trains to that epoch. Until then the policy decides the same for the worst and for the best
        performance. A job trains at least the share of the epochs that DECISIONS leaves. Under a stop rule it
        is the next epoch, since the cost of an epoch is known only when it has ended.
        """
        if self.results.recipe.search.has_stop_rules:
            return epoch
        earliest = epoch
        if epoch == self.state.trained(name) + 1:
            share = math.ceil(self.state.epochs / DECISIONS)
            earliest = min(self.state.epochs, epoch - 1 + share)
        cost = self.estimates[name].epoch
        worst = best = self.state
        while True:
            worst = worst.after_epoch(name, 0.0, cost)
            best = best.after_epoch(name, 1.0, cost)
            if not (_trains_next(worst, settings, name) and _trains_next(best, settings, name)):
                return max(epoch, earliest)
            epoch += 1

    def _train(self, name: str, until_epoch: int, reason: str) -> None:
        """Train a candidate to an epoch, and update the state; exclude the candidate if this fails."""
        candidate = self.candidates[name]
        self._log("train", reason, name, until_epoch)
        # Runs with as many threads as its cost probe: the training mode was chosen for them.
        job = make_job(
            self.results, candidate, self._files, self._engine, kind="train", until_epoch=until_epoch
        )
        run_jobs([job], self._engine, f"{name}, to epoch {until_epoch}", self.view)
        before = self.progress[name]
        now = self._progress(candidate)
        self.progress[name] = now
        spent = cost_of(now.cost) - cost_of(before.cost)
        new_epochs = now.curve[len(before.curve) :]
        for number, performance in enumerate(new_epochs, start=1):
            ended = now.ended and number == len(new_epochs)
            self.state = self.state.after_epoch(name, performance, spent.scaled(1 / len(new_epochs)), ended)
        failed = not new_epochs or (len(now.curve) < until_epoch and not now.ended)
        if failed:
            self._exclude_failed(candidate)
            _, failure = self.excluded[name]
            # `after_epoch` has counted the cost already if there are new epochs.
            self.state = self.state.without(name, failure, NO_COST if new_epochs else spent)

    def _exclude_failed(self, candidate: Candidate) -> None:
        try:
            reason = read_record(self._folder(candidate) / FAILURE, Failure).reason
        except RunError:
            reason = "it could not be measured before its training"
            causes = [screening.reason for screening in self.screenings[candidate.id] if screening.reason]
            if causes:
                reason += f": {causes[0].rstrip('.')}"
        self._exclude(candidate.id, "failed", reason)

    def _exclude(self, name: str, verdict: Verdict, reason: str) -> None:
        self.excluded[name] = (verdict, reason)
        self._log(verdict, reason, name)

    def _log(self, action: str, reason: str, candidate: str | None = None, epoch: int | None = None) -> None:
        """Log an event, and show it unless it is a training, which has a progress bar."""
        log_event(
            self.results.folder, "search", action=action, candidate=candidate, epoch=epoch, reason=reason
        )
        if action != "train":
            self.view.say(f"{candidate or 'search'}: {action}, {reason}")


def _trains_next(state: State, settings: Settings, name: str) -> bool:
    """True if the policy's next decision is to train this candidate."""
    decision = decide(state, settings)
    return decision.action == "train" and decision.candidate == name


def _settings(recipe: Recipe) -> Settings:
    """Return the recipe's parameters of the policy, with the defaults for those that it does not set."""
    parameters = {"confidence", "share", "least_trainings", "eta"}
    given = recipe.search.model_dump(include=parameters, exclude_none=True)
    return Settings(policy=recipe.search.policy, seed=recipe.seed, **given)


def limits_of(recipe: Recipe) -> Limits:
    """Return the recipe's stop rules in SI units."""
    energy_wh = recipe.search.max_energy_wh
    time_h = recipe.search.max_time_h
    return Limits(
        max_energy_j=None if energy_wh is None else energy_wh * J_PER_WH,
        max_time_s=None if time_h is None else time_h * S_PER_H,
        max_co2eq_g=recipe.search.max_co2eq_g,
    )
