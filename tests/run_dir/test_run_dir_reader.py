from __future__ import annotations

import os
from pathlib import Path

import made_records
import numpy as np
import pytest
from made_records import RECIPE

from pepr_edge.errors import RecipeError, RunError
from pepr_edge.recipe.variants import load as load_variant
from pepr_edge.records import DeviceProfile, Failure, SessionSettings, TrainResult
from pepr_edge.run_dir import store
from pepr_edge.run_dir.keys import autotune_key, export_key, profile_key, train_key
from pepr_edge.run_dir.layout import candidate_folder
from pepr_edge.run_dir.reader import Results, VariantState, load, reread
from pepr_edge.run_dir.store import read_record, sha256_file, write_record, write_text

FP32 = load_variant("fp32")


def stages_done(entry: VariantState) -> tuple[bool, bool, bool]:
    return entry.trained is not None, entry.artifact is not None, entry.profile is not None


def change(made_run: Path, old: str, new: str) -> Results:
    """Read the run with another recipe."""
    assert old in RECIPE
    write_text(made_run / "recipe.toml", RECIPE.replace(old, new))
    return load(made_run)


def write_failure(folder: Path, key: str, stage: str = "train", reason: str = "made to fail") -> None:
    write_record(
        folder / "failure.json",
        Failure(key=key, candidate=made_records.candidate("large"), stage=stage, reason=reason),
    )


def test_current_results_are_read(made_run: Path) -> None:
    results = load(made_run)
    assert [(entry.candidate.id, entry.variant) for entry in results.entries] == [
        ("small@64", "fp32"),
        ("large@64", "fp32"),
    ]
    assert [stages_done(entry) for entry in results.entries] == [(True, True, True), (False, False, False)]
    assert results.entries[0].folder == made_run / "candidates" / "small@64" / "fp32"
    measured = results.entries[0].measured
    assert measured is not None
    assert measured.artifact.replace(size_bytes=2_000_000) == made_records.artifact(
        "small", key=measured.artifact.key
    )
    assert results.entries[1].measured is None
    assert (results.folder, results.info.recipe, results.recipe.name) == (made_run, "made", "made")
    assert all(entry.failure is None for entry in results.entries)


def test_every_variant_of_the_recipe_is_an_entry(made_run: Path) -> None:
    results = change(made_run, 'variants = ["fp32"]', 'variants = ["int8_static", "fp32"]')
    assert [(entry.candidate.architecture, entry.variant) for entry in results.entries] == [
        ("small", "int8_static"),
        ("small", "fp32"),
        ("large", "int8_static"),
        ("large", "fp32"),
    ]
    assert [stages_done(entry) for entry in results.entries[:2]] == [(True, False, False), (True, True, True)]


@pytest.mark.parametrize(
    ("more", "done"),
    [
        ("[train]\nepochs = 3", (False, False, False)),
        ("[train]\nlearning_rate = 0.1", (False, False, False)),
        ("[data]\nfraction = 0.5", (False, False, False)),
        ("[workstation]\nwatts_per_core = 9", (False, False, False)),
        ("[score]\nperformance = 'auroc'", (False, False, False)),
        ("[profile]\nrules = 'quick'", (True, True, False)),
        # No stored result depends on these.
        ("[data]\nsource = 'moved/elsewhere'", (True, True, True)),
        ("[score]\nweights = { latency = 1 }", (True, True, True)),
        ("[budgets]\nlatency_p90_ms = 1", (True, True, True)),
        ("[bundles]\ntop = 1", (True, True, True)),
    ],
)
def test_results_of_other_inputs_are_not_read(
    made_run: Path, more: str, done: tuple[bool, bool, bool]
) -> None:
    assert stages_done(change(made_run, "[export]", f"{more}\n[export]").entries[0]) == done


@pytest.mark.parametrize(
    ("old", "new", "done"),
    [
        ('name = "made"', 'name = "made"\nseed = 1', (False, False, False)),
        ('name = "a made device"', 'name = "a made device"\nthreads = 1', (True, True, False)),
        ('name = "made"', 'name = "another"', (True, True, True)),
    ],
)
def test_seed_and_device_count(made_run: Path, old: str, new: str, done: tuple[bool, bool, bool]) -> None:
    assert stages_done(change(made_run, old, new).entries[0]) == done


def test_other_data_or_weights_make_the_training_stale(made_run: Path) -> None:
    info = made_records.info("small", "large")
    write_record(
        made_run / "run.json",
        info.model_copy(
            update={"data": info.data.model_copy(update={"sha256": made_records.digest("other")})}
        ),
    )
    assert stages_done(load(made_run).entries[0]) == (False, False, False)
    weights = info.candidates[0].model_copy(
        update={"weights": "own.pt", "weights_sha256": made_records.digest("own")}
    )
    write_record(made_run / "run.json", info.model_copy(update={"candidates": (weights,)}))
    assert stages_done(load(made_run).entries[0]) == (False, False, False)


def test_another_checkpoint_makes_later_stages_stale(made_run: Path) -> None:
    path = made_run / "candidates" / "small@64" / "train.json"
    trained = TrainResult.model_validate_json(path.read_bytes())
    write_record(path, trained.model_copy(update={"checkpoint_sha256": made_records.digest("another")}))
    (path.parent / trained.checkpoint).write_text("another")
    assert stages_done(load(made_run).entries[0]) == (True, False, False)


def test_the_keys_of_two_variants_differ() -> None:
    recipe = made_records.recipe()
    trained = made_records.trained("small", key="k")
    assert export_key(trained, FP32, recipe) != export_key(trained, load_variant("int8_static"), recipe)
    assert export_key(trained, FP32, recipe) != export_key(
        trained, FP32.model_copy(update={"parity_tolerance": 0.5}), recipe
    )


@pytest.mark.parametrize(
    ("torn", "done"),
    [
        ("train.json", (False, False, False)),
        ("fp32/export.json", (True, False, False)),
        ("fp32/profile.json", (True, True, False)),
    ],
)
def test_a_torn_file_is_to_be_made_again(made_run: Path, torn: str, done: tuple[bool, bool, bool]) -> None:
    path = made_run / "candidates" / "small@64" / torn
    path.write_bytes(path.read_bytes()[:-20])
    assert stages_done(load(made_run).entries[0]) == done


def test_a_failure_is_read_from_the_variant_before_the_candidate(made_run: Path) -> None:
    results = load(made_run)
    large, folder = results.entries[1].candidate, made_run / "candidates" / "large@64"
    key = train_key(large, results.recipe, results.info.data)
    write_failure(folder, key)
    failure = load(made_run).entries[1].failure
    assert failure is not None
    assert failure.reason == "made to fail"
    trained = made_records.trained("large", key=key)
    write_record(folder / "train.json", trained)
    write_text(folder / trained.checkpoint, "checkpoint large")
    write_failure(
        folder / "fp32", export_key(trained, FP32, results.recipe), "export", "an operator that ONNX lacks"
    )
    failure = load(made_run).entries[1].failure
    assert failure is not None
    assert failure.reason == "an operator that ONNX lacks"


def test_a_failure_from_other_inputs_is_no_failure_of_this_run(made_run: Path) -> None:
    folder = made_run / "candidates" / "large@64"
    write_failure(folder, "of an earlier recipe")
    write_failure(folder / "fp32", "", "profile")
    assert load(made_run).entries[1].failure is None
    (folder / "failure.json").write_text("torn")
    assert load(made_run).entries[1].failure is None


def test_a_failed_measurement_is_read_until_there_is_a_profile(made_run: Path) -> None:
    place = made_run / "candidates" / "small@64" / "fp32"
    results = load(made_run)
    artifact = results.entries[0].artifact
    assert artifact is not None
    write_failure(place, profile_key(artifact, results.recipe), "profile")
    assert load(made_run).entries[0].failure is None
    (place / "profile.json").unlink()
    failure = load(made_run).entries[0].failure
    assert failure is not None
    assert failure.stage == "profile"


@pytest.mark.parametrize(
    ("name", "done"),
    [
        ("checkpoint.safetensors", (False, False, False)),
        ("fp32/model.onnx", (True, False, False)),
        ("fp32/predictions.npz", (True, False, False)),
    ],
)
def test_a_record_counts_only_with_its_file(made_run: Path, name: str, done: tuple[bool, bool, bool]) -> None:
    path = made_run / "candidates" / "small@64" / name
    if not name.endswith(".npz"):
        path.write_text("another content")
        assert stages_done(load(made_run, verify=True).entries[0]) == done
        path.write_text("")  # as a power cut leaves it
        assert stages_done(load(made_run).entries[0]) == done
    path.unlink()
    assert stages_done(load(made_run).entries[0]) == done
    assert stages_done(load(made_run, verify=True).entries[0]) == done


@pytest.mark.parametrize(
    ("name", "done"),
    [
        ("train.json", (False, False, False)),
        ("logits.npz", (False, False, False)),
        ("fp32/export.json", (True, False, False)),
        ("fp32/predictions.npz", (True, False, False)),
        ("fp32/profile.json", (True, True, False)),
    ],
)
@pytest.mark.parametrize("damage", ["torn", "empty", "folder", "pipe"])
def test_what_cannot_be_read_is_made_again(
    made_run: Path, name: str, done: tuple[bool, bool, bool], damage: str
) -> None:
    path = made_run / "candidates" / "small@64" / name
    content = path.read_bytes() if path.exists() else b"PK\x03\x04"
    path.unlink(missing_ok=True)
    if damage == "folder":
        path.mkdir()
    elif damage == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(content[: len(content) // 2] if damage == "torn" else b"")
    assert stages_done(load(made_run, verify=True).entries[0]) == done


def test_a_folder_in_place_of_a_record_is_kept_aside(made_run: Path) -> None:
    path = made_run / "candidates" / "small@64" / "fp32" / "profile.json"
    record = read_record(path, DeviceProfile)
    path.unlink()
    path.mkdir()
    (path / "mine.txt").write_text("kept")
    write_record(path, record)
    assert read_record(path, DeviceProfile) == record
    assert (path.with_name("profile.json.kept-1") / "mine.txt").read_text() == "kept"


def test_a_run_verifies_hashes_and_a_ranking_sizes(made_run: Path) -> None:
    folder = made_run / "candidates" / "small@64"
    (folder / "fp32" / "model.onnx").write_text("onnx SMALL")
    assert stages_done(load(made_run).entries[0]) == (True, True, True)
    assert stages_done(load(made_run, verify=True).entries[0]) == (True, False, False)
    (folder / "fp32" / "model.onnx").write_text("onnx small, longer")
    assert stages_done(load(made_run).entries[0]) == (True, False, False)
    (folder / "checkpoint.safetensors").write_text("checkpoint SMALL")
    assert stages_done(load(made_run).entries[0]) == (True, False, False)
    assert stages_done(load(made_run, verify=True).entries[0]) == (False, False, False)


def test_reading_for_a_ranking_hashes_no_file(made_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_read_sha256", lambda path: pytest.fail(f"{path} was hashed"))
    assert load(made_run).entries[0].measured is not None


def test_only_the_candidates_that_jobs_worked_on_are_read_again(made_run: Path) -> None:
    results = load(made_run)
    small, large = results.info.candidates
    for path in (made_run / "candidates" / "small@64").rglob("*.json"):
        path.unlink()
    assert reread(results, [large]).entries == results.entries
    assert stages_done(reread(results, [small]).entries[0]) == (False, False, False)


def test_an_export_that_is_not_ranked_is_kept_apart(made_run: Path) -> None:
    results = change(made_run, 'variants = ["fp32"]', 'variants = "auto"')
    small = results.info.candidates[0]
    assert [state.variant for state in results.exports(small)] == ["fp32"]
    assert [state.is_autotuned for state in results.entries] == [True, True]
    assert results.float32(small) == results.unranked[0]
    assert results.autotuned(small) == results.entries[0]
    named = change(made_run, 'variants = ["fp32"]', 'variants = ["fp32"]')
    assert (named.unranked, named.autotuned(small)) == ((), None)
    assert named.float32(small) == named.entries[0]


def test_predictions_are_read_by_split(made_run: Path) -> None:
    entry = load(made_run).entries[0]
    logits = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.savez(entry.folder / "predictions.npz", val=logits, val_labels=np.array([0, 1, 1]))
    results = entry.predictions()
    np.testing.assert_array_equal(results["val"], logits)
    assert results["val_labels"].tolist() == [0, 1, 1]


def test_another_folder_is_a_run_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"not a run directory \(no run\.json\)"):
        load(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(RunError, match=f"a file, .* {tmp_path}"):
        load(tmp_path / "run.json")
    with pytest.raises(RunError, match="not a RunInfo record"):
        load(tmp_path)
    write_record(tmp_path / "run.json", made_records.info("small"))
    with pytest.raises(RecipeError, match=r"recipe\.toml: no such file"):
        load(tmp_path)


def test_an_autotuned_variant_is_the_entry(made_run: Path) -> None:
    results = change(made_run, 'variants = ["fp32"]', 'variants = "auto"')
    small = results.entries[0]
    assert (small.variant, small.artifact, small.trained is not None) == ("auto", None, True)
    assert len(results.entries) == len(results.info.candidates)
    folder = candidate_folder(made_run, small.candidate)
    assert small.trained is not None
    key = autotune_key(small.trained, results.recipe)
    write_failure(folder / "auto", key, "choose", "no variant runs here")
    assert load(made_run).entries[0].failure is not None

    write_text(folder / "auto" / "model.onnx", "chosen")
    write_text(folder / "auto" / "predictions.npz", "predictions")
    artifact = made_records.artifact("small", key=key)
    artifact = artifact.replace(
        variant="int8_inputs",
        settings=SessionSettings(runtime="openvino"),
        sha256=sha256_file(folder / "auto" / "model.onnx"),
        size_bytes=len("chosen"),
    )
    write_record(folder / "auto" / "export.json", artifact)
    chosen = load(made_run).entries[0]
    assert (chosen.variant, chosen.folder.name) == ("int8_inputs", "auto")
    assert chosen.artifact is not None
    (folder / "auto" / "model.onnx").write_text("torn")
    assert load(made_run).entries[0].artifact is None


def test_named_and_autotuned_variants_do_not_affect_each_other(made_run: Path) -> None:
    named = load(made_run).recipe
    both = named.model_copy(update={"export": named.export.model_copy(update={"variants": ("fp32", "auto")})})
    trained = load(made_run).entries[0].trained
    assert trained is not None
    assert export_key(trained, FP32, named) == export_key(trained, FP32, both)
    assert autotune_key(trained, named) != autotune_key(trained, both)
