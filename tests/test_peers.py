"""tools/peers.py: its arithmetic, and the turns that the peers take, without any peer."""

from __future__ import annotations

import dataclasses
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import made_peers
import made_records
import numpy as np
import pytest
from made_peers import (
    SETTINGS,
    TOOLS,
    make,
    measure,
    peer,
    peers,
    quality,
    records,
    row,
    table,
    tool,
)

from pepr_edge.errors import MeasurementError, RunError
from pepr_edge.export.quality_gate import assess_quality
from pepr_edge.measure.runtimes import Runtime
from pepr_edge.recipe import Recipe
from pepr_edge.recipe.toml import read
from pepr_edge.records import SessionSettings, SettingsTrial, VariantTrial
from pepr_edge.run_dir.store import read_record
from pepr_edge.zoo import architectures


@pytest.fixture
def two() -> Any:
    return made_peers.two()


def test_percentiles_come_from_the_raw_latencies_and_are_none_without() -> None:
    found = peer("eager", 10)
    assert found.p50_s == pytest.approx(0.010)
    assert found.p90_s == pytest.approx(0.0164)
    assert records.Peer(name="eager", reason="died").p50_s is None
    assert records.Peer(name="eager", reason="died").p90_s is None


def test_ratios_say_how_many_times_as_long_as_ours(two: Any) -> None:
    assert records.ratio(two.rows[0], "eager") == pytest.approx(4)
    assert records.ratio(two.rows[1], "olive") is None
    assert records.ratio(row("small", peer("eager", 1)), "eager") is None  # nothing of ours to compare with
    assert records.ratios(two.rows, "olive") == [pytest.approx(0.4)]


def test_geometric_mean(two: Any) -> None:
    assert records.geometric_mean(records.ratios(two.rows, "eager")) == pytest.approx(6)
    assert records.geometric_mean([]) is None


def test_only_peers_that_pass_the_gate_count_as_the_fastest(two: Any) -> None:
    assert records.fastest(two.rows[0]).name == "onnxruntime"
    assert records.time_to_fastest(two.rows[0]) == pytest.approx(10 / 9)
    assert records.time_to_fastest(two.rows[1]) == pytest.approx(1 / 3)
    assert records.fastest(row("small", peer("eager", 1, wrong=50), peer("ours", 2))) is None
    assert records.time_to_fastest(row("small", peer("eager", 1, wrong=50), peer("ours", 2))) is None


def test_the_gate_is_99_percent_of_accuracy_and_of_balanced_accuracy() -> None:
    assert quality(wrong=1).passed
    assert not quality(wrong=6).passed
    labels = np.array([0] * 190 + [1] * 10)
    before = np.eye(2, dtype=np.float32)[labels]
    after = before.copy()
    after[-5:] = 1 - after[-5:]  # five in 200, but half of the rare class
    found = assess_quality(after, before, labels, measure.GATED, measure.THRESHOLD, SETTINGS)
    assert found.kept["accuracy"] == pytest.approx(0.975)
    assert found.kept["balanced_accuracy"] == pytest.approx(0.75)
    assert not found.passed


def test_the_comparison_survives_its_file_and_keeps_what_is_of_the_same_inputs(
    two: Any, tmp_path: Path
) -> None:
    path = tmp_path / "peers.json"
    peers._write(path, two, two.rows)
    assert read_record(path, records.Comparison) == two
    assert (tmp_path / "peers.md").read_text(encoding="utf-8") == table.page(two, "peers.json")
    kept = peers._current_rows(path, {"small@64": "small", "large@64": "of another checkpoint"})
    assert kept == {"small@64": two.rows[0]}
    assert peers._current_rows(tmp_path / "none.json", {"small@64": "small"}) == {}


class Fake:
    """A contestant whose inferences all take the same time; it dies after so many questions."""

    def __init__(self, latency_s: float, turns: list[str], name: str, dies_after: int = 1000) -> None:
        self.latency_s, self.turns, self.name, self.left = latency_s, turns, name, dies_after

    def time(self, count: int) -> list[float]:
        self.left -= 1
        if self.left < 0:
            raise MeasurementError("/home/someone/olive.onnx: the process was ended by SIGSEGV.")
        self.turns.append(self.name)
        return [self.latency_s * 9] + [self.latency_s] * (count - 1)


def opened(*fakes: Fake) -> list[Any]:
    return [measure.OpenPeer(make.Made(fake.name, Path("model.onnx"), SETTINGS), fake) for fake in fakes]


RULES = {"calibration_images": 1, "validation_images": 1}


def test_peers_take_turns_until_each_has_enough_and_the_first_run_of_a_block_is_left_out() -> None:
    turns: list[str] = []
    found = opened(Fake(0.001, turns, "a"), Fake(0.002, turns, "b"), Fake(0.5, turns, "c"))
    rules = records.Rules(runs=20, seconds=9.0, fewest=4, **RULES)
    assert measure.time_in_rounds(found, rules) == 4
    assert [len(one.latencies_s) for one in found] == [
        20,
        20,
        8,
    ]  # the slow one has short blocks, and enough seconds
    assert set(found[0].latencies_s) == {0.001}
    assert turns[3:] == ["a", "b", "c", "a", "c", "b", "c", "a", "b", "c", "b", "a"]


def test_a_peer_that_dies_is_a_row_with_its_reason_and_the_others_go_on() -> None:
    found = opened(Fake(0.001, [], "a"), Fake(0.001, [], "b", dies_after=3))
    assert measure.time_in_rounds(found, records.Rules(runs=50, seconds=60.0, fewest=30, **RULES)) == 10
    expected = np.eye(2, dtype=np.float32)
    found[0].logits = expected
    found[0].process.provider_used, found[0].process.load_s, found[0].process.first_s = (
        "made",
        0.1,
        0.2,
    )
    alive, dead = (measure._record(one, expected, np.arange(2)) for one in found)
    assert (len(alive.latencies_s), alive.reason, alive.passed) == (50, "", True)
    assert (dead.latencies_s, dead.reason, dead.passed) == (
        (),
        "olive.onnx: the process was ended by SIGSEGV.",
        False,
    )


def test_reasons_hold_no_folders() -> None:
    found = make.without_paths(
        'File "/home/someone/.venv/lib/olive/run.py", line 3:\n cannot open /tmp/x y/z.onnx and/or a/b'
    )
    assert found == 'File "run.py", line 3: cannot open x y/z.onnx and/or a/b'


@pytest.mark.parametrize(
    ("isa", "architecture", "expected"),
    [
        (("avx2", "avx512_vnni"), "x86_64", "avx512_vnni"),
        (("avx2", "avx_vnni"), "x86_64", "avx2"),
        (("asimddp",), "aarch64", "arm64"),
        ((), "arm64", "arm64"),
    ],
)
def test_optimums_preset_follows_the_processor(
    isa: tuple[str, ...], architecture: str, expected: str
) -> None:
    assert make.preset(isa, architecture) == expected


def test_ours_is_what_the_run_chose_and_float32_where_it_chose_nothing(tmp_path: Path) -> None:
    chosen = SessionSettings(runtime="openvino", batch=1)
    entries = [made_records.entry(tmp_path / "candidates", name) for name in ("small", "middle", "large")]
    for entry in entries[:2]:
        (entry.folder / "model.onnx").write_bytes(b"onnx")
    artifact = made_records.artifact("small").model_copy(
        update={"variant": "int8_static", "settings": chosen}
    )
    place = entries[0].folder.with_name("int8_static")
    ladder = made_records.VariantState(
        entries[0].candidate, "int8_static", place, entries[0].trained, artifact, None, None
    )
    found = make.subjects(made_records.results(tmp_path, *entries, ladder), threads=1)
    assert list(found) == ["small@64", "middle@64"]  # the third has no float32 file
    small, middle = found.values()
    assert (small.chosen, small.settings, small.made) == (
        place / "model.onnx",
        chosen,
        "int8_static, openvino, batch 1",
    )
    assert (middle.chosen, middle.settings) == (middle.base, SessionSettings())
    assert "fp32" in middle.made


def test_float32_does_not_pass_for_a_choice_that_is_missing(tmp_path: Path) -> None:
    entry = made_records.entry(tmp_path / "candidates", "small")
    (entry.folder / "model.onnx").write_bytes(b"onnx")
    results = made_records.results(tmp_path, entry)
    auto = results.recipe.model_copy(
        update={"export": results.recipe.export.model_copy(update={"variants": ("auto",)})}
    )
    with pytest.raises(RunError, match="no variant is chosen"):
        make.subjects(dataclasses.replace(results, recipe=auto), threads=1)


def test_a_script_that_fails_gives_its_last_words() -> None:
    assert (
        make.run_script([sys.executable, "-c", "raise SystemExit('no /opt/tool/images here')"])
        == "no images here"
    )
    assert make.run_script([sys.executable, "-c", "import os; os._exit(3)"]) == "ended with status 3"
    assert make.run_script([sys.executable, "-c", ""]) == ""
    assert "cannot be started" in make.run_script(["no-such-python"])


def test_environments_are_asked_for_their_versions() -> None:
    assert make.versions_there(None, ["numpy"]) == {}
    assert make.versions_there(Path(sys.executable), ["numpy"]) == {"numpy": np.__version__}
    with pytest.raises(RunError, match="does not have all of no-such-package"):
        make.versions_there(Path(sys.executable), ["no-such-package"])
    with pytest.raises(RunError, match="cannot be started"):
        make.versions_there(Path("no-such-python"), ["numpy"])


def test_openvinos_weights_count_in_the_size_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "nncf.xml").write_bytes(b"12")
    (tmp_path / "nncf.bin").write_bytes(b"345")
    (tmp_path / "model.onnx").write_bytes(b"6789")
    assert make.size_bytes(tmp_path / "nncf.xml") == 5
    assert make.size_bytes(tmp_path / "model.onnx") == 4


def test_peers_with_a_program_of_their_own_have_all_that_is_asked_of_a_runtime() -> None:
    asked = {name for name in vars(Runtime) if not name.startswith("_")}
    assert "run_all" in asked
    # Asked only of runtimes that run bundles, and of those that the autotuner tries.
    not_of_peers = {"signature", "option_grid", "threads_on", "trial_settings"}
    assert {name for name in asked if not hasattr(tool("peers_torch"), name)} == not_of_peers
    of_openvino = tool("peers_openvino")
    assert {name for name in asked if not hasattr(of_openvino.runtime(), name)} == set()
    assert of_openvino.runtime().open is of_openvino.open


def test_torch_compile_without_a_compiler_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(MeasurementError, match="no g\\+\\+ here"):
        tool("peers_torch")._compile(None)


def test_a_folder_that_is_no_run_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TORCHINDUCTOR_CACHE_DIR"):
        monkeypatch.setenv(name, "to be restored")
    assert peers.main([str(tmp_path / "none"), "--out", str(tmp_path / "peers.json")]) == 1
    assert "not a run directory" in capsys.readouterr().err


def test_a_trial_counts_by_its_final_race() -> None:
    def timing(ratio: float | None) -> SettingsTrial:
        return SettingsTrial(settings=SETTINGS, latency_s=0.01, n=30, ratio_to_float32=ratio)

    trial = VariantTrial(
        variant="int8_mixed", outcome="slower", reason="r", trials=(timing(0.7), timing(0.5))
    )
    assert measure.int8_trial(trial).ratio_to_float32 == 0.5
    assert measure.int8_trial(trial.replace(final=timing(0.6))).ratio_to_float32 == 0.6
    assert measure.int8_trial(trial.replace(trials=())).ratio_to_float32 is None


def test_a_choice_under_another_runtime_is_refused() -> None:
    def subject(runtime: str) -> Any:
        return dataclasses.replace(
            make.Subject(None, Path(), Path(), Path(), SETTINGS, ""),
            settings=SessionSettings(runtime=runtime),
        )

    make.check_runtime({"small": subject("openvino")}, None)
    make.check_runtime({"small": subject("onnxruntime")}, "onnxruntime")
    with pytest.raises(RunError, match=r"openvino for large.*device\.runtime"):
        make.check_runtime({"small": subject("onnxruntime"), "large": subject("openvino")}, "onnxruntime")


def test_the_six_further_architectures_are_drawn_by_lot() -> None:
    twelve = read(TOOLS / "peers.toml", Recipe).candidates.architectures
    commodity = read(TOOLS / "peers_commodity.toml", Recipe)
    others = sorted(
        name for name, known in architectures().items() if known.accepts(224) and name not in twelve
    )
    assert commodity.candidates.architectures[:12] == twelve
    assert set(commodity.candidates.architectures[12:]) == set(random.Random(18).sample(others, 6))
    assert (commodity.device.runtime, commodity.device.allow_bf16) == ("onnxruntime", False)
