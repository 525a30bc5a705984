"""Jobs of a worker on further seeds of a candidate: training one, and exporting the one that is deployed."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from pepr_edge.engine import worker
from pepr_edge.engine.file_sync import pack, unpack
from pepr_edge.engine.job import CandidateJob
from pepr_edge.recipe.variants import load as load_variant
from pepr_edge.run_dir.current import current_artifact, current_training
from pepr_edge.run_dir.keys import export_key
from pepr_edge.run_dir.layout import repeat_folder

MakeJob = Callable[..., CandidateJob]


def repeat_of(job: CandidateJob, repeat: int) -> CandidateJob:
    recipe = job.recipe.model_copy(update={"seed": job.recipe.seed + repeat})
    changes = {
        "kind": "repeat",
        "repeat": repeat,
        "recipe": recipe,
        "folder": str(repeat_folder(Path(job.folder), repeat)),
        "train_key": f"key of seed {repeat}",
    }
    return CandidateJob.model_validate(dict(job) | changes)


@pytest.mark.slow
def test_a_repeat_is_trained_with_its_seed_and_exported_from_its_folder(
    make_job: MakeJob, tmp_path: Path
) -> None:
    job = make_job(export={"variants": ["fp32"], "keep_performance": 0.0})
    folder = Path(job.folder)
    for repeat in (0, 1):
        worker.work(repeat_of(job, repeat), io.StringIO())
    first = current_training(folder, "key of seed 0")
    second = current_training(folder / "seed-1", "key of seed 1")
    assert first is not None
    assert second is not None
    assert (first.seed, second.seed) == (0, 1)
    assert first.checkpoint_sha256 != second.checkpoint_sha256
    assert not (folder / "fp32").exists()

    # On a node of a cluster the folder holds the seed that is deployed, and no other.
    packed = pack(folder, {}, repeat=1)
    assert packed is not None
    there = tmp_path / "node"
    unpack(packed[0], there)
    changes = {"kind": "export", "repeat": 1, "train_key": "key of seed 1", "folder": str(there)}
    worker.work(CandidateJob.model_validate(dict(job) | changes), io.StringIO())
    key = export_key(second, load_variant("fp32"), job.recipe)
    assert current_artifact(there / "fp32", key) is not None
    assert not (there / "seed-1" / "fp32").exists()


def test_a_label_names_the_seed_of_a_repeat_alone(make_job: MakeJob) -> None:
    job = make_job()
    assert job.label == job.candidate.id
    assert repeat_of(job, 2).label == f"{job.candidate.id} seed 2"
    assert repeat_of(job, 2).training_folder == Path(job.folder) / "seed-2"


def test_a_repeat_may_end_at_an_epoch(make_job: MakeJob) -> None:
    job = repeat_of(make_job(), 1)
    assert CandidateJob.model_validate(dict(job) | {"until_epoch": 3}).until_epoch == 3
    with pytest.raises(ValueError, match="until_epoch"):
        CandidateJob.model_validate(dict(job) | {"kind": "export", "until_epoch": 3})
