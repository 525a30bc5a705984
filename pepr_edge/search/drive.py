"""The search itself: its state is what stands on the disk; a policy decides, one epoch is trained or a candidate is out, and so on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pepr_edge.engine.engine import Engine
from pepr_edge.engine.measurement_host import MeasurementHost
from pepr_edge.errors import RunError
from pepr_edge.progress import ProgressView
from pepr_edge.recipe import Recipe
from pepr_edge.records import Candidate, Failure, TrainCost, Verdict
from pepr_edge.run_dir.keys import candidate_folder, train_key
from pepr_edge.run_dir.layout import SEARCH
from pepr_edge.run_dir.reader import (
    Results,
    current_search,
    current_training,
    current_training_state,
    is_complete,
)
from pepr_edge.run_dir.store import log_event, read_record, write_record
from pepr_edge.search import POLICIES, Cost, Decision, Limits, Settings, State, decide
from pepr_edge.search.cost_estimates import CandidateCosts, cost_of, estimate_costs, normalised_costs
from pepr_edge.search.jobs import carry_out, job_of
from pepr_edge.search.screening import Screenings, is_screening_wanted, rejection, screen
from pepr_edge.search.search_log import Out, finalised, to_record
from pepr_edge.search.state import NOTHING, SearchCandidate
from pepr_edge.train.cost import nothing

J_PER_WH, S_PER_H = 3600.0, 3600.0


@dataclass(frozen=True)
class TrainingProgress:
    """How far a training is: validation performance after each epoch, its cost so far, and whether it has ended by itself."""

    curve: tuple[float, ...] = ()
    cost: TrainCost = field(default_factory=nothing)
    ended: bool = False


def search(
    results: Results, folders: Mapping[int, Path], engine: Engine, host: MeasurementHost, view: ProgressView
) -> None:
    """Reject what breaks a budget of the device, and train what the recipe's policy promotes, as far as it does. search.json says so.

    Where every candidate is to be trained to its end, and there is no budget to break, there is nothing to do.

    Args:
        results: of the run.
        folders: images ready for training, by size.
        engine: carries out the work; epochs follow each other, as each decides what comes next.
        bench: where the device is looked at.
        view: shows the progress.
    Raises:
        ScoreError: the policy needs a cost that is not known.
    """
    if not is_screening_wanted(results.recipe):
        return
    run = CandidateSearch(results, screen(results, folders, engine, host, view), folders, engine, host, view)
    if results.recipe.search.chooses:
        run.run()
    elif run.out:
        run.write("")
    else:  # of a bench that was slower
        (results.folder / SEARCH).unlink(missing_ok=True)


def finalise(results: Results) -> None:
    """Once the others are trained: what the trainings of those that the device rejected would have taken, as far as theirs tell."""
    if results.search is not None and not results.recipe.search.chooses:
        trained = {
            entry.candidate.id: entry.trained for entry in results.entries if entry.trained is not None
        }
        write_record(results.folder / SEARCH, finalised(results.search, trained))


class CandidateSearch:
    """Holds a search open in a run directory: what is known of the candidates, and the state that its policy decides by."""

    def __init__(
        self,
        results: Results,
        screenings: Screenings,
        folders: Mapping[int, Path],
        engine: Engine,
        host: MeasurementHost,
        view: ProgressView,
    ) -> None:
        """Reject what the device rejects, and read how far the others are."""
        self.results, self.screenings, self.view = results, screenings, view
        self._folders, self._engine, self._machine = folders, engine, host.machine
        self.candidates = {one.id: one for one in results.info.candidates}
        self.out: dict[str, Out] = {
            name: ("rejected", reason)
            for name in self.candidates
            if (reason := rejection(screenings[name], results.recipe))
        }
        self.progress = {name: self._progress(one) for name, one in self.candidates.items()}
        self.estimates: dict[str, CandidateCosts] = {}
        self.state = State((), results.recipe.train.epochs)
        for name, (verdict, reason) in self.out.items():
            self._tell(verdict, reason, name)

    def run(self) -> None:
        """Find out the costs, then decide and train until the policy stops.

        Raises:
            ScoreError: the policy needs a cost that is not known.
        """
        self._probe()
        self.state, settings = self._state(), _settings(self.results.recipe)
        while (decision := decide(self.state, settings)).action != "stop":
            self._carry_out(decision, settings)
            self.write("")
        self._tell("stop", decision.reason)
        self.write(decision.reason)

    def write(self, stopped: str) -> None:
        """Write search.json: where the search is by now, and why it stopped if it did."""
        spent = {name: standing.cost for name, standing in self.progress.items()}
        log = to_record(self.results, self.screenings, self.estimates, self.state, spent, self.out, stopped)
        write_record(self.results.folder / SEARCH, log.model_copy(update={"machine": self._machine}))

    def _probe(self) -> None:
        """What an epoch of each candidate costs, where that is not known yet, as long as no stop rule is broken by asking."""
        asked = [one for name, one in self.candidates.items() if name not in self.out]
        waiting = [one for one in asked if self._estimate(one) is None]
        limits, several = _limits(self.results.recipe), max(1, len(waiting))
        if self.results.recipe.search.limited:
            several = self._engine.parallel
        while waiting and not (over := limits.exceeded_by(self._spent(asked))):
            part, waiting = waiting[:several], waiting[several:]
            jobs = [job_of(self.results, one, self._folders, self._engine, until_epoch=0) for one in part]
            carry_out(jobs, self._engine, "cost probes", self.view)
            for one in part:
                self.progress[one.id] = self._progress(one)
        for one in asked:
            if (found := self._estimate(one)) is not None and (found.prospects or not self._needs_costs):
                self.estimates[one.id] = found
            elif one in waiting:
                self._leave(one.id, "skipped", f"finding out what it costs would break {over}")
            else:
                self._fail(one)

    def _spent(self, candidates: Iterable[Candidate]) -> Cost:
        """What the trainings of some candidates have cost so far; those that nothing was spent on are left out."""
        costs = [self.progress[one.id].cost for one in candidates]
        return sum((cost_of(cost) for cost in costs if cost.duration_s.value), start=NOTHING)

    @property
    def _needs_costs(self) -> bool:
        return POLICIES[self.results.recipe.search.policy].NEEDS_COSTS

    def _estimate(self, candidate: Candidate) -> CandidateCosts | None:
        images = self.results.info.data.splits["train"].images
        return estimate_costs(
            candidate, *self._place(candidate), self.results.recipe, self.screenings[candidate.id], images
        )

    def _place(self, candidate: Candidate) -> tuple[Path, str]:
        return candidate_folder(self.results.folder, candidate), train_key(
            candidate, self.results.recipe, self.results.info.data
        )

    def _progress(self, candidate: Candidate) -> TrainingProgress:
        """How far a candidate's training is by what stands on the disk."""
        folder, key = self._place(candidate)
        trained = current_training(folder, key)
        if trained is not None and is_complete(trained, self.results.recipe.train):
            return TrainingProgress(
                tuple(epoch.val_performance for epoch in trained.epochs), trained.cost, ended=True
            )
        if (training := current_training_state(folder, key)) is None:
            return TrainingProgress()
        curve = tuple(epoch.val_performance for epoch in training.epochs)
        return TrainingProgress(
            curve, training.cost, training.stopped_early or len(curve) >= training.epochs_wanted
        )

    def _state(self) -> State:
        """All that is known by now, as a policy takes it. What was decided before this process began is decided, on the same machine."""
        recipe = self.results.recipe
        costs = normalised_costs(list(self.estimates.values()), recipe.score, self._needs_costs)
        probe = sum((one.probe for one in self.estimates.values()), start=NOTHING)
        before = current_search(self.results.folder, self.results.info)
        if before is not None and before.machine != self._machine:
            before = None  # by latencies that are no longer those of the bench
        out = (
            {one.candidate: one.reason for one in before.candidates if one.verdict in ("dropped", "skipped")}
            if before
            else {}
        )
        return State(
            candidates=tuple(
                SearchCandidate(name, costs[name], one.epoch) for name, one in self.estimates.items()
            ),
            epochs=recipe.train.epochs,
            curves={name: self.progress[name].curve for name in self.estimates if self.progress[name].curve},
            finished=frozenset(name for name in self.estimates if self.progress[name].ended),
            out={
                name: reason
                for name, reason in out.items()
                if name in self.estimates and not self.progress[name].ended
            },
            spent=self._spent(one.candidate for one in self.estimates.values()),
            probe=probe,
            limits=_limits(recipe),
            alpha=recipe.score.alpha,
            kept="best",
        )

    def _carry_out(self, decision: Decision, settings: Settings) -> None:
        """Do what was decided, and note what came of it."""
        assert decision.candidate is not None
        name = decision.candidate
        if decision.action == "train":
            self._train(decision, self._certain_until(decision, settings))
        else:
            self._tell("dropped" if decision.action == "drop" else "skipped", decision.reason, name)
            self.state = self.state.after(decision)

    def _certain_until(self, decision: Decision, settings: Settings) -> int:
        """The epoch to which the policy would train on whatever comes of it, so that one process may do it.

        A stop rule must hold to an epoch, and what an epoch takes is known when it is over.
        """
        assert decision.candidate is not None
        assert decision.to_epoch is not None
        name, epoch = decision.candidate, decision.to_epoch
        cost, ends = self.estimates[name].epoch, [self.state, self.state]
        while not self.results.recipe.search.limited:
            ends = [
                state.after(decision, performance, cost)
                for state, performance in zip(ends, (0.0, 1.0), strict=True)
            ]
            following = {(one.action, one.candidate) for one in (decide(state, settings) for state in ends)}
            if following != {("train", name)}:
                break
            epoch += 1
        return epoch

    def _train(self, decision: Decision, until: int) -> None:
        """Train a candidate to an epoch."""
        assert decision.candidate is not None
        name, candidate = decision.candidate, self.candidates[decision.candidate]
        self._tell("train", decision.reason, name, until)
        # As many threads as its cost was probed with: the mode was chosen for them.
        job = job_of(self.results, candidate, self._folders, self._engine, until_epoch=until)
        carry_out([job], self._engine, f"{name}, to epoch {until}", self.view)
        before, now = self.progress[name], self._progress(candidate)
        self.progress[name] = now
        spent, new = _less(cost_of(now.cost), cost_of(before.cost)), now.curve[len(before.curve) :]
        for number, performance in enumerate(new, start=1):
            ended = now.ended and number == len(new)
            self.state = self.state.after(decision, performance, spent.times(1 / len(new)), ended)
        if not new or (len(now.curve) < until and not now.ended):
            self._fail(candidate)
            self.state = self.state.after(
                Decision("drop", self.out[name][1], name), cost=NOTHING if new else spent
            )

    def _fail(self, candidate: Candidate) -> None:
        folder, _ = self._place(candidate)
        try:
            reason = read_record(folder / "failure.json", Failure).reason
        except RunError:
            reason = "it could not be measured before its training"
        self._leave(candidate.id, "failed", reason)

    def _leave(self, name: str, verdict: Verdict, reason: str) -> None:
        self.out[name] = verdict, reason
        self._tell(verdict, reason, name)

    def _tell(self, action: str, reason: str, candidate: str | None = None, epoch: int | None = None) -> None:
        log_event(
            self.results.folder, "search", action=action, candidate=candidate, epoch=epoch, reason=reason
        )
        if action != "train":
            self.view.say(f"{candidate}: {action}, {reason}" if candidate else f"search: {action}, {reason}")


def _settings(recipe: Recipe) -> Settings:
    """What the recipe says of the policy; of the rest the defaults hold."""
    wanted, plain = recipe.search, Settings()
    return Settings(
        policy=wanted.policy,
        confidence=plain.confidence if wanted.confidence is None else wanted.confidence,
        share=plain.share if wanted.share is None else wanted.share,
        least_trainings=plain.least_trainings if wanted.least_trainings is None else wanted.least_trainings,
        eta=plain.eta if wanted.eta is None else wanted.eta,
        seed=recipe.seed,
    )


def _limits(recipe: Recipe) -> Limits:
    energy_wh, time_h = recipe.search.max_energy_wh, recipe.search.max_time_h
    return Limits(
        max_energy_j=None if energy_wh is None else energy_wh * J_PER_WH,
        max_time_s=None if time_h is None else time_h * S_PER_H,
        max_co2eq_g=recipe.search.max_co2eq_g,
    )


def _less(now: Cost, before: Cost) -> Cost:
    """What was spent since; not known where one of them is not."""
    return now + before.times(-1)
