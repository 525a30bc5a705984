from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import made_records
import numpy as np
import pytest
import small_run
from small_run import Listener

from pepr_edge.engine import this_machine
from pepr_edge.engine.job import CandidateFiles, CandidateJob
from pepr_edge.engine.measurement_host import MeasurementHost
from pepr_edge.errors import MeasurementError
from pepr_edge.export.screened import screened_variants
from pepr_edge.field.verify import check
from pepr_edge.pipeline import Options
from pepr_edge.recipe import Recipe, SearchSettings
from pepr_edge.recipe.settings import resolve
from pepr_edge.records import DeviceProfile, ScreeningResult, SearchLog, SessionSettings, TrainResult
from pepr_edge.run_dir.store import read_record, write_text
from pepr_edge.search import screening
from pepr_edge.search.screening import is_screening_wanted, p90_at_least_s, rejection

MIB = 2**20
TWO = 'variants = ["fp32", "int8_static"]'


def screened(
    variant: str = "fp32",
    latency_s: float = 0.01,
    memory_bytes: int | None = 100 * MIB,
    size_bytes: int = MIB,
) -> ScreeningResult:
    return ScreeningResult(
        key="",
        candidate=made_records.candidate("net"),
        variant=variant,
        size_bytes=size_bytes,
        profile=made_records.profile("net", latency_s, memory_bytes),
    )


def recipe(budgets: str, variants: str = 'variants = ["fp32"]') -> Recipe:
    text = made_records.RECIPE.replace('variants = ["fp32"]', variants)
    return made_records.parse(f"{text}\n[budgets]\n{budgets}\n", Recipe, "made.toml")


@pytest.mark.parametrize(
    ("budgets", "words"),
    [
        ("latency_p90_ms = 9.9", "fp32 latency at p90 10 ms, budget 9.9 ms"),
        ("latency_p90_ms = 10", ""),
        ("peak_memory_mib = 80", "fp32 peak memory 100 MiB, budget 80 MiB"),
        ("peak_memory_mib = 95", ""),  # within the tolerance
        ("size_mib = 0.9", "fp32 file size 1 MiB, budget 0.9 MiB"),
        ("size_mib = 0.99", ""),
        (
            "latency_p90_ms = 5\npeak_memory_mib = 50",
            "fp32 latency at p90 10 ms, budget 5 ms; peak memory 100 MiB, budget 50 MiB",
        ),
    ],
)
def test_a_candidate_is_rejected_beyond_the_uncertainty_of_its_screening(budgets: str, words: str) -> None:
    found = rejection([screened()], recipe(budgets))
    assert found.endswith(words)
    assert bool(found) == bool(words)


def test_a_few_slow_inferences_do_not_reject() -> None:
    """The reported p90 is an upper bound, on the safe side for a budget; a rejection needs a lower bound."""
    latencies = np.r_[np.full(113, 0.005), np.full(15, 0.02)]
    profile = screened().profile
    assert profile is not None
    disturbed = screened().replace(profile=profile.replace(latencies_s=tuple(latencies.tolist())))
    assert rejection([disturbed], recipe("latency_p90_ms = 10")) == ""
    assert p90_at_least_s(latencies.tolist()) == 0.005
    assert p90_at_least_s(np.linspace(0, 1, 1001).tolist()) == pytest.approx(0.9, abs=0.03)
    assert p90_at_least_s(np.linspace(0, 1, 1001).tolist()) < 0.9
    assert p90_at_least_s([0.3, 0.2]) == 0.2


def test_one_variant_within_the_budgets_is_enough_and_the_fastest_is_named() -> None:
    wanted = recipe("latency_p90_ms = 5", TWO)
    assert rejection([screened(), screened("int8_static", 0.004)], wanted) == ""
    assert "int8_static latency at p90 6 ms" in rejection(
        [screened(), screened("int8_static", 0.006)], wanted
    )
    assert rejection([screened()], wanted) == ""  # the other was not measured
    failed = ScreeningResult(
        key="", candidate=made_records.candidate("net"), variant="int8_static", reason="made to fail"
    )
    assert rejection([screened(), failed], wanted) == ""


def test_autotune_may_find_a_faster_variant_than_screening() -> None:
    wanted = recipe("latency_p90_ms = 5", 'variants = "auto"')
    assert screened_variants(wanted.export) == ("fp32", "int8_static")
    assert rejection([screened(), screened("int8_static")], wanted) == ""
    assert rejection([screened(latency_s=0.1), screened("int8_static", 0.09)], wanted) != ""


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ("", False),
        ("[budgets]\nsize_mib = 1", True),
        ('[search]\npolicy = "bounded"', True),
        ("[search]\nmax_energy_wh = 1", True),
    ],
)
def test_screening_is_done_for_budgets_and_searches(more: str, wanted: bool) -> None:
    assert is_screening_wanted(made_records.recipe(more)) is wanted


class FakeDevice:
    """A fake of workers and device: writes the files, returns the given latencies, and counts its calls."""

    def __init__(self, patch: pytest.MonkeyPatch, latencies_s: dict[str, list[float]]) -> None:
        self.latencies_s = latencies_s
        self.measured: list[str] = []
        self.jobs = 0
        patch.setattr(screening, "run_jobs", self.write)
        self.host = MeasurementHost(
            made_records.profile("net").device.machine, self.measure, this_machine.engine(1)
        )

    def write(self, jobs: Sequence[CandidateJob], *_: object) -> None:
        self.jobs += len(jobs)
        for job in jobs:
            for variant in screened_variants(job.recipe.export):
                write_text(Path(job.folder) / "looks" / variant / "model.onnx", variant)

    def measure(self, model: Path, *_: object, **__: object) -> DeviceProfile:
        self.measured.append(model.parent.name)
        profile = made_records.profile("net", self.latencies_s[model.parent.name].pop(0))
        return profile.replace(device=profile.device.replace(cpu=self.host.machine.cpu))


def screen(folder: Path, device: FakeDevice, policy: str) -> dict[str, tuple[ScreeningResult, ...]]:
    results = made_records.results(folder)
    wanted = recipe("latency_p90_ms = 5", TWO)
    if policy:
        wanted = wanted.model_copy(update={"search": SearchSettings(policy="bounded")})
    results = replace(results, recipe=resolve(wanted, None), info=made_records.info("net"))
    return screening.screen(
        results,
        CandidateFiles({(64, "bilinear"): folder}, {}),
        this_machine.engine(1),
        device.host,
        Listener(),
    )


def test_one_screening_within_the_budgets_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = FakeDevice(monkeypatch, {"fp32": [0.004]})
    found = screen(tmp_path, device, "")
    assert [result.variant for result in found["net@64"]] == ["fp32"]
    assert device.measured == ["fp32"]
    assert not list(tmp_path.rglob("model.onnx"))
    assert screen(tmp_path, device, "") == found
    assert (device.jobs, device.measured) == (1, ["fp32"])


def test_a_policy_needs_every_variant_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = FakeDevice(monkeypatch, {"fp32": [0.004], "int8_static": [0.003]})
    screen(tmp_path, device, "bounded")
    screen(tmp_path, device, "bounded")
    assert (device.jobs, device.measured) == (1, ["fp32", "int8_static"])


def test_another_machine_is_screened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = FakeDevice(monkeypatch, {"fp32": [0.004, 0.004]})
    screen(tmp_path, device, "")
    device.host = replace(
        device.host, machine=device.host.machine.model_copy(update={"cpu": "another processor"})
    )
    screen(tmp_path, device, "")
    assert (device.jobs, device.measured) == (2, ["fp32", "fp32"])


def test_a_failed_screening_is_repeated_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = FakeDevice(monkeypatch, {"fp32": [], "int8_static": [0.004]})
    monkeypatch.setattr(FakeDevice, "measure", fails)
    device.host = replace(device.host, profile=device.measure)
    failed = screen(tmp_path, device, "bounded")["net@64"]
    assert [result.reason for result in failed] == ["made to fail", "made to fail"]
    monkeypatch.undo()
    device = FakeDevice(monkeypatch, {"fp32": [0.004], "int8_static": [0.003]})
    repeated = screen(tmp_path, device, "bounded")["net@64"]
    assert [result.reason for result in repeated] == ["", ""]
    assert device.measured == ["fp32", "int8_static"]


def fails(*_: object, **__: object) -> DeviceProfile:
    raise MeasurementError("made to fail")


@pytest.mark.parametrize("again", [0.004, 0.02])
def test_a_rejection_is_measured_again_and_the_faster_result_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: float
) -> None:
    device = FakeDevice(monkeypatch, {"fp32": [0.009, again], "int8_static": [0.008, 0.008]})
    found = screen(tmp_path, device, "")["net@64"]
    assert device.measured == ["fp32", "int8_static", "fp32", "int8_static"]
    assert [screening.latency_s(result) for result in found] == [min(0.009, again), 0.008]
    assert bool(rejection(found, recipe("latency_p90_ms = 5", TWO))) == (again > 0.005)


REAL = small_run.RECIPE.replace(
    f'"{small_run.GOOD}", "{small_run.BAD}"', '"test_resnet", "test_efficientnet", "resnet18d"'
)
REAL = REAL.replace("epochs = 2", "epochs = 9").replace("image_size_px = 48", "image_size_px = 32")
REAL = REAL.replace("[export]", '[export]\nvariants = ["fp32"]')
REAL += """
[budgets]
size_mib = 5.0
[search]
policy = "bounded"
max_energy_wh = {limit}
"""


@pytest.mark.slow
def test_a_real_search_rejects_and_stops_at_its_limit_and_ranks_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    small_run.carry_out(folder, monkeypatch, REAL.format(limit=0.0001), Options(jobs=2))
    first = read_record(folder / "search.json", SearchLog)
    assert [searched.verdict for searched in first.candidates] == ["open", "open", "rejected"]
    assert "file size" in first.candidates[2].reason
    spent_wh = (first.spent_j or 0) / 3600
    epoch_wh = max((searched.full_j or 0) / 9 / 3600 for searched in first.candidates[:2])
    ranking = small_run.carry_out(
        folder, monkeypatch, REAL.format(limit=spent_wh + 1.5 * epoch_wh), Options(jobs=2)
    )
    log = read_record(folder / "search.json", SearchLog)
    (concluded,) = (searched for searched in log.candidates if searched.verdict == "concluded")
    assert concluded.epochs < 9
    trained = read_record(folder / "candidates" / concluded.candidate / "train.json", TrainResult)
    assert (len(trained.epochs), trained.stopped_early) == (concluded.epochs, True)
    assert not (folder / "candidates" / "resnet18d@32" / "training.json").exists()
    assert {row.status for row in ranking.rows if row.architecture == "resnet18d"} == {"over_budget"}
    assert all((row.resources["latency"] or 0) > 0 for row in ranking.rows)
    ranked = [row for row in ranking.rows if row.rank is not None]
    assert {row.candidate for row in ranked} == {concluded.candidate}
    assert all(check(folder / str(row.bundle), SessionSettings()).reasons == [] for row in ranked)
    assert "rejected before training" in (folder / "report.html").read_text()
    actions = [json.loads(line).get("action") for line in (folder / "events.jsonl").read_text().splitlines()]
    assert {"rejected", "train", "stop"} <= set(actions)
    assert not list(folder.glob("candidates/*/looks/*/model.onnx"))
