"""A recipe without watts on a machine without counters: the run says so before it reads an image."""

from __future__ import annotations

from pathlib import Path

import pytest
import small_run

from pepr_edge import pipeline
from pepr_edge.energy import nvml, rapl
from pepr_edge.errors import DataError
from pepr_edge.pipeline import Options, run
from pepr_edge.recipe import Recipe
from pepr_edge.recipe.toml import parse

WITHOUT_WATTS = small_run.FLAWLESS.replace("[workstation]\nwatts_per_core = 5.0\n", "[workstation]\n")


@pytest.mark.parametrize(("text", "notes"), [(WITHOUT_WATTS, 1), (small_run.FLAWLESS, 0)])
def test_unknown_energy_is_said_before_an_image_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, notes: int
) -> None:
    monkeypatch.setattr(rapl, "unavailable", lambda settings, part: "no RAPL zone")
    monkeypatch.setattr(nvml, "unavailable", lambda settings, part: "no NVIDIA GPU")

    def refuse(*arguments: object) -> None:
        raise DataError("the images are not read in this test.")

    monkeypatch.setattr(pipeline, "prepare_images", refuse)
    listener = small_run.Listener()
    recipe = parse(text, Recipe, "small.toml")
    with pytest.raises(DataError, match="not read"):
        run(recipe, text, tmp_path / "run", Options(), listener)
    assert len([line for line in listener.said if "training time" in line]) == notes
