from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import small_run
import tiny_bundle
from small_run import BAD, FLAWLESS, GOOD, RECIPE, Listener

from pepr_edge import pipeline, preparation
from pepr_edge.engine import this_machine
from pepr_edge.engine.measurement_host import MeasurementHost
from pepr_edge.errors import MeasurementError, ModelError, PeprError, RecipeError, RunError
from pepr_edge.field.verify import check
from pepr_edge.pipeline import Options
from pepr_edge.records import DeviceProfile, ProfileRequest, Ranking, SessionSettings, TrainResult, Validity
from pepr_edge.run_dir import store
from pepr_edge.run_dir.reader import Results, load
from pepr_edge.run_dir.store import locked, read_record, write_record


def events(folder: Path) -> list[str]:
    return [json.loads(line)["event"] for line in (folder / "events.jsonl").read_text().splitlines()]


def test_a_run_leaves_what_the_contract_names(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    assert {
        "run.json",
        "recipe.toml",
        "events.jsonl",
        "ranking.json",
        "ranking.csv",
        "report.html",
        "candidates",
        "bundles",
    } <= names
    candidate = finished / "candidates" / f"{GOOD}@48"
    assert {"train.json", "checkpoint.safetensors", "fp32", "int8_static"} <= {
        path.name for path in candidate.iterdir()
    }
    for variant in ("fp32", "int8_static"):
        assert {"model.onnx", "export.json", "profile.json"} <= {
            path.name for path in (candidate / variant).iterdir()
        }
    needed = {
        "manifest.json",
        "model.onnx",
        "selftest.npz",
        "config.json",
        "preprocessor_config.json",
        "MODEL_CARD.md",
    }
    bundles = sorted((finished / "bundles").iterdir())
    assert [bundle.name[:3] for bundle in bundles] == ["01-", "02-"]
    for bundle in bundles:
        fallback = set() if bundle.name.endswith("-fp32") else {"fallback.onnx"}
        assert {path.name for path in bundle.iterdir()} == needed | fallback


def test_the_pixels_are_deleted(finished: Path) -> None:
    assert not (finished / "data").exists()
    assert not list((finished / ".pepr_edge").glob("pixels-*"))


def test_every_candidate_is_a_row_and_a_failed_one_says_why(finished: Path) -> None:
    ranking = read_record(finished / "ranking.json", Ranking)
    assert {(row.architecture, row.variant) for row in ranking.rows} == {
        (name, v) for name in (GOOD, BAD) for v in ("fp32", "int8_static")
    }
    assert [row.rank for row in ranking.rows] == [1, 2, None, None]
    for row in ranking.rows[:2]:
        assert set(row.pepr) == {"E", "C", "T", "M", "D", "L", "W", "edge"}
        assert all(value is not None for value in row.pepr.values())
        assert row.bundle is not None
        assert (finished / row.bundle / "manifest.json").is_file()
        assert row.rank_ci is not None
    assert sum(row.p_best or 0.0 for row in ranking.rows) == pytest.approx(1)
    assert ranking.baseline is not None
    assert (ranking.baseline.of, len(ranking.sensitivity) > 0) == (2, True)
    for row in ranking.rows[2:]:
        assert (row.status, row.architecture, row.bundle) == ("failed", BAD, None)
        assert (row.rank_ci, row.p_best) == (None, None)
        assert "cannot take images of 48 px" in row.reason


def test_the_csv_has_a_line_for_each_row(finished: Path) -> None:
    with open(finished / "ranking.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["rank"] for line in lines] == ["1", "2", "", ""]
    assert float(lines[0]["latency_s"]) > 0


def test_bundles_pass_their_own_test(finished: Path) -> None:
    for bundle in (finished / "bundles").iterdir():
        assert check(bundle, SessionSettings()).reasons == []


def test_a_finished_run_answers_at_once_and_does_nothing_again(
    flawless: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = events(flawless)
    again = small_run.carry_out(flawless, monkeypatch, FLAWLESS)
    assert again == read_record(flawless / "ranking.json", Ranking)
    assert [row.rank for row in again.rows] == [1, 2]
    assert events(flawless) == before


@pytest.mark.slow
def test_failed_candidates_are_tried_again_and_no_others(
    own_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = (own_run / "candidates" / f"{GOOD}@48" / "train.json").stat().st_mtime_ns
    view = small_run.Listener()
    small_run.carry_out(own_run, monkeypatch, view=view)
    assert f"failed before, tried again: {BAD}@48" in view.said
    made = [
        json.loads(line)["candidate"]
        for line in (own_run / "events.jsonl").read_text().splitlines()
        if '"made"' in line
    ]
    assert made == [f"{GOOD}@48", f"{BAD}@48", f"{BAD}@48"]
    assert (own_run / "candidates" / f"{GOOD}@48" / "train.json").stat().st_mtime_ns == kept


@pytest.mark.slow
def test_a_file_that_a_power_cut_left_empty_is_made_again(
    own_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = own_run / "candidates" / f"{GOOD}@48" / "fp32" / "model.onnx"
    whole = model.read_bytes()
    model.write_bytes(b"")
    ranking = small_run.carry_out(own_run, monkeypatch)
    assert [row.rank for row in ranking.rows] == [1, 2, None, None]
    assert len(model.read_bytes()) == len(whole)


@pytest.mark.slow
def test_a_profile_of_another_machine_is_measured_again(
    own_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = own_run / "candidates" / f"{GOOD}@48" / "fp32" / "profile.json"
    ours = read_record(path, DeviceProfile)
    write_record(path, ours.replace(device=ours.device.replace(cpu="another processor")))
    small_run.carry_out(own_run, monkeypatch)
    assert read_record(path, DeviceProfile).device.cpu == ours.device.cpu


def test_a_run_that_starts_again_is_no_longer_finished(
    own_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(preparation, "prepare", interrupted)
    before = (own_run / "recipe.toml").read_text()
    with pytest.raises(KeyboardInterrupt):
        small_run.carry_out(own_run, monkeypatch, RECIPE + "[score]\nalpha = 2.0\n")
    # Nothing was spent yet: the earlier run is still intact.
    assert (own_run / "recipe.toml").read_text() == before
    assert (own_run / "ranking.json").is_file()
    with pytest.raises(KeyboardInterrupt):
        small_run.carry_out(own_run, monkeypatch, options=Options(fresh=True))
    assert not (own_run / "run.json").exists()
    assert not (own_run / "ranking.json").exists()


@pytest.mark.slow
def test_a_run_loads_its_directory_once_and_hashes_each_file_once(
    own_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[Path] = []
    hashed: list[Path] = []
    read_sha256 = store._read_sha256

    def load_counted(run_dir: Path, verify: bool = False) -> Results:
        loads.append(run_dir)
        return load(run_dir, verify)

    def read_counted(path: Path) -> str:
        hashed.append(path)
        return read_sha256(path)

    monkeypatch.setattr(pipeline, "load", load_counted)
    monkeypatch.setattr(store, "_read_sha256", read_counted)
    monkeypatch.setattr(store, "MIN_AGE_NS", 0)
    (own_run / "ranking.json").unlink()
    small_run.carry_out(own_run, monkeypatch)
    assert loads == [own_run]
    stage_files = [path for path in hashed if (own_run / "candidates") in path.parents]
    assert {path.name for path in stage_files} == {"checkpoint.safetensors", "model.onnx"}
    assert len(stage_files) == len(set(stage_files))


def test_a_run_goes_on_where_it_stopped(own_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate = own_run / "candidates" / f"{GOOD}@48"
    trained = (candidate / "train.json").read_bytes()
    kept = (candidate / "fp32" / "profile.json").read_bytes()
    (candidate / "int8_static" / "profile.json").unlink()
    (own_run / "ranking.json").write_text('{"torn')
    ranking = small_run.carry_out(own_run, monkeypatch)
    assert [row.rank for row in ranking.rows] == [1, 2, None, None]
    assert (candidate / "train.json").read_bytes() == trained
    assert (candidate / "fp32" / "profile.json").read_bytes() == kept
    assert read_record(candidate / "int8_static" / "profile.json", DeviceProfile).validity.valid in (
        True,
        False,
    )


@pytest.mark.slow
def test_another_seed_trains_again(own_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = own_run / "candidates" / f"{GOOD}@48" / "train.json"
    before = read_record(path, TrainResult)
    small_run.carry_out(own_run, monkeypatch, RECIPE.replace('name = "small"', 'name = "small"\nseed = 1'))
    after = read_record(path, TrainResult)
    assert (before.seed, after.seed) == (0, 1)
    assert before.checkpoint_sha256 != after.checkpoint_sha256


def test_a_run_reports_its_progress(finished: Path, own_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view = Listener()
    (own_run / "candidates" / f"{GOOD}@48" / "fp32" / "profile.json").unlink()
    (own_run / "run.json").unlink()
    small_run.carry_out(own_run, monkeypatch, view=view)
    assert view.said[0].startswith("phantom: 80 grey images")
    assert any("baseline" in line for line in view.said)
    assert {"candidates", "getting ready", "artifacts measured", "queries"} <= set(view.bars)


@pytest.mark.parametrize(("artifacts", "again"), [(1, 1), (15, 1), (16, 2)])
def test_one_invalid_measurement_or_one_in_eight_is_repeated(
    own_run: Path, artifacts: int, again: int
) -> None:
    results = load(own_run)
    entry = results.entries[0]
    assert entry.profile is not None
    waiting = replace(results, entries=(replace(entry, profile=None),) * artifacts)
    kept = entry.profile
    calls: list[str] = []

    def disturbed(model: Path, request: ProfileRequest, progress: object = None) -> DeviceProfile:
        calls.append(request.sha256)
        valid = len(calls) > min(4, artifacts)
        return kept.replace(validity=Validity(valid=valid, reasons=() if valid else ("drift",)))

    host = MeasurementHost(kept.device.machine, disturbed, this_machine.engine(1))
    measured = pipeline.measure(waiting, host, Listener())
    assert len(calls) == artifacts + again
    valid = [
        state.measured is not None and state.measured.profile.validity.valid for state in measured.entries
    ]
    repeated = min(4, artifacts)
    assert valid == [True] * again + [False] * (repeated - again) + [True] * (artifacts - repeated)
    assert read_record(entry.folder / "profile.json", DeviceProfile).validity.valid


@pytest.mark.slow
def test_an_invalid_measurement_is_a_warning_in_the_ranking(own_run: Path) -> None:
    entry = load(own_run).entries[0]
    assert entry.profile is not None
    invalid = entry.profile.replace(validity=Validity(valid=False, reasons=("drift: 1 ms",)))
    write_record(entry.folder / "profile.json", invalid)
    ranking = pipeline.rank_and_report(load(own_run))
    row = next(
        row for row in ranking.rows if (row.candidate, row.variant) == (entry.candidate.id, entry.variant)
    )
    assert "measurement INVALID: drift: 1 ms" in row.warnings
    assert row.rank is not None


def test_an_artifact_that_cannot_be_measured_is_a_row(own_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own_run / "candidates" / f"{GOOD}@48" / "fp32" / "profile.json").unlink()
    (own_run / "run.json").unlink()

    def broken(*args: object, **kwargs: object) -> DeviceProfile:
        raise MeasurementError("the measuring process was ended by SIGKILL")

    monkeypatch.setattr(this_machine, "profile", broken)
    ranking = small_run.carry_out(own_run, monkeypatch)
    row = next(row for row in ranking.rows if (row.architecture, row.variant) == (GOOD, "fp32"))
    assert (row.status, row.rank, row.reason) == (
        "failed",
        None,
        "profile: the measuring process was ended by SIGKILL",
    )


def test_budgets_apply_to_measured_values(own_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own_run / "recipe.toml").write_text(RECIPE + "[budgets]\nsize_mib = 1.0\n")
    ranking = pipeline.rank_and_report(load(own_run))
    by_variant = {row.variant: row for row in ranking.rows if row.architecture == GOOD}
    assert by_variant["int8_static"].rank == 1
    assert by_variant["fp32"].status == "over_budget"
    assert "budget 1 MiB" in by_variant["fp32"].reason


@pytest.mark.parametrize(
    ("change", "fault", "words"),
    [
        ((f'"{GOOD}"', '"mobilenetv2_55"'), ModelError, "mobilenetv2_55.*Did you mean"),
        (("[train]", 'weights = "nowhere.safetensors"\n[train]'), ModelError, "nowhere.safetensors"),
        (("keep_performance = 0.0", 'variants = ["int9"]'), RecipeError, "int9"),
        (('country = "DNK"', 'country = "DK"'), PeprError, "Did you mean .*DNK"),
        (("[device]", '[device]\nprovider = "cuda"'), MeasurementError, "device.provider"),
    ],
)
def test_input_errors_are_found_before_anything_is_spent(
    change: tuple[str, str],
    fault: type[Exception],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(fault, match=words):
        small_run.carry_out(tmp_path / "run", monkeypatch, RECIPE.replace(*change))
    assert not (tmp_path / "run").exists()


def test_a_run_refuses_a_folder_with_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "benign").mkdir()
    with pytest.raises(RunError, match="no run directory"):
        small_run.carry_out(tmp_path, monkeypatch)
    assert [path.name for path in tmp_path.iterdir()] == ["benign"]


@pytest.mark.slow
def test_a_run_of_another_recipe_says_that_it_makes_results_again(
    own_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = Listener()
    small_run.carry_out(own_run, monkeypatch, RECIPE + "[score]\nalpha = 2.0\n", view=view)
    assert "another recipe, data or version" in view.said[0]
    assert [row.rank for row in read_record(own_run / "ranking.json", Ranking).rows][:2] == [1, 2]


def test_a_forgotten_data_source_does_not_cost_a_finished_run(
    own_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in own_run.glob("*.json")}
    for label in ("cats", "dogs"):
        for number in range(12):
            (tmp_path / "pets" / label).mkdir(parents=True, exist_ok=True)
            tiny_bundle.image(tmp_path / "pets" / label / f"{number}.png")
    with pytest.raises(
        RunError,
        match=r"phantom.* pets.* --data",
    ):
        small_run.carry_out(
            own_run, monkeypatch, RECIPE.replace('source = "phantom"', f'source = "{tmp_path / "pets"}"')
        )
    assert {path.name: path.read_bytes() for path in own_run.glob("*.json")} == before
    assert not (own_run / "data").exists()


def test_a_run_directory_is_one_process_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with locked(tmp_path / "run"), pytest.raises(RunError, match="in use by process"):
        small_run.carry_out(tmp_path / "run", monkeypatch)


@pytest.mark.slow
def test_fresh_does_everything_again(own_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = own_run / "candidates" / f"{GOOD}@48" / "train.json"
    before = path.stat().st_mtime_ns
    small_run.carry_out(own_run, monkeypatch, options=Options(fresh=True))
    assert path.stat().st_mtime_ns > before


@pytest.mark.slow
def test_two_jobs_at_once_declare_their_energy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = RECIPE.replace(f'"{BAD}"', '"test_resnet"')
    ranking = small_run.carry_out(tmp_path / "run", monkeypatch, text, Options(jobs=2))
    assert [row.rank for row in ranking.rows] == [1, 2, 3, 4]
    assert {row.methods["train_energy"] for row in ranking.rows} == {"declared"}
