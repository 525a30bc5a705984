from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_bundle

from pepr_edge.bundle.hub import hub_config, hub_preprocessor
from pepr_edge.bundle.read import read_manifest
from pepr_edge.device import saturation
from pepr_edge.errors import BundleError
from pepr_edge.field import verify as verify_module
from pepr_edge.field.verify import FallbackTiming, check, read_whole
from pepr_edge.measure.interleaved_timing import TimingRules
from pepr_edge.records import Manifest, SessionSettings
from pepr_edge.run_dir.store import sha256_file, write_record

FALLBACK = "Use its float32 fallback, which passes here"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle.write(tmp_path / "01-tiny@16-fp32")


@pytest.fixture
def with_fallback(tmp_path: Path) -> Path:
    return tiny_bundle.write(tmp_path / "01-tiny@16-int8_static", fallback=True)


@pytest.fixture(autouse=True)
def time_both(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FallbackTiming | None]:
    """Replace the timing of both models by fixed figures, and return the real function."""
    real = verify_module._time_both
    monkeypatch.setattr(verify_module, "_time_both", lambda *_: FallbackTiming(0.0016, 0.0034))
    return real


@pytest.fixture
def without_vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saturation.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(saturation, "isa", lambda: ("avx", "avx2"))


@pytest.fixture
def with_vnni(without_vnni: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saturation, "isa", lambda: ("avx2", "avx_vnni"))


def write_unrunnable_model(path: Path) -> None:
    """Write an intact model that no runtime can run."""
    made = tiny_bundle.model()
    made.graph.node[1].op_type = "NoSuchOperator"
    onnx.save(made, path)


def reasons(bundle: Path) -> list[str]:
    """Return why a bundle does not pass."""
    reasons = check(bundle, SessionSettings()).reasons
    assert all("\n" not in reason for reason in reasons)
    return reasons


def test_a_whole_bundle_passes(bundle: Path) -> None:
    assert reasons(bundle) == []
    assert read_whole(bundle) == read_manifest(bundle)


def test_one_altered_byte_in_any_file_is_found(bundle: Path) -> None:
    for name in read_manifest(bundle).files:
        whole = (bundle / name).read_bytes()
        (bundle / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert [reason.split(":")[0] for reason in reasons(bundle)] == [name]
        with pytest.raises(BundleError, match=f"{name}: sha256"):
            read_whole(bundle)
        (bundle / name).write_bytes(whole)
    assert reasons(bundle) == []


def test_missing_and_extra_files_are_each_named(bundle: Path) -> None:
    (bundle / "MODEL_CARD.md").unlink()
    (bundle / "evil.so").write_text("")
    (bundle / "folder").mkdir()
    names = [reason.split(":")[0] for reason in reasons(bundle)]
    assert names == ["MODEL_CARD.md", "evil.so", "folder"]
    with pytest.raises(BundleError, match=r"MODEL_CARD\.md: missing.* \(2 more\)"):
        read_whole(bundle)


def test_files_of_file_managers_are_no_fault(bundle: Path) -> None:
    for name in (".DS_Store", "Thumbs.db"):
        (bundle / name).write_text("")
    (bundle / "._model.onnx").write_bytes(b"\x00\x05\x16\x07 and more")
    assert reasons(bundle) == []
    (bundle / "._notes").write_text("notes of the user")
    assert "._notes" in reasons(bundle)[0]


def test_a_link_is_not_followed(bundle: Path, tmp_path: Path) -> None:
    (bundle / "model.onnx").rename(tmp_path / "elsewhere.onnx")
    (bundle / "model.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    (reason,) = reasons(bundle)
    assert reason.startswith("model.onnx: a link")


def test_a_model_with_external_weights_is_never_opened(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tiny_bundle.model()
    made.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    made.graph.initializer[0].external_data.add(key="location", value="../../etc/passwd")
    (bundle / "model.onnx").write_bytes(made.SerializeToString())
    tiny_bundle.rewrite_manifest(bundle, lambda made: made)
    monkeypatch.setattr(verify_module.selftest, "run", lambda *_: pytest.fail("opened"))
    (reason,) = reasons(bundle)
    assert reason.startswith("model.onnx: weights in another file")
    with pytest.raises(BundleError, match="weights in another file"):
        read_whole(bundle)


def test_a_file_of_absurd_size_is_not_read(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(bundle / "MODEL_CARD.md", "r+b") as file:
        file.truncate(1 << 40)  # a sparse file takes no space
    monkeypatch.setattr(
        verify_module,
        "sha256_file",
        lambda path: pytest.fail(path.name) if "CARD" in path.name else sha256_file(path),
    )
    assert "MODEL_CARD.md: 1099511627776 bytes, expected at most 16777216" in reasons(bundle)[0]


def test_a_pipe_is_not_waited_for(bundle: Path) -> None:
    (bundle / "MODEL_CARD.md").unlink()
    os.mkfifo(bundle / "MODEL_CARD.md")
    (reason,) = reasons(bundle)
    assert reason.startswith("MODEL_CARD.md: missing")


def test_control_characters_of_a_name_are_escaped(bundle: Path) -> None:
    (bundle / "\x1b[2Jevil\n.so").write_text("")
    (reason,) = reasons(bundle)
    assert reason.startswith("\\x1b[2Jevil\\n.so: not part of the bundle")


@pytest.mark.parametrize(
    ("change", "keyword"),
    [
        (
            lambda made: made.model_copy(update={"labels": made.labels[::-1]}),
            "not as config.json says (label_names, id2label, label2id)",
        ),
        (
            lambda made: made.model_copy(
                update={"preprocess": made.preprocess.model_copy(update={"mean": (0.6,)})}
            ),
            "not as preprocessor_config.json says (image_mean)",
        ),
    ],
    ids=["labels", "mean"],
)
def test_a_manifest_that_was_altered_contradicts_the_hubs_files(
    bundle: Path, change: Callable[[Manifest], Manifest], keyword: str
) -> None:
    made = read_manifest(bundle)
    hubs = {
        "config.json": hub_config(made.architecture, made.labels),
        "preprocessor_config.json": hub_preprocessor(made.preprocess),
    }
    for name, document in hubs.items():
        (bundle / name).write_text(json.dumps(document))
    files = {**made.files, **{name: sha256_file(bundle / name) for name in hubs}}
    write_record(bundle / "manifest.json", made.model_copy(update={"files": files}))
    assert reasons(bundle) == []
    write_record(bundle / "manifest.json", change(read_manifest(bundle)))
    (reason,) = reasons(bundle)
    assert reason.startswith(f"manifest.json: {keyword}: ")
    (bundle / "config.json").write_text("[")
    tiny_bundle.rewrite_manifest(bundle, lambda made: made)
    assert "config.json, which it names, cannot be read" in reasons(bundle)[0]


def test_other_decisions_than_at_home_fail(bundle: Path) -> None:
    onnx.save(tiny_bundle.model(seed=7), bundle / "model.onnx")
    tiny_bundle.rewrite_manifest(bundle, lambda made: made)
    assert reasons(bundle)[0].startswith("self-test: ")


def test_other_logits_than_at_home_fail(bundle: Path) -> None:
    with np.load(bundle / "selftest.npz") as file:
        pixels, logits = file["pixels"], file["logits"]
    np.savez(bundle / "selftest.npz", pixels=pixels, logits=logits + np.float32(0.25))
    tiny_bundle.rewrite_manifest(bundle, lambda made: made)
    assert re.search(r"all 4 decisions agree.* 0\.25.* 0\.001", reasons(bundle)[0])


def test_a_model_that_cannot_run_here_fails(bundle: Path) -> None:
    write_unrunnable_model(bundle / "model.onnx")
    tiny_bundle.rewrite_manifest(bundle, lambda made: made)
    assert "self-test: " in reasons(bundle)[0]
    assert "cannot load" in reasons(bundle)[0]


def test_a_bundle_with_its_fallback_passes(with_fallback: Path) -> None:
    assert reasons(with_fallback) == []


def test_a_model_that_crashes_leaves_its_fallback(with_fallback: Path, without_vnni: None) -> None:
    write_unrunnable_model(with_fallback / "model.onnx")
    tiny_bundle.rewrite_manifest(with_fallback, lambda made: made)
    verdict = check(with_fallback, SessionSettings())
    assert (verdict.selftest, verdict.timing) == (None, None)
    (reason,) = verdict.reasons
    assert reason.startswith("self-test: ")
    assert "saturation" not in reason
    assert reason.endswith(f"{FALLBACK}: pepr-edge predict --fallback")


def test_a_model_that_differs_leaves_its_fallback_with_its_cost(with_fallback: Path, with_vnni: None) -> None:
    tiny_bundle.spoil(with_fallback, "model.onnx")
    verdict = check(with_fallback, SessionSettings())
    assert verdict.selftest is not None
    assert not verdict.selftest.passed
    assert verdict.fallback is not None
    assert verdict.fallback.passed
    assert verdict.timing == (0.0016, 0.0034)
    (reason,) = verdict.reasons
    assert FALLBACK in reason
    assert "2.1 times as long (3.40 ms against 1.60 ms)" in reason
    assert "differ by" in reason
    assert "saturation" not in reason


def test_the_model_and_its_fallback_are_timed_in_turn(
    with_fallback: Path, time_both: Callable[..., FallbackTiming | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    short = TimingRules(warmup_runs=1, warmup_s=0.0, round_runs=1, min_rounds=1, final_runs=2, final_s=0.0)
    monkeypatch.setattr(verify_module, "TIMING_RULES", short)
    manifest = read_manifest(with_fallback)
    settings = SessionSettings()
    verdict = time_both(with_fallback, manifest, settings, settings)
    assert verdict is not None
    assert 0 < min(verdict) <= max(verdict) < 0.1
    (with_fallback / "fallback.onnx").write_bytes(b"no model")
    assert time_both(with_fallback, manifest, settings, settings) is None


def test_int8_saturation_is_called_by_its_name(with_fallback: Path, without_vnni: None) -> None:
    tiny_bundle.spoil(with_fallback, "model.onnx")
    (reason,) = reasons(with_fallback)
    assert reason.startswith("self-test: int8 saturation: ")
    assert " no VNNI instructions" in reason
    assert re.search(r"[0-3] of 4 decisions agree|All 4 decisions agree", reason)
    assert FALLBACK in reason


def test_times_under_an_emulator_say_so(with_fallback: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEPR_EDGE_EMULATED", "Haswell")
    tiny_bundle.spoil(with_fallback, "model.onnx")
    assert " ms, emulated): pepr-edge" in reasons(with_fallback)[0]


def test_a_fallback_that_fails_too_is_not_advised(with_fallback: Path) -> None:
    for name in ("model.onnx", "fallback.onnx"):
        tiny_bundle.spoil(with_fallback, name)
    (reason,) = reasons(with_fallback)
    assert "fallback fails too: " in reason
    assert FALLBACK not in reason


def test_a_fallback_that_fails_alone_is_reported(with_fallback: Path) -> None:
    tiny_bundle.spoil(with_fallback, "fallback.onnx")
    (reason,) = reasons(with_fallback)
    assert reason.startswith("self-test of the fallback: ")
    assert "model itself passes" in reason


def test_it_runs_as_at_home_and_notes_replacements(bundle: Path) -> None:
    notes: list[str] = []
    assert check(bundle, say=notes.append).reasons == []
    assert notes == []
    tiny_bundle.measured_with(bundle, provider="cuda")
    assert check(bundle, say=notes.append).reasons == []
    (note,) = notes
    assert note.startswith("runs on the CPU, not with cuda")
    assert "no CUDAExecutionProvider" in check(bundle, SessionSettings(provider="cuda")).reasons[0]
