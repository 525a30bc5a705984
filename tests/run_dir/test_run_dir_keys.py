"""Keys of stored results: their inputs, the revisions of the stages, and run directories of version 0.1.0."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import made_records
import pytest

from pepr_edge.recipe.settings import ResolvedTrain
from pepr_edge.recipe.variants import load as load_variant
from pepr_edge.records import Artifact, Epoch, InitialWeights, Machine, RunInfo, TrainResult
from pepr_edge.run_dir import keys
from pepr_edge.run_dir.current import is_complete
from pepr_edge.run_dir.keys import (
    FIRST,
    STAGE_REVISIONS,
    autotune_key,
    export_key,
    profile_key,
    run_key,
    screening_key,
    train_key,
)
from pepr_edge.run_dir.reader import load
from pepr_edge.run_dir.store import read_record, write_record, write_text

FP32 = load_variant("fp32")
EPOCH = Epoch(epoch=1, train_loss=0.5, val_loss=0.5, val_performance=0.8, duration_s=1.0, energy_j=None)
STAGES = ("train", "export", "autotune", "profile")


def all_keys(revisions: Mapping[str, str]) -> dict[str, str]:
    """Return the keys of all stages of one candidate, each made from the results of the stages before it."""
    recipe = made_records.recipe()
    info = made_records.info("small")
    candidate = info.candidates[0]
    trained = made_records.trained("small", key=train_key(candidate, recipe, info.data, revisions))
    artifact = made_records.artifact("small", key=export_key(trained, FP32, recipe, revisions))
    return {
        "train": trained.key,
        "export": artifact.key,
        "autotune": autotune_key(trained, recipe, revisions),
        "profile": profile_key(artifact, recipe, revisions, rules="full"),
    }


@pytest.mark.parametrize(
    ("stage", "stale"),
    [
        ("data", {"train", "export", "autotune"}),
        ("train", {"train", "export", "autotune"}),
        ("export", {"export"}),
        ("autotune", {"autotune"}),
        # A profile is of a file, whatever made it: its key changes with the file.
        ("profile", {"profile"}),
        ("screening", set()),
        ("ranking", set()),
    ],
)
def test_a_new_revision_makes_its_stage_and_the_later_ones_stale(stage: str, stale: set[str]) -> None:
    before = all_keys(STAGE_REVISIONS)
    after = all_keys({**STAGE_REVISIONS, stage: "9.0.0"})
    assert {name for name in STAGES if before[name] != after[name]} == stale


@pytest.mark.parametrize("stage", STAGE_REVISIONS)
def test_a_new_revision_of_any_stage_makes_a_ranking_stale(
    stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = made_records.recipe()
    before = run_key(recipe, ["data"], {})
    screening = screening_key(made_records.candidate("small"), "fp32", recipe)
    assert before == run_key(recipe, ["data"], {})
    monkeypatch.setattr(keys, "STAGE_REVISIONS", {**STAGE_REVISIONS, stage: "9.0.0"})
    assert run_key(recipe, ["data"], {}) != before
    again = screening_key(made_records.candidate("small"), "fp32", recipe)
    assert (again != screening) == (stage == "screening")


SCRATCH = InitialWeights(kind="scratch")
PRETRAINED = InitialWeights(kind="pretrained", source="hub", sha256="0" * 64, interpolation="bicubic")


@pytest.mark.parametrize(
    ("changes", "stale"),
    [
        ({"kind": "scratch"}, True),
        ({"sha256": "1" * 64}, True),
        ({"interpolation": "bilinear"}, True),
        # Where the same weights were found makes no difference.
        ({"source": "cache", "name": "x", "licence": "mit"}, False),
    ],
)
def test_other_weights_make_a_ranking_stale(changes: dict[str, Any], stale: bool) -> None:
    recipe = made_records.recipe()
    before = run_key(recipe, ["data"], {"a@64": PRETRAINED, "b@64": SCRATCH})
    after = run_key(recipe, ["data"], {"a@64": PRETRAINED.replace(**changes), "b@64": SCRATCH})
    assert (before != after) == stale


def test_the_place_of_the_weights_is_in_no_key() -> None:
    recipe = made_records.recipe()
    moved = recipe.model_copy(
        update={"candidates": recipe.candidates.model_copy(update={"weights_dir": "/elsewhere"})}
    )
    assert run_key(recipe, ["data"], {}) == run_key(moved, ["data"], {})


@pytest.mark.parametrize(("weights", "is_other"), [("scratch", False), ("pretrained", True), ("file", True)])
def test_mode_gradual_is_another_training_only_of_given_weights(weights: str, is_other: bool) -> None:
    recipe = made_records.recipe()
    info = made_records.info("small")
    gradual = recipe.model_copy(update={"train": recipe.train.model_copy(update={"mode": "gradual"})})
    candidate = info.candidates[0].replace(weights=weights)
    keys = [train_key(candidate, one, info.data) for one in (recipe, gradual)]
    assert (keys[0] != keys[1]) == is_other


@pytest.mark.parametrize(("weights", "is_over"), [("scratch", True), ("pretrained", False)])
def test_a_gradual_training_is_not_over_by_patience_before_the_backbone_is_trained(
    weights: str, is_over: bool
) -> None:
    settings = ResolvedTrain(mode="gradual", epochs=40, patience=2)
    trained = made_records.trained("small")
    one = trained.replace(
        candidate=trained.candidate.replace(weights=weights), epochs=(EPOCH,) * 4, best_epoch=1
    )
    assert is_complete(one, settings) == is_over


def test_the_filter_of_the_images_is_in_the_key_of_a_training() -> None:
    """A recipe that names the filter, and one that leaves it to the weights, train on the same images."""
    recipe = made_records.recipe()
    info = made_records.info("small")
    candidate = info.candidates[0]
    bicubic = candidate.replace(interpolation="bicubic")

    def named(name: str) -> Any:
        return recipe.model_copy(update={"data": recipe.data.model_copy(update={"interpolation": name})})

    by_weights = {one.interpolation: train_key(one, recipe, info.data) for one in (candidate, bicubic)}
    assert by_weights[None] != by_weights["bicubic"]
    assert train_key(candidate, named("bilinear"), info.data) == by_weights[None]
    assert train_key(candidate, named("bicubic"), info.data) == by_weights["bicubic"]
    assert train_key(bicubic, named("bilinear"), info.data) == by_weights[None]
    screenings = {screening_key(one, "fp32", recipe) for one in (candidate, bicubic)}
    assert len(screenings) == 1


@pytest.mark.parametrize(("metric", "is_stale"), [("accuracy", False), ("auroc", False), ("f1", True)])
def test_the_positive_class_makes_a_training_stale_only_if_the_metric_refers_to_it(
    metric: str, is_stale: bool
) -> None:
    recipe = made_records.recipe(f'[score]\nperformance = "{metric}"')
    info = made_records.info("small")
    before = train_key(info.candidates[0], recipe, info.data)
    second = info.data.replace(positive="yes", positive_by="name")
    assert train_key(info.candidates[0], recipe, second) == before
    first = info.data.replace(positive="no", positive_by="recipe")
    assert (train_key(info.candidates[0], recipe, first) != before) == is_stale
    named = recipe.model_copy(update={"task": recipe.task.model_copy(update={"positive": "no"})})
    assert run_key(recipe, ["data"], {}) != run_key(named, ["data"], {})
    assert train_key(info.candidates[0], named, info.data) == before
    decided = recipe.model_copy(update={"decision": recipe.decision.model_copy(update={"target": "youden"})})
    assert run_key(recipe, ["data"], {}) != run_key(decided, ["data"], {})
    assert train_key(info.candidates[0], decided, info.data) == before


def test_the_version_of_pepr_edge_is_in_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = all_keys(STAGE_REVISIONS)
    monkeypatch.setattr("pepr_edge.__version__", "9.0.0")
    assert all_keys(STAGE_REVISIONS) == before
    machine = Machine(cpu="made", versions={"pepr_edge": "0.1.0", "onnxruntime": "1.23"})
    assert machine == Machine(cpu="made", versions={"pepr_edge": "9.0.0", "onnxruntime": "1.23"})


# Computed by version 0.1.0 from the same recipe and records.
KEYS_OF_0_1_0 = {
    "train": "7988fc5698564af0a8b802d25a8d820db42abac4ad3ef1ab5195cedb776de314",
    "export": "362736172f729e726e2001a08e82f1cb1c07cf4c1bc553b44fd6bda524730dab",
    "profile": "bc84e7ae9a79a4b1770ca4d356f00e0dbbd4cf3914e45fcaa44d72ea56f7207a",
}
# Of the same training in quantised variants.
EXPORT_KEYS_OF_0_1_0 = {
    "int8_static": "4ca26527c8bfcc1e56d52d73f5ac63c46ff7a5222f563d1c47209519b618fa40",
    "int8_static_reduced": "bca345bc2a3a7205e20db996fe3b748167af53c78f31eef9a5c3f8c1c5f82078",
    "int8_dynamic": "68081ef35eada2af2b1c744b957c62e251dccba7117989ad78d024c4e8366f14",
    "optimum_avx2": "4e1fc4820e1c7b241778d57f026853b59095d6bda18095ca99af591ccc9a3f36",
}
SCREENING_KEY_OF_0_1_0 = "122e4eecafae4f2d70cdc7bbea706ead3c2362f3dbb810b38d1668330e199e3b"


def test_keys_of_version_0_1_0_are_current() -> None:
    """If a new field of a recipe or a record fails this, leave it out of the key at its default."""
    made = all_keys({})
    assert {stage: made[stage] for stage in KEYS_OF_0_1_0} == KEYS_OF_0_1_0
    screening = screening_key(made_records.candidate("small"), "fp32", made_records.recipe())
    if STAGE_REVISIONS["screening"] == FIRST:
        assert screening == SCREENING_KEY_OF_0_1_0


@pytest.mark.parametrize(("name", "key"), EXPORT_KEYS_OF_0_1_0.items())
def test_variants_have_the_keys_of_version_0_1_0(name: str, key: str) -> None:
    """If a new setting of a variant fails this, leave it out of the key at its default."""
    recipe = made_records.recipe()
    trained = made_records.trained("small", key=KEYS_OF_0_1_0["train"])
    assert export_key(trained, load_variant(name), recipe, {}) == key


@pytest.mark.parametrize(("revisions", "is_read"), [({}, True), (STAGE_REVISIONS, False)])
def test_a_choice_among_the_variants_of_an_earlier_version_is_read(
    made_run: Path, revisions: Mapping[str, str], is_read: bool
) -> None:
    text = (made_run / "recipe.toml").read_text()
    changed = re.sub(r"variants = .*", 'variants = "auto"', text)
    write_text(made_run / "recipe.toml", changed)
    info = read_record(made_run / "run.json", RunInfo)
    write_record(made_run / "run.json", info.replace(status="finished", revisions=dict(revisions)))
    folder = made_run / "candidates" / "small@64"
    key = train_key(info.candidates[0], load(made_run).recipe, info.data, revisions)
    write_record(folder / "train.json", read_record(folder / "train.json", TrainResult).replace(key=key))
    (folder / "fp32").rename(folder / "auto")
    found = load(made_run).entries[0]
    assert (found.artifact is not None) == is_read


def test_a_run_is_read_with_the_revisions_that_it_was_made_with(
    made_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for function in (train_key, export_key, autotune_key, profile_key):
        defaults = tuple({**STAGE_REVISIONS, "train": "9.0.0"} for _ in function.__defaults__ or ())
        monkeypatch.setattr(function, "__defaults__", defaults)
    assert load(made_run).entries[0].measured is not None
    info = read_record(made_run / "run.json", RunInfo)
    write_record(made_run / "run.json", info.replace(revisions={"train": "9.0.0"}))
    assert load(made_run).entries[0].trained is None


def test_a_run_directory_of_version_0_1_0_is_read(made_run: Path) -> None:
    """Its run.json has no revisions; its other records have keys of that version."""
    training = made_run / "candidates" / "small@64" / "train.json"
    write_record(training, read_record(training, TrainResult).replace(key=KEYS_OF_0_1_0["train"]))
    export = made_run / "candidates" / "small@64" / "fp32" / "export.json"
    write_record(export, read_record(export, Artifact).replace(key=KEYS_OF_0_1_0["export"]))
    info = json.loads((made_run / "run.json").read_text())
    del info["revisions"]
    info["pepr_edge"] = "0.1.0"
    write_text(made_run / "run.json", json.dumps(info))
    results = load(made_run)
    assert results.entries[0].measured is not None
    assert results.entries[1].measured is None
