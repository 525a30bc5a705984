"""Where the files of a run directory are, and the hash of all that each of them depends on."""

from __future__ import annotations

from pathlib import Path

from pepr_edge import __version__
from pepr_edge.recipe import Recipe
from pepr_edge.recipe.variants import Variant, names
from pepr_edge.recipe.variants import load as load_variant
from pepr_edge.records import Artifact, Candidate, DataInfo, TrainResult
from pepr_edge.run_dir.store import stage_key

SCREENINGS, SCREENING = "looks", "look.json"  # looks/<variant>/look.json in a candidate's folder


def candidate_folder(run_dir: Path, candidate: Candidate) -> Path:
    """Where a candidate's files are."""
    return run_dir / "candidates" / candidate.id


def train_key(candidate: Candidate, recipe: Recipe, data: DataInfo, version: str = __version__) -> str:
    """Hash of all that a training depends on, the version of pepr_edge included. Where the data lies does not matter, what it is does."""
    how = [
        recipe.data.model_dump(mode="json", exclude={"source", "on_bad_image"}),
        recipe.train.model_dump(mode="json"),
        recipe.workstation.model_dump(mode="json"),
        recipe.score.performance,
        recipe.seed,
    ]
    return stage_key("train", version, candidate, data, how)


def export_key(trained: TrainResult, variant: Variant, recipe: Recipe) -> str:
    """Hash of all that an artifact depends on."""
    # How many threads there were changes no answer.
    how = [
        recipe.device.settings().model_dump(mode="json", exclude={"threads"}),
        recipe.export.keep_performance,
    ]
    return stage_key("export", trained.key, trained.checkpoint_sha256, variant.model_dump(mode="json"), how)


def autotune_key(trained: TrainResult, recipe: Recipe) -> str:
    """Hash of all that a ladder's choice depends on, but for the machine."""
    variants = [
        variant.model_dump(mode="json")
        for name in names()
        if (variant := load_variant(name)).auto is not None
    ]
    how = [recipe.device.model_dump(mode="json"), recipe.export.model_dump(mode="json"), recipe.limits()]
    return stage_key("ladder", trained.key, trained.checkpoint_sha256, variants, how)


def profile_key(artifact: Artifact, recipe: Recipe) -> str:
    """Hash of all that a profile depends on, but for the machine."""
    settings = artifact.settings.model_dump(mode="json") if artifact.settings else None
    return stage_key(
        "profile", artifact.sha256, recipe.device.model_dump(mode="json"), recipe.profile.rules, settings
    )


def screening_key(candidate: Candidate, variant: str, recipe: Recipe) -> str:
    """Hash of all that a first look at a candidate depends on, but for the machine; not on what it is trained on, nor how."""
    how = [recipe.device.model_dump(mode="json"), load_variant(variant).model_dump(mode="json")]
    return stage_key("look", __version__, candidate, how)
