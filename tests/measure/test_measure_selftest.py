from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_bundle
from onnx import numpy_helper

from pepr_edge.bundle.read import read_manifest
from pepr_edge.errors import BundleError, MeasurementError
from pepr_edge.measure import selftest
from pepr_edge.measure.runtimes import RUNTIMES
from pepr_edge.records import Manifest, SessionSettings


def test_a_bundle_passes_where_it_was_made(bundle: Path, manifest: Manifest) -> None:
    result = selftest.run(bundle, manifest, SessionSettings())
    assert result.passed
    assert result.decisions_agree
    assert result.max_abs_diff == 0.0
    assert (result.agreeing, result.n) == (4, 4)


def test_logits_beyond_the_tolerance_fail(own_bundle: Path) -> None:
    with np.load(own_bundle / "selftest.npz") as file:
        pixels, logits = file["pixels"], file["logits"]
    np.savez(own_bundle / "selftest.npz", pixels=pixels, logits=logits + np.float32(0.5))
    result = selftest.run(own_bundle, read_manifest(own_bundle), SessionSettings())
    assert not result.passed
    assert result.decisions_agree
    assert result.max_abs_diff == pytest.approx(0.5)


def test_another_decision_fails_at_any_tolerance(own_bundle: Path) -> None:
    tiny_bundle.rewrite_manifest(
        own_bundle,
        lambda made: made.model_copy(
            update={"selftest": made.selftest.model_copy(update={"tolerance": 1e6})}
        ),
    )
    with np.load(own_bundle / "selftest.npz") as file:
        pixels, logits = file["pixels"], file["logits"]
    np.savez(own_bundle / "selftest.npz", pixels=pixels, logits=logits[:, ::-1])
    result = selftest.run(own_bundle, read_manifest(own_bundle), SessionSettings())
    assert not result.passed
    assert not result.decisions_agree
    assert result.agreeing == 0


def test_logits_that_are_not_finite_are_an_error(own_bundle: Path) -> None:
    broken = tiny_bundle.model()
    broken.graph.initializer[-1].CopyFrom(
        numpy_helper.from_array(np.full(2, np.nan, np.float32), "gemm_bias")
    )
    onnx.save(broken, own_bundle / "model.onnx")
    with pytest.raises(MeasurementError, match="not finite"):
        selftest.run(own_bundle, read_manifest(own_bundle), SessionSettings())


PIXELS = np.zeros((4, 16, 16, 1), np.uint8)
LOGITS = np.zeros((4, 2), np.float32)


@pytest.mark.parametrize(
    "arrays",
    [
        {"pixels": PIXELS},
        {"pixels": PIXELS[:3], "logits": LOGITS[:3]},
        {"pixels": PIXELS.astype(np.float32), "logits": LOGITS},
        {"pixels": PIXELS, "logits": LOGITS + np.nan},
        {"pixels": np.array([{}]), "logits": LOGITS},
    ],
)
def test_an_invalid_selftest_is_one_clear_line(own_bundle: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(own_bundle / "selftest.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(BundleError, match=r"selftest\.npz: .* again\.$"):
        selftest.run(own_bundle, read_manifest(own_bundle), SessionSettings())


ARRAY = (
    b"\x93NUMPY\x01\x00\x76\x00"
    + b"{'descr': '|u1', 'fortran_order': False, 'shape': (2,), }".ljust(117)
    + b"\n\x00\x00"
)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"\x93NUMPY nonsense", ARRAY])
def test_a_torn_selftest_is_one_clear_line(own_bundle: Path, content: bytes) -> None:
    (own_bundle / "selftest.npz").write_bytes(content)
    with pytest.raises(BundleError, match=r"selftest\.npz: not a self-test"):
        selftest.run(own_bundle, read_manifest(own_bundle), SessionSettings())


def test_the_fallback_has_logits_and_a_tolerance_of_its_own(tmp_path: Path) -> None:
    made = tiny_bundle.write(tmp_path / "bundle", fallback=True)
    assert selftest.run(made, read_manifest(made), SessionSettings(), fallback=True).passed
    tiny_bundle.spoil(made, "fallback.onnx")
    assert selftest.run(made, read_manifest(made), SessionSettings()).passed
    assert not selftest.run(made, read_manifest(made), SessionSettings(), fallback=True).passed


def test_a_missing_fallback_is_one_clear_line(bundle: Path, manifest: Manifest, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no float32 fallback"):
        selftest.run(bundle, manifest, SessionSettings(), fallback=True)
    made = tiny_bundle.write(tmp_path / "bundle", fallback=True)
    np.savez(made / "selftest.npz", pixels=PIXELS, logits=LOGITS)
    with pytest.raises(BundleError, match=r"selftest\.npz: .* `fallback_logits`"):
        selftest.run(made, read_manifest(made), SessionSettings(), fallback=True)


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="openvino is not installed")
def test_another_runtime_is_tested_in_a_process_of_its_own(
    bundle: Path, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RUNTIMES["openvino"], "open", None)
    assert selftest.run(bundle, manifest, SessionSettings(runtime="openvino", batch=1)).passed
