from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pepr_edge.data import Dataset
from pepr_edge.energy.meter import Meter, MeterSettings
from pepr_edge.errors import ModelError
from pepr_edge.preprocess import to_tensor
from pepr_edge.recipe import Recipe, Train
from pepr_edge.records import Preprocess
from pepr_edge.train.loop import EVALUATION_BATCH, Trained, batches, fit, loss_function, optimiser, predict, stepper
from pepr_edge.train.step import Mode

Make = Callable[..., nn.Module]
CPU = torch.device("cpu")
SPEC = Preprocess(channels=1, image_size_px=32, mean=(0.5,), std=(0.25,))


def settings(**changes: Any) -> Train:
    return Train(**{"epochs": 1, "augment": "none", "batch_size": 16, **changes})


def trained(
    model: nn.Module,
    data: Dataset,
    train: Train,
    *,
    seed: int = 0,
    metric: str = "accuracy",
    progress: Callable[[int, int, int, float], None] = lambda *_: None,
) -> Trained:
    with Meter(MeterSettings(5.0, exclusive=False)) as meter:
        return fit(model, Mode(), data, SPEC, train, metric, seed, meter, progress)


def part(data: Dataset, n: int) -> Dataset:
    """The same data with n training images."""
    pixels, labels = data.splits["train"]
    return Dataset(data.info, {**data.splits, "train": (pixels[:n], labels[:n])})


def same(a: nn.Module, b: nn.Module) -> bool:
    others = b.state_dict()
    return all(torch.equal(tensor, others[name]) for name, tensor in a.state_dict().items())


@given(st.integers(1, 200), st.integers(2, 40), st.integers(0, 9))
def test_batches_hold_every_index_once_and_none_is_of_one(n: int, size: int, seed: int) -> None:
    parts = batches(n, size, np.random.default_rng(seed))
    assert sorted(np.concatenate(parts).tolist()) == list(range(n))
    lengths = [len(chosen) for chosen in parts]
    assert all(length == size for length in lengths[:-1]) or lengths[-1] == size + 1
    assert n == 1 or min(lengths) >= 2
    assert max(lengths) <= size + 1


def test_batches_come_in_another_order_each_time() -> None:
    rng = np.random.default_rng(0)
    one, other = (np.concatenate(batches(50, 8, rng)) for _ in range(2))
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, np.arange(50))


@pytest.mark.parametrize(("n", "sizes"), [(45, [16, 16, 13]), (33, [16, 17]), (7, [7])])
def test_all_images_of_an_epoch_are_seen(tiny: Make, data: Dataset, n: int, sizes: list[int]) -> None:
    seen: list[torch.Tensor] = []
    model = tiny()
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()) if module.training else None)
    result = trained(model, part(data, n), settings(epochs=2))
    assert [len(images) for images in seen] == sizes * 2
    assert result.images == 2 * n
    expected = np.sort(to_tensor(data.splits["train"][0][:n], SPEC).sum(axis=(1, 2, 3)))
    for epoch in (seen[: len(sizes)], seen[len(sizes) :]):
        np.testing.assert_allclose(np.sort(torch.cat(epoch).sum((1, 2, 3)).numpy()), expected, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("augment", ["light", "none"])
def test_augmentation_is_for_training_alone(tiny: Make, data: Dataset, augment: str) -> None:
    seen: dict[bool, list[torch.Tensor]] = {True: [], False: []}
    model = tiny()
    model.register_forward_pre_hook(lambda module, inputs: seen[module.training].append(inputs[0].clone()))
    trained(model, data, settings(augment=augment, batch_size=64))
    val = torch.from_numpy(to_tensor(data.splits["val"][0], SPEC))
    train = torch.from_numpy(to_tensor(data.splits["train"][0], SPEC))
    assert torch.equal(torch.cat(seen[False]), val)
    changed = [not (image == train).flatten(1).all(1).any() for image in torch.cat(seen[True])]
    assert all(changed) if augment == "light" else not any(changed)


@pytest.mark.parametrize("flips", [False, True])
def test_flips_reach_the_augmentation(tiny: Make, data: Dataset, flips: bool) -> None:
    """Training images that grow brighter to the right: mirrored, they grow darker."""
    ramp = np.broadcast_to(np.linspace(0, 255, 32).astype(np.uint8)[None, None, :, None], (60, 32, 32, 1))
    ramps = Dataset(data.info, {**data.splits, "train": (ramp, np.arange(60) % 2)})
    seen: list[torch.Tensor] = []
    model = tiny()
    model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]) if module.training else None)
    trained(model, ramps, settings(augment="light", flips=flips))
    images = torch.cat(seen)
    mirrored = int((images[..., 16:].mean((1, 2, 3)) < images[..., :16].mean((1, 2, 3))).sum())
    assert 10 < mirrored < 50 if flips else mirrored == 0


class Scripted(nn.Module):
    """Says on validation what the plan of each epoch is: how many of the first images rightly, and by which margin.

    Made for one step an epoch, which its buffer counts: the state that is kept tells of which epoch it is.
    """

    def __init__(self, plan: list[tuple[int, float]], labels: np.ndarray) -> None:
        super().__init__()
        self.plan, self.labels = plan, torch.from_numpy(labels)
        self.weight = nn.Parameter(torch.zeros(2))
        self.register_buffer("epoch", torch.zeros((), dtype=torch.long))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.epoch += 1  # type: ignore[operator, misc]
            return self.weight.expand(len(images), 2)
        right, margin = self.plan[int(self.epoch) - 1]  # type: ignore[arg-type]
        said = torch.where(torch.arange(len(images)) < right, self.labels, 1 - self.labels)
        return margin * nn.functional.one_hot(said, 2).float()


@pytest.mark.parametrize(
    ("plan", "best"),
    [
        ([(8, 1.0), (14, 1.0), (10, 1.0)], 2),
        ([(8, 1.0), (10, 1.0), (14, 1.0)], 3),
        ([(14, 0.1), (15, 9.0), (14, 0.2)], 2),  # the better decisions, whatever the loss
        ([(16, 1.0), (16, 3.0), (16, 2.0)], 2),  # as good: the least loss
        ([(16, 1.0), (16, 1.0), (16, 1.0)], 1),  # all the same: the first
    ],
)
def test_the_best_epoch_is_that_of_validation(data: Dataset, plan: list[tuple[int, float]], best: int) -> None:
    model = Scripted(plan, data.splits["val"][1])
    result = trained(model, data, settings(epochs=3, batch_size=64))
    assert result.best_epoch == best
    assert int(model.epoch) == best  # type: ignore[arg-type]
    assert [epoch.val_performance for epoch in result.epochs] == [right / 16 for right, _ in plan]
    assert [epoch.epoch for epoch in result.epochs] == [1, 2, 3]


@pytest.mark.parametrize(("patience", "epochs"), [(1, 4), (2, 5), (9, 8)])
def test_training_stops_when_validation_gains_nothing_for_as_long_as_the_patience(data: Dataset, patience: int, epochs: int) -> None:
    plan = [(8, 1.0), (9, 1.0), (10, 1.0), (7, 1.0), (7, 1.0), (7, 1.0), (7, 1.0), (7, 1.0)]
    result = trained(Scripted(plan, data.splits["val"][1]), data, settings(epochs=8, batch_size=64, patience=patience))
    assert len(result.epochs) == len(result.training) == len(result.evaluation) == epochs
    assert result.best_epoch == 3
    assert result.images == 45 * epochs


def test_the_same_seed_gives_the_same_weights(tiny: Make, data: Dataset) -> None:
    models = [tiny() for _ in range(3)]
    for model, seed in zip(models, (3, 3, 4), strict=True):
        # What was drawn before, as by the probe, must not matter.
        torch.manual_seed(int(torch.randint(1000, ())))
        trained(model, data, settings(augment="light", epochs=2), seed=seed)
    assert same(models[0], models[1])
    assert not same(models[0], models[2])
    assert not same(models[0], tiny())


def test_class_balanced_weighs_each_class_the_same() -> None:
    labels = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2])
    weight = loss_function(settings(class_balanced=True), labels, 3, CPU).weight
    assert isinstance(weight, torch.Tensor)
    assert (weight * torch.tensor([6.0, 2.0, 1.0])).tolist() == pytest.approx([3.0, 3.0, 3.0])
    assert loss_function(settings(), labels, 3, CPU).weight is None


def test_a_class_without_training_images_does_no_harm() -> None:
    loss = loss_function(settings(class_balanced=True), np.array([0, 0, 2]), 3, CPU)
    assert bool(torch.isfinite(loss(torch.zeros(3, 3), torch.tensor([0, 0, 2]))))


def test_a_balanced_loss_is_used_in_training(data: Dataset) -> None:
    """A model that can only say how common the classes are says half and half."""
    pixels, labels = data.splits["train"]
    rare = Dataset(data.info, {**data.splits, "train": (pixels, (np.arange(len(labels)) % 9 == 0).astype(np.int64))})
    leanings = []
    for balanced in (False, True):
        plan = [(8, 1.0 - 0.001 * epoch) for epoch in range(60)]  # the last epoch is the best
        model = Scripted(plan, data.splits["val"][1])
        trained(model, rare, settings(epochs=60, batch_size=64, learning_rate=0.2, patience=60, class_balanced=balanced, weight_decay=0))
        leanings.append(float(model.weight.detach().softmax(0)[1]))
    assert leanings[0] < 0.3
    assert leanings[1] == pytest.approx(0.5, abs=0.1)


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_a_loss_that_is_no_number_says_what_to_lower(tiny: Make, data: Dataset) -> None:
    with pytest.raises(ModelError, match=r"the loss became (nan|inf) in training .+ in epoch 1\. Lower train\.learning_rate \(1e\+38\)"):
        trained(tiny(), data, settings(learning_rate=1e38))


def test_a_training_loss_that_is_no_number_is_found_where_validation_shows_nothing(data: Dataset) -> None:
    model = Scripted([(8, 1.0)], data.splits["val"][1])
    nn.init.constant_(model.weight, torch.nan)
    with pytest.raises(ModelError, match=r"the loss became nan in training and 0\.\d+ on validation in epoch 1"):
        trained(model, data, settings(batch_size=64))


def test_a_validation_loss_that_is_no_number_is_found_too(data: Dataset) -> None:
    with pytest.raises(ModelError, match=r"and nan on validation in epoch 2"):
        trained(Scripted([(8, 1.0), (8, float("nan"))], data.splits["val"][1]), data, settings(epochs=2, batch_size=64))


def test_a_metric_that_validation_does_not_define_is_a_clear_line(tiny: Make, data: Dataset) -> None:
    pixels = data.splits["val"][0]
    one_class = Dataset(data.info, {**data.splits, "val": (pixels, np.zeros(len(pixels), np.int64))})
    with pytest.raises(ModelError, match=r"auroc is not defined on the validation split: all its images are of one class"):
        trained(tiny(), one_class, settings(), metric="auroc")


def test_the_papers_protocol_is_adam_and_nothing_else(tiny: Make, recipe: Callable[..., Recipe], data: Dataset) -> None:
    paper = recipe(train={"protocol": "paper"}).train
    assert (paper.epochs, paper.batch_size, paper.learning_rate, paper.augment, paper.class_balanced) == (10, 32, 5e-4, "none", False)
    model = tiny()
    found = optimiser(paper, model)
    assert type(found) is torch.optim.Adam
    assert (found.defaults["lr"], found.defaults["weight_decay"]) == (5e-4, 0)
    step = stepper(model, Mode(), paper, nn.CrossEntropyLoss(), 20)
    assert step.schedule is None
    result = trained(model, data, paper)
    assert len(result.epochs) == 10
    assert result.images == 450


def test_our_protocol_is_adamw_with_one_cycle(tiny: Make) -> None:
    model = tiny()
    step = stepper(model, Mode(), settings(learning_rate=0.01, weight_decay=0.3), nn.CrossEntropyLoss(), 20)
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


def test_mode_head_trains_the_classifier_alone(tiny: Make, data: Dataset) -> None:
    model = tiny()
    before = copy.deepcopy(model.state_dict())
    trained(model, data, settings(mode="head", epochs=2))
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"fc.weight", "fc.bias"}


def test_progress_tells_each_step_and_the_best_so_far(tiny: Make, data: Dataset) -> None:
    told: list[tuple[int, int, int, float]] = []
    result = trained(tiny(), data, settings(epochs=2), progress=lambda *step: told.append(step))
    assert [step[:3] for step in told] == [(1, 3, 1), (2, 3, 1), (3, 3, 1), (1, 3, 2), (2, 3, 2), (3, 3, 2)]
    assert [step[3] for step in told] == [-np.inf] * 3 + [result.epochs[0].val_performance] * 3


def test_a_better_model_comes_out_than_went_in(tiny: Make, data: Dataset) -> None:
    result = trained(tiny(), data, settings(epochs=12, learning_rate=0.05))
    assert result.epochs[-1].train_loss < 0.9 * result.epochs[0].train_loss


@pytest.mark.parametrize("mode", [Mode(), Mode("channels_last", "bfloat16")])
def test_every_image_is_predicted_in_order_and_in_float32(tiny: Make, mode: Mode) -> None:
    model = tiny()
    many = np.random.default_rng(0).integers(0, 256, (EVALUATION_BATCH + 3, 8, 8, 1), dtype=np.uint8)
    spec = SPEC.model_copy(update={"image_size_px": 8})
    model.train()
    logits = predict(model, many, spec, mode)
    assert logits.dtype == np.float32
    with torch.no_grad():
        expected = model.eval()(torch.from_numpy(to_tensor(many, spec))).numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-5)
