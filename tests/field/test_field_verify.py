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
from pepr_edge.field import verify as bundle_verify
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
def raced(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FallbackTiming | None]:
    """No race is run, but is said to have been; the real one is returned."""
    real = bundle_verify._race
    monkeypatch.setattr(bundle_verify, "_race", lambda *_: FallbackTiming(0.0016, 0.0034))
    return real


@pytest.fixture
def without_vnni(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saturation.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(saturation, "isa", lambda: ("avx", "avx2"))


@pytest.fixture
def with_vnni(without_vnni: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saturation, "isa", lambda: ("avx2", "avx_vnni"))


def without_a_runtime_for_it(path: Path) -> None:
    """A model that is whole, and that no runtime can run."""
    made = tiny_bundle.model()
    made.graph.node[1].op_type = "NoSuchOperator"
    onnx.save(made, path)


def reasons(bundle: Path) -> list[str]:
    found = check(bundle, SessionSettings()).reasons
    assert all("\n" not in reason for reason in found)
    return found


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
    found = reasons(bundle)
    assert [reason.split(":")[0] for reason in found] == ["MODEL_CARD.md", "evil.so", "folder"]
    with pytest.raises(BundleError, match=r"MODEL_CARD\.md: missing.* \(2 more\)"):
        read_whole(bundle)


def test_what_file_managers_leave_behind_is_no_fault(bundle: Path) -> None:
    for name in (".DS_Store", "Thumbs.db", "._model.onnx"):
        (bundle / name).write_text("")
    assert reasons(bundle) == []


def test_a_link_is_not_followed(bundle: Path, tmp_path: Path) -> None:
    (bundle / "model.onnx").rename(tmp_path / "elsewhere.onnx")
    (bundle / "model.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    assert reasons(bundle) == ["model.onnx: a link, expected a file. Copy the bundle again."]


def test_a_model_whose_weights_lie_elsewhere_is_never_opened(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tiny_bundle.model()
    made.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    made.graph.initializer[0].external_data.add(key="location", value="../../etc/passwd")
    (bundle / "model.onnx").write_bytes(made.SerializeToString())
    tiny_bundle.rewrite_manifest(bundle, lambda made: made)
    monkeypatch.setattr(bundle_verify.selftest, "run", lambda *_: pytest.fail("opened"))
    assert reasons(bundle) == [
        "model.onnx: weights in another file, expected all of them in this one. Do not use this bundle."
    ]
    with pytest.raises(BundleError, match="weights in another file"):
        read_whole(bundle)


def test_a_file_of_absurd_size_is_not_read(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open(bundle / "MODEL_CARD.md", "r+b") as file:
        file.truncate(1 << 40)  # sparse: it takes no room
    monkeypatch.setattr(
        bundle_verify,
        "sha256_file",
        lambda path: pytest.fail(path.name) if "CARD" in path.name else sha256_file(path),
    )
    assert "MODEL_CARD.md: 1099511627776 bytes, expected at most 16777216" in reasons(bundle)[0]


def test_a_pipe_is_not_waited_for(bundle: Path) -> None:
    (bundle / "MODEL_CARD.md").unlink()
    os.mkfifo(bundle / "MODEL_CARD.md")
    assert reasons(bundle) == ["MODEL_CARD.md: missing. Copy the bundle again."]


def test_a_strangers_name_moves_no_cursor(bundle: Path) -> None:
    (bundle / "\x1b[2Jevil\n.so").write_text("")
    assert reasons(bundle) == ["'\\x1b[2Jevil\\n.so': not part of the bundle. Take it away."]


@pytest.mark.parametrize(
    ("change", "words"),
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
    bundle: Path, change: Callable[[Manifest], Manifest], words: str
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
    assert reasons(bundle) == [f"manifest.json: {words}: it was altered. Copy the bundle again."]
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
    assert "all 4 decisions agree, but logits differ by 0.25, expected at most 0.001" in reasons(bundle)[0]


def test_a_model_that_cannot_run_here_fails(bundle: Path) -> None:
    without_a_runtime_for_it(bundle / "model.onnx")
    tiny_bundle.rewrite_manifest(bundle, lambda made: made)
    assert "self-test: " in reasons(bundle)[0]
    assert "cannot load" in reasons(bundle)[0]


def test_a_bundle_with_its_fallback_passes(with_fallback: Path) -> None:
    assert reasons(with_fallback) == []


def test_a_model_that_crashes_leaves_its_fallback(with_fallback: Path, without_vnni: None) -> None:
    without_a_runtime_for_it(with_fallback / "model.onnx")
    tiny_bundle.rewrite_manifest(with_fallback, lambda made: made)
    found = check(with_fallback, SessionSettings())
    assert (found.selftest, found.race) == (None, None)
    (reason,) = found.reasons
    assert reason.startswith("self-test: ")
    assert "saturation" not in reason
    assert reason.endswith(f"{FALLBACK}: pepr-edge predict --fallback")


def test_a_model_that_differs_leaves_its_fallback_and_says_what_that_costs(
    with_fallback: Path, with_vnni: None
) -> None:
    tiny_bundle.spoil(with_fallback, "model.onnx")
    found = check(with_fallback, SessionSettings())
    assert found.selftest is not None
    assert not found.selftest.passed
    assert found.fallback is not None
    assert found.fallback.passed
    assert found.race == (0.0016, 0.0034)
    (reason,) = found.reasons
    assert reason.endswith(
        f"{FALLBACK} and takes 2.1 times as long (3.40 ms against 1.60 ms): pepr-edge predict --fallback"
    )
    assert "differ by" in reason
    assert "saturation" not in reason


def test_the_race_is_between_the_model_and_its_fallback(
    with_fallback: Path, raced: Callable[..., FallbackTiming | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    short = TimingRules(warmup_runs=1, warmup_s=0.0, round_runs=1, min_rounds=1, final_runs=2, final_s=0.0)
    monkeypatch.setattr(bundle_verify, "TIMING_RULES", short)
    manifest, settings = read_manifest(with_fallback), SessionSettings()
    found = raced(with_fallback, manifest, settings, settings)
    assert found is not None
    assert 0 < min(found) <= max(found) < 0.1
    (with_fallback / "fallback.onnx").write_bytes(b"no model")
    assert raced(with_fallback, manifest, settings, settings) is None


def test_int8_saturation_is_called_by_its_name(with_fallback: Path, without_vnni: None) -> None:
    tiny_bundle.spoil(with_fallback, "model.onnx")
    (reason,) = reasons(with_fallback)
    assert reason.startswith("self-test: int8 saturation: this CPU ")
    assert " no VNNI instructions, so that sums of 8-bit products overflow their 16 bits. " in reason
    assert re.search(
        r"[Tt]he model decides otherwise here than at home: [0-3] of 4 decisions agree|All 4 decisions agree, but",
        reason,
    )
    assert FALLBACK in reason


def test_an_emulators_times_are_called_so(with_fallback: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEPR_EDGE_EMULATED", "Haswell")
    tiny_bundle.spoil(with_fallback, "model.onnx")
    assert " ms, emulated): pepr-edge" in reasons(with_fallback)[0]


def test_a_fallback_that_fails_too_is_not_advised(with_fallback: Path) -> None:
    for name in ("model.onnx", "fallback.onnx"):
        tiny_bundle.spoil(with_fallback, name)
    (reason,) = reasons(with_fallback)
    assert "Nor does its float32 fallback pass: " in reason
    assert FALLBACK not in reason


def test_a_fallback_that_fails_alone_is_said(with_fallback: Path) -> None:
    tiny_bundle.spoil(with_fallback, "fallback.onnx")
    (reason,) = reasons(with_fallback)
    assert reason.startswith("self-test of the fallback: ")
    assert reason.endswith("The model itself passes and can be used.")


def test_it_runs_as_at_home_and_says_where_it_cannot(bundle: Path) -> None:
    told: list[str] = []
    assert check(bundle, say=told.append).reasons == []
    assert told == []
    tiny_bundle.measured_with(bundle, provider="cuda")
    assert check(bundle, say=told.append).reasons == []
    assert [words[:42] for words in told] == ["runs on the CPU, not with cuda as at home:"]
    assert "no CUDAExecutionProvider" in check(bundle, SessionSettings(provider="cuda")).reasons[0]
