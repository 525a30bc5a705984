"""Plausible synthetic records: a run of some architectures in two variants, without any training."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field

import numpy as np

from pepr_edge.records import (
    Artifact,
    Baseline,
    Bound,
    Candidate,
    DataInfo,
    DeviceFacts,
    DeviceProfile,
    Environment,
    Epoch,
    Estimate,
    Failure,
    Flips,
    Manifest,
    Outlier,
    Parity,
    Preprocess,
    ProbeResult,
    Quantity,
    Ranking,
    RankingRow,
    SelfTestSpec,
    Sensitivity,
    SessionSettings,
    SplitInfo,
    TensorSpec,
    TrainCost,
    TrainResult,
    Validity,
)
from pepr_edge.report.html import ReportInput
from pepr_edge.scoring.pepr import RESOURCES, pepr_family, set_id
from pepr_edge.scoring.pepr import resource_bounds as score_bounds
from pepr_edge.scoring.robustness import binomial_performances, rank_spread

ARCHITECTURES = (
    "mobilenetv2_050",
    "mobilenetv3_small_050",
    "mnasnet_100",
    "resnet18d",
    "dla46_c",
    "dla46x_c",
    "ghostnet_100",
    "efficientnet_b0",
    "mobilevitv2_050",
    "edgenext_xx_small",
    "regnetx_002",
    "semnasnet_075",
)
VARIANTS = ("fp32", "int8_static")
N_VAL = 524
N_TEST = 624
WEIGHTS = {"train_energy": 1.0, "latency": 1.0, "peak_memory": 1.0}
BASELINE = 0.625


def digest(text: str) -> str:
    """Return the sha256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def data_info(**changes: object) -> DataInfo:
    """Return data like pneumonia images: two unequal classes."""
    splits = {
        "train": SplitInfo(images=4708, class_counts=(1214, 3494)),
        "val": SplitInfo(images=N_VAL, class_counts=(135, 389)),
        "test": SplitInfo(images=N_TEST, class_counts=(234, 390)),
    }
    values: dict[str, object] = {
        "name": "pneumoniamnist",
        "format": "medmnist",
        "sha256": digest("data"),
        "labels": ("normal", "pneumonia"),
        "channels": 1,
        "splits": splits,
        "majority_baseline": BASELINE,
        "notes": ("splits as published",),
    }
    return DataInfo.model_validate({**values, **changes})


def estimate(value: float, split: str, n: int) -> Estimate:
    """Return a performance with a normal interval, clipped to [0, 1]."""
    half = 1.96 * math.sqrt(value * (1 - value) / n)
    ci = (max(0.0, value - half), min(1.0, value + half))
    return Estimate.model_validate({"value": value, "ci": ci, "split": split, "n": n})


def quantity(value: float | None, method: str = "measured", source: str = "") -> Quantity:
    """Return a quantity; it was not measured if `value` is None."""
    return Quantity.model_validate(
        {"value": value, "method": method if value is not None else "unavailable", "source": source}
    )


def environment(threads: int = 2) -> Environment:
    """Return a small x86 machine."""
    return Environment(
        python="3.11.7",
        platform="Linux-6.1-x86_64",
        cpu="AMD EPYC 9B14",
        cores=2,
        threads=threads,
        versions={"torch": "2.15.0", "timm": "1.0.31", "numpy": "2.4.0"},
    )


def train_result(
    architecture: str, number: int, *, energy: bool = True, size_px: int = 64, epochs: int = 10
) -> TrainResult:
    """Return a trained candidate whose learning curve rises to a performance that depends on its number."""
    rng = np.random.default_rng(number)
    best = 0.80 + 0.015 * (number * 7 % 10)
    curve = [
        best - 0.25 * math.exp(-epoch / 2) + float(rng.normal(0, 0.008)) for epoch in range(1, epochs + 1)
    ]
    seconds = 40.0 + 25 * number
    energy_j = seconds * 2 * 15 if energy else None
    co2eq_g = None if energy_j is None else energy_j / 3.6e6 * 151
    evaluation_j = None if energy_j is None else energy_j / 12
    declared = "15 W per core x CPU seconds (recipe)"
    candidate = Candidate(architecture=architecture, image_size_px=size_px, in_channels=1, num_classes=2)
    return TrainResult(
        key=digest(f"train {architecture}"),
        candidate=candidate,
        preprocess=Preprocess(channels=1, image_size_px=size_px, mean=(0.57,), std=(0.17,)),
        num_params=int(4e5 * 1.35**number),
        checkpoint="checkpoint.safetensors",
        checkpoint_sha256=digest(f"checkpoint {architecture}"),
        data_sha256=digest("data"),
        protocol="default",
        mode="full",
        layout="channels_last",
        precision="bfloat16",
        probes=(ProbeResult(layout="contiguous", precision="float32", images_per_s=376.0),),
        epochs=tuple(
            Epoch(
                epoch=epoch,
                train_loss=0.6 / epoch,
                val_loss=0.7 / epoch,
                val_performance=value,
                duration_s=seconds / epochs,
                energy_j=None,
            )
            for epoch, value in enumerate(curve, 1)
        ),
        best_epoch=int(np.argmax(curve)) + 1,
        stopped_early=False,
        performance_metric="accuracy",
        performance={
            "accuracy": estimate(best - 0.03, "test", N_TEST),
            "val_accuracy": estimate(best, "val", N_VAL),
        },
        cost=TrainCost(
            energy_j=quantity(energy_j, "declared", declared),
            co2eq_g=quantity(co2eq_g, "declared", "DNK 151 g/kWh, Ember 2024"),
            duration_s=quantity(seconds, "measured", "perf_counter"),
            peak_memory_bytes=quantity(900e6 + 3e7 * number, "measured", "VmHWM"),
            gpu_peak_memory_bytes=quantity(None),
            images=quantity(47080, "counted"),
            evaluation_energy_j=quantity(evaluation_j, "declared", declared),
            evaluation_duration_s=quantity(seconds / 12, "measured", "perf_counter"),
        ),
        environment=environment(),
        seed=0,
    )


def artifact(trained: TrainResult, variant: str) -> Artifact:
    """Return a variant of a trained candidate; int8 is smaller and slightly worse."""
    int8 = variant != "fp32"
    before = trained.performance
    loss = 0.006 if int8 else 0.0
    after = {name: estimate(value.value - loss, value.split, value.n) for name, value in before.items()}
    name = trained.candidate.architecture
    return Artifact(
        key=digest(f"export {name} {variant}"),
        candidate=trained.candidate,
        variant=variant,
        path=f"candidates/{trained.candidate.id}/{variant}/model.onnx",
        sha256=digest(f"onnx {trained.candidate.id} {variant}"),
        size_bytes=int(trained.num_params * (1.1 if int8 else 4.02)),
        opset=18,
        exporter="dynamo",
        producer="pytorch 2.15.0",
        dynamic_batch=True,
        parity=Parity(
            images=64,
            batches=(1, 3),
            max_abs_diff=0.3 if int8 else 2e-6,
            tolerance=1.5 if int8 else 1e-3,
            passed=True,
        ),
        flips=Flips(count=7 if int8 else 0, n=N_TEST, ci=(0.0, 0.05)),
        performance=after,
        performance_before=before,
        duration_s=12.0,
    )


def profile(
    exported: Artifact, number: int, *, valid: bool = True, memory: bool = True, samples: int = 200
) -> DeviceProfile:
    """Return an artifact's profile: log-normal latencies around a median that grows with its number."""
    rng = np.random.default_rng(number)
    median = (0.9 + 0.35 * number) * (0.62 if exported.variant != "fp32" else 1.0) * 1e-3
    peak = int(55e6 + 3.1 * exported.size_bytes) if memory else None
    return DeviceProfile(
        key=digest(f"profile {exported.sha256}"),
        artifact_sha256=exported.sha256,
        settings=SessionSettings(threads=2),
        provider_used="CPUExecutionProvider",
        rules="quick",
        input_shape=(1, 1, 64, 64),
        validity=Validity(valid=valid, reasons=() if valid else ("drift of 14 % from first to last third",)),
        latencies_s=tuple(float(value) for value in median * np.exp(rng.normal(0, 0.08, samples))),
        warmup_runs=100,
        import_s=0.21,
        load_s=0.03,
        first_s=0.004,
        peak_memory_bytes=peak,
        memory_stages_bytes={"import": 45_000_000, "load": 50_000_000, "first": 52_000_000, "end": peak},
        cpu_s_per_inference=median * 1.9,
        energy_j_per_inference=quantity(None),
        load_before=0.3,
        load_after=1.1,
        steal_s=0.02,
        device=DeviceFacts(
            cpu="AMD EPYC 9B14",
            architecture="x86_64",
            isa=("avx2", "avx512_vnni"),
            cores=2,
            memory_bytes=8 * 2**30,
            os="Debian GNU/Linux 12",
            python="3.11.7",
            versions={"onnxruntime": "1.32.0", "numpy": "2.4.0"},
        ),
    )


def failure(architecture: str, **changes: object) -> Failure:
    """Return a candidate that failed in training."""
    values: dict[str, object] = {
        "key": digest(f"failure {architecture}"),
        "candidate": Candidate(architecture=architecture, image_size_px=64, in_channels=1, num_classes=2),
        "stage": "train",
        "reason": "image size 64 is no multiple of the block size 8 x 32",
        "log_tail": (
            "Traceback (most recent call last):",
            '  File "timm/halo.py", line 7',
            "AssertionError: 64 % 256",
        ),
    }
    return Failure.model_validate({**values, **changes})


@dataclass(frozen=True)
class Run:
    """All records of a run."""

    data: DataInfo
    ranking: Ranking
    trained: tuple[TrainResult, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    profiles: tuple[DeviceProfile, ...] = ()
    failures: tuple[Failure, ...] = ()
    budgets: dict[str, float] = field(default_factory=dict)


def run(
    architectures: tuple[str, ...] = ARCHITECTURES,
    *,
    failed: tuple[str, ...] = ("halonet26t",),
    budgets: dict[str, float] | None = None,
    energy: bool = True,
    memory: bool = True,
    metric: str = "accuracy",
) -> Run:
    """Return a whole run, ranked as by the pipeline; without `energy` or `memory` these are not measured."""
    budgets = {} if budgets is None else budgets
    trained = tuple(train_result(name, number, energy=energy) for number, name in enumerate(architectures))
    artifacts = tuple(artifact(result, variant) for result in trained for variant in VARIANTS)
    profiles = tuple(
        profile(exported, number // 2, memory=memory, valid=number != 1)
        for number, exported in enumerate(artifacts)
    )
    results = {result.candidate.id: result for result in trained}
    rows = [
        _row(exported, measured, results[exported.candidate.id], budgets)
        for exported, measured in zip(artifacts, profiles, strict=True)
    ]
    failures = tuple(failure(name) for name in failed)
    rows += [_failed_row(failed_candidate) for failed_candidate in failures]
    return Run(data_info(), rank(rows, metric), trained, artifacts, profiles, failures, budgets)


def report_input(run: Run, title: str = "quickstart") -> ReportInput:
    """Return the input of a report on a run."""
    return ReportInput(
        title=title,
        device=run.ranking.device,
        budgets=run.budgets,
        data=run.data,
        ranking=run.ranking,
        trained=run.trained,
        artifacts=run.artifacts,
        profiles=run.profiles,
        failures=run.failures,
    )


def _failed_row(failure: Failure) -> RankingRow:
    return RankingRow(
        rank=None,
        candidate=failure.candidate.id,
        architecture=failure.candidate.architecture,
        variant=None,
        status="failed",
        reason=failure.reason,
    )


def _row(
    exported: Artifact, profile: DeviceProfile, result: TrainResult, budgets: dict[str, float]
) -> RankingRow:
    latency_s = sorted(profile.latencies_s)[int(0.9 * len(profile.latencies_s))]
    budget_s = budgets.get("latency_p90_s", math.inf)
    reason = f"latency at p90 {latency_s * 1e3:.2f} ms, budget {budget_s * 1e3:.2f} ms"
    over_budget = latency_s > budget_s
    validation = exported.performance["val_accuracy"]
    test = exported.performance["accuracy"]
    cost = result.cost
    invalid = "INVALID profile: " + "; ".join(profile.validity.reasons)
    return RankingRow(
        rank=None,
        candidate=exported.candidate.id,
        architecture=exported.candidate.architecture,
        variant=exported.variant,
        status="over_budget" if over_budget else "ok",
        reason=reason if over_budget else "",
        num_params=result.num_params,
        performance=validation.value,
        performance_ci=validation.ci,
        test_performance=test.value,
        test_performance_ci=test.ci,
        resources={
            "train_energy": cost.energy_j.value,
            "train_co2eq": cost.co2eq_g.value,
            "train_time": cost.duration_s.value,
            "train_memory": cost.peak_memory_bytes.value,
            "latency": latency_s,
            "peak_memory": profile.peak_memory_bytes,
            "train_data": 4708.0,
        },
        methods={
            **dict.fromkeys(RESOURCES, "measured"),
            "train_energy": cost.energy_j.method,
            "train_co2eq": cost.co2eq_g.method,
        },
        size_bytes=exported.size_bytes,
        warnings=() if profile.validity.valid else (invalid,),
        artifact_sha256=exported.sha256,
    )


def rank(rows: list[RankingRow], metric: str = "accuracy") -> Ranking:
    """Score and rank rows as the pipeline does, by those weighted resources that were measured."""
    ok = [row for row in rows if row.status == "ok"]
    bounds = _bounds(ok)
    weights = {name: weight for name, weight in WEIGHTS.items() if name in bounds}
    ranked = _spread(_ranked(ok, bounds, weights))
    baseline = None
    outliers: tuple[Outlier, ...] = ()
    winners: dict[str, str | None] = {}
    if ranked:
        outranks = sum((row.pepr["edge"] or 0.0) < BASELINE for row in ranked)
        baseline = Baseline(label="pneumonia", performance=BASELINE, outranks=outranks, of=len(ranked))
        outliers = (OUTLIER,)
        winners = {"minmax": f"{ranked[0].candidate} {ranked[0].variant}", "max": "another@64 fp32"}
    return Ranking(
        performance_metric=metric,
        performance_split="val",
        weights=WEIGHTS,
        normalise="minmax",
        alpha=1.0,
        set_id=set_id([row.artifact_sha256 or "" for row in ok]),
        device="clinic_laptop_2core",
        data="pneumoniamnist",
        majority_baseline=BASELINE,
        bounds=bounds,
        rows=(*ranked, *(row for row in rows if row.status != "ok")),
        baseline=baseline,
        outliers=outliers,
        sensitivity=SENSITIVITY if ranked else (),
        winners=winners,
    )


def _bounds(rows: list[RankingRow]) -> dict[str, Bound]:
    bounds = {}
    for name, (_, unit) in RESOURCES.items():
        values = [row.resources[name] for row in rows]
        known = [value for value in values if value is not None]
        if known:
            bounds[name] = score_bounds(known, unit)
    return bounds


def _ranked(rows: list[RankingRow], bounds: dict[str, Bound], weights: dict[str, float]) -> list[RankingRow]:
    scored = []
    for row in rows:
        normalised, pepr = pepr_family(row.performance or 0.0, row.resources, bounds, weights)
        scored.append(row.model_copy(update={"normalised": normalised, "pepr": pepr}))
    scored.sort(key=lambda row: -(row.pepr["edge"] or 0))
    top = max((row.performance or 0 for row in scored), default=0)
    ranked = []
    for number, row in enumerate(scored, 1):
        tied = (row.performance or 0) > top - 0.008
        skill = ((row.performance or 0.0) - 0.625) / (1 - 0.625)
        changes = {
            "rank": number,
            "tied_with_best": tied,
            "skill": max(0.0, skill),
            "bundle": f"bundles/{number:02d}",
        }
        ranked.append(row.model_copy(update=changes))
    return ranked


def _spread(ranked: list[RankingRow]) -> list[RankingRow]:
    """Add the rank intervals that two hundred images would give."""
    if not ranked:
        return []
    performance = np.array([row.performance or 0.0 for row in ranked])
    edge = np.array([row.pepr["edge"] or 1.0 for row in ranked])
    resource = (performance / edge - 1).clip(0, 1)
    drawn = binomial_performances(performance, np.full(len(ranked), 200.0))
    spread = rank_spread(performance, drawn, resource)
    return [
        row.model_copy(update={"rank_ci": (int(low), int(high)), "p_best": float(p)})
        for row, low, high, p in zip(ranked, spread.low, spread.high, spread.p_best, strict=True)
    ]


OUTLIER = Outlier(name="vgg11@64 fp32", enters=("a@64 fp32", "b@64 fp32"), leaves=("c@64 fp32", "d@64 fp32"))
SENSITIVITY = (
    Sensitivity(
        setting="latency weight",
        at=1 / 3,
        tried=(0, 1),
        stays=(0.1, 0.7),
        winner_below="resnet18d@64 fp32",
        winner_above=None,
    ),
    Sensitivity(
        setting="declared watts, factor",
        at=1,
        tried=(0.25, 4),
        stays=(0.25, 4),
        winner_below=None,
        winner_above=None,
    ),
)


def manifest(**changes: object) -> Manifest:
    """Return the manifest of a bundle."""
    trained = train_result("mobilenetv2_050", 0)
    exported = artifact(trained, "int8_static")
    values: dict[str, object] = {
        "architecture": "mobilenetv2_050",
        "variant": "int8_static",
        "image_size_px": 64,
        "num_params": trained.num_params,
        "labels": ("normal", "pneumonia"),
        "preprocess": trained.preprocess,
        "input": TensorSpec(name="pixel_values", shape=(-1, 1, 64, 64)),
        "output": TensorSpec(name="logits", shape=(-1, 2)),
        "performance": exported.performance,
        "performance_metric": "accuracy",
        "train_cost": trained.cost,
        "profile": profile(exported, 0),
        "pepr": {"E": 0.8, "C": 0.8, "T": 0.7, "M": 0.75, "L": 0.81, "W": None, "edge": 0.79},
        "rank": 1,
        "bounds": {"latency": Bound(lo=0.001, hi=0.01, unit="s")},
        "set_id": "0123456789abcdef",
        "selftest": SelfTestSpec(n=16, tolerance=0.5),
        "provenance": {
            "seed": 0,
            "data_sha256": digest("data"),
            "commit": "0a1b2c3",
            "versions": {"torch": "2.15.0"},
        },
        "files": {"model.onnx": exported.sha256},
    }
    return Manifest.model_validate({**values, **changes})
