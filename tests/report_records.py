"""Plausible synthetic records: a run of some architectures in two variants, without training anything."""

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
from pepr_edge.scoring.pepr import RESOURCES, family, set_id
from pepr_edge.scoring.pepr import bounds as score_bounds
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
N_VAL, N_TEST = 524, 624
WEIGHTS = {"train_energy": 1.0, "latency": 1.0, "peak_memory": 1.0}
BASELINE = 0.625


def digest(text: str) -> str:
    """A sha256 that differs by text."""
    return hashlib.sha256(text.encode()).hexdigest()


def data_info(**changes: object) -> DataInfo:
    """Pneumonia-like data: two unequal classes."""
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
    """A performance with a normal interval, cut to [0, 1]."""
    half = 1.96 * math.sqrt(value * (1 - value) / n)
    return Estimate.model_validate(
        {"value": value, "ci": (max(0.0, value - half), min(1.0, value + half)), "split": split, "n": n}
    )


def quantity(value: float | None, method: str = "measured", source: str = "") -> Quantity:
    """A figure, or one that was not measured."""
    return Quantity.model_validate(
        {"value": value, "method": method if value is not None else "unavailable", "source": source}
    )


def environment(threads: int = 2) -> Environment:
    """A small x86 machine."""
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
    """A trained candidate whose curve rises to a performance that depends on its number."""
    rng = np.random.default_rng(number)
    best = 0.80 + 0.015 * (number * 7 % 10) / 1.0
    curve = [
        best - 0.25 * math.exp(-epoch / 2) + float(rng.normal(0, 0.008)) for epoch in range(1, epochs + 1)
    ]
    seconds = 40.0 + 25 * number
    joules = seconds * 2 * 15 if energy else None
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
                epoch=i,
                train_loss=0.6 / i,
                val_loss=0.7 / i,
                val_performance=value,
                duration_s=seconds / epochs,
                energy_j=None,
            )
            for i, value in enumerate(curve, 1)
        ),
        best_epoch=int(np.argmax(curve)) + 1,
        stopped_early=False,
        performance_metric="accuracy",
        performance={
            "accuracy": estimate(best - 0.03, "test", N_TEST),
            "val_accuracy": estimate(best, "val", N_VAL),
        },
        cost=TrainCost(
            energy_j=quantity(joules, "declared", "15 W per core x CPU seconds (recipe)"),
            co2eq_g=quantity(
                None if joules is None else joules / 3.6e6 * 151, "declared", "DNK 151 g/kWh, Ember 2024"
            ),
            duration_s=quantity(seconds, "measured", "perf_counter"),
            peak_memory_bytes=quantity(900e6 + 3e7 * number, "measured", "VmHWM"),
            gpu_peak_memory_bytes=quantity(None),
            images=quantity(47080, "counted"),
            evaluation_energy_j=quantity(
                None if joules is None else joules / 12, "declared", "15 W per core x CPU seconds (recipe)"
            ),
            evaluation_duration_s=quantity(seconds / 12, "measured", "perf_counter"),
        ),
        environment=environment(),
        seed=0,
    )


def artifact(trained: TrainResult, variant: str) -> Artifact:
    """A variant of a trained candidate; int8 is smaller and a little worse."""
    int8 = variant != "fp32"
    before = trained.performance
    loss = 0.006 if int8 else 0.0
    after = {name: estimate(found.value - loss, found.split, found.n) for name, found in before.items()}
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
    made: Artifact, number: int, *, valid: bool = True, memory: bool = True, samples: int = 200
) -> DeviceProfile:
    """An artifact's profile, latencies log-normal about a median that grows with its number."""
    rng = np.random.default_rng(number)
    median = (0.9 + 0.35 * number) * (0.62 if made.variant != "fp32" else 1.0) * 1e-3
    peak = int(55e6 + 3.1 * made.size_bytes) if memory else None
    return DeviceProfile(
        key=digest(f"profile {made.sha256}"),
        artifact_sha256=made.sha256,
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
    """A candidate that fell over in training."""
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
    """A whole run, ranked as the pipeline ranks. `energy` or `memory` False: that resource was not measured."""
    budgets = {} if budgets is None else budgets
    trained = tuple(train_result(name, number, energy=energy) for number, name in enumerate(architectures))
    made = tuple(artifact(result, variant) for result in trained for variant in VARIANTS)
    profiles = tuple(
        profile(item, number // 2, memory=memory, valid=number != 1) for number, item in enumerate(made)
    )
    results = {result.candidate.id: result for result in trained}
    rows = [
        _row(item, shown, results[item.candidate.id], budgets)
        for item, shown in zip(made, profiles, strict=True)
    ]
    failures = tuple(failure(name) for name in failed)
    rows += [
        RankingRow(
            rank=None,
            candidate=item.candidate.id,
            architecture=item.candidate.architecture,
            variant=None,
            status="failed",
            reason=item.reason,
        )
        for item in failures
    ]
    return Run(data_info(), rank(rows, metric), trained, made, profiles, failures, budgets)


def _row(made: Artifact, shown: DeviceProfile, result: TrainResult, budgets: dict[str, float]) -> RankingRow:
    latency = sorted(shown.latencies_s)[int(0.9 * len(shown.latencies_s))]
    over = "latency_p90_s" in budgets and latency > budgets["latency_p90_s"]
    val, test, cost = made.performance["val_accuracy"], made.performance["accuracy"], result.cost
    measured = {
        "train_energy": cost.energy_j.value,
        "train_co2eq": cost.co2eq_g.value,
        "train_time": cost.duration_s.value,
        "train_memory": cost.peak_memory_bytes.value,
        "latency": latency,
        "peak_memory": shown.peak_memory_bytes,
        "train_data": 4708.0,
    }
    methods = {"train_energy": cost.energy_j.method, "train_co2eq": cost.co2eq_g.method}
    return RankingRow(
        rank=None,
        candidate=made.candidate.id,
        architecture=made.candidate.architecture,
        variant=made.variant,
        status="over_budget" if over else "ok",
        reason=f"latency at p90 {latency * 1e3:.2f} ms, budget {budgets['latency_p90_s'] * 1e3:.2f} ms"
        if over
        else "",
        num_params=result.num_params,
        performance=val.value,
        performance_ci=val.ci,
        test_performance=test.value,
        test_performance_ci=test.ci,
        resources=measured,
        methods={**dict.fromkeys(RESOURCES, "measured"), **methods},
        size_bytes=made.size_bytes,
        warnings=() if shown.validity.valid else ("INVALID profile: " + "; ".join(shown.validity.reasons),),
        artifact_sha256=made.sha256,
    )


def rank(rows: list[RankingRow], metric: str = "accuracy") -> Ranking:
    """Score and rank rows as the pipeline does; those whose weighted resources are missing are scored on the others."""
    ok = [row for row in rows if row.status == "ok"]
    bounds: dict[str, Bound] = {}
    for name, (_, unit) in RESOURCES.items():
        values = [row.resources[name] for row in ok]
        if known := [value for value in values if value is not None]:
            bounds[name] = score_bounds(known, unit)
    weights = {name: weight for name, weight in WEIGHTS.items() if name in bounds}
    scored = []
    for row in ok:
        normalised, pepr = family(row.performance or 0.0, row.resources, bounds, weights)
        scored.append(row.model_copy(update={"normalised": normalised, "pepr": pepr}))
    scored.sort(key=lambda row: -(row.pepr["edge"] or 0))
    top = max((row.performance or 0 for row in scored), default=0)
    ranked = [
        row.model_copy(
            update={
                "rank": number,
                "tied_with_best": (row.performance or 0) > top - 0.008,
                "bundle": f"bundles/{number:02d}",
            }
        )
        for number, row in enumerate(scored, 1)
    ]
    ranked = _spread(ranked)
    outranks = sum((row.pepr["edge"] or 0.0) < BASELINE for row in ranked)
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
        baseline=Baseline(label="pneumonia", performance=BASELINE, outranks=outranks, of=len(ranked))
        if ranked
        else None,
        outliers=(
            Outlier(
                name="vgg11@64 fp32", enters=("a@64 fp32", "b@64 fp32"), leaves=("c@64 fp32", "d@64 fp32")
            ),
        )
        if ranked
        else (),
        sensitivity=SENSITIVITY if ranked else (),
        winners={"minmax": f"{ranked[0].candidate} {ranked[0].variant}", "max": "another@64 fp32"}
        if ranked
        else {},
    )


def _spread(ranked: list[RankingRow]) -> list[RankingRow]:
    """Rank intervals as two hundred images would leave them."""
    if not ranked:
        return []
    performance = np.array([row.performance or 0.0 for row in ranked])
    resource = np.array([(row.performance or 0.0) / (row.pepr["edge"] or 1.0) - 1 for row in ranked]).clip(
        0, 1
    )
    found = rank_spread(
        performance, binomial_performances(performance, np.full(len(ranked), 200.0)), resource
    )
    return [
        row.model_copy(update={"rank_ci": (int(low), int(high)), "p_best": float(p)})
        for row, low, high, p in zip(ranked, found.low, found.high, found.p_best, strict=True)
    ]


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
    """The manifest of one bundle."""
    trained = train_result("mobilenetv2_050", 0)
    made = artifact(trained, "int8_static")
    values: dict[str, object] = {
        "architecture": "mobilenetv2_050",
        "variant": "int8_static",
        "image_size_px": 64,
        "num_params": trained.num_params,
        "labels": ("normal", "pneumonia"),
        "preprocess": trained.preprocess,
        "input": TensorSpec(name="pixel_values", shape=(-1, 1, 64, 64)),
        "output": TensorSpec(name="logits", shape=(-1, 2)),
        "performance": made.performance,
        "performance_metric": "accuracy",
        "train_cost": trained.cost,
        "profile": profile(made, 0),
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
        "files": {"model.onnx": made.sha256},
    }
    return Manifest.model_validate({**values, **changes})
