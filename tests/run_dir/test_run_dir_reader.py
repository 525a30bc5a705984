from __future__ import annotations

from pathlib import Path

import made_records
import numpy as np
import pytest
from made_records import RECIPE

from pepr_edge.errors import RecipeError, RunError
from pepr_edge.recipe.variants import load as load_variant
from pepr_edge.records import Failure, SessionSettings, TrainResult
from pepr_edge.run_dir.keys import autotune_key, candidate_folder, export_key, profile_key, train_key
from pepr_edge.run_dir.reader import Results, VariantState, load
from pepr_edge.run_dir.store import sha256_file, write_record, write_text

FP32 = load_variant("fp32")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of two candidates: "small" went the whole way, "large" did nothing yet."""
    run_info, recipe = made_records.info("small", "large"), made_records.recipe()
    write_record(tmp_path / "run.json", run_info)
    write_text(tmp_path / "recipe.toml", RECIPE)
    folder = candidate_folder(tmp_path, run_info.candidates[0])
    trained = made_records.trained("small", key=train_key(run_info.candidates[0], recipe, run_info.data))
    artifact = made_records.artifact("small", key=export_key(trained, FP32, recipe))
    write_record(folder / "train.json", trained)
    write_record(folder / "fp32" / "export.json", artifact)
    write_record(
        folder / "fp32" / "profile.json", made_records.profile("small", key=profile_key(artifact, recipe))
    )
    # The files whose checksums the records hold.
    write_text(folder / trained.checkpoint, "checkpoint small")
    write_text(folder / "fp32" / "model.onnx", "onnx small")
    write_text(folder / "fp32" / "predictions.npz", "")
    return tmp_path


def got(entry: VariantState) -> tuple[bool, bool, bool]:
    return entry.trained is not None, entry.artifact is not None, entry.profile is not None


def change(run: Path, old: str, new: str) -> Results:
    """Read the run with another recipe."""
    assert old in RECIPE
    write_text(run / "recipe.toml", RECIPE.replace(old, new))
    return load(run)


def fail(folder: Path, key: str, stage: str = "train", reason: str = "made to fail") -> None:
    write_record(
        folder / "failure.json",
        Failure(key=key, candidate=made_records.candidate("large"), stage=stage, reason=reason),
    )


def test_what_is_current_is_read(run: Path) -> None:
    found = load(run)
    assert [(entry.candidate.id, entry.variant) for entry in found.entries] == [
        ("small@64", "fp32"),
        ("large@64", "fp32"),
    ]
    assert [got(entry) for entry in found.entries] == [(True, True, True), (False, False, False)]
    assert found.entries[0].folder == run / "candidates" / "small@64" / "fp32"
    assert found.entries[0].artifact == made_records.artifact("small", key=found.entries[0].artifact.key)  # type: ignore[union-attr]
    assert (found.folder, found.info.recipe, found.recipe.name) == (run, "made", "made")
    assert all(entry.failure is None for entry in found.entries)


def test_every_variant_of_the_recipe_is_an_entry(run: Path) -> None:
    found = change(run, 'variants = ["fp32"]', 'variants = ["int8_static", "fp32"]')
    assert [(entry.candidate.architecture, entry.variant) for entry in found.entries] == [
        ("small", "int8_static"),
        ("small", "fp32"),
        ("large", "int8_static"),
        ("large", "fp32"),
    ]
    assert [got(entry) for entry in found.entries[:2]] == [(True, False, False), (True, True, True)]


@pytest.mark.parametrize(
    ("more", "left"),
    [
        ("[train]\nepochs = 3", (False, False, False)),
        ("[train]\nlearning_rate = 0.1", (False, False, False)),
        ("[data]\nfraction = 0.5", (False, False, False)),
        ("[workstation]\nwatts_per_core = 9", (False, False, False)),
        ("[score]\nperformance = 'auroc'", (False, False, False)),
        ("[profile]\nrules = 'quick'", (True, True, False)),
        # Of these nothing that is there depends.
        ("[data]\nsource = 'moved/elsewhere'", (True, True, True)),
        ("[score]\nweights = { latency = 1 }", (True, True, True)),
        ("[budgets]\nlatency_p90_ms = 1", (True, True, True)),
        ("[bundles]\ntop = 1", (True, True, True)),
    ],
)
def test_what_was_made_from_other_inputs_is_not_read(
    run: Path, more: str, left: tuple[bool, bool, bool]
) -> None:
    assert got(change(run, "[export]", f"{more}\n[export]").entries[0]) == left


@pytest.mark.parametrize(
    ("old", "new", "left"),
    [
        ('name = "made"', 'name = "made"\nseed = 1', (False, False, False)),
        ('name = "a made device"', 'name = "a made device"\nthreads = 1', (True, True, False)),
        ('name = "made"', 'name = "another"', (True, True, True)),
    ],
)
def test_seed_and_device_count(run: Path, old: str, new: str, left: tuple[bool, bool, bool]) -> None:
    assert got(change(run, old, new).entries[0]) == left


def test_other_data_or_weights_make_the_training_stale(run: Path) -> None:
    info = made_records.info("small", "large")
    write_record(
        run / "run.json",
        info.model_copy(
            update={"data": info.data.model_copy(update={"sha256": made_records.digest("other")})}
        ),
    )
    assert got(load(run).entries[0]) == (False, False, False)
    weights = info.candidates[0].model_copy(
        update={"weights": "own.pt", "weights_sha256": made_records.digest("own")}
    )
    write_record(run / "run.json", info.model_copy(update={"candidates": (weights,)}))
    assert got(load(run).entries[0]) == (False, False, False)


def test_another_checkpoint_makes_what_follows_stale(run: Path) -> None:
    path = run / "candidates" / "small@64" / "train.json"
    trained = TrainResult.model_validate_json(path.read_bytes())
    write_record(path, trained.model_copy(update={"checkpoint_sha256": made_records.digest("another")}))
    (path.parent / trained.checkpoint).write_text("another")
    assert got(load(run).entries[0]) == (True, False, False)


def test_the_keys_of_two_variants_differ() -> None:
    recipe = made_records.recipe()
    trained = made_records.trained("small", key="k")
    assert export_key(trained, FP32, recipe) != export_key(trained, load_variant("int8_static"), recipe)
    assert export_key(trained, FP32, recipe) != export_key(
        trained, FP32.model_copy(update={"parity_tolerance": 0.5}), recipe
    )


@pytest.mark.parametrize(
    ("torn", "left"),
    [
        ("train.json", (False, False, False)),
        ("fp32/export.json", (True, False, False)),
        ("fp32/profile.json", (True, True, False)),
    ],
)
def test_a_torn_file_is_to_be_made_again(run: Path, torn: str, left: tuple[bool, bool, bool]) -> None:
    path = run / "candidates" / "small@64" / torn
    path.write_bytes(path.read_bytes()[:-20])
    assert got(load(run).entries[0]) == left


def test_a_failure_is_read_from_the_variant_before_the_candidate(run: Path) -> None:
    found = load(run)
    large, folder = found.entries[1].candidate, run / "candidates" / "large@64"
    key = train_key(large, found.recipe, found.info.data)
    fail(folder, key)
    failure = load(run).entries[1].failure
    assert failure is not None
    assert failure.reason == "made to fail"
    trained = made_records.trained("large", key=key)
    write_record(folder / "train.json", trained)
    write_text(folder / trained.checkpoint, "checkpoint large")
    fail(folder / "fp32", export_key(trained, FP32, found.recipe), "export", "an operator that ONNX lacks")
    failure = load(run).entries[1].failure
    assert failure is not None
    assert failure.reason == "an operator that ONNX lacks"


def test_a_failure_from_other_inputs_is_no_failure_of_this_run(run: Path) -> None:
    folder = run / "candidates" / "large@64"
    fail(folder, "of an earlier recipe")
    fail(folder / "fp32", "", "profile")
    assert load(run).entries[1].failure is None
    (folder / "failure.json").write_text("torn")
    assert load(run).entries[1].failure is None


def test_a_measurement_that_failed_says_so_until_there_is_one(run: Path) -> None:
    place = run / "candidates" / "small@64" / "fp32"
    results = load(run)
    artifact = results.entries[0].artifact
    assert artifact is not None
    fail(place, profile_key(artifact, results.recipe), "profile")
    assert load(run).entries[0].failure is None
    (place / "profile.json").unlink()
    failure = load(run).entries[0].failure
    assert failure is not None
    assert failure.stage == "profile"


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("checkpoint.safetensors", (False, False, False)),
        ("fp32/model.onnx", (True, False, False)),
        ("fp32/predictions.npz", (True, False, False)),
    ],
)
def test_a_record_counts_only_with_the_file_that_it_is_of(
    run: Path, name: str, left: tuple[bool, bool, bool]
) -> None:
    path = run / "candidates" / "small@64" / name
    if not name.endswith(".npz"):
        path.write_text("another content")
        assert got(load(run).entries[0]) == left
    path.unlink()
    assert got(load(run).entries[0]) == left


def test_predictions_are_read_by_split(run: Path) -> None:
    entry = load(run).entries[0]
    logits = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.savez(entry.folder / "predictions.npz", val=logits, val_labels=np.array([0, 1, 1]))
    found = entry.predictions()
    np.testing.assert_array_equal(found["val"], logits)
    assert found["val_labels"].tolist() == [0, 1, 1]


def test_what_is_no_run_directory_is_a_run_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"not a run directory \(no run\.json\)"):
        load(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(RunError, match="not a RunInfo record"):
        load(tmp_path)
    write_record(tmp_path / "run.json", made_records.info("small"))
    with pytest.raises(RecipeError, match=r"recipe\.toml: no such file"):
        load(tmp_path)


def test_where_a_recipe_says_auto_the_choice_is_the_entry(run: Path) -> None:
    found = change(run, 'variants = ["fp32"]', 'variants = "auto"')
    small = found.entries[0]
    assert (small.variant, small.artifact, small.trained is not None) == ("auto", None, True)
    assert len(found.entries) == len(found.info.candidates)
    folder = candidate_folder(run, small.candidate)
    assert small.trained is not None
    key = autotune_key(small.trained, found.recipe)
    fail(folder / "auto", key, "choose", "no variant runs here")
    assert load(run).entries[0].failure is not None

    write_text(folder / "auto" / "model.onnx", "chosen")
    write_text(folder / "auto" / "predictions.npz", "predictions")
    artifact = made_records.artifact("small", key=key)
    changes = {
        "variant": "int8_inputs",
        "settings": SessionSettings(runtime="openvino"),
        "sha256": sha256_file(folder / "auto" / "model.onnx"),
    }
    write_record(folder / "auto" / "export.json", artifact.model_copy(update=changes))
    chosen = load(run).entries[0]
    assert (chosen.variant, chosen.folder.name) == ("int8_inputs", "auto")
    assert chosen.artifact is not None
    (folder / "auto" / "model.onnx").write_text("torn")
    assert load(run).entries[0].artifact is None


def test_a_named_variant_and_a_choice_do_not_touch_each_other(run: Path) -> None:
    named = load(run).recipe
    both = named.model_copy(update={"export": named.export.model_copy(update={"variants": ("fp32", "auto")})})
    trained = load(run).entries[0].trained
    assert trained is not None
    assert export_key(trained, FP32, named) == export_key(trained, FP32, both)
    assert autotune_key(trained, named) != autotune_key(trained, both)
