"""A worker's job, in this process; in a process of its own: test_engine_local.py."""

from __future__ import annotations

import errno
import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from pepr_edge.engine import worker
from pepr_edge.engine.job import CandidateJob, Step
from pepr_edge.engine.worker import work
from pepr_edge.errors import ExportError, MeasurementError
from pepr_edge.export import convert as making
from pepr_edge.export import onnx_file
from pepr_edge.recipe import Recipe
from pepr_edge.recipe.variants import load
from pepr_edge.records import Artifact, Failure, ScreeningResult, TrainResult
from pepr_edge.run_dir.keys import autotune_key, export_key, screening_key
from pepr_edge.run_dir.store import disk_is_full, read_record, write_record

MakeJob = Callable[..., CandidateJob]


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the place for the folder of a finished job."""
    return tmp_path_factory.mktemp("done") / "job"


@pytest.fixture
def done_job(make_job: MakeJob, done: Path) -> CandidateJob:
    """Return a finished job, in a folder of the test's own."""
    job = make_job()
    if not done.exists():
        work(job, io.StringIO())
        shutil.copytree(job.folder, done)
    shutil.copytree(done, job.folder, dirs_exist_ok=True)
    return job


def steps_of(job: CandidateJob) -> list[Step]:
    output = io.StringIO()
    work(job, output)
    return [Step.model_validate_json(line) for line in output.getvalue().splitlines()]


def failed(folder: Path) -> Failure:
    return read_record(folder / "failure.json", Failure)


def stamps(folder: str) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in Path(folder).rglob("*") if path.is_file()}


def test_a_job_makes_the_training_and_every_variant(make_job: MakeJob) -> None:
    job = make_job()
    steps = steps_of(job)
    folder = Path(job.folder)
    trained = read_record(folder / "train.json", TrainResult)
    assert (trained.key, trained.candidate) == ("a key", job.candidate)
    for name in ("fp32", "int8_static"):
        artifact = read_record(folder / name / "export.json", Artifact)
        assert artifact.key == export_key(trained, load(name), job.recipe)
        assert (folder / artifact.path).is_file()
    assert not list(folder.rglob("failure.json"))
    exports = ["export", "export fp32", "export int8_static"]
    assert [step.stage for step in steps] == ["train", "train", "train", *exports]
    assert [(step.done, step.total) for step in steps] == [(0, 1), (1, 2), (2, 2), (0, 2), (0, 2), (1, 2)]
    assert steps[1].model_dump(include={"epoch", "epochs", "best"}) == {"epoch": 1, "epochs": 1, "best": None}


def left(job: CandidateJob) -> set[str]:
    return {path.name for path in Path(job.folder).iterdir()}


def test_a_job_may_leave_a_training_unfinished_and_a_later_one_resumes_it(make_job: MakeJob) -> None:
    job = make_job(train={"epochs": 3, "device": "cpu"}).model_copy(
        update={"kind": "train", "until_epoch": 1}
    )
    assert {(step.stage, step.epoch, step.epochs) for step in steps_of(job) if step.done} == {("train", 1, 3)}
    assert left(job) == {"training.json", "training-1.pt"}
    before = stamps(job.folder)
    assert steps_of(job) == []
    assert stamps(job.folder) == before
    resumed = steps_of(job.model_copy(update={"until_epoch": 2}))
    assert {step.epoch for step in resumed if step.done} == {2}
    assert left(job) == {"training.json", "training-2.pt"}


def test_a_job_may_conclude_an_unfinished_training(make_job: MakeJob) -> None:
    job = make_job(train={"epochs": 3, "device": "cpu"}, export={"variants": ["fp32"]}).model_copy(
        update={"kind": "train", "until_epoch": 1}
    )
    steps_of(job)
    stages = [step.stage for step in steps_of(job.model_copy(update={"kind": "conclude"}))]
    assert stages == ["train", "export", "export fp32"]
    trained = read_record(Path(job.folder) / "train.json", TrainResult)
    assert (len(trained.epochs), trained.stopped_early) == (1, True)
    assert left(job) == {
        "train.json",
        "checkpoint.safetensors",
        "logits.npz",
        "fp32",
        "training.json",
        "training-1.pt",
    }
    assert steps_of(job.model_copy(update={"kind": "conclude"})) == []
    # A job for all epochs goes on from there.
    assert {
        step.epoch
        for step in steps_of(job.model_copy(update={"kind": "complete", "until_epoch": None}))
        if step.stage == "train" and step.done
    } == {2, 3}
    assert left(job) == {"train.json", "checkpoint.safetensors", "logits.npz", "fp32"}


def test_a_job_may_only_probe_the_cost(make_job: MakeJob) -> None:
    job = make_job().model_copy(update={"kind": "probe"})
    assert {(step.stage, step.epoch, step.epochs, step.best) for step in steps_of(job)} == {
        ("cost probe", 0, 0, None)
    }
    assert left(job) == {"training.json", "probe.json"}
    assert steps_of(job) == []


def test_a_job_may_only_write_the_files_for_screening(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ExportError("no such operator")

    job = make_job().model_copy(update={"kind": "screen"})
    monkeypatch.setitem(making.CONVERTERS, "int8", fail)
    assert [step.stage for step in steps_of(job)] == ["screening"]
    looks = Path(job.folder) / "looks"
    assert left(job) == {"looks"}
    assert (looks / "fp32" / "model.onnx").is_file()
    screening = read_record(looks / "int8_static" / "look.json", ScreeningResult)
    assert (screening.reason, screening.profile) == ("no such operator", None)
    assert screening.key == screening_key(job.candidate, "int8_static", job.recipe)


def test_a_finished_job_does_nothing_again(done_job: CandidateJob) -> None:
    before = stamps(done_job.folder)
    assert steps_of(done_job) == []
    assert stamps(done_job.folder) == before


def test_only_the_variant_that_is_missing_is_made(done_job: CandidateJob) -> None:
    before = stamps(done_job.folder)
    missing = Path(done_job.folder) / "int8_static" / "export.json"
    missing.unlink()
    assert [step.stage for step in steps_of(done_job)] == ["export", "export int8_static"]
    after = stamps(done_job.folder)
    assert {path for path in before if after[path] != before[path]} == set(missing.parent.iterdir())


def test_another_key_is_another_training(done_job: CandidateJob) -> None:
    steps = steps_of(done_job.model_copy(update={"train_key": "another key"}))
    assert {step.stage for step in steps} == {"train", "export", "export fp32", "export int8_static"}
    assert read_record(Path(done_job.folder) / "train.json", TrainResult).key == "another key"


def test_a_torn_record_is_made_again(done_job: CandidateJob) -> None:
    path = Path(done_job.folder) / "train.json"
    path.write_bytes(path.read_bytes()[:-20])
    assert "train" in {step.stage for step in steps_of(done_job)}
    assert read_record(path, TrainResult).key == "a key"


def test_a_training_that_fails_leaves_the_stage_and_the_reason(make_job: MakeJob) -> None:
    job = make_job(architecture="no_such_net")
    assert steps_of(job) == [Step(stage="train", done=0, total=1)]
    failure = failed(Path(job.folder))
    assert (failure.stage, failure.variant, failure.key, failure.candidate) == (
        "train",
        None,
        "a key",
        job.candidate,
    )
    assert failure.reason.startswith("no_such_net: unknown architecture.")
    assert [path.name for path in Path(job.folder).iterdir()] == ["failure.json"]


def test_a_failure_is_gone_once_the_training_succeeds(done_job: CandidateJob) -> None:
    path = Path(done_job.folder) / "failure.json"
    write_record(path, Failure(key="a key", candidate=done_job.candidate, stage="train", reason="killed"))
    steps_of(done_job)
    assert not path.exists()


def test_a_variant_that_fails_does_not_stop_the_others(
    done_job: CandidateJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(done_job.folder)
    for name in ("fp32", "int8_static"):
        shutil.rmtree(folder / name)

    def fail(*_: object) -> None:
        raise ExportError("cannot be copied")

    with monkeypatch.context() as patch:
        patch.setitem(making.CONVERTERS, "float32", fail)
        steps_of(done_job)
    failure = failed(folder / "fp32")
    assert (failure.stage, failure.variant, failure.reason) == ("export", "fp32", "cannot be copied")
    assert not (folder / "fp32" / "export.json").exists()
    assert (folder / "int8_static" / "export.json").is_file()
    assert not (folder / "failure.json").exists()
    assert [step.stage for step in steps_of(done_job)] == ["export", "export fp32"]
    assert not (folder / "fp32" / "failure.json").exists()
    assert (folder / "fp32" / "export.json").is_file()


def test_no_exporter_at_all_is_the_failure_of_every_variant(
    done_job: CandidateJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(done_job.folder)
    for name in ("fp32", "int8_static"):
        (folder / name / "export.json").unlink()

    def fail(*_: object) -> None:
        raise ValueError("no such operator")

    monkeypatch.setattr(onnx_file, "EXPORTERS", {"torchscript": fail, "dynamo": fail})
    steps_of(done_job)
    for name in ("fp32", "int8_static"):
        failure = failed(folder / name)
        assert (failure.stage, failure.variant) == ("export", name)
        assert (
            "torchscript: ValueError: no such operator; dynamo: ValueError: no such operator"
            in failure.reason
        )
        assert failure.key == export_key(
            read_record(folder / "train.json", TrainResult), load(name), done_job.recipe
        )


def test_autotune_starts_from_the_files_of_the_training(
    done_job: CandidateJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Artifact, Path, str]] = []

    def choose(
        source: object, base: Artifact, folder: Path, key: str, tell: Callable[[int, int, str], None]
    ) -> None:
        calls.append((base, folder, key))
        tell(1, 3, "int8_static")

    monkeypatch.setattr(worker, "select_variant", choose)
    (Path(done_job.folder) / "failure.json").write_text("of a choice that died")
    before = stamps(done_job.folder)
    # A training that a search concluded early is not continued for it.
    job = done_job.model_copy(update={"kind": "select_variant", "recipe": longer(done_job.recipe)})
    assert steps_of(job) == [Step(stage="choose int8_static", done=1, total=3)]
    trained = read_record(Path(job.folder) / "train.json", TrainResult)
    plain = read_record(Path(job.folder) / "fp32" / "export.json", Artifact)
    assert calls == [(plain, Path(job.folder), autotune_key(trained, job.recipe))]
    assert stamps(job.folder) == {
        path: stamp for path, stamp in before.items() if path.name != "failure.json"
    }


def longer(recipe: Recipe) -> Recipe:
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"epochs": 9})})


def test_autotune_without_a_usable_variant_leaves_the_reason(
    done_job: CandidateJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*_: object) -> None:
        raise MeasurementError("no variant runs here")

    monkeypatch.setattr(worker, "select_variant", nothing)
    steps_of(done_job.model_copy(update={"kind": "select_variant"}))
    failure = failed(Path(done_job.folder) / "auto")
    assert (failure.variant, failure.stage, failure.reason) == ("auto", "choose", "no variant runs here")


@pytest.mark.parametrize("way", ["training", "variant", "autotune"])
def test_a_full_disk_is_no_failure_of_the_candidate(
    done_job: CandidateJob, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """Also if a library raises another exception from it."""

    def full(*_: object, **__: object) -> None:
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as fault:
            raise ExportError("it could not be written") from fault

    if way == "variant":
        shutil.rmtree(Path(done_job.folder) / "fp32")
        monkeypatch.setitem(making.CONVERTERS, "float32", full)
    else:
        monkeypatch.setattr(worker, "_trained" if way == "training" else "select_variant", full)
    kind = "select_variant" if way == "autotune" else "complete"
    with pytest.raises(ExportError) as fault:
        work(done_job.model_copy(update={"kind": kind}), io.StringIO())
    assert disk_is_full(fault.value)
    assert not list(Path(done_job.folder).rglob("failure.json"))
