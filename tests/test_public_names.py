"""What each package offers to the others: the names and modules in its `__all__`."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "pepr_edge"

PUBLIC: dict[str, tuple[str, ...]] = {
    "pepr_edge.bundle": ("best", "hub", "read", "write"),
    "pepr_edge.cli": ("entry",),
    "pepr_edge.compare": ("compare", "pair", "read", "text", "write"),
    "pepr_edge.data": (
        "SKIPPED",
        "DataSettings",
        "Dataset",
        "DatasetSummary",
        "check",
        "columns",
        "describe",
        "files",
        "fingerprint",
        "formats",
        "load",
        "phantom",
        "prepare",
        "read_check",
        "source",
        "source_files",
        "splits",
        "summarise",
    ),
    "pepr_edge.data.check": (
        "CHECKS",
        "Evidence",
        "Scan",
        "found",
        "look",
        "problem_lines",
        "refuse_errors",
        "summary_lines",
        "understood",
    ),
    "pepr_edge.device": (
        "cpu",
        "facts",
        "interference",
        "load",
        "preflight",
        "saturation",
        "system_files",
        "threads",
    ),
    "pepr_edge.energy": ("carbon", "counter", "meter", "nvml", "rapl", "source"),
    "pepr_edge.engine": (
        "engine",
        "engines",
        "job",
        "measurement_host",
        "measuring",
        "stage_clock",
        "step_costs",
    ),
    "pepr_edge.export": (
        "artifact",
        "check",
        "convert",
        "deployed_form",
        "export",
        "onnx_file",
        "options",
        "quantise",
        "screened",
        "select_variant",
        "untrained",
    ),
    "pepr_edge.export.int8": ("form", "search"),
    "pepr_edge.field": ("bench", "predict", "report_checksum", "verify"),
    "pepr_edge.images": ("depth", "dicom", "formats", "preprocess"),
    "pepr_edge.kit": ("check", "make", "platforms"),
    "pepr_edge.measure": (
        "bundle_model",
        "inference_process",
        "interleaved_profiles",
        "interleaved_timing",
        "memory",
        "model_process",
        "process",
        "profile",
        "rules",
        "runtimes",
        "secondary_metrics",
        "selftest",
        "settings",
    ),
    "pepr_edge.measure.runtimes": (
        "BUNDLE_RUNTIMES",
        "RUNTIMES",
        "Runtime",
        "onnxruntime",
        "openvino",
        "pytorch",
    ),
    "pepr_edge.ranking": (
        "Places",
        "certain_places",
        "lowest_skilled",
        "over_budget",
        "places_of",
        "rank",
        "read_reports",
        "to_csv",
    ),
    "pepr_edge.recipe": (
        "AUTO",
        "BILINEAR",
        "FLOAT32",
        "PAPER",
        "PRETRAINED",
        "SCRATCH",
        "Budgets",
        "Bundles",
        "Candidates",
        "Cluster",
        "Data",
        "Device",
        "Export",
        "ProfileSettings",
        "Recipe",
        "ScoreSettings",
        "SearchSettings",
        "Train",
        "WorkerLimits",
        "Workstation",
        "checks",
        "find",
        "init",
        "recipes_dir",
        "resolve",
        "schema",
        "settings",
        "toml",
        "variants",
        "variants_dir",
    ),
    "pepr_edge.recipe.init": (
        "RecipeDraft",
        "RunTimeEstimate",
        "choose",
        "draft",
        "estimate",
        "summary_lines",
        "text",
    ),
    "pepr_edge.records": (
        "MAX_THREADS",
        "NOT_DONE",
        "Agreement",
        "Artifact",
        "Baseline",
        "BenchResult",
        "Bound",
        "Candidate",
        "Columns",
        "CostEstimate",
        "CostProbe",
        "Count",
        "DataCheck",
        "DataInfo",
        "DeviceFacts",
        "DeviceProfile",
        "DeviceWinner",
        "Environment",
        "Epoch",
        "Estimate",
        "Failure",
        "Fallback",
        "FieldReport",
        "FileName",
        "Flips",
        "Form",
        "ImageFacts",
        "InitialWeights",
        "Interpolation",
        "InterruptionLoss",
        "Lifetime",
        "Machine",
        "Manifest",
        "Message",
        "Method",
        "NonNegative",
        "Outcome",
        "Outlier",
        "Parity",
        "Percentiles",
        "Preprocess",
        "Preprocessing",
        "ProbeResult",
        "Problem",
        "ProfileRequest",
        "Provider",
        "Quality",
        "Quantity",
        "Ranking",
        "RankingRow",
        "Record",
        "RulesName",
        "RunInfo",
        "RunSettings",
        "ScreeningResult",
        "SearchLog",
        "SearchedCandidate",
        "Seeds",
        "SelfTestResult",
        "SelfTestSpec",
        "Sensitivity",
        "SessionSettings",
        "SettingsTrial",
        "Severity",
        "Sha256",
        "Split",
        "SplitInfo",
        "StageName",
        "Status",
        "StepCost",
        "Stretch",
        "Sustained",
        "TensorSpec",
        "ThreadTiming",
        "Throughput",
        "TrainCost",
        "TrainResult",
        "TrainingState",
        "Validity",
        "VariantTrial",
        "Verdict",
        "Versioned",
        "WeightsKind",
        "WeightsMatch",
        "WeightsSource",
        "first_fault",
        "other_version",
        "parse_record",
        "plain_name",
    ),
    "pepr_edge.report": ("compare_plots", "figure", "from_run", "html", "plots", "svg", "terminal"),
    "pepr_edge.run_dir": (
        "current",
        "keys",
        "layout",
        "outputs",
        "owned",
        "reader",
        "spent",
        "store",
        "training_files",
        "variant_figures",
    ),
    "pepr_edge.scoring": (
        "bounds",
        "chance",
        "fair_cost",
        "intervals",
        "lifetime",
        "metrics",
        "pepr",
        "percentiles",
        "resources",
        "robustness",
        "stand_in",
    ),
    "pepr_edge.search": (
        "POLICIES",
        "Cost",
        "Decision",
        "Limits",
        "SearchCandidate",
        "Settings",
        "State",
        "candidate_search",
        "decide",
        "jobs",
        "published",
        "regret_curve",
        "repeats",
        "replay",
        "state",
    ),
    "pepr_edge.signing": ("key_files", "openssh", "signatures"),
    "pepr_edge.tables": (
        "BASELINE",
        "Group",
        "Place",
        "ScoreTask",
        "added_columns",
        "check_out",
        "csv_rows",
        "open_table",
        "score_table",
    ),
    "pepr_edge.tasks": (
        "DEFAULT_TASK",
        "TASKS",
        "Decisions",
        "Labels",
        "Logits",
        "Mask",
        "Task",
        "single_label",
        "task_of",
    ),
    "pepr_edge.text": ("robustness", "rows", "sentences", "tables", "units", "weights"),
    "pepr_edge.train": (
        "cost",
        "loop",
        "models",
        "session",
        "setup",
        "step",
        "step_cost",
        "train",
        "weights",
    ),
    "pepr_edge.train.weights": (
        "converting",
        "finding",
        "hub",
        "load",
        "reading",
        "resolving",
    ),
    "pepr_edge.untrusted": ("documents", "files", "npz", "onnx_check", "paths", "read", "redact", "shown"),
    "pepr_edge.zoo": (
        "CHECK_PX",
        "MIN_PX",
        "Architecture",
        "architectures",
        "check",
        "nearest",
        "pretrained",
    ),
    "pepr_edge.zoo.check": ("markdown", "row", "sweep"),
}


def modules() -> dict[str, Path]:
    """All modules by their dotted names; a package is known by its __init__.py."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


def test_every_package_is_listed() -> None:
    packages = {name for name, path in modules().items() if path.name == "__init__.py"} - {"pepr_edge"}
    assert packages == set(PUBLIC)


@pytest.mark.parametrize("package", PUBLIC)
def test_a_package_offers_what_is_listed(package: str) -> None:
    found = importlib.import_module(package)
    assert found.__doc__
    assert tuple(found.__all__) == PUBLIC[package]
    for name in found.__all__:
        assert hasattr(found, name) or importlib.util.find_spec(f"{package}.{name}") is not None


@cache
def imported() -> tuple[tuple[str, str], ...]:
    """Each module with each dotted name that it imports."""
    found = []
    for module, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                found += [(module, f"{node.module}.{alias.name}") for alias in node.names]
    return tuple(found)


@pytest.mark.parametrize("package", PUBLIC)
def test_other_packages_import_no_more_than_it_offers(package: str) -> None:
    for module, name in imported():
        if name.startswith(f"{package}.") and module != package and not module.startswith(f"{package}."):
            assert name.removeprefix(f"{package}.").split(".")[0] in PUBLIC[package], (
                f"{module} imports {name}"
            )
