from __future__ import annotations

import sys

import pytest

from pepr_edge.errors import ExportError
from pepr_edge.export import presets


def test_without_optimum_a_preset_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optimum.onnxruntime.configuration", None)
    with pytest.raises(
        ExportError, match=r"optimum cannot be imported .*'avx2'.* pip install 'pepr_edge\[train\]'"
    ):
        presets.arguments("avx2")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "weights"), [("avx2", "QUInt8"), ("avx512_vnni", "QInt8"), ("arm64", "QInt8")]
)
def test_the_settings_are_those_that_optimum_documents(name: str, weights: str) -> None:
    arguments = presets.arguments(name)
    assert (arguments["activation_qType"].name, arguments["weight_qType"].name) == ("QUInt8", weights)
    assert (arguments["per_channel"], arguments["reduce_range"]) == (True, False)
    assert {"Conv", "Gemm", "MatMul"} <= set(arguments["op_types_to_quantize"])
    assert arguments["extra_options"]["WeightSymmetric"] is True
    assert arguments["extra_options"]["ActivationSymmetric"] is False


@pytest.mark.slow
def test_they_are_read_from_optimum_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    from optimum.onnxruntime.configuration import AutoQuantizationConfig

    real = AutoQuantizationConfig.avx2(is_static=True, per_channel=False, reduce_range=True)
    monkeypatch.setattr(AutoQuantizationConfig, "avx2", lambda is_static: real)
    arguments = presets.arguments("avx2")
    assert (arguments["per_channel"], arguments["reduce_range"]) == (False, True)
