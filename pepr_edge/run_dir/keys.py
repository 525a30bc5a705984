"""Keys of stored results: the hash of all that each depends on, and the rule for when code makes them stale.

A stage takes a stored result instead of making it again if its key is the same. A key covers the inputs of
the stage (part of the recipe, data, the results before it) and the stage's revision in STAGE_REVISIONS.

**The rule**: if a change of pepr_edge gives another result of a stage from the same inputs, set that stage's
revision to the version of the change. The results of that stage, and of those that depend on it, are then
made again; others stay. The version of pepr_edge itself is in no key.

A run records its revisions in run.json. `rank`, `report`, `export` and `kit` read a run directory with the
revisions that it was made with, so a later pepr_edge ranks it as before; only `pepr-edge run` makes stale
results again. Run directories of version 0.1.0 have no revisions in run.json: all of them are FIRST.

A new field in a recipe, a candidate or a dataset changes all keys that cover it, also at its default. Leave
it out of the key at its default, so that stored results stay valid: a test compares keys with those of 0.1.0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pepr_edge.recipe import AboutSettings, DecisionSettings, Recipe, TaskSettings, variants_dir
from pepr_edge.recipe.settings import ResolvedRecipe
from pepr_edge.recipe.variants import Variant, names
from pepr_edge.recipe.variants import load as load_variant
from pepr_edge.records import Artifact, Candidate, DataInfo, InitialWeights, RulesName, TrainResult
from pepr_edge.run_dir.store import sha256_file, stage_key
from pepr_edge.scoring.metrics import is_one_sided, training_metric

FIRST = "0.1.0"
# The version of pepr_edge that last changed the results of each stage.
STAGE_REVISIONS: Mapping[str, str] = {
    "data": "0.2.0",  # folders, names and deep pixels are understood otherwise
    "screening": "0.2.0",  # in the deployed form
    "train": "0.2.0",  # the best of the last epochs is kept; setup and waiting threads are not counted
    "export": "0.2.0",  # the quality gate rejects only a loss that is shown
    "autotune": "0.2.0",
    "profile": FIRST,
    "ranking": "0.2.0",  # models without skill have no rank
}

# Settings of the data that came after 0.1.0, with their defaults, and fields of its record.
NEW_DATA_KEYS: Mapping[str, Any] = {
    "columns": {},
    "grey_bits": "auto",
    "raters": False,
    "subgroups": [],
    "findings": [],
    "separator": "",
}
NEW_DATA_FIELDS: Mapping[str, Any] = {"grey_bits": None}
# Fields of its record that change no training; the positive class does only where the metric asks for it.
NO_DATA_FIELDS = {"positive", "positive_by", "task", "colour", "min_side_px", "subgroups"}
# Settings of the data that change no image.
NO_TRAINING_KEYS = {"source", "on_bad_image", "subgroups"}
# Sections of a recipe that came after 0.1.0, left out of the key of a run at their defaults.
NEW_SECTIONS: Mapping[str, Any] = {
    "about": AboutSettings().model_dump(mode="json"),
    "task": TaskSettings().model_dump(mode="json"),
    "decision": DecisionSettings().model_dump(mode="json"),
}
# The same for the settings of a quantisation.
NEW_QUANTISE_KEYS: Mapping[str, Any] = {"equalise": False, "correct": False}

# How often a training is repeated; no training's result depends on it.
REPEATS = {"repeats", "max_repeats"}
# The number of the training of a student; the one without a teacher is 0 and does not depend on it.
STUDENT = 1


def run_key(
    recipe: ResolvedRecipe, fingerprints: Iterable[str], weights: Mapping[str, InitialWeights]
) -> str:
    """Return the key of a whole run: of its ranking, bundles and report.

    Args:
        recipe: of the run.
        fingerprints: of the data, for each size and filter of its images.
        weights: the initial weights of each candidate.
    """
    if recipe.export.auto:
        files = sorted(variants_dir().glob("*.toml"))
    else:
        files = [variants_dir() / f"{name}.toml" for name in recipe.export.named]
    return stage_key(
        "run",
        dict(STAGE_REVISIONS),
        _without_defaults(recipe.model_dump(mode="json")),
        list(fingerprints),
        [sha256_file(file) for file in files],
        {name: [found.kind, found.sha256, found.interpolation] for name, found in weights.items()},
    )


def _without_defaults(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return a dumped recipe without the keys that came after 0.1.0, where they are at their defaults."""
    train = dict(recipe["train"])
    if train["repeats"] == 1:
        for name in REPEATS:
            del train[name]
    if train["teacher"] is None:
        del train["teacher"]
    candidates = dict(recipe["candidates"])
    del candidates["weights_dir"]  # what was found there counts, not the place
    if not candidates.get("own_sizes_px"):
        candidates.pop("own_sizes_px", None)
    data = _without_new_keys(recipe["data"])
    known = _without_defaults_of(NEW_SECTIONS, recipe)
    return known | {"train": train, "candidates": candidates, "data": data}


def _without_new_keys(data: dict[str, Any]) -> dict[str, Any]:
    """Return dumped settings of the data without the keys that came after 0.1.0, at their defaults."""
    return _without_defaults_of(NEW_DATA_KEYS, data)


def _plain_data(data: DataInfo) -> dict[str, Any]:
    """Return the record of the data without the fields that came after 0.1.0, at their defaults."""
    return _without_defaults_of(NEW_DATA_FIELDS, data.model_dump(mode="json", exclude=NO_DATA_FIELDS))


def _without_defaults_of(defaults: Mapping[str, Any], dumped: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in dumped.items() if name not in defaults or value != defaults[name]}


def seed_of(recipe: Recipe, repeat: int) -> int:
    """Return the seed of a repeat of a training. Splits and the choice of images keep the recipe's seed.

    A student has the seed of its training alone: they differ in the teacher, and not by chance.
    """
    if recipe.train.teacher is not None:
        return recipe.seed
    return (recipe.seed + repeat) % 2**32


def train_key(
    candidate: Candidate,
    recipe: Recipe,
    data: DataInfo,
    revisions: Mapping[str, str] = STAGE_REVISIONS,
    *,
    repeat: int = 0,
    teacher_sha256: str | None = None,
) -> str:
    """Return the key of a training. The content of the data is part of it, its place is not.

    How often a training is repeated is no part of it either: each repeat is a training of its own seed. That
    of a student holds the hash of its teacher's checkpoint, `teacher_sha256`.
    """
    settings = [
        _data_settings(candidate, recipe),
        recipe.train.of_weights(candidate.weights).model_dump(mode="json", exclude={*REPEATS, "teacher"}),
        recipe.workstation.model_dump(mode="json"),
        training_metric(recipe.score.performance),
        seed_of(recipe, repeat),
    ]
    revision = revisions.get("train", FIRST)
    if is_one_sided(training_metric(recipe.score.performance)) and data.positive_index == 0:
        settings.append("positive 0")  # epochs are compared by another number
    if data.kind not in ("binary", "multiclass"):
        settings.append(f"task {data.kind}")  # the loss and the choice of the best epoch
    if recipe.train.teacher is not None and repeat == STUDENT:
        settings.append(["student of", teacher_sha256])
    inputs = (_plain(candidate), _plain_data(data), settings)
    return stage_key("train", revision, *inputs, *_raised("data", revisions))


def _data_settings(candidate: Candidate, recipe: Recipe) -> dict[str, Any]:
    """Return the settings of a candidate's images, with the filter that they are resized by."""
    settings = _without_new_keys(recipe.data.model_dump(mode="json", exclude=NO_TRAINING_KEYS))
    return settings | {"interpolation": recipe.data.filter_for(candidate)}


def _plain(candidate: Candidate) -> dict[str, Any]:
    """Return a candidate without its filter, which the settings of its images have."""
    return candidate.model_dump(mode="json", exclude={"interpolation"})


def step_cost_key(of_training: str, trained: TrainResult) -> str:
    """Return the key of a candidate's step cost. The seed and the machine are not part of it.

    Args:
        of_training: key of the candidate's first training.
        trained: one whose mode and threads the steps have.
    """
    return stage_key("step cost", of_training, trained.layout, trained.precision, trained.environment.threads)


def export_key(
    trained: TrainResult, variant: Variant, recipe: Recipe, revisions: Mapping[str, str] = STAGE_REVISIONS
) -> str:
    """Return the key of an artifact. The number of threads changes no logits, so it is not part of it."""
    settings = [
        recipe.device.settings().model_dump(mode="json", exclude={"threads"}),
        recipe.export.keep_performance,
        *_novelty(recipe),
    ]
    inputs = (trained.key, trained.checkpoint_sha256, _plain_variant(variant), settings)
    return stage_key("export", *inputs, *_raised("export", revisions))


def _novelty(recipe: Recipe) -> list[str]:
    """Return what the files of a recipe that refers images have besides logits, for a key; else nothing.

    The limits are fitted on what a file answers, so they are no part of its key.
    """
    return [] if recipe.decision.refer is None else ["novelty 2"]


def _plain_variant(variant: Variant) -> dict[str, Any]:
    """Return a variant without the settings that came after 0.1.0, at their defaults."""
    dumped = variant.model_dump(mode="json")
    if dumped["quantise"] is None:
        return dumped
    return dumped | {"quantise": _without_defaults_of(NEW_QUANTISE_KEYS, dumped["quantise"])}


def autotune_key(trained: TrainResult, recipe: Recipe, revisions: Mapping[str, str] = STAGE_REVISIONS) -> str:
    """Return the key of an autotuned variant. The machine is not part of it; see `Artifact.chosen_on`."""
    variants = [load_variant(name) for name in names()]
    tried = [variant.model_dump(mode="json") for variant in variants if variant.auto is not None]
    settings = [recipe.device.model_dump(mode="json"), recipe.export.model_dump(mode="json"), recipe.limits()]
    inputs = (trained.key, trained.checkpoint_sha256, tried, [*settings, *_novelty(recipe)])
    return stage_key("ladder", *inputs, *_raised("autotune", revisions))


def profile_key(
    artifact: Artifact,
    recipe: Recipe,
    revisions: Mapping[str, str] = STAGE_REVISIONS,
    *,
    rules: RulesName | None = None,
) -> str:
    """Return the key of a profile. The machine is not part of it; see `DeviceFacts.machine`.

    `rules`: other rules than those of the recipe.
    """
    settings = artifact.settings.model_dump(mode="json") if artifact.settings else None
    inputs = (artifact.sha256, recipe.device.model_dump(mode="json"), rules or recipe.profile.rules, settings)
    return stage_key("profile", *inputs, *_raised("profile", revisions))


def screening_key(candidate: Candidate, variant: str, recipe: Recipe) -> str:
    """Return the key of a screening. Neither the machine nor anything of the training is part of it."""
    settings = [recipe.device.model_dump(mode="json"), load_variant(variant).model_dump(mode="json")]
    return stage_key("look", STAGE_REVISIONS["screening"], _plain(candidate), settings)


def _raised(stage: str, revisions: Mapping[str, str]) -> list[str]:
    """Return a stage's revision as a part of its key. Version 0.1.0 had no such part in this stage's keys."""
    revision = revisions.get(stage, FIRST)
    return [] if revision == FIRST else [revision]
