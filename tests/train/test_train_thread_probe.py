from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from pepr_edge.train import thread_probe
from pepr_edge.train.step import PROBE_STEPS
from pepr_edge.train.thread_probe import probe_threads

IMAGES = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 0, 1, 0, 1])


class Timed(nn.Module):
    """A linear model whose step takes a given time for each number of threads, by a clock of its own.

    Every thread works `busy` of that time.
    """

    def __init__(self, seconds: dict[int, float], busy: float) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)
        self.seconds = seconds
        self.busy = busy
        self.tried: list[int] = []
        self.now_s = 0.0
        self.cpu_s = 0.0

    def __deepcopy__(self, memo: dict[int, object]) -> Timed:
        return self  # so that the test sees what the probe did

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.tried.append(torch.get_num_threads())
        threads = torch.get_num_threads()
        self.now_s += self.seconds[threads]
        self.cpu_s += self.seconds[threads] * (1 if threads == 1 else self.busy * threads)
        logits: torch.Tensor = self.fc(images.mean((2, 3)))
        return logits


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Timed]:
    """Make a timed model, whose clock is the probe's."""

    def make(seconds: dict[int, float], busy: float = 1.0) -> Timed:
        model = Timed(seconds, busy)
        clocks = SimpleNamespace(perf_counter=lambda: model.now_s, process_time=lambda: model.cpu_s)
        monkeypatch.setattr(thread_probe, "time", clocks)
        return model

    return make


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1)


@pytest.mark.parametrize(
    ("all_s", "one_s", "busy", "expected"),
    [
        (0.1, 0.19, 1.0, 2),  # 1.9 times as fast at 1.05 times the processor time
        (0.2, 0.1, 0.5, 1),
        (0.1, 0.125, 0.7, 1),  # hardly faster
        (0.1, 0.14, 1.0, 1),  # 1.4 times as fast, but at 1.4 times the processor time
    ],
)
def test_one_thread_is_taken_unless_more_are_clearly_better(
    timed: Callable[..., Timed], all_s: float, one_s: float, busy: float, expected: int
) -> None:
    model = timed({2: all_s, 1: one_s}, busy)
    chosen, results = probe_threads(model, IMAGES, LABELS, sgd, nn.CrossEntropyLoss(), threads=2)
    assert chosen == expected
    assert torch.get_num_threads() == expected
    assert model.tried == [2, 1] * (1 + PROBE_STEPS)
    assert [row.threads for row in results] == [2, 1]
    for row, step_s in zip(results, (all_s, one_s), strict=True):
        assert row.images_per_s == pytest.approx(len(IMAGES) / step_s)


def test_one_thread_that_is_far_too_slow_takes_one_step_only(
    timed: Callable[..., Timed],
) -> None:
    model = timed({2: 0.01, 1: 0.8})
    chosen, _ = probe_threads(model, IMAGES, LABELS, sgd, nn.CrossEntropyLoss(), threads=2)
    assert chosen == 2
    assert model.tried == [2, 1]


def test_a_model_that_takes_no_step_keeps_all_threads() -> None:
    class Failing(nn.Linear):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("not implemented")

    arguments = (Failing(3, 2), IMAGES, LABELS, sgd, nn.CrossEntropyLoss())
    assert probe_threads(*arguments, threads=2) == (2, [])
