from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pepr_edge.images.preprocess import to_tensor
from pepr_edge.recipe import Recipe
from pepr_edge.recipe.settings import ResolvedTrain
from pepr_edge.records import Preprocess
from pepr_edge.train.loop import EVALUATION_BATCH, batches, loss_function, optimiser, predict, train_step
from pepr_edge.train.step import ComputeMode

Make = Callable[..., nn.Module]
CPU = torch.device("cpu")
SPEC = Preprocess(channels=1, image_size_px=32, mean=(0.5,), std=(0.25,))


def settings(**changes: Any) -> ResolvedTrain:
    return ResolvedTrain(**{"epochs": 1, "augment": "none", "batch_size": 16, **changes})


@given(st.integers(1, 200), st.integers(2, 40), st.integers(0, 9))
def test_batches_hold_every_index_once_and_none_has_a_single_image(n: int, size: int, seed: int) -> None:
    parts = batches(n, size, np.random.default_rng(seed))
    assert sorted(np.concatenate(parts).tolist()) == list(range(n))
    lengths = [len(chosen) for chosen in parts]
    assert all(length == size for length in lengths[:-1]) or lengths[-1] == size + 1
    assert n == 1 or min(lengths) >= 2
    assert max(lengths) <= size + 1


def test_batches_have_another_order_each_time() -> None:
    rng = np.random.default_rng(0)
    first = np.concatenate(batches(50, 8, rng))
    second = np.concatenate(batches(50, 8, rng))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, np.arange(50))


def test_a_class_balanced_loss_gives_each_class_the_same_weight() -> None:
    labels = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2])
    weight = loss_function(settings(class_balanced=True), labels, 3, CPU).weight
    assert isinstance(weight, torch.Tensor)
    assert (weight * torch.tensor([6.0, 2.0, 1.0])).tolist() == pytest.approx([3.0, 3.0, 3.0])
    assert loss_function(settings(), labels, 3, CPU).weight is None


def test_a_class_without_training_images_gives_a_finite_loss() -> None:
    loss = loss_function(settings(class_balanced=True), np.array([0, 0, 2]), 3, CPU)
    assert bool(torch.isfinite(loss(torch.zeros(3, 3), torch.tensor([0, 0, 2]))))


def test_the_papers_protocol_is_adam_and_nothing_else(tiny: Make, recipe: Callable[..., Recipe]) -> None:
    paper = recipe(train={"protocol": "paper"}).train
    assert (paper.epochs, paper.batch_size, paper.learning_rate) == (10, 32, 5e-4)
    assert (paper.augment, paper.class_balanced) == ("none", False)
    model = tiny()
    actual = optimiser(paper, model)
    assert type(actual) is torch.optim.Adam
    assert (actual.defaults["lr"], actual.defaults["weight_decay"]) == (5e-4, 0)
    assert train_step(model, ComputeMode(), paper, nn.CrossEntropyLoss(), 20).schedule is None


def test_our_protocol_is_adamw_with_one_cycle(tiny: Make) -> None:
    model = tiny()
    chosen = settings(learning_rate=0.01, weight_decay=0.3)
    step = train_step(model, ComputeMode(), chosen, nn.CrossEntropyLoss(), 20)
    assert type(step.optimiser) is torch.optim.AdamW
    assert step.optimiser.defaults["weight_decay"] == 0.3
    rates = []
    for _ in range(20):
        rates.append(step.optimiser.param_groups[0]["lr"])
        step(torch.randn(4, 1, 8, 8), torch.tensor([0, 1, 0, 1]))
    assert max(rates) == pytest.approx(0.01, rel=0.05)
    assert 2 <= int(np.argmax(rates)) <= 6
    assert rates[0] < 0.001
    assert rates[-1] < 0.001


@pytest.mark.parametrize("mode", [ComputeMode(), ComputeMode("channels_last", "bfloat16")])
def test_every_image_is_predicted_in_order_and_in_float32(tiny: Make, mode: ComputeMode) -> None:
    model = tiny()
    many = np.random.default_rng(0).integers(0, 256, (EVALUATION_BATCH + 3, 8, 8, 1), dtype=np.uint8)
    spec = SPEC.model_copy(update={"image_size_px": 8})
    model.train()
    logits = predict(model, many, spec, mode)
    assert logits.dtype == np.float32
    with torch.no_grad():
        expected = model.eval()(torch.from_numpy(to_tensor(many, spec))).numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-5)
