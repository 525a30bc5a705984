"""What the page finds on the images of a site is what `evaluate` finds there, and `rank` reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import task_bundles
from node_tools import runtime_files
from test_web_metrics import INTERVAL
from test_web_page import driven

from pepr_edge.bundle.read import read_manifest
from pepr_edge.field.evaluate import Faults, Subject, evaluate
from pepr_edge.field.labelled import read_labelled
from pepr_edge.field.report_checksum import is_intact
from pepr_edge.kit import web_page
from pepr_edge.kit.check import PAGE
from pepr_edge.records import EvaluationReport, EvaluationResult, Figure, parse_record

GROUPS = ("sex", "age_band")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bundles")
    return {
        name: task_bundles.write(folder / f"0{number}-{name}@16-fp32", name)
        for number, name in enumerate(task_bundles.TASKS)
    }


@pytest.fixture(scope="module")
def found(bundles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the page says of all kinds of tasks, from tables and from folders."""
    runtime = runtime_files("wasm")
    folder = tmp_path_factory.mktemp("site")
    page = folder / PAGE
    page.write_text(web_page.page(bundles.values(), runtime, "2026-01-01"), encoding="utf-8")
    tables = [task_bundles.site(folder / name, name) for name in bundles]
    jobs: list[dict[str, Any]] = [
        {"model": number, "files": sorted(map(str, table.parent.iterdir())), "groups": ", ".join(GROUPS)}
        for number, table in enumerate(tables)
    ]
    from_tables = driven("chromium", page.as_uri(), evaluate=jobs)
    classes = task_bundles.folders(folder / "classes", "grades")
    from_folder = driven("chromium", page.as_uri(), evaluate=[{"model": 1, "folder": str(classes)}])
    return {"tables": from_tables, "table": tables, "folders": from_folder, "folder": classes}


def evaluated(bundle: Path, data: Path, groups: tuple[str, ...] = ()) -> EvaluationResult:
    manifest = read_manifest(bundle)
    subject = Subject(bundle, manifest, manifest.profile.settings)
    report = evaluate([subject], read_labelled(data), groups, Faults([], [], []))
    return report.results[0]


def assert_same(actual: EvaluationResult, expected: EvaluationResult) -> None:
    same = ("bundle", "artifact_sha256", "task", "labels", "decision", "n", "unreadable", "confusion")
    assert actual.model_dump(include=set(same)) == expected.model_dump(include=set(same))
    assert_figures(actual.metrics, expected.metrics)
    assert actual.calibration.share_correct == expected.calibration.share_correct
    assert actual.calibration.mean_probability == pytest.approx(
        expected.calibration.mean_probability, abs=1e-6
    )
    for column, other in zip(actual.subgroups, expected.subgroups, strict=True):
        shape = ("column", "metric", "worst", "hidden_groups", "hidden_images")
        assert column.model_dump(include=set(shape)) == other.model_dump(include=set(shape))
        for group, home in zip(column.groups, other.groups, strict=True):
            assert (group.group, group.n) == (home.group, home.n)
            assert_figures(group.metrics, home.metrics, loose=2 * INTERVAL if group.n >= 20 else 0.3)


def assert_figures(
    actual: dict[str, Figure | None], expected: dict[str, Figure | None], loose: float = 2 * INTERVAL
) -> None:
    assert set(actual) == set(expected)
    for name, figure in expected.items():
        found = actual[name]
        if figure is None or found is None:
            assert figure == found, name
            continue
        assert found.value == pytest.approx(figure.value, abs=1e-6), name
        if not name.endswith("calibration_error"):
            assert found.ci == pytest.approx(figure.ci, abs=loose), name


@pytest.mark.parametrize("name", task_bundles.TASKS)
def test_a_table_with_groups(found: dict[str, Any], bundles: dict[str, Path], name: str) -> None:
    report = parse_record(found["tables"]["evaluation"].encode(), EvaluationReport)
    assert is_intact(report)
    number = list(bundles).index(name)
    assert_same(report.results[number], evaluated(bundles[name], found["table"][number], GROUPS))
    assert found["tables"]["evaluations"][number].startswith(f"{task_bundles.IMAGES} images evaluated, 1 ")
    assert found["tables"]["faults"] == []


def test_a_folder_of_class_folders(found: dict[str, Any], bundles: dict[str, Path]) -> None:
    (result,) = parse_record(found["folders"]["evaluation"].encode(), EvaluationReport).results
    assert_same(result, evaluated(bundles["grades"], found["folder"]))
    assert "1 of other splits or outside" in found["folders"]["evaluations"][0]
