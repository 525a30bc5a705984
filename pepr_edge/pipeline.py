"""The stages of a run, in order. Read this first.

    Recipe -> [Candidate] -> (search among them) -> TrainResult -> [Artifact] -> (autotune) -> DeviceProfile
           -> Ranking -> bundles -> report

`run` reads the run directory once: the results of an earlier run that are still current. Each stage takes
these results, makes what is missing, and returns the results with it. It also writes each new result as a
JSON file at once, so a run goes on wherever it was stopped. What comes before the stages is in `preparation`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from pepr_edge.bundle.write import write_bundles
from pepr_edge.device.cpu import usable_cores
from pepr_edge.device.load import busy_message
from pepr_edge.engine import measuring
from pepr_edge.engine.engine import Engine
from pepr_edge.engine.engines import ENGINES, OpenEngine
from pepr_edge.engine.job import AFTER_TRAINING, CandidateFiles, CandidateJob, JobKind
from pepr_edge.engine.measurement_host import MeasurementHost
from pepr_edge.engine.stage_clock import StageClock
from pepr_edge.engine.step_costs import measure_step_costs
from pepr_edge.errors import RecipeError
from pepr_edge.export.select_variant import selection_message
from pepr_edge.measure.interleaved_profiles import MayStop
from pepr_edge.preparation import (
    check_folders,
    finished_ranking,
    plan_run,
    prepare_images,
    prepare_run_dir,
    run_files,
    start_run,
)
from pepr_edge.progress import ProgressView
from pepr_edge.ranking import Places, certain_places, places_of, rank, to_csv, too_few_images
from pepr_edge.recipe import Recipe
from pepr_edge.recipe.checks import check_energy, check_files, check_machine, check_metric, fewer_threads
from pepr_edge.recipe.settings import ResolvedRecipe
from pepr_edge.records import Candidate, DataInfo, Ranking, RunInfo
from pepr_edge.run_dir.layout import BUNDLES, RANKING, REPORT, RUN, TABLE
from pepr_edge.run_dir.outputs import remove_pixels, write_document
from pepr_edge.run_dir.reader import Results, load, reread
from pepr_edge.run_dir.store import locked, log_event, write_record
from pepr_edge.search.candidate_search import complete_search_log, search
from pepr_edge.search.jobs import make_job, run_jobs
from pepr_edge.search.repeats import (
    concluded_epochs,
    is_left_out,
    is_trained,
    repeat_until_settled,
    to_deploy,
    train_repeats,
)
from pepr_edge.search.repeats import outcome as training_outcome
from pepr_edge.search.students import train_students


@dataclass(frozen=True)
class Options:
    """Options of a run beside its recipe. `jobs`: candidates at once; None: the engine's default."""

    jobs: int | None = None
    fresh: bool = False
    engine: Literal["local", "ray"] = "local"
    address: str | None = None


def run(written: Recipe, recipe_text: str, run_dir: Path, options: Options, view: ProgressView) -> Ranking:
    """Carry out a recipe, from the images to the ranked bundles.

    Args:
        written: the recipe, with the data source and the candidates that the user asked for.
        recipe_text: the recipe's file, to be kept in the run directory.
        run_dir: the place for all results; an existing run directory goes on where it stopped.
        options: how to run it.
        view: shows the progress.
    Raises:
        PeprError: an error that concerns the whole run. A candidate that fails is a row of the ranking
        instead.
    """
    clock = StageClock()
    check_files(written)
    check_folders(written, run_dir)
    plan = plan_run(written, recipe_text, run_dir, options.fresh, view)
    recipe = plan.recipe
    finished = None if options.fresh else finished_ranking(run_dir, plan.key)
    if finished is not None:
        return finished
    _check_machine(recipe, options, view)

    with locked(run_dir, view.say), _open_engine(recipe, run_dir, options, view) as opened:
        engine, host = clock.timed(*opened)
        prepare_run_dir(run_dir, plan.key, options.fresh, view)
        files = run_files(run_dir, plan)
        with clock.stage("images"):
            info = prepare_images(run_dir, plan, files, view)
        check_metric(recipe, info)
        _show_notes(recipe, info, options, view)
        state = start_run(run_dir, plan, info, view)

        results = load(run_dir, verify=True)
        with clock.stage("search"):
            results = search(results, files, engine, host, view)
        results = train_and_export(results, files, engine, view)
        results = complete_search_log(results)
        with clock.stage("measuring"):
            results = _step_costs(results, files, engine, options, view)
        results = _on_device(results, files, host, view)
        results = repeat(results, files, engine, host, view)
        with clock.stage("measuring"):
            results = _step_costs(results, files, engine, options, view)
            results = measure_bundled(results, host, view)
        with view.bar("ranking, bundles and report"), clock.stage("ranking and report"):
            ranking = rank_and_report(results, clock)

        _finish(run_dir, state, ranking, clock)
    return ranking


def _finish(run_dir: Path, state: RunInfo, ranking: Ranking, clock: StageClock) -> None:
    """Write down that the run is finished, and delete its pixels."""
    write_record(run_dir / RUN, state.replace(status="finished", stage_times_s=clock.seconds()))
    ranked = sum(row.rank is not None for row in ranking.rows)
    log_event(run_dir, "finished", ranked=ranked, rows=len(ranking.rows))
    # The pixels are a copy of the user's images: they must not stay in a folder that may be passed on.
    remove_pixels(run_dir)


def _check_machine(recipe: Recipe, options: Options, view: ProgressView) -> None:
    """Refuse what this machine cannot do, and say if no energy can be known."""
    is_local = options.engine == "local"
    if recipe.train.teacher is not None and not is_local:
        raise RecipeError('train.teacher = "best" needs --engine local: a node has no files of the teacher.')
    check_machine(recipe, is_local, _measures_here(recipe, options))
    note = check_energy(recipe, exclusive=options.jobs in (None, 1)) if is_local else None
    if note is not None:
        view.say(f"note: {note}")


def _step_costs(
    results: Results, files: CandidateFiles, engine: Engine, options: Options, view: ProgressView
) -> Results:
    """TrainResult -> StepCost, unless the candidates were trained on other machines."""
    if options.engine != "local":
        return results
    return measure_step_costs(results, files, engine, view)


def _measures_here(recipe: Recipe, options: Options) -> bool:
    """True if this machine measures, and not a node of a cluster."""
    return options.engine == "local" or recipe.cluster.device_resource is None


def _open_engine(recipe: Recipe, run_dir: Path, options: Options, view: ProgressView) -> OpenEngine:
    """Open the engine, which reports jobs that it starts again, and the measurement host."""

    def on_lost(job: CandidateJob, reason: str) -> None:
        log_event(run_dir, "lost", candidate=job.candidate.id, reason=reason)
        if job.kind in AFTER_TRAINING:
            consequence = "it starts again"
        else:
            consequence = "it continues from the last files received; the lost work still counts in its cost"
        view.say(f"{job.label}: {reason}; {consequence}")

    return ENGINES[options.engine](recipe, options.jobs, options.address, on_lost)


def _show_notes(recipe: ResolvedRecipe, info: DataInfo, options: Options, view: ProgressView) -> None:
    """Show notes on the images and on this machine that a user may not expect."""
    few = too_few_images(recipe.score.performance, info)
    if few:
        view.say(f"warning: {few}")
    device = recipe.cluster.device_resource
    if options.engine == "local" and device is not None:
        view.say(
            "note: cluster.device_resource is for --engine ray: this machine measures, "
            f"not the node that carries {device}"
        )
    if not _measures_here(recipe, options):
        return
    threads_message = fewer_threads(recipe.device)
    if threads_message:
        view.say(f"note: {threads_message}")
    load_message = busy_message(usable_cores())
    if load_message:
        view.say(
            f"note: {load_message}, so latencies and declared energies will be too high: "
            "close them and start again"
        )


def train_and_export(results: Results, files: CandidateFiles, engine: Engine, view: ProgressView) -> Results:
    """Candidate -> TrainResult -> [Artifact]: train and export the candidates that are not done or pruned.

    Where the recipe repeats trainings, all of them come first, and the best is exported. Candidates that
    failed before are tried again.
    """
    if results.recipe.train.teacher is not None:
        train_students(results, files, engine, view)
        results = reread(results, results.info.candidates)
    trained = train_repeats(results, files, engine, view)
    if trained is not results:
        results = reread(results, results.info.candidates)

    def on_done(job: CandidateJob) -> None:
        line = _outcome(reread(results, [job.candidate], verify=False), job.candidate)
        log_event(results.folder, "made", candidate=job.candidate.id, result=line)
        view.say(f"{job.candidate.id}: {line}")

    planned = [_training_job(results, candidate, files, engine) for candidate in results.info.candidates]
    jobs = [job for job in planned if job is not None]
    again = [job.candidate.id for job in jobs if _has_failed(results, job.candidate)]
    if again:
        view.say(f"failed before, tried again: {', '.join(again)}")
    run_jobs(jobs, engine, "candidates", view, on_done)
    return reread(results, [job.candidate for job in jobs])


def _training_job(
    results: Results, candidate: Candidate, files: CandidateFiles, engine: Engine
) -> CandidateJob | None:
    """Return the job that trains a candidate once and exports it; None if there is nothing to do."""
    if is_left_out(results, candidate):
        return None
    exports = results.exports(candidate)
    are_made = all(export.artifact is not None for export in exports)
    trained = exports[0].trained
    if results.recipe.train.first_repeats > 1 or results.recipe.train.teacher is not None:
        if trained is None or are_made:
            return None
        return make_job(results, candidate, files, engine, "export")
    if is_trained(results, candidate, results.trainings(candidate).get(0)):
        return None if are_made else make_job(results, candidate, files, engine, "export")
    epochs = concluded_epochs(results, candidate)
    kind: JobKind = "complete" if epochs is None else "conclude"
    return make_job(results, candidate, files, engine, kind, epochs)


def _has_failed(results: Results, candidate: Candidate) -> bool:
    return any(export.failure is not None for export in results.exports(candidate))


def _outcome(results: Results, candidate: Candidate) -> str:
    """Return the outcome of a candidate's training and exports, in a line."""
    exports = results.exports(candidate)
    failures = [
        f"{export.variant} failed: {export.failure.reason}"
        for export in exports
        if export.artifact is None and export.failure is not None
    ]
    trained = exports[0].trained
    if trained is None:
        return failures[0] if failures else "failed"
    return "; ".join([training_outcome(trained), *failures])


def _on_device(results: Results, files: CandidateFiles, host: MeasurementHost, view: ProgressView) -> Results:
    """Choose variants and measure, while nothing else runs on the host."""
    with host.reserve():
        results = select_variants(results, files, host, view)
        return measure(results, host, view)


def repeat(
    results: Results,
    files: CandidateFiles,
    engine: Engine,
    host: MeasurementHost,
    view: ProgressView,
) -> Results:
    """Train further seeds of the candidates that may be first, where the recipe says repeats = "auto".

    Where a later seed is better on validation, it is exported and measured in place of the one before, and
    first place is looked at again.
    """
    if results.recipe.train.repeats != "auto":
        return results
    while True:
        results = repeat_until_settled(results, files, engine, view)
        better = to_deploy(results)
        if not better:
            return results
        view.say(f"another seed is better on validation: {', '.join(one.id for one in better)}")
        results = train_and_export(reread(results, better), files, engine, view)
        results = _on_device(results, files, host, view)


def select_variants(
    results: Results, files: CandidateFiles, host: MeasurementHost, view: ProgressView
) -> Results:
    """Artifact -> Artifact: choose the fastest variant that keeps its quality, where the recipe says "auto".

    The choice is made by measuring: one candidate after the other, while nothing else runs on the host.
    """
    if not results.recipe.export.auto:
        return results

    def on_done(job: CandidateJob) -> None:
        choice = reread(results, [job.candidate], verify=False).autotuned(job.candidate)
        if choice is not None and choice.artifact is not None:
            line = selection_message(choice.artifact)
        else:
            reason = choice.failure.reason if choice is not None and choice.failure is not None else ""
            line = f"no variant could be chosen: {reason}"
        log_event(results.folder, "chosen", candidate=job.candidate.id, result=line)
        view.say(f"{job.candidate.id}: {line}")

    waiting = [
        candidate for candidate in results.info.candidates if _needs_selection(results, candidate, host)
    ]
    jobs = [make_job(results, candidate, files, host.engine, "select_variant") for candidate in waiting]
    run_jobs(jobs, host.engine, "variants chosen", view, on_done)
    return reread(results, waiting)


def _needs_selection(results: Results, candidate: Candidate, host: MeasurementHost) -> bool:
    """True if a candidate has a float32 file, and no variant that was chosen on this host."""
    base = results.float32(candidate)
    if base is None or base.artifact is None:
        return False
    choice = results.autotuned(candidate)
    return choice is None or choice.artifact is None or choice.artifact.chosen_on != host.machine


def measure(results: Results, host: MeasurementHost, view: ProgressView) -> Results:
    """Artifact -> DeviceProfile, while nothing else runs on the host.

    By the adaptive rules each is measured until its place in the ranking is certain, or its latency known.
    """
    return measuring.measure(results, host, view, _may_stop)


def measure_bundled(results: Results, host: MeasurementHost, view: ProgressView) -> Results:
    """Measure what goes into bundles by the full rules too, if it was measured by the adaptive ones."""
    if results.recipe.profile.rules != "adaptive":
        return results
    top = results.recipe.bundles.top
    first = [row for row in rank(results).rows if row.rank is not None and (top is None or row.rank <= top)]
    names = {(row.candidate, row.variant) for row in first}
    numbers = [
        number for number, entry in enumerate(results.entries) if (entry.candidate.id, entry.variant) in names
    ]
    with host.reserve():
        return measuring.measure_fully(results, numbers, host, view)


def _may_stop(results: Results) -> MayStop:
    """Return a function that says which entries need no further measurement."""

    @cache
    def places() -> Places:
        return places_of(results)

    return lambda measured: certain_places(places(), measured)


def rank_and_report(results: Results, clock: StageClock | None = None) -> Ranking:
    """DeviceProfile -> Ranking -> bundles -> report, all written into the run directory."""
    from pepr_edge.report.from_run import write_report

    ranking = write_bundles(results, rank(results), results.folder / BUNDLES, results.recipe.bundles.top)
    write_record(results.folder / RANKING, ranking)
    write_document(results.folder, TABLE, to_csv(ranking))
    stage_times_s = None if clock is None else clock.seconds
    write_report(results, ranking, results.folder / REPORT, stage_times_s=stage_times_s)
    return ranking
