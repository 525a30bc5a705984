"""The exported program: batch normalisation is folded, the logits stay the same."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import branches
import numpy as np
import pytest
import torch
from torch import nn

from pepr_edge.errors import ExportError
from pepr_edge.export import program
from pepr_edge.export.fold import fold_batch_norms
from pepr_edge.export.program import write_program

IMAGES = np.random.default_rng(0).normal(size=(5, 1, 12, 12)).astype(np.float32)
TIGHT = 1e-5


class Norms(nn.Module):
    """Two batch normalisations that can be folded, and two that cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.first_norm = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        self.grouped = nn.Conv2d(4, 4, 3, groups=2, bias=False)
        self.grouped_norm = nn.BatchNorm2d(4, affine=False)
        self.read_twice, self.third_norm = nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)
        self.last_norm, self.head = nn.BatchNorm2d(4), nn.Linear(4, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.first_norm(self.first(images)).relu()
        features = self.grouped_norm(self.grouped(features))
        twice = self.read_twice(features)
        features = self.last_norm((self.third_norm(twice) * twice.sigmoid()).relu())
        logits: torch.Tensor = self.head(features.mean((2, 3)))
        return logits


@pytest.fixture
def norms() -> Norms:
    torch.manual_seed(0)
    module = Norms().eval()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.2, 3.0)
    return module


def loaded(folder: Path) -> nn.Module:
    return torch.export.load(folder / "program.pt2").module()


def operators(module: nn.Module) -> Counter[str]:
    return Counter(str(node.target) for node in module.graph.nodes)  # type: ignore[union-attr]


def logits_of(module: nn.Module) -> np.ndarray:
    with torch.inference_mode():
        return module(torch.from_numpy(IMAGES)).numpy()


def test_the_program_is_folded_and_keeps_its_logits(norms: Norms, tmp_path: Path) -> None:
    write_program(norms, IMAGES, TIGHT, tmp_path)
    written = loaded(tmp_path)
    assert operators(written)["aten.batch_norm.default"] == 2
    assert operators(written)["aten.conv2d.default"] == 3
    np.testing.assert_allclose(logits_of(written), logits_of(norms), atol=TIGHT)
    assert not any(name.startswith(("first", "grouped")) for name in written.state_dict())
    assert [path.name for path in tmp_path.iterdir()] == ["program.pt2"]


def test_folding_does_not_change_the_module(norms: Norms) -> None:
    before = logits_of(norms)
    graph = torch.export.export(norms, (torch.from_numpy(IMAGES),)).module()
    with torch.no_grad():
        assert fold_batch_norms(graph) == 2
        assert fold_batch_norms(graph) == 0
    np.testing.assert_array_equal(logits_of(norms), before)


@pytest.mark.parametrize("failure", ["other logits", "an error"])
def test_a_program_that_cannot_be_folded_is_written_as_it_is(
    norms: Norms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    def fold(graph: torch.fx.GraphModule) -> int:
        if failure == "an error":
            raise RuntimeError(failure)
        # A new parameter: the graph shares those of the module.
        graph.get_submodule("head").bias = nn.Parameter(torch.ones(2))
        return 1

    monkeypatch.setattr(program, "fold_batch_norms", fold)
    write_program(norms, IMAGES, TIGHT, tmp_path)
    assert operators(loaded(tmp_path))["aten.batch_norm.default"] == 4
    np.testing.assert_allclose(logits_of(loaded(tmp_path)), logits_of(norms), atol=TIGHT)


def test_the_logits_of_random_weights_are_not_compared(norms: Norms, tmp_path: Path) -> None:
    with torch.no_grad():
        norms.head.weight.fill_(float("nan"))
    write_program(norms, IMAGES, None, tmp_path)
    assert operators(loaded(tmp_path))["aten.batch_norm.default"] == 2


def test_a_module_that_cannot_be_exported_is_named(tmp_path: Path) -> None:
    class Branching(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean((2, 3)) if float(images.sum()) > 0 else images.amax((2, 3))

    with pytest.raises(ExportError, match="program"):
        write_program(Branching(), IMAGES, TIGHT, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_program_of_branches_can_be_merged_first(tmp_path: Path) -> None:
    images = np.random.default_rng(0).normal(size=(3, branches.CHANNELS, 12, 12)).astype(np.float32)
    write_program(branches.network(), images, TIGHT, tmp_path)
    assert operators(loaded(tmp_path))["aten.conv2d.default"] == 2
