"""The stages of a run, in order. Read this first.

    Recipe -> [Candidate] -> (a search among them) -> TrainResult -> [Artifact] -> (the choice of a variant) -> DeviceProfile -> Ranking
           -> bundles -> report

Each stage takes records and writes one JSON file a result. What is on the disk and made from the same inputs is not made again,
so a run goes on wherever it was stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pepr_edge import __version__
from pepr_edge import data as datasets
from pepr_edge.bundle.write import check_bundles, write_all
from pepr_edge.device.cpu import usable_cores
from pepr_edge.device.facts import commit
from pepr_edge.device.load import busy
from pepr_edge.engine.engine import Engine
from pepr_edge.engine.engines import ENGINES, OpenEngine
from pepr_edge.engine.job import CandidateJob
from pepr_edge.engine.measurement_host import MeasurementHost
from pepr_edge.errors import MeasurementError, RunError
from pepr_edge.export.select_variant import selection_message
from pepr_edge.progress import ProgressBar, ProgressView
from pepr_edge.ranking import rank, to_csv
from pepr_edge.recipe import FLOAT32, Recipe, variants_dir
from pepr_edge.recipe.checks import check_files, check_machine
from pepr_edge.records import Candidate, DataInfo, DeviceProfile, Failure, Ranking, RunInfo
from pepr_edge.run_dir.keys import profile_key
from pepr_edge.run_dir.layout import (
    BUNDLES,
    RANKING,
    REPORT,
    RUN,
    TABLE,
    check_apart,
    check_documents,
    check_run_dir,
    clear,
    remove_document,
    remove_pixels,
    remove_unfinished,
    start_pixels,
    write_document,
    write_recipe,
)
from pepr_edge.run_dir.reader import Results, VariantState, chosen, exported, is_complete, is_pruned, load
from pepr_edge.run_dir.store import locked, log_event, read_record, sha256_file, stage_key, write_record
from pepr_edge.search import drive
from pepr_edge.search.jobs import carry_out, job_of


@dataclass(frozen=True)
class Options:
    """What of a run is not in its recipe. `jobs`: how many candidates at once; None: as the engine's default is."""

    jobs: int | None = None
    fresh: bool = False
    engine: Literal["local", "ray"] = "local"
    address: str | None = None


def run(recipe: Recipe, recipe_text: str, run_dir: Path, options: Options, view: ProgressView) -> Ranking:
    """Carry a recipe out, from the images to the ranked bundles.

    Args:
        recipe: as it holds for this run, data source and candidates already those that the user asked for.
        recipe_text: the recipe's file, to be kept in the run directory.
        run_dir: where everything goes; an existing run directory goes on where it stopped.
        options: how to run it.
        view: shows the progress.
    Raises:
        PeprError: a fault that concerns the whole run. What befalls one candidate is a row of the ranking instead.
    """
    check_files(recipe)
    check_apart(recipe.data.source, run_dir)
    check_run_dir(run_dir)
    sources = {px: _data_settings(recipe, px) for px in recipe.candidates.image_size_px}
    key = run_key(recipe, {px: datasets.fingerprint(settings) for px, settings in sources.items()})
    if not options.fresh and (finished := _finished(run_dir, key)) is not None:
        return finished
    trains_here, device = options.engine == "local", recipe.cluster.device_resource
    measures_here = trains_here or device is None
    check_machine(recipe, trains_here, measures_here)
    with locked(run_dir), _opened(recipe, run_dir, options, view) as (engine, bench):
        check_documents(run_dir, view.say)
        check_bundles(run_dir / BUNDLES)
        remove_unfinished(run_dir)
        if _was_of_another(run_dir, key):
            view.say(
                f"{run_dir} was made with another recipe, data or version: what that changes is made again"
            )
        if options.fresh:
            clear(run_dir)
        folders = {px: start_pixels(run_dir, px) for px in sources}
        infos = {px: prepare(sources[px], folders[px], view) for px in sources}
        info = next(iter(infos.values()))
        _check_same_data(run_dir, info)
        for line in datasets.describe(info):
            view.say(line)
        _list_skipped(run_dir, next(iter(folders.values())), info, view)
        if trains_here and device is not None:
            view.say(
                f"note: cluster.device_resource is for --engine ray: this machine measures, not the node that carries {device}"
            )
        if measures_here and (words := busy(usable_cores())):
            view.say(
                f"note: {words}, so declared energies and latencies come out too high: close them and start again"
            )
        candidates = expand(recipe, info)
        state = RunInfo(
            key=key,
            recipe=recipe.name,
            status="running",
            candidates=candidates,
            data=info,
            pepr_edge=__version__,
            commit=commit(),
        )
        # From here on it is a run of this recipe: an old ranking would be of other models.
        (run_dir / RANKING).unlink(missing_ok=True)
        write_recipe(run_dir, recipe_text, view.say)
        write_record(run_dir / RUN, state)
        log_event(run_dir, "started", candidates=[candidate.id for candidate in candidates])

        search(load(run_dir), folders, engine, bench, view)
        make(load(run_dir), folders, engine, view)
        drive.finalise(load(run_dir))
        with bench.reserve():
            choose(load(run_dir), folders, bench, view)
            measure(load(run_dir), bench, view)
        with view.bar("ranking, bundles and report"):
            ranking = conclude(load(run_dir))

        write_record(run_dir / RUN, state.model_copy(update={"status": "finished"}))
        log_event(
            run_dir,
            "finished",
            ranked=sum(row.rank is not None for row in ranking.rows),
            rows=len(ranking.rows),
        )
        # The pixels are a copy of the user's images: they do not stay behind in a folder that gets passed on.
        remove_pixels(run_dir)
    return ranking


def _opened(recipe: Recipe, run_dir: Path, options: Options, view: ProgressView) -> OpenEngine:
    """The engine, which tells of jobs that it begins again, and the bench."""

    def on_lost(job: CandidateJob, reason: str) -> None:
        log_event(run_dir, "lost", candidate=job.candidate.id, reason=reason)
        on = (
            "it begins again"
            if job.choose
            else "it goes on from what had come home, and what is lost stays in its cost"
        )
        view.say(f"{job.candidate.id}: {reason}; {on}")

    return ENGINES[options.engine](recipe, options.jobs, options.address, on_lost)


def run_key(recipe: Recipe, fingerprints: dict[int, str]) -> str:
    """Hash of all that a run's result depends on."""
    named = [variants_dir() / f"{name}.toml" for name in recipe.export.named]
    files = sorted(variants_dir().glob("*.toml")) if recipe.export.auto else named
    weights = _weights_sha256(recipe)
    return stage_key(
        "run",
        __version__,
        recipe.model_dump(mode="json"),
        list(fingerprints.values()),
        [sha256_file(file) for file in files],
        weights,
    )


def _weights_sha256(recipe: Recipe) -> str | None:
    weights = recipe.candidates.weights
    return None if weights in ("pretrained", "scratch") else sha256_file(Path(weights))


def _finished(run_dir: Path, key: str) -> Ranking | None:
    """The ranking of a run that is already done, if it is of the same inputs and nothing in it failed: a failure is tried again."""
    try:
        info = read_record(run_dir / "run.json", RunInfo)
        ranking = read_record(run_dir / "ranking.json", Ranking)
    except RunError:
        return None
    done = (
        info.status == "finished"
        and info.key == key
        and not any(row.status == "failed" for row in ranking.rows)
    )
    return ranking if done else None


def _was_of_another(run_dir: Path, key: str) -> bool:
    try:
        return read_record(run_dir / "run.json", RunInfo).key != key
    except RunError:
        return False


def _check_same_data(run_dir: Path, info: DataInfo) -> None:
    """A run on other data has nothing to gain from what is there, and a forgotten --data must not cost a finished run."""
    try:
        before = read_record(run_dir / "run.json", RunInfo).data
    except RunError:
        return
    if (before.name, before.labels) != (info.name, info.labels):
        remove_pixels(run_dir)
        raise RunError(
            f"{run_dir}: holds a run on {before.name}, and this one is on {info.name}. Give its --data, another --out, or --fresh."
        )


def _list_skipped(run_dir: Path, prepared: Path, info: DataInfo, view: ProgressView) -> None:
    """Keep the names of the images that were left out: here and nowhere else, since they may be of patients."""
    if info.skipped_images:
        write_document(run_dir, datasets.SKIPPED, (prepared / datasets.SKIPPED).read_text(encoding="utf-8"))
        view.say(f"{run_dir / datasets.SKIPPED} names the images that were left out, and why")
    else:
        remove_document(run_dir, datasets.SKIPPED)


def _data_settings(recipe: Recipe, px: int) -> datasets.DataSettings:
    return datasets.DataSettings(**recipe.data.model_dump(), image_size_px=px, seed=recipe.seed)


def prepare(settings: datasets.DataSettings, folder: Path, view: ProgressView) -> DataInfo:
    """Decode and resize every image once, for all candidates of a size."""
    with view.bar(f"images at {settings.image_size_px} px") as bar:
        return datasets.prepare(settings, folder, lambda done, total: bar.to(done, total))


def expand(recipe: Recipe, info: DataInfo) -> tuple[Candidate, ...]:
    """The candidates of a recipe on its data: each architecture at each size."""
    weights = recipe.candidates.weights
    return tuple(
        Candidate(
            architecture=architecture,
            image_size_px=px,
            weights=weights if weights in ("pretrained", "scratch") else Path(weights).name,
            weights_sha256=_weights_sha256(recipe),
            in_channels=info.channels,
            num_classes=len(info.labels),
        )
        for architecture in recipe.candidates.architectures
        for px in recipe.candidates.image_size_px
    )


def search(
    results: Results, folders: dict[int, Path], engine: Engine, bench: MeasurementHost, view: ProgressView
) -> None:
    """[Candidate] -> SearchLog: what the device rejects untrained, and what a policy trains on, as far as it decides to."""
    drive.search(results, folders, engine, bench, view)


def make(results: Results, folders: dict[int, Path], engine: Engine, view: ProgressView) -> None:
    """Candidate -> TrainResult -> [Artifact], for what is not there yet and not spared. What failed before is tried again."""

    def on_done(job: CandidateJob) -> None:
        line = _told(results, job.candidate)
        log_event(results.folder, "made", candidate=job.candidate.id, result=line)
        view.say(f"{job.candidate.id}: {line}")

    jobs = [
        job
        for candidate in results.info.candidates
        if (job := _job(results, candidate, folders, engine)) is not None
    ]
    if again := [
        job.candidate.id for job in jobs if any(entry.failure for entry in _made(results, job.candidate))
    ]:
        view.say(f"failed before, tried again: {', '.join(again)}")
    carry_out(jobs, engine, "candidates", view, on_done)


def _job(
    results: Results, candidate: Candidate, folders: dict[int, Path], engine: Engine
) -> CandidateJob | None:
    """What is to be done of a candidate; None where nothing is."""
    search = results.search
    searched = (
        next((one for one in search.candidates if one.candidate == candidate.id), None)
        if search is not None
        else None
    )
    if search is not None and searched is not None and is_pruned(searched, search):
        return None
    concluded = searched.epochs if searched is not None and searched.verdict == "concluded" else None
    made = _made(results, candidate)
    trained = made[0].trained
    ended = trained is not None and (
        is_complete(trained, results.recipe.train) if concluded is None else len(trained.epochs) == concluded
    )
    if ended and all(entry.artifact is not None for entry in made):
        return None
    return job_of(results, candidate, folders, engine, until_epoch=concluded, conclude=concluded is not None)


def _made(results: Results, candidate: Candidate) -> tuple[VariantState, ...]:
    """What is on the disk by now of a candidate."""
    return tuple(exported(results.folder, results.recipe, results.info, candidate).values())


def _told(results: Results, candidate: Candidate) -> str:
    """What became of a candidate, in a line."""
    now = _made(results, candidate)
    failed = [
        f"{entry.variant} failed: {entry.failure.reason}"
        for entry in now
        if entry.artifact is None and entry.failure
    ]
    trained = now[0].trained
    if trained is None:
        return failed[0] if failed else "failed"
    metric = results.recipe.score.performance
    reached = trained.performance[f"val_{metric}"].value
    words = f"val {metric} {reached:.3f} after {len(trained.epochs)} epochs, {trained.cost.duration_s.value:.0f} s"
    return "; ".join([words, *failed])


def choose(results: Results, folders: dict[int, Path], bench: MeasurementHost, view: ProgressView) -> None:
    """Artifact -> Artifact: of float32 the fastest variant that keeps its quality, where the recipe says "auto".

    By measuring, so one candidate after the other, on the bench, and while nothing else runs there.
    """
    if not results.recipe.export.auto:
        return

    def on_done(job: CandidateJob) -> None:
        found = chosen(results.folder, results.recipe, results.info, job.candidate)
        reason = found.failure.reason if found.failure is not None else ""
        line = (
            selection_message(found.artifact)
            if found.artifact is not None
            else f"no variant could be chosen: {reason}"
        )
        log_event(results.folder, "chosen", candidate=job.candidate.id, result=line)
        view.say(f"{job.candidate.id}: {line}")

    plain = [
        entry
        for candidate in results.info.candidates
        for entry in _made(results, candidate)
        if entry.variant == FLOAT32
    ]
    waiting = [
        entry.candidate
        for entry in plain
        if entry.artifact is not None and not _chosen_on(bench, results, entry.candidate)
    ]
    jobs = [job_of(results, candidate, folders, bench.engine, choose=True) for candidate in waiting]
    carry_out(jobs, bench.engine, "variants chosen", view, on_done)


def _chosen_on(bench: MeasurementHost, results: Results, candidate: Candidate) -> bool:
    """Whether a ladder was climbed for it, on this bench: what was the fastest on another need not be so here."""
    found = chosen(results.folder, results.recipe, results.info, candidate).artifact
    return found is not None and found.chosen_on == bench.machine


def measure(results: Results, bench: MeasurementHost, view: ProgressView) -> None:
    """Artifact -> DeviceProfile, one after the other: nothing else runs on the bench meanwhile.

    Those that came out INVALID, as on a machine that was disturbed, are measured once more at the end: one, or at most one in eight, since
    a machine that is never quiet does not become so by waiting.
    """
    waiting = [
        entry
        for entry in results.entries
        if entry.artifact is not None and not _measured_on(bench, entry.profile)
    ]
    with view.bar("artifacts measured") as outer, view.bar("queries") as inner:
        disturbed: list[VariantState] = []
        for done, entry in enumerate(waiting):
            outer.to(done, len(waiting), f"{entry.candidate.id} {entry.variant}")
            if not _measure(results, entry, bench, inner):
                disturbed.append(entry)
        again = disturbed[: max(1, len(waiting) // 8)]
        for done, entry in enumerate(again):
            outer.to(done, len(again), f"{entry.candidate.id} {entry.variant}, again")
            _measure(results, entry, bench, inner)


def _measured_on(bench: MeasurementHost, found: DeviceProfile | None) -> bool:
    """Latencies of another processor or runtime, in a run directory that was carried over, do not belong into one ranking with ours."""
    return found is not None and found.device.machine == bench.machine


def _measure(results: Results, entry: VariantState, bench: MeasurementHost, bar: ProgressBar) -> bool:
    """Measure one artifact and write down what came of it; False where that is INVALID."""
    try:
        found = _profile(results.recipe, entry, bench, bar)
    except MeasurementError as fault:
        assert entry.artifact is not None
        key = profile_key(entry.artifact, results.recipe)
        failure = Failure(
            key=key, candidate=entry.candidate, variant=entry.variant, stage="profile", reason=str(fault)
        )
        write_record(entry.folder / "failure.json", failure)
        (entry.folder / "profile.json").unlink(missing_ok=True)  # of another machine, if there is one
        log_event(
            results.folder, "measured", candidate=entry.candidate.id, variant=entry.variant, failed=str(fault)
        )
        return True
    write_record(entry.folder / "profile.json", found)
    (entry.folder / "failure.json").unlink(missing_ok=True)
    valid, reasons = found.validity.valid, found.validity.reasons
    log_event(
        results.folder,
        "measured",
        candidate=entry.candidate.id,
        variant=entry.variant,
        valid=valid,
        reasons=reasons,
    )
    return valid


def _profile(recipe: Recipe, entry: VariantState, bench: MeasurementHost, bar: ProgressBar) -> DeviceProfile:
    """One artifact by the recipe's rules."""
    assert entry.artifact is not None
    device, px = recipe.device, entry.candidate.image_size_px
    name = f"{entry.candidate.id} {entry.variant}"
    found = bench.profile(
        entry.folder / "model.onnx",
        entry.artifact.sha256,
        entry.artifact.settings or device.settings(),
        rules=recipe.profile.rules,
        input_shape=(1, entry.candidate.in_channels, px, px),
        watts_per_core=device.watts_per_core,
        progress=lambda share, median_s: bar.to(
            round(100 * share), 100, f"{name} p50 {median_s * 1e3:.2f} ms"
        ),
    )
    return found.model_copy(update={"key": profile_key(entry.artifact, recipe)})


def conclude(results: Results) -> Ranking:
    """DeviceProfile -> Ranking -> bundles -> report, all written into the run directory."""
    from pepr_edge.report.from_run import write_report

    ranking = write_all(results, rank(results), results.folder / BUNDLES, results.recipe.bundles.top)
    write_record(results.folder / RANKING, ranking)
    write_document(results.folder, TABLE, to_csv(ranking))
    write_report(results, ranking, results.folder / REPORT)
    return ranking
