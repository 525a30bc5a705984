"""Steps of several candidates in turn, in one process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pepr_edge.data import Dataset
from pepr_edge.recipe.settings import ResolvedRecipe
from pepr_edge.records import Candidate
from pepr_edge.train import step_cost
from pepr_edge.train.models import create
from pepr_edge.train.step import ComputeMode
from pepr_edge.train.step_cost import StepCostJob, step_costs

WATTS = 5.0


@pytest.fixture
def costs_recipe(recipe: Callable[..., ResolvedRecipe], monkeypatch: pytest.MonkeyPatch) -> ResolvedRecipe:
    monkeypatch.setattr(step_cost, "BLOCK_S", 0.02)
    settings = {"epochs": 3, "batch_size": 16, "device": "cpu"}
    return recipe(train=settings, workstation={"watts_per_core": WATTS})


def job(architecture: str, data: Dataset) -> StepCostJob:
    candidate = Candidate(architecture=architecture, image_size_px=32, in_channels=1, num_classes=2)
    return StepCostJob(candidate, data, ComputeMode("channels_last"), threads=1, key=f"key of {architecture}")


def test_candidates_take_turns_and_each_round_begins_with_another(
    costs_recipe: ResolvedRecipe, data: Dataset
) -> None:
    order: list[str] = []
    jobs = [job("test_efficientnet", data), job("test_resnet", data)]
    costs = step_costs(jobs, costs_recipe, False, 2, lambda candidate: order.append(candidate.architecture))
    assert order == ["test_efficientnet", "test_resnet", "test_resnet", "test_efficientnet"]
    for cost, one in zip(costs, jobs, strict=True):
        assert (cost.key, cost.candidate, cost.threads, cost.layout) == (
            one.key,
            one.candidate,
            1,
            "channels_last",
        )
        assert len(cost.duration_s) == len(cost.energy_j) == 2
        assert min(cost.duration_s) > 0
        assert cost.images >= 2 * 16
        assert cost.method == "declared"


@pytest.mark.parametrize(("weights", "kinds"), [("scratch", 1), ("pretrained", 2)])
def test_the_steps_of_a_gradual_training_count_by_their_share(
    recipe: Callable[..., ResolvedRecipe],
    data: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    weights: str,
    kinds: int,
) -> None:
    monkeypatch.setattr(step_cost, "BLOCK_S", 0.02)
    parts = []

    class Part(step_cost._Part):
        def __new__(cls, *values: Any) -> step_cost._Part:
            parts.append(values)
            return super().__new__(cls, *values)

    monkeypatch.setattr(step_cost, "_Part", Part)
    settings = {"epochs": 3, "batch_size": 16, "device": "cpu", "mode": "gradual"}
    one = job("test_efficientnet", data)
    one = replace(one, candidate=one.candidate.replace(weights=weights))
    (cost,) = step_costs([one], recipe(train=settings, workstation={"watts_per_core": WATTS}), False, 2)
    assert [share for share, _, _ in parts] == ([1.0] if kinds == 1 else [0.9, 0.1]) * 2
    for number in range(2):
        block = parts[number * kinds : (number + 1) * kinds]
        expected_s = sum(share * usage.duration_s / images for share, usage, images in block)
        assert cost.duration_s[number] == pytest.approx(expected_s)
        expected_j = sum(share * (usage.energy.value or 0) / images for share, usage, images in block)
        assert cost.energy_j[number] == pytest.approx(expected_j)
    assert cost.images == sum(images for _, _, images in parts)


def test_steps_of_the_classifier_alone_leave_the_backbone_as_it_is(
    recipe: Callable[..., ResolvedRecipe], data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_cost, "BLOCK_S", 0.02)
    trained: list[int] = []
    monkeypatch.setattr(
        step_cost.TrainStep,
        "__call__",
        _spy(step_cost.TrainStep.__call__, trained),
    )
    one = job("test_efficientnet", data)
    one = replace(one, candidate=one.candidate.replace(weights="pretrained"))
    step_costs([one], recipe(train={"batch_size": 16, "device": "cpu", "mode": "gradual"}), False, 1)
    whole = len(list(create(one.candidate).parameters()))
    assert set(trained) == {whole, 2}


def _spy(original: Callable[..., Any], trained: list[int]) -> Callable[..., Any]:
    """A training step that notes how many tensors it trains."""

    def step(self: Any, *arguments: Any) -> Any:
        trained.append(sum(parameter.requires_grad for parameter in self.model.parameters()))
        return original(self, *arguments)

    return step


def test_a_candidate_that_cannot_be_opened_has_no_cost(costs_recipe: ResolvedRecipe, data: Dataset) -> None:
    jobs = [job("no_such_net", data), job("test_efficientnet", data)]
    costs = step_costs(jobs, costs_recipe, False, 1)
    assert [cost.candidate.architecture for cost in costs] == ["test_efficientnet"]


def test_candidates_that_need_too_much_memory_are_measured_in_groups(
    costs_recipe: ResolvedRecipe, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_cost, "MAX_PARAMETERS", 1)
    order: list[str] = []
    jobs = [job("test_efficientnet", data), job("test_resnet", data)]
    step_costs(jobs, costs_recipe, False, 2, lambda candidate: order.append(candidate.architecture))
    assert order == ["test_efficientnet", "test_efficientnet", "test_resnet", "test_resnet"]


def test_without_watts_the_energy_is_not_known(
    recipe: Callable[..., ResolvedRecipe], data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_cost, "BLOCK_S", 0.02)
    (cost,) = step_costs([job("test_efficientnet", data)], recipe(), False, 1)
    assert (cost.energy_j, cost.method) == ((), "unavailable")
    assert len(cost.duration_s) == 1
