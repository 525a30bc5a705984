from __future__ import annotations

from pathlib import Path

import made_records
import numpy as np
import pytest
from made_records import RECIPE

from pepr_edge.recipe.variants import load as load_variant
from pepr_edge.run_dir.keys import STAGE_REVISIONS, export_key, profile_key, train_key
from pepr_edge.run_dir.layout import candidate_folder
from pepr_edge.run_dir.store import write_record, write_text


@pytest.fixture
def made_run(tmp_path: Path) -> Path:
    """Make a run of two candidates: "small" went through all stages, "large" is not started."""
    info, recipe = made_records.info("small", "large"), made_records.recipe()
    write_record(tmp_path / "run.json", info.replace(revisions=dict(STAGE_REVISIONS)))
    write_text(tmp_path / "recipe.toml", RECIPE)
    folder = candidate_folder(tmp_path, info.candidates[0])
    trained = made_records.trained("small", key=train_key(info.candidates[0], recipe, info.data))
    model = "onnx small"
    artifact = made_records.artifact("small", key=export_key(trained, load_variant("fp32"), recipe))
    artifact = artifact.replace(size_bytes=len(model))
    profile = made_records.profile("small", key=profile_key(artifact, recipe, rules="full"))
    write_record(folder / "train.json", trained)
    write_record(folder / "fp32" / "export.json", artifact)
    write_record(folder / "fp32" / "profile.json", profile)
    # The files whose checksums the records hold.
    write_text(folder / trained.checkpoint, "checkpoint small")
    write_text(folder / "fp32" / "model.onnx", model)
    np.savez(folder / "fp32" / "predictions.npz", val=np.zeros((1, 2), np.float32))
    return tmp_path
