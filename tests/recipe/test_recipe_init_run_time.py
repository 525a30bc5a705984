from __future__ import annotations

from dataclasses import replace

import pytest
from test_recipe_init_choose import SUMMARY, drafted

from pepr_edge.recipe import ProfileSettings
from pepr_edge.recipe.init import estimate
from pepr_edge.recipe.init.run_time import ARTIFACT_S, EXPORT_S
from pepr_edge.recipe.settings import ResolvedRecipe


def rates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "pepr_edge.recipe.init.run_time._images_per_s", lambda recipe, summary: {"a": 100.0, "b": 50.0}
    )


def changed(recipe: ResolvedRecipe, **variants: object) -> ResolvedRecipe:
    return recipe.model_copy(update={"export": recipe.export.model_copy(update=variants)})


def test_the_parts_follow_from_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    rates(monkeypatch)
    recipe = drafted().resolved
    named = estimate(recipe, SUMMARY)
    once_s = 10 * recipe.train.epochs * 650 * 1.15 * (1 / 100 + 1 / 50) / 2
    assert named.training_s == pytest.approx(3 * once_s), "up to three seeds"
    bundles_s = 3 * ARTIFACT_S["full"]
    assert (named.export_s, named.measuring_s) == (20 * EXPORT_S, 20 * ARTIFACT_S["adaptive"] + bundles_s)
    assert named.total_s == named.training_s + named.export_s + named.measuring_s
    auto = estimate(changed(recipe, variants=("auto",)), SUMMARY)
    assert auto.export_s == 10 * (EXPORT_S + 120)
    assert auto.measuring_s == 10 * ARTIFACT_S["adaptive"] + bundles_s
    quick = estimate(recipe.model_copy(update={"profile": ProfileSettings(rules="quick")}), SUMMARY)
    assert quick.measuring_s == 20 * ARTIFACT_S["quick"]


@pytest.mark.slow
def test_steps_are_timed_here() -> None:
    recipe = drafted(replace(SUMMARY, sizes_px=((32, 32),)), "quickstart").resolved
    run_time = estimate(recipe, SUMMARY)
    assert run_time.training_s > 0
    assert set(run_time.timed) <= set(recipe.candidates.architectures)
