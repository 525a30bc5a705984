"""A run whose small candidate learns from the best one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import small_run
from small_run import Listener

from pepr_edge.bundle.read import read_manifest
from pepr_edge.errors import RecipeError
from pepr_edge.recipe import Recipe
from pepr_edge.recipe.toml import parse
from pepr_edge.records import TrainResult
from pepr_edge.run_dir.keys import STUDENT, train_key
from pepr_edge.run_dir.layout import candidate_folder
from pepr_edge.run_dir.reader import load
from pepr_edge.run_dir.spent import training_costs
from pepr_edge.run_dir.store import read_record, write_record
from pepr_edge.search import students

RECIPE = """
schema_version = 1
name = "teacher"
[device]
name = "a test's machine"
threads = 1
[data]
source = "phantom"
phantom_images = 80
[candidates]
architectures = ["test_efficientnet", "test_resnet"]
image_size_px = 32
[train]
epochs = 1
teacher = "best"
[workstation]
watts_per_core = 5.0
country = "DNK"
[export]
variants = ["fp32"]
keep_performance = 0.0
[profile]
rules = "quick"
"""


def test_keys_without_a_teacher_are_as_before() -> None:
    plain = parse(RECIPE.replace('teacher = "best"', ""), Recipe, "f.toml")
    taught = parse(RECIPE, Recipe, "f.toml")
    import made_records

    info = made_records.info("small")
    candidate = info.candidates[0]
    assert train_key(candidate, plain, info.data) == train_key(candidate, taught, info.data)
    student = train_key(candidate, taught, info.data, repeat=STUDENT)
    assert student != train_key(candidate, plain, info.data, repeat=STUDENT)
    assert student != train_key(candidate, taught, info.data, repeat=STUDENT, teacher_sha256="0" * 64)


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("repeats = 2", "train.repeats = 1"),
        ('repeats = "auto"', "train.repeats = 1"),
        ('mode = "head"', 'train.mode = "full"'),
        ('[search]\npolicy = "halving"', "search.policy"),
        ("[search]\nmax_energy_wh = 1.0", "search.policy"),
    ],
)
def test_what_does_not_go_together_is_refused(line: str, word: str) -> None:
    with pytest.raises(RecipeError, match="teacher") as caught:
        parse(RECIPE.replace('teacher = "best"', f'teacher = "best"\n{line}'), Recipe, "f.toml")
    assert word in str(caught.value)


@pytest.mark.slow
def test_a_run_with_a_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The larger of both is the teacher, whatever one epoch on a few images gives.
    def largest(results: students.Results) -> TrainResult:
        found = [students._trainings(results, one)[students.ALONE] for one in results.info.candidates]
        return max(found, key=lambda trained: trained.num_params)

    monkeypatch.setattr(students, "best_alone", largest)
    folder = tmp_path / "run"
    view = Listener()
    small_run.carry_out(folder, monkeypatch, RECIPE, view=view)
    results = load(folder)
    teacher = largest(results)
    (small,) = students.students(results, teacher)
    student = read_record(candidate_folder(folder, small) / "seed-1" / "train.json", TrainResult)
    assert student.teacher is not None
    assert student.seed == 0  # that of its training alone: they differ in the teacher
    assert student.teacher.checkpoint_sha256 == teacher.checkpoint_sha256
    assert not (candidate_folder(folder, teacher.candidate) / "seed-1").exists()
    assert any("as a student" in line for line in view.said)
    assert len(list(training_costs(results))) == 3

    state = results.exports(small)[0]
    alone = read_record(candidate_folder(folder, small) / "train.json", TrainResult)
    assert state.trained in (alone, student)
    assert len(state.repeats) == 1
    for bundle in (folder / "bundles").iterdir():
        manifest = read_manifest(bundle)
        if manifest.provenance["teacher"] is not None:
            assert manifest.train_cost.energy_j.value > student.cost.energy_j.value

    (folder / "ranking.json").unlink()
    again = Listener()
    small_run.carry_out(folder, monkeypatch, RECIPE, view=again)
    assert not any("as a student" in line for line in again.said)
    assert json.loads((folder / "run.json").read_text())["status"] == "finished"

    # A student of another teacher is none of this one.
    record = candidate_folder(folder, small) / "seed-1" / "train.json"
    other = student.teacher.model_copy(update={"checkpoint_sha256": "0" * 64})
    key = train_key(small, results.recipe, results.info.data, repeat=STUDENT, teacher_sha256="0" * 64)
    write_record(record, student.model_copy(update={"teacher": other, "key": key}))
    (folder / "ranking.json").unlink()
    once_more = Listener()
    small_run.carry_out(folder, monkeypatch, RECIPE, view=once_more)
    assert any("as a student" in line for line in once_more.said)
    learnt = read_record(record, TrainResult).teacher
    assert learnt is not None
    assert learnt.checkpoint_sha256 == teacher.checkpoint_sha256
