"""The deployed form of made-up networks; of real architectures in the slow tests."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path

import branches
import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
from branches import CHANNELS, DEPLOYED_PARAMS, PX, TRAINED_PARAMS, network
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pepr_edge.errors import ExportError
from pepr_edge.export import onnx_file
from pepr_edge.export.deployed_form import (
    NOT_MERGED,
    count_parameters,
    deployed_form,
    export_deployed,
)
from pepr_edge.export.untrained import write_untrained
from pepr_edge.recipe import Recipe
from pepr_edge.records import Candidate, Form

IMAGES = np.random.default_rng(0).normal(size=(20, CHANNELS, PX, PX)).astype(np.float32)
TIGHT = 1e-5
AS_TRAINED = Form(trained_params=TRAINED_PARAMS, deployed_params=TRAINED_PARAMS)
MERGED = Form(trained_params=TRAINED_PARAMS, deployed_params=DEPLOYED_PARAMS)
# Convolutions as trained and as deployed.
ARCHITECTURES = {"mobileone_s0": (191, 43), "repvgg_a2": (44, 22), "fastvit_t8": (68, 52)}


def logits_of(module: nn.Module, images: np.ndarray = IMAGES) -> np.ndarray:
    with torch.inference_mode():
        return module.eval()(torch.from_numpy(images)).numpy()


def operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(str(path)).graph.node)


def accept(path: Path) -> None:
    """A check that always passes."""


def only_with(convolutions: int, path: Path) -> None:
    """A check that only files with so many convolutions pass."""
    if operators(path)["Conv"] != convolutions:
        raise ExportError("not faithful")


def test_branches_are_merged_in_a_copy() -> None:
    module = network().train()
    weights = copy.deepcopy(module.state_dict())
    optimiser = torch.optim.SGD(module.parameters(), 0.1)
    deployed = deployed_form(module, IMAGES, TIGHT)
    assert (deployed.form, deployed.note) == (MERGED, "")
    assert count_parameters(deployed.module) == DEPLOYED_PARAMS
    assert not any(layer.training for layer in deployed.module.modules())
    np.testing.assert_allclose(logits_of(deployed.module), logits_of(module), atol=TIGHT)
    assert list(module.state_dict()) == list(weights)
    for name, value in module.state_dict().items():
        assert torch.equal(value, weights[name])
    # The training goes on with the module, and the copy stays as it is.
    before = logits_of(deployed.module)
    module.train()(torch.from_numpy(IMAGES)).sum().backward()
    optimiser.step()
    assert np.abs(logits_of(module) - before).max() > TIGHT
    np.testing.assert_array_equal(logits_of(deployed.module), before)


@pytest.mark.parametrize(
    ("kind", "keyword"),
    [
        (branches.Forgetful, "differ"),
        (branches.Infinite, "nan"),
        (branches.Broken, "AttributeError"),
    ],
)
def test_a_form_that_is_not_the_trained_one_is_refused(kind: type[nn.Module], keyword: str) -> None:
    module = network(kind)
    deployed = deployed_form(module, IMAGES, TIGHT)
    assert deployed.module is module
    assert deployed.form == AS_TRAINED
    assert deployed.note.startswith(NOT_MERGED)
    assert keyword in deployed.note
    assert count_parameters(module) == TRAINED_PARAMS


def test_a_difference_counts_on_every_image() -> None:
    module = network(branches.Forgetful)
    quiet = np.zeros_like(IMAGES)  # of an image of zeros only the biases are left
    with torch.no_grad():
        module.block.second.bias.zero_()  # type: ignore[union-attr]
    assert deployed_form(module, quiet, TIGHT).form == MERGED
    quiet[-1] = IMAGES[-1]
    assert deployed_form(module, quiet, TIGHT).form == AS_TRAINED


def test_the_logits_of_random_weights_are_not_compared() -> None:
    assert deployed_form(network(branches.Forgetful), IMAGES, None).form == MERGED


def test_a_network_without_branches_is_exported_itself() -> None:
    plain = nn.Sequential(nn.Conv2d(CHANNELS, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(400, 2))
    deployed = deployed_form(plain, IMAGES, TIGHT)
    assert (deployed.module is plain, deployed.note) == (True, "")
    count = count_parameters(plain)
    assert deployed.form == Form(trained_params=count, deployed_params=count)


def test_the_file_has_the_deployed_form(tmp_path: Path) -> None:
    module = network()
    deployed, exported = export_deployed(module, IMAGES, TIGHT, tmp_path / "model.onnx", accept)
    assert (deployed.form, exported.exporter) == (MERGED, "torchscript")
    assert operators(tmp_path / "model.onnx")["Conv"] == 1
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    logits = session.run(None, {"pixel_values": IMAGES})[0]
    np.testing.assert_allclose(logits, logits_of(module), atol=TIGHT)


def test_if_its_file_is_not_faithful_the_trained_form_is_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "EXPORTERS", {"torchscript": onnx_file.by_torchscript})
    path = tmp_path / "model.onnx"
    deployed, _ = export_deployed(network(), IMAGES, TIGHT, path, lambda file: only_with(2, file))
    assert deployed.form == AS_TRAINED
    assert "not faithful" in deployed.note
    assert operators(path)["Conv"] == 2
    with pytest.raises(ExportError, match="not faithful"):
        export_deployed(network(), IMAGES, TIGHT, path, lambda file: only_with(7, file))


@pytest.mark.parametrize(
    ("runtime", "variants"), [("onnxruntime", ["fp32", "int8_static"]), ("pytorch", ["fp32"])]
)
def test_an_untrained_candidate_is_screened_in_its_deployed_form(
    tmp_path: Path, runtime: str, variants: list[str]
) -> None:
    candidate = Candidate(architecture="branches", image_size_px=PX, in_channels=CHANNELS, num_classes=2)
    recipe = Recipe.model_validate(
        {
            "name": "test",
            "device": {"name": "test", "runtime": runtime},
            "candidates": {"architectures": ["branches"], "image_size_px": 32},
            "export": {"variants": variants},
        }
    )
    assert write_untrained(network(), candidate, recipe, IMAGES, tmp_path) == {}
    for variant in variants:
        assert operators(tmp_path / variant / "model.onnx")["Conv"] == 1
    if runtime == "pytorch":
        program = torch.export.load(tmp_path / "fp32" / "program.pt2").module()
        assert sum(node.target is torch.ops.aten.conv2d.default for node in program.graph.nodes) == 1


def as_after_training(name: str) -> nn.Module:
    """Return an architecture with batch normalisations that are not the identity."""
    torch.manual_seed(0)
    module = timm.create_model(name, in_chans=1, num_classes=2)
    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            layer.momentum = None
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.1)
    with torch.no_grad():
        for _ in range(2):
            module.train()(torch.rand(8, 1, 64, 64))
    return module.eval()


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures_with_branches_are_deployed_without(tmp_path: Path, name: str) -> None:
    module = as_after_training(name)
    images = np.random.default_rng(0).random((8, 1, 64, 64)).astype(np.float32)
    limit = 1e-3 * float(logits_of(module, images).std())
    convolutions = sum(isinstance(layer, nn.Conv2d) for layer in module.modules())
    deployed, _ = export_deployed(module, images, limit, tmp_path / "model.onnx", accept)
    assert deployed.note == ""
    assert deployed.form.trained_params == count_parameters(module)
    assert deployed.form.deployed_params < deployed.form.trained_params
    found = operators(tmp_path / "model.onnx")
    assert (convolutions, found["Conv"]) == ARCHITECTURES[name]
    assert found["BatchNormalization"] == 0
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"))
    logits = session.run(None, {"pixel_values": images})[0]
    assert np.abs(logits - logits_of(module, images)).max() <= limit
