from __future__ import annotations

import copy
import io
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import timm
import torch
from torch import nn

from pepr_edge.data import Dataset
from pepr_edge.energy.meter import Meter, MeterSettings
from pepr_edge.errors import ModelError
from pepr_edge.images.preprocess import to_tensor
from pepr_edge.recipe import Recipe
from pepr_edge.recipe.settings import ResolvedTrain
from pepr_edge.records import Epoch, Preprocess
from pepr_edge.train.cost import no_cost
from pepr_edge.train.cost_tracker import CostTracker
from pepr_edge.train.step import ComputeMode
from pepr_edge.train.trainer import Progress, Trainer

Make = Callable[..., nn.Module]
CPU = torch.device("cpu")
SPEC = Preprocess(channels=1, image_size_px=32, mean=(0.5,), std=(0.25,))


class Trained(NamedTuple):
    """The result of a training."""

    epochs: tuple[Epoch, ...]
    best_epoch: int
    images: float | None
    stopped_early: bool


def settings(**changes: Any) -> ResolvedTrain:
    return ResolvedTrain(**{"epochs": 1, "augment": "none", "batch_size": 16, **changes})


def trained(
    model: nn.Module,
    data: Dataset,
    train: ResolvedTrain,
    *,
    seed: int = 0,
    metric: str = "accuracy",
    progress: Progress = lambda *_: None,
) -> Trained:
    trainer = Trainer(model, ComputeMode(), data, SPEC, train, metric, seed)
    images = advance(trainer, train.epochs, progress)
    trainer.restore_best()
    return Trained(trainer.epochs, trainer.best_epoch, images, trainer.stopped_early)


def advance(trainer: Trainer, epochs: int, progress: Progress = lambda *_: None) -> float | None:
    """Train until a number of epochs is done, and return the number of images that were trained on."""
    with tempfile.TemporaryDirectory() as folder, Meter(MeterSettings(5.0, exclusive=False)) as meter:
        tracker = CostTracker(Path(folder), "key", meter, None, no_cost(), 0)
        while not trainer.finished and len(trainer.epochs) < epochs:
            trainer.train_one_epoch(tracker, progress)
        return tracker.cost.images.value


def with_train_images(data: Dataset, n: int) -> Dataset:
    """The same data with only n training images."""
    pixels, labels = data.splits["train"]
    return Dataset(data.info, {**data.splits, "train": (pixels[:n], labels[:n])})


def same(a: nn.Module, b: nn.Module) -> bool:
    others = b.state_dict()
    return all(torch.equal(tensor, others[name]) for name, tensor in a.state_dict().items())


@pytest.mark.parametrize(("n", "sizes"), [(45, [16, 16, 13]), (33, [16, 17]), (7, [7])])
def test_every_epoch_trains_on_all_images(tiny: Make, data: Dataset, n: int, sizes: list[int]) -> None:
    seen: list[torch.Tensor] = []
    model = tiny()
    model.register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0].clone()) if module.training else None
    )
    result = trained(model, with_train_images(data, n), settings(epochs=2))
    assert [len(images) for images in seen] == sizes * 2
    assert result.images == 2 * n
    expected = np.sort(to_tensor(data.splits["train"][0][:n], SPEC).sum(axis=(1, 2, 3)))
    for epoch in (seen[: len(sizes)], seen[len(sizes) :]):
        sums = np.sort(torch.cat(epoch).sum((1, 2, 3)).numpy())
        np.testing.assert_allclose(sums, expected, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("augment", ["light", "none"])
def test_only_training_images_are_augmented(tiny: Make, data: Dataset, augment: str) -> None:
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
    """Training images become brighter to the right; mirrored, they become darker."""
    ramp = np.broadcast_to(np.linspace(0, 255, 32).astype(np.uint8)[None, None, :, None], (60, 32, 32, 1))
    ramps = Dataset(data.info, {**data.splits, "train": (ramp, np.arange(60) % 2)})
    seen: list[torch.Tensor] = []
    model = tiny()
    model.register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0]) if module.training else None
    )
    trained(model, ramps, settings(augment="light", flips=flips))
    images = torch.cat(seen)
    mirrored = int((images[..., 16:].mean((1, 2, 3)) < images[..., :16].mean((1, 2, 3))).sum())
    assert 10 < mirrored < 50 if flips else mirrored == 0


class Scripted(nn.Module):
    """Predicts by a plan: in each epoch, how many of the first validation images are correct, and the margin.

    Its buffer counts the steps. With one step per epoch, a state dict tells from which epoch it is.
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
        correct, margin = self.plan[int(self.epoch) - 1]  # type: ignore[arg-type]
        decisions = torch.where(torch.arange(len(images)) < correct, self.labels, 1 - self.labels)
        return margin * nn.functional.one_hot(decisions, 2).float()


@pytest.mark.parametrize(
    ("plan", "best"),
    [
        ([(8, 1.0), (14, 1.0), (10, 1.0)], 2),
        ([(8, 1.0), (10, 1.0), (14, 1.0)], 3),
        ([(14, 0.1), (15, 9.0), (14, 0.2)], 2),  # more correct decisions, despite a higher loss
        ([(16, 1.0), (16, 3.0), (16, 2.0)], 2),  # equally good: the lowest loss
        ([(16, 1.0), (16, 1.0), (16, 1.0)], 1),  # all equal: the first
    ],
)
@pytest.mark.parametrize(("protocol", "earlier"), [("default", 9), ("paper", 0)])
def test_the_best_epoch_is_chosen_on_validation(
    data: Dataset, plan: list[tuple[int, float]], best: int, protocol: str, earlier: int
) -> None:
    """Of the last quarter of the epochs; protocol "paper": of all."""
    plan = [(16, 9.0)] * earlier + plan
    model = Scripted(plan, data.splits["val"][1])
    chosen = settings(epochs=len(plan), batch_size=64, patience=20, protocol=protocol)
    result = trained(model, data, chosen)
    assert result.best_epoch == earlier + best
    assert int(model.epoch) == earlier + best  # type: ignore[arg-type]
    assert [epoch.val_performance for epoch in result.epochs] == [correct / 16 for correct, _ in plan]
    assert [epoch.epoch for epoch in result.epochs] == list(range(1, len(plan) + 1))


@pytest.mark.parametrize(("patience", "epochs"), [(1, 4), (2, 5), (9, 8)])
def test_training_stops_after_patience_epochs_without_gain_on_validation(
    data: Dataset, patience: int, epochs: int
) -> None:
    plan = [(8, 1.0), (9, 1.0), (10, 1.0), (7, 1.0), (7, 1.0), (7, 1.0), (7, 1.0), (7, 1.0)]
    model = Scripted(plan, data.splits["val"][1])
    result = trained(model, data, settings(epochs=8, batch_size=64, patience=patience))
    assert (len(result.epochs), result.stopped_early) == (epochs, epochs < 8)
    assert result.best_epoch == (3 if epochs < 8 else 7)  # one that ends early keeps the best so far
    assert result.images == 45 * epochs


def test_the_same_seed_gives_the_same_weights(tiny: Make, data: Dataset) -> None:
    models = [tiny() for _ in range(3)]
    for model, seed in zip(models, (3, 3, 4), strict=True):
        # Earlier draws, such as those of the probe, must not matter.
        torch.manual_seed(int(torch.randint(1000, ())))
        trained(model, data, settings(augment="light", epochs=2), seed=seed)
    assert same(models[0], models[1])
    assert not same(models[0], models[2])
    assert not same(models[0], tiny())


def test_a_balanced_loss_is_used_in_training(data: Dataset) -> None:
    """A model that can only learn the frequencies of the classes learns equal ones."""
    pixels, labels = data.splits["train"]
    rare_labels = (np.arange(len(labels)) % 9 == 0).astype(np.int64)
    rare = Dataset(data.info, {**data.splits, "train": (pixels, rare_labels)})
    probabilities = []
    for balanced in (False, True):
        plan = [(8, 1.0 - 0.001 * epoch) for epoch in range(60)]  # the last epoch is the best
        model = Scripted(plan, data.splits["val"][1])
        chosen = settings(
            epochs=60,
            batch_size=64,
            learning_rate=0.2,
            patience=60,
            class_balanced=balanced,
            weight_decay=0,
        )
        trained(model, rare, chosen)
        probabilities.append(float(model.weight.detach().softmax(0)[1]))
    assert probabilities[0] < 0.3
    assert probabilities[1] == pytest.approx(0.5, abs=0.1)


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_the_error_for_a_loss_that_is_not_finite_says_what_to_lower(tiny: Make, data: Dataset) -> None:
    with pytest.raises(ModelError, match=r"(nan|inf) in training .+ epoch 1\..+learning_rate \(1e\+38\)"):
        trained(tiny(), data, settings(learning_rate=1e38))


def test_a_training_loss_that_is_not_finite_is_an_error_even_if_the_validation_loss_is(data: Dataset) -> None:
    model = Scripted([(8, 1.0)], data.splits["val"][1])
    nn.init.constant_(model.weight, torch.nan)
    with pytest.raises(ModelError, match=r"nan in training and 0\.\d+ on validation in epoch 1"):
        trained(model, data, settings(batch_size=64))


def test_a_validation_loss_that_is_not_finite_is_an_error(data: Dataset) -> None:
    model = Scripted([(8, 1.0), (8, float("nan"))], data.splits["val"][1])
    with pytest.raises(ModelError, match=r"and nan on validation in epoch 2"):
        trained(model, data, settings(epochs=2, batch_size=64))


def test_a_metric_that_is_not_defined_on_validation_is_an_error(tiny: Make, data: Dataset) -> None:
    pixels = data.splits["val"][0]
    one_class = Dataset(data.info, {**data.splits, "val": (pixels, np.zeros(len(pixels), np.int64))})
    with pytest.raises(ModelError, match=r"auroc is not defined .+ one class"):
        trained(tiny(), one_class, settings(), metric="auroc")


def test_mode_head_trains_the_classifier_only(tiny: Make, data: Dataset) -> None:
    model = tiny()
    before = copy.deepcopy(model.state_dict())
    trained(model, data, settings(mode="head", epochs=2))
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"fc.weight", "fc.bias"}


@pytest.mark.parametrize(("epochs", "alone"), [(10, 3), (5, 2), (1, 0)])
def test_mode_gradual_trains_the_classifier_alone_for_the_first_tenth_of_the_steps(
    tiny: Make, data: Dataset, epochs: int, alone: int
) -> None:
    model = tiny()
    weights = dict(model.named_parameters())
    states = [{name: weight.detach().clone() for name, weight in weights.items()}]

    def after_step(*_: Any) -> None:
        states.append({name: weight.detach().clone() for name, weight in weights.items()})

    trained(model, data, settings(mode="gradual", epochs=epochs, patience=epochs), progress=after_step)
    assert len(states) == 1 + 3 * epochs
    for number, (before, after) in enumerate(pairwise(states)):
        changed = {name for name in weights if not torch.equal(before[name], after[name])}
        if number < alone:
            assert changed == {"fc.weight", "fc.bias"}, number
        else:
            assert not changed <= {"fc.weight", "fc.bias"}, number


def test_patience_begins_when_the_backbone_is_trained(data: Dataset) -> None:
    """Of 40 epochs the first four train the classifier alone: here validation never improves."""
    lengths = {}
    for mode in ("gradual", "full"):
        model = Scripted([(8, 1.0)] * 40, data.splits["val"][1])
        classifier = nn.ParameterList([model.weight])
        model.get_classifier = lambda: classifier  # type: ignore[assignment]  # noqa: B023
        chosen = settings(mode=mode, epochs=40, patience=2, batch_size=64)
        lengths[mode] = len(trained(model, data, chosen).epochs)
    assert lengths == {"gradual": 6, "full": 3}


def test_mode_gradual_leaves_weights_alone_that_an_architecture_never_trains(
    tiny: Make, data: Dataset
) -> None:
    model = tiny()
    fixed = next(iter(model.parameters())).requires_grad_(False)
    before = fixed.clone()
    trained(model, data, settings(mode="gradual", epochs=5))
    assert torch.equal(fixed, before)


def test_progress_reports_each_step_and_the_best_so_far(tiny: Make, data: Dataset) -> None:
    reported: list[tuple[int, int, int, float]] = []
    result = trained(tiny(), data, settings(epochs=2), progress=lambda *step: reported.append(step))
    assert [step[:2] for step in reported] == [(1, 3), (2, 3), (3, 3)] * 2
    assert [step[2] for step in reported] == [1, 1, 1, 2, 2, 2]
    assert [step[3] for step in reported] == [-np.inf] * 3 + [result.epochs[0].val_performance] * 3


def test_training_lowers_the_loss(tiny: Make, data: Dataset) -> None:
    result = trained(tiny(), data, settings(epochs=12, learning_rate=0.05))
    assert result.epochs[-1].train_loss < 0.9 * result.epochs[0].train_loss


def test_the_papers_protocol_trains_ten_epochs(
    tiny: Make, recipe: Callable[..., Recipe], data: Dataset
) -> None:
    result = trained(tiny(), data, recipe(train={"protocol": "paper"}).train)
    assert len(result.epochs) == 10
    assert result.images == 450


def judgements(trainer: Trainer) -> list[dict[str, Any]]:
    """The epochs without their cost."""
    return [epoch.model_dump(exclude={"duration_s", "energy_j"}) for epoch in trainer.epochs]


def with_drop_path() -> nn.Module:
    torch.manual_seed(0)
    model = timm.create_model(
        "test_efficientnet", in_chans=1, num_classes=2, drop_rate=0.2, drop_path_rate=0.3
    )
    assert isinstance(model, nn.Module)
    return model


@pytest.mark.parametrize("changes", [{}, {"protocol": "paper"}, {"mode": "gradual", "epochs": 30}])
@pytest.mark.parametrize(
    "mode", [ComputeMode(), ComputeMode("channels_last"), ComputeMode("channels_last", "bfloat16")]
)
@pytest.mark.parametrize("net", ["dropout", pytest.param("drop path", marks=pytest.mark.slow)])
def test_a_training_that_resumes_from_its_state_gives_identical_bits(
    tiny: Make, data: Dataset, mode: ComputeMode, net: str, changes: dict[str, Any]
) -> None:
    """The gradual one stops while the classifier learns alone."""
    plan = settings(**{"epochs": 4, "augment": "light", "learning_rate": 0.02, "patience": 9, **changes})

    def begun() -> Trainer:
        model = tiny() if net == "dropout" else with_drop_path()
        return Trainer(mode.place(model, CPU), mode, data, SPEC, plan, "accuracy", 5)

    whole = begun()
    advance(whole, 4)
    first = begun()  # created here, since a trainer sets the seed of dropout when it begins
    advance(first, 2)
    saved = io.BytesIO()
    torch.save(first.state(), saved)
    second = begun()
    torch.manual_seed(99)
    state = torch.load(io.BytesIO(saved.getvalue()), weights_only=True)
    second.restore(state, first.epochs, first.best_epoch)
    advance(second, 4)
    assert judgements(second) == judgements(whole)
    assert second.best_epoch == whole.best_epoch
    assert same(second.model, whole.model)
    assert same(second.restore_best(), whole.restore_best())


def test_a_state_contains_the_best_weights_of_an_earlier_epoch(data: Dataset) -> None:
    plan = [(8, 1.0), (14, 1.0), (10, 1.0)]

    def begun() -> Trainer:
        model = Scripted(plan, data.splits["val"][1])
        return Trainer(model, ComputeMode(), data, SPEC, settings(epochs=9, batch_size=64), "accuracy", 0)

    first = begun()
    second = begun()
    advance(first, 3)
    second.restore(first.state(), first.epochs, first.best_epoch)
    assert int(second.model.epoch) == 3  # type: ignore[arg-type]
    assert int(second.restore_best().epoch) == 2  # type: ignore[arg-type]
