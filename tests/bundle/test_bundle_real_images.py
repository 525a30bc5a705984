from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pepr_edge.bundle import real_images, write, write_selftest
from pepr_edge.bundle.read import read_manifest
from pepr_edge.data import load as load_data
from pepr_edge.data import prepare
from pepr_edge.errors import RunError
from pepr_edge.field.verify import check
from pepr_edge.recipe import Export
from pepr_edge.recipe.resolve import data_settings
from pepr_edge.records import Preprocess, Ranking
from pepr_edge.run_dir.layout import pixels_folder
from pepr_edge.run_dir.reader import load
from pepr_edge.run_dir.store import read_record

PX = 16
SPEC = Preprocess(channels=1, image_size_px=PX, mean=(0.5,), std=(0.2,))
VALIDATION = np.random.default_rng(0).integers(0, 256, (50, PX, PX, 1), dtype=np.uint8)


def results(folder: Path, wanted: int) -> Any:
    """Return the parts of a run that the pool of images depends on."""
    return SimpleNamespace(
        folder=folder, recipe=SimpleNamespace(seed=3, export=Export(selftest_real_images=wanted))
    )


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run directory whose images are still there."""
    pixels_folder(tmp_path, PX).mkdir(parents=True)
    monkeypatch.setattr(
        real_images.data, "load", lambda folder: SimpleNamespace(splits={"val": (VALIDATION, None)})
    )
    return tmp_path


def test_by_default_a_bundle_holds_no_real_image(run: Path) -> None:
    assert Export().selftest_real_images == 0
    assert real_images.image_pool(results(run, 0), SPEC) is None
    assert not (run / real_images.FOLDER).exists()


def test_images_of_validation_are_kept_for_a_later_export(run: Path) -> None:
    found = real_images.image_pool(results(run, 3), SPEC)
    assert found is not None
    assert found.shape == (12, PX, PX, 1)
    assert {image.tobytes() for image in found} <= {image.tobytes() for image in VALIDATION}
    pixels_folder(run, PX).rmdir()
    again = real_images.image_pool(results(run, 3), SPEC)
    assert again is not None
    assert np.array_equal(found, again)
    # Images that the recipe no longer allows are deleted.
    assert real_images.image_pool(results(run, 0), SPEC) is None
    with pytest.raises(RunError, match=rf"{PX}\.npy: missing, and export\.selftest_real_images = 3"):
        real_images.image_pool(results(run, 3), SPEC)


def test_images_of_another_filter_are_kept_apart(run: Path) -> None:
    bicubic = SPEC.model_copy(update={"interpolation": "bicubic"})
    with pytest.raises(RunError, match=rf"{PX}-bicubic\.npy: missing"):
        real_images.image_pool(results(run, 3), bicubic)
    pixels_folder(run, PX, "bicubic").mkdir()
    assert real_images.image_pool(results(run, 3), bicubic) is not None
    assert (run / real_images.FOLDER / f"{PX}-bicubic.npy").is_file()


def test_a_small_validation_split_gives_all_its_images(run: Path) -> None:
    found = real_images.image_pool(results(run, 20), SPEC)
    assert found is not None
    assert np.array_equal(found, VALIDATION)


def test_the_largest_values_keep_their_order() -> None:
    values = np.array([0.1, 3.0, 0.2, 2.0, 5.0], np.float32)
    assert write_selftest.indices_of_largest(values, 3).tolist() == [1, 3, 4]
    assert write_selftest.indices_of_largest(values, 9).tolist() == [0, 1, 2, 3, 4]
    assert (
        write_selftest.indices_of_largest(values, 0).tolist()
        == write_selftest.indices_of_largest(values[:0], 2).tolist()
        == []
    )


@pytest.mark.slow
def test_a_bundle_tests_itself_on_the_real_images_that_the_recipe_allows(own_run: Path) -> None:
    recipe = own_run / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("[export]", "[export]\nselftest_real_images = 3"))
    made = load(own_run)
    prepared = pixels_folder(own_run, 48)
    prepare(data_settings(made.recipe, 48), prepared)
    write.write_bundles(made, read_record(own_run / "ranking.json", Ranking), own_run / "bundles", top=1)
    (bundle,) = (own_run / "bundles").iterdir()
    manifest = read_manifest(bundle)
    assert (manifest.selftest.n, manifest.selftest.real_images) == (write_selftest.SELFTEST_IMAGES + 3, 3)
    with np.load(bundle / "selftest.npz") as test:
        pixels = test["pixels"]
    validation = {image.tobytes() for image in load_data(prepared).splits["val"][0]}
    assert [image.tobytes() in validation for image in pixels] == [False] * write_selftest.SELFTEST_IMAGES + [
        True
    ] * 3
    assert check(bundle).reasons == []
    assert "16 generated images and 3 images of the data" in (bundle / "MODEL_CARD.md").read_text()
