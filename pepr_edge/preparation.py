"""What a run does before its stages: checks of folders, the run directory, the images, run.json."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pepr_edge import __version__
from pepr_edge import data as datasets
from pepr_edge.bundle.write import check_bundles
from pepr_edge.data.check import has_more_copies, problem_lines
from pepr_edge.device.facts import git_commit
from pepr_edge.engine.job import CandidateFiles, ImageKind
from pepr_edge.errors import RunError
from pepr_edge.progress import ProgressView
from pepr_edge.recipe import AUTO, BILINEAR, SCRATCH, Recipe
from pepr_edge.recipe.checks import check_architectures
from pepr_edge.recipe.resolve import data_settings, settings_from_images
from pepr_edge.recipe.settings import SIZES_PX, ResolvedRecipe, resolve, settings_line
from pepr_edge.recipe.task import check_decision, with_positive
from pepr_edge.records import Candidate, DataInfo, InitialWeights, Ranking, RunInfo, RunSettings
from pepr_edge.run_dir.keys import STAGE_REVISIONS, run_key
from pepr_edge.run_dir.layout import BUNDLES, DATA_CHECK, RANKING, RUN
from pepr_edge.run_dir.outputs import (
    check_documents,
    check_images_separate,
    check_run_dir,
    check_source_separate,
    check_weights_separate,
    clear,
    create_pixels_folder,
    remove_document,
    remove_pixels,
    set_folders_aside,
    write_document,
    write_recipe,
)
from pepr_edge.run_dir.store import log_event, read_record, write_record
from pepr_edge.train.weights.resolving import (
    WeightsChoice,
    earlier_weights,
    resolve_weights,
    weights_line,
)
from pepr_edge.untrusted.paths import is_dir


@dataclass(frozen=True)
class Plan:
    """A recipe with what it leaves to the images and to this machine.

    `settings`: those from the images; None without any. `weights`: the initial weights by the candidate's id.
    `image_sets`: settings of the prepared images. `key`: hash of everything that the results depend on.
    """

    recipe: ResolvedRecipe
    recipe_text: str
    settings: RunSettings | None
    weights: Mapping[str, WeightsChoice]
    image_sets: Mapping[ImageKind, datasets.DataSettings]
    key: str

    @property
    def weights_records(self) -> dict[str, InitialWeights]:
        """What is recorded of the initial weights."""
        return _records(self.weights)


def plan_run(written: Recipe, recipe_text: str, run_dir: Path, fresh: bool, view: ProgressView) -> Plan:
    """Choose the settings that the recipe leaves to the images, and the initial weights.

    Raises:
        PeprError: the images are not found or faulty, or weights that the recipe wants are not there.
    """
    settings = settings_from_images(written)
    kind = datasets.known_kind(data_settings(written, SIZES_PX[0]))
    recipe = resolve(written, settings, kind)
    weights = _initial_weights(recipe, run_dir, fresh, view)
    records = _records(weights)
    image_sets = _image_settings(recipe, records)
    fingerprints = [datasets.fingerprint(settings_of) for settings_of in image_sets.values()]
    return Plan(recipe, recipe_text, settings, weights, image_sets, run_key(recipe, fingerprints, records))


def _records(weights: Mapping[str, WeightsChoice]) -> dict[str, InitialWeights]:
    return {name: choice.record for name, choice in weights.items()}


def check_folders(recipe: Recipe, run_dir: Path) -> None:
    """Refuse a run directory that is none, images inside it or around it, and weights that it replaces."""
    check_source_separate(recipe.data.source, run_dir)
    check_weights_separate((recipe.candidates.weights_file, recipe.candidates.weights_dir), run_dir)
    check_run_dir(run_dir)
    files = datasets.source_files(data_settings(recipe, SIZES_PX[0]))
    check_images_separate(files, run_dir, by_folder=is_dir(recipe.data.source))


def _initial_weights(
    recipe: ResolvedRecipe, run_dir: Path, fresh: bool, view: ProgressView
) -> dict[str, WeightsChoice]:
    """Decide which weights each candidate begins with; a run that goes on keeps those of its beginning."""
    candidates = recipe.candidates
    if candidates.weights == SCRATCH:
        return resolve_weights(candidates, {})
    earlier = {} if fresh else earlier_weights(run_dir, candidates)
    if not earlier:
        check_architectures(recipe)
    with view.bar("initial weights") as bar:
        return resolve_weights(candidates, earlier, bar.update)


def _image_settings(
    recipe: ResolvedRecipe, weights: Mapping[str, InitialWeights]
) -> dict[ImageKind, datasets.DataSettings]:
    """Return the settings of the images at each size and filter that a candidate needs."""
    sets = {}
    for architecture in recipe.candidates.architectures:
        for px in recipe.candidates.sizes_px(architecture):
            interpolation = recipe.data.filter_of(weights[f"{architecture}@{px}"].interpolation)
            sets[px, interpolation] = data_settings(recipe, px, interpolation)
    return sets


def run_files(run_dir: Path, plan: Plan) -> CandidateFiles:
    """Return the files that jobs need, with new folders for the images that are to be prepared."""
    images = {
        (px, interpolation): create_pixels_folder(run_dir, px, interpolation)
        for px, interpolation in plan.image_sets
    }
    paths = {name: choice.path for name, choice in plan.weights.items() if choice.path is not None}
    return CandidateFiles(images, paths)


def finished_ranking(run_dir: Path, key: str) -> Ranking | None:
    """Return the ranking of a finished run with this key, unless a row of it failed: that is tried again."""
    info = _earlier_run(run_dir)
    if info is None or info.status != "finished" or info.key != key:
        return None
    try:
        ranking = read_record(run_dir / RANKING, Ranking)
    except RunError:
        return None
    return None if any(row.status == "failed" for row in ranking.rows) else ranking


def prepare_run_dir(run_dir: Path, key: str, fresh: bool, view: ProgressView) -> None:
    """Check that nothing of the user's is in the way, and clear the directory if the run is to be fresh."""
    check_documents(run_dir, view.say)
    set_folders_aside(run_dir, view.say)
    check_bundles(run_dir / BUNDLES)
    earlier = _earlier_run(run_dir)
    if earlier is not None and earlier.key != key:
        view.say(
            f"{run_dir} was made with another recipe, data or version: "
            "results that depend on the change are made again"
        )
    if fresh:
        clear(run_dir)


def prepare_images(run_dir: Path, plan: Plan, files: CandidateFiles, view: ProgressView) -> DataInfo:
    """Prepare the images at each size and filter, and return the record of the data, the same for all."""
    infos = {kind: prepare(settings, files.images[kind], view) for kind, settings in plan.image_sets.items()}
    first = next(iter(infos))
    info = with_positive(infos[first], plan.recipe)
    check_decision(info, plan.recipe)
    _check_same_data(run_dir, info)
    for line in datasets.describe(info):
        view.say(line)
    _show_data_check(run_dir, files.images[first], info, view)
    return info


def prepare(settings: datasets.DataSettings, folder: Path, view: ProgressView) -> DataInfo:
    """Decode and resize every image once, for all candidates of a size and filter."""
    by_filter = "" if settings.interpolation == BILINEAR else f", {settings.interpolation}"
    with view.bar(f"images at {settings.image_size_px} px{by_filter}") as bar:
        return datasets.prepare(settings, folder, lambda done, total: bar.update(done, total))


def _check_same_data(run_dir: Path, info: DataInfo) -> None:
    """Refuse to replace a run on other data: a forgotten --data must not overwrite a finished run."""
    earlier = _earlier_run(run_dir)
    if earlier is None:
        return
    before = earlier.data
    if (before.name, before.labels) != (info.name, info.labels):
        remove_pixels(run_dir)
        raise RunError(
            f"{run_dir}: holds a run on {before.name}, and this one is on {info.name}. "
            "Give its --data, another --out, or --fresh."
        )


def _show_data_check(run_dir: Path, prepared: Path, info: DataInfo, view: ProgressView) -> None:
    """Show what looks wrong, and write the names of images to the run directory only: of patients, maybe."""
    checked = datasets.read_check(prepared)
    for line in problem_lines(checked.problems):
        view.say(line)
    write_document(run_dir, DATA_CHECK, checked.model_dump_json(indent=1) + "\n")
    if has_more_copies(checked):
        view.say(f"{run_dir / DATA_CHECK} lists all images of each set (copies)")
    if info.skipped_images:
        write_document(run_dir, datasets.SKIPPED, (prepared / datasets.SKIPPED).read_text(encoding="utf-8"))
        view.say(f"{run_dir / datasets.SKIPPED} names the images that were left out, and why")
    else:
        remove_document(run_dir, datasets.SKIPPED)


def start_run(run_dir: Path, plan: Plan, info: DataInfo, view: ProgressView) -> RunInfo:
    """Start the run: write its recipe and run.json, and say what settings and weights were chosen."""
    recipe = plan.recipe
    weights = plan.weights_records
    candidates = _expand(recipe, info, weights)
    state = RunInfo(
        key=plan.key,
        recipe=recipe.name,
        status="running",
        candidates=candidates,
        data=info,
        pepr_edge=__version__,
        revisions=dict(STAGE_REVISIONS),
        commit=git_commit(),
        settings=plan.settings,
        weights=weights,
    )
    # An old ranking may list other models.
    (run_dir / RANKING).unlink(missing_ok=True)
    write_recipe(run_dir, plan.recipe_text, view.say)
    write_record(run_dir / RUN, state)
    log_event(run_dir, "started", candidates=[candidate.id for candidate in candidates])
    if plan.settings is not None:
        view.say(f"settings: {settings_line(plan.settings)}")
    line = weights_line(weights, recipe.candidates)
    if line is not None:
        view.say(line)
        log_event(run_dir, "weights", result=line)
    return state


def _expand(
    recipe: ResolvedRecipe, info: DataInfo, weights: Mapping[str, InitialWeights]
) -> tuple[Candidate, ...]:
    """Return the candidates of a recipe on its data: each architecture at each size."""
    candidates = []
    for architecture in recipe.candidates.architectures:
        for px in recipe.candidates.sizes_px(architecture):
            found = weights[f"{architecture}@{px}"]
            candidate = Candidate(
                architecture=architecture,
                image_size_px=px,
                weights=found.name if found.kind == "file" else found.kind,
                weights_sha256=found.sha256,
                interpolation=found.interpolation if recipe.data.interpolation == AUTO else None,
                in_channels=info.channels,
                num_classes=len(info.labels),
            )
            candidates.append(candidate)
    return tuple(candidates)


def _earlier_run(run_dir: Path) -> RunInfo | None:
    with suppress(RunError):
        return read_record(run_dir / RUN, RunInfo)
    return None
