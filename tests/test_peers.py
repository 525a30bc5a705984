"""tools/peers.py: its arithmetic, its page, and the turns that the peers take, without any peer."""

from __future__ import annotations

import dataclasses
import importlib
import random
import shutil
import sys
from pathlib import Path
from typing import Any

import made_records
import numpy as np
import pytest
import tiny_bundle

from pepr_edge.errors import MeasurementError, RunError
from pepr_edge.export.quality_gate import assess_quality
from pepr_edge.measure.runtimes import Runtime
from pepr_edge.recipe import Recipe
from pepr_edge.recipe.toml import read
from pepr_edge.records import Quality, SessionSettings, SettingsTrial, VariantTrial
from pepr_edge.run_dir.store import read_record
from pepr_edge.zoo import architectures

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / "tools"
SETTINGS = SessionSettings()


def tool(name: str) -> Any:
    """A module of tools/, which is no package."""
    if str(TOOLS) not in sys.path:
        sys.path.insert(0, str(TOOLS))
    return importlib.import_module(name)


peers, make, measure, records, table = (
    tool(f"peers{name}") for name in ("", "_make", "_measure", "_records", "_table")
)


def quality(wrong: int = 0) -> Quality:
    """Of a file that decides so many of 100 images otherwise than PyTorch, which is always right."""
    labels = np.arange(100) % 2
    before = np.eye(2, dtype=np.float32)[labels]
    after = before.copy()
    after[:wrong] = 1 - after[:wrong]
    return assess_quality(after, before, labels, measure.GATED, measure.THRESHOLD, SETTINGS)


def peer(name: str, milliseconds: float, wrong: int = 0) -> Any:
    latencies_s = tuple(milliseconds / 1e3 * share for share in (0.8, 0.9, 1.0, 1.1, 2.0))
    return records.Peer(
        name=name,
        settings=SETTINGS,
        latencies_s=latencies_s,
        quality=quality(wrong),
        size_bytes=3 << 20,
        made="int8, made",
    )


def row(architecture: str, *those: Any) -> Any:
    return records.Architecture(
        key=architecture,
        architecture=architecture,
        image_size_px=64,
        num_params=2_000_000,
        rounds=40,
        peers=those,
    )


def comparison(*rows: Any) -> Any:
    rules = records.Rules(runs=200, seconds=20.0, fewest=30, calibration_images=512, validation_images=100)
    device = tiny_bundle.profile(made_records.digest("any")).device.model_copy(
        update={"cpu": "made cpu", "cores": 1}
    )
    names = {"versions": {"torch": "9.9"}, "olive_versions": {"olive-ai": "8.8"}, "nncf_versions": {}}
    said = {
        "what": "made",
        "threads": 1,
        "data": "made",
        "data_sha256": made_records.digest("data"),
        "preset": "avx2",
    }
    return records.Comparison(**said, **names, rules=rules, device=device, rows=rows)


@pytest.fixture
def two() -> Any:
    """Two architectures: on the first a peer fails the gate, on the second one did not run."""
    first = row(
        "small", peer("eager", 40), peer("onnxruntime", 9), peer("olive", 4, wrong=6), peer("ours", 10)
    )
    dead = records.Peer(name="olive", reason="was ended by SIGSEGV")
    return comparison(first, row("large", peer("eager", 90), peer("onnxruntime", 30), dead, peer("ours", 10)))


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


def test_the_page_has_every_figure_and_no_lines_that_are_too_long(two: Any) -> None:
    page = table.page(two, "peers.json")
    assert "2 architectures trained on made" in page
    assert "11.1% slower in the worst case (small, ORT fp32), and 1.64 times as fast" in page
    assert "| PyTorch eager | 6.00 | 4.00 | 9.00 | 2 |" in page
    assert "| small | 40 (65.6) | **9 (14.8)** | 4 (6.56) † | 10 (16.4) |" in page
    assert "| large | 90 (148) | **30 (49.2)** | - | 10 (16.4) |" in page
    assert "| small | 4.00 | 0.90 | 0.40 † |" in page
    assert "| small | 2.00 | int8, made | 1.111 |" in page
    assert "94.0 / 94.0, 6" in page
    assert "3 / -" in page  # memory was not measured, which is not 0
    assert "| large | Olive static | was ended by SIGSEGV |" in page
    assert "Olive's environment: olive-ai 8.8" in page
    assert "NNCF's environment: " not in page
    assert all(len(line) <= 140 for line in page.splitlines() if not line.startswith(("|", "    ")))


def test_the_page_says_where_ours_fails_the_gate() -> None:
    small = row("small", peer("eager", 3), peer("ours", 1, wrong=9))
    assert "It fails the gate on small." in table.page(comparison(small), "peers.json")


def test_the_page_of_one_runtime_says_so_and_how_it_was_made(two: Any) -> None:
    page = table.page(two.model_copy(update={"runtime": "onnxruntime"}), "peers_commodity.json")
    assert "wrote this page from peers_commodity.json" in page
    assert "bfloat16 is not used" in page
    assert "--runtime onnxruntime --out docs/benchmarks/peers_commodity.json" in page
    assert "OpenVINO NNCF" not in page  # no such peer is in a row


def test_a_page_without_rows_can_be_written() -> None:
    assert "0 architectures" in table.page(comparison(), "peers.json")


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


def test_pytorch_as_a_peer_has_all_that_is_asked_of_a_runtime() -> None:
    asked = {name for name in vars(Runtime) if not name.startswith("_")}
    assert "run_all" in asked
    # Asked only of runtimes that run bundles, and of those that the autotuner tries.
    not_of_peers = {"signature", "option_grid", "trial_settings"}
    assert {name for name in asked if not hasattr(tool("peers_torch"), name)} == not_of_peers


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


def int8_trial(variant: str, outcome: str, ratio: float | None, reason: str = "", remedy: str = "") -> Any:
    return records.Int8Trial(
        variant=variant, outcome=outcome, reason=reason, remedy=remedy, ratio_to_float32=ratio
    )


def test_the_page_says_what_stopped_int8(two: Any) -> None:
    trials = (
        int8_trial("int8_static", "quality", 0.5, "accuracy is 31.0% of float32's"),
        int8_trial("int8_mixed", "chosen", 0.6, "the fastest", "3 of 61 nodes left float32: stem"),
        int8_trial("int8_static_entropy", "not tried", None, "no time"),
    )
    small = two.rows[0].model_copy(update={"int8": trials})
    page = table.page(two.model_copy(update={"rows": (small, two.rows[1])}), "peers.json")
    section = page.split("## int8")[1].split("##")[0]
    assert "1.64 times as fast" in section  # the geometric mean of 0.9 and 3
    assert "0.90 times" in section
    assert "| small | int8_static | 0.50 | quality | accuracy is 31.0% of float32's |" in section
    assert "3 of 61 nodes left float32: stem" in section
    assert "int8_static_entropy" not in section


def test_without_autotuning_the_page_has_no_section_on_int8(two: Any) -> None:
    assert "## int8" not in table.page(two, "peers.json")


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
