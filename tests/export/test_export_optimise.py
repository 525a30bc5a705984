"""Graphs after onnxruntime's passes, and our changes after them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_nets
from onnx import helper, numpy_helper

from pepr_edge.export.optimise import optimise


def sliced(folder: Path, *cuts: tuple[int, int, int, int]) -> Path:
    """Save a network with consecutive slices (start, end, axis, step) after its first convolution."""
    model = tiny_nets.convolutions()
    graph, last = model.graph, "conv_0"
    for number, cut in enumerate(cuts):
        names = [f"{word}_{number}" for word in ("start", "end", "axis", "step")]
        graph.initializer.extend(
            numpy_helper.from_array(np.array([value], np.int64), name)
            for name, value in zip(names, cut, strict=True)
        )
        graph.node.insert(
            1 + number, helper.make_node("Slice", [last, *names], [f"slice_{number}"], f"slice{number}")
        )
        last = f"slice_{number}"
    graph.node[1 + len(cuts)].input[0] = last
    onnx.checker.check_model(model)
    onnx.save(model, folder / "source.onnx")
    return folder / "source.onnx"


def operators(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(str(path)).graph.node]


@pytest.mark.parametrize(
    ("cuts", "left"),
    [
        ([(0, tiny_nets.CHANNELS, 1, 1)], 0),
        ([(0, 99, 1, 1), (0, tiny_nets.PX, 2, 1)], 0),
        ([(0, tiny_nets.PX, -1, 1)], 0),
        ([(0, tiny_nets.PX - 1, 3, 1), (0, tiny_nets.CHANNELS, 1, 1)], 1),
        ([(1, tiny_nets.PX, 3, 1)], 1),
        ([(0, tiny_nets.PX, 3, 2)], 1),
        ([(0, -1, 3, 1)], 1),
        ([(0, 3, 0, 1)], 1),  # of the batch, whose size is not known
    ],
)
def test_slices_that_keep_everything_are_removed(
    tmp_path: Path, cuts: list[tuple[int, int, int, int]], left: int
) -> None:
    source = sliced(tmp_path, *cuts)
    optimise(source, tmp_path / "model.onnx", "basic")
    onnx.checker.check_model(str(tmp_path / "model.onnx"))
    assert operators(tmp_path / "model.onnx").count("Slice") == left
    constants = {tensor.name for tensor in onnx.load(str(tmp_path / "model.onnx")).graph.initializer}
    assert len([name for name in constants if name.startswith("start")]) <= left
    np.testing.assert_allclose(tiny_nets.logits(tmp_path / "model.onnx"), tiny_nets.logits(source), atol=1e-6)


def test_a_slice_that_is_the_output_stays(tmp_path: Path) -> None:
    model = tiny_nets.convolutions()
    model.graph.node[-1].output[0] = "inner"
    names = ["start", "end", "axis"]
    model.graph.initializer.extend(
        numpy_helper.from_array(np.array([value], np.int64), name)
        for name, value in zip(names, (0, 2, 1), strict=True)
    )
    model.graph.node.append(helper.make_node("Slice", ["inner", *names], ["logits"]))
    onnx.save(model, tmp_path / "source.onnx")
    optimise(tmp_path / "source.onnx", tmp_path / "model.onnx", "basic")
    assert operators(tmp_path / "model.onnx").count("Slice") == 1
    np.testing.assert_allclose(
        tiny_nets.logits(tmp_path / "model.onnx"), tiny_nets.logits(tmp_path / "source.onnx"), atol=1e-6
    )


def test_basic_keeps_to_the_standard_and_extended_does_not(tmp_path: Path) -> None:
    onnx.save(tiny_nets.convolutions(), tmp_path / "source.onnx")
    domains = {}
    for level in ("basic", "extended"):
        optimise(tmp_path / "source.onnx", tmp_path / f"{level}.onnx", level)  # type: ignore[arg-type]
        model = onnx.load(str(tmp_path / f"{level}.onnx"))
        domains[level] = {node.domain for node in model.graph.node}
        assert {entry.domain for entry in model.opset_import} == domains[level] | {""}
        assert (model.producer_name, model.producer_version) == ("tiny", "1")
    assert domains == {"basic": {""}, "extended": {"", "com.microsoft"}}
