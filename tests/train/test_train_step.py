from __future__ import annotations

import math
import time
from collections.abc import Callable

import pytest
import torch
from torch import nn

from pepr_edge.errors import ModelError
from pepr_edge.train import step as step_module
from pepr_edge.train.step import PROBE_STEPS, ComputeMode, TrainStep, modes, probe

Make = Callable[..., nn.Module]
CPU = torch.device("cpu")
ALL = [
    ComputeMode(),
    ComputeMode("channels_last"),
    ComputeMode("channels_last", "bfloat16"),
    ComputeMode("contiguous", "bfloat16"),
]
IMAGES = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 0, 1, 0, 1])


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1)


def mode_of(images: torch.Tensor) -> ComputeMode:
    """The mode in which a forward pass runs."""
    last = images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous()
    return ComputeMode(
        "channels_last" if last else "contiguous",
        "bfloat16" if torch.is_autocast_enabled("cpu") else "float32",
    )


class Watched(nn.Module):
    """A linear model that first calls a function with the mode in which it runs."""

    def __init__(self, first: Callable[[ComputeMode], None]) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)
        # In a tuple, so that copies of the model share it.
        self.first = (first,)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.first[0](mode_of(images))
        logits: torch.Tensor = self.fc(images.mean((2, 3)))
        return logits


def test_four_modes_are_tried_on_a_cpu_the_default_one_first() -> None:
    assert modes(CPU) == ALL


@pytest.mark.parametrize("fast", ALL)
def test_every_mode_is_tried_and_the_fastest_is_chosen(fast: ComputeMode) -> None:
    tried: list[ComputeMode] = []

    def first(mode: ComputeMode) -> None:
        tried.append(mode)
        time.sleep(0.0 if mode == fast else 0.03)

    best, results = probe(Watched(first), IMAGES, LABELS, sgd, nn.CrossEntropyLoss())
    assert best == fast
    assert list(dict.fromkeys(tried)) == ALL
    assert [(row.layout, row.precision) for row in results] == [(mode.layout, mode.precision) for mode in ALL]
    speeds = [row.images_per_s or 0 for row in results]
    assert max(speeds) == speeds[ALL.index(fast)]
    slow = [speed for mode, speed in zip(ALL, speeds, strict=True) if mode != fast]
    assert all(0 < speed <= len(IMAGES) / 0.03 for speed in slow)


def test_a_mode_that_is_far_too_slow_takes_one_step_only() -> None:
    steps = dict.fromkeys(ALL, 0)

    def first(mode: ComputeMode) -> None:
        steps[mode] += 1
        time.sleep(0.8 if mode == ALL[3] else 0.04)

    best, results = probe(Watched(first), IMAGES, LABELS, sgd, nn.CrossEntropyLoss())
    assert best != ALL[3]
    twice = 2 * (1 + PROBE_STEPS)
    assert steps == {ALL[0]: twice, ALL[1]: twice, ALL[2]: twice, ALL[3]: 1}
    assert results[3].images_per_s == pytest.approx(len(IMAGES) / 0.8, rel=0.5)


def test_a_brief_probe_tries_each_mode_for_two_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_module, "PRUNE_RATIO", math.inf)  # on a busy machine a mode may seem too slow
    tried: list[ComputeMode] = []
    _, results = probe(Watched(tried.append), IMAGES, LABELS, sgd, nn.CrossEntropyLoss(), brief=True)
    assert tried == [mode for mode in ALL for _ in range(2)]  # the first of each is the warm-up
    assert all(row.images_per_s for row in results)


@pytest.mark.parametrize(
    "fault", [RuntimeError("no bfloat16 here\nat line 3"), NotImplementedError("no bfloat16 here")]
)
def test_a_mode_that_fails_gives_a_result_with_the_reason(fault: Exception) -> None:
    def first(mode: ComputeMode) -> None:
        if mode.precision == "bfloat16":
            raise fault

    best, results = probe(Watched(first), IMAGES, LABELS, sgd, nn.CrossEntropyLoss())
    assert best.precision == "float32"
    assert [row.images_per_s is None for row in results] == [False, False, True, True]
    assert [row.reason for row in results] == ["", "", "no bfloat16 here", "no bfloat16 here"]


def test_too_little_memory_for_float32_leaves_bfloat16() -> None:
    def first(mode: ComputeMode) -> None:
        if mode.precision == "float32":
            raise torch.OutOfMemoryError

    best, results = probe(Watched(first), IMAGES, LABELS, sgd, nn.CrossEntropyLoss())
    assert best.precision == "bfloat16"
    assert results[0].reason == "OutOfMemoryError"


def test_an_error_on_one_line_if_no_mode_works() -> None:
    def first(mode: ComputeMode) -> None:
        raise torch.OutOfMemoryError("out of memory: 4 GiB wanted\nand so on")

    with pytest.raises(ModelError, match=r"6 images .+4 GiB wanted.+train\.batch_size") as caught:
        probe(Watched(first), IMAGES, LABELS, sgd, nn.CrossEntropyLoss())
    assert "\n" not in str(caught.value)


def test_probing_does_not_change_the_model(tiny: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_module, "PRUNE_RATIO", math.inf)  # on a busy machine a mode may seem too slow
    model = tiny(3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    owners: list[set[int]] = []

    def optimiser(trial: nn.Module) -> torch.optim.Optimizer:
        owners.append({id(parameter) for parameter in trial.parameters()})
        return sgd(trial)

    probe(model, IMAGES, LABELS, optimiser, nn.CrossEntropyLoss())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.conv.weight.is_contiguous()  # type: ignore[union-attr, operator]
    assert len(owners) == 8
    assert not any(own & {id(parameter) for parameter in model.parameters()} for own in owners)


def test_a_step_is_the_optimisers_step_on_the_loss_of_the_batch() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 2))
    twin = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 2))
    twin.load_state_dict(model.state_dict())
    optimiser = sgd(model)
    schedule = torch.optim.lr_scheduler.StepLR(optimiser, 1, gamma=0.5)
    step = TrainStep(model, ComputeMode(), optimiser, nn.CrossEntropyLoss(), schedule)
    for rate in (0.1, 0.05):
        expected = nn.functional.cross_entropy(twin(IMAGES), LABELS)
        gradients = torch.autograd.grad(expected, list(twin.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(twin.parameters(), gradients, strict=True):
                parameter -= rate * gradient
        loss = step(IMAGES, LABELS)
        assert float(loss) == pytest.approx(float(expected.detach()), rel=1e-5)
        assert not loss.requires_grad
        for parameter, other in zip(model.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(parameter, other)
            assert parameter.grad is None


@pytest.mark.parametrize("mode", ALL)
def test_a_step_runs_in_its_mode(mode: ComputeMode) -> None:
    ran: list[ComputeMode] = []
    model = mode.place(Watched(ran.append), CPU)
    TrainStep(model, mode, sgd(model), nn.CrossEntropyLoss())(IMAGES, LABELS)
    assert ran == [mode]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("given", [torch.contiguous_format, torch.channels_last])
def test_a_batch_has_the_strides_of_its_layout_even_if_the_bytes_are_the_same(
    channels: int, given: torch.memory_format
) -> None:
    images = torch.rand(2, channels, 4, 5).contiguous(memory_format=given)
    for mode, strides in (
        (ComputeMode(), (channels * 20, 20, 5, 1)),
        (ComputeMode("channels_last"), (channels * 20, 1, channels * 5, channels)),
    ):
        arranged = mode.arrange(images)
        assert arranged.stride() == strides
        assert torch.equal(arranged, images)


def test_a_placed_model_has_its_weights_in_the_layout(tiny: Make) -> None:
    placed = ComputeMode("channels_last").place(tiny(3), CPU)
    assert placed.conv.weight.is_contiguous(memory_format=torch.channels_last)  # type: ignore[union-attr, operator]
