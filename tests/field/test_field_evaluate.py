from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_bundle
from PIL import Image

from pepr_edge.bundle.read import read_manifest
from pepr_edge.errors import DataError
from pepr_edge.field.evaluate import Faults, Subject, evaluate
from pepr_edge.field.labelled import read_labelled
from pepr_edge.field.report_checksum import is_intact
from pepr_edge.images.preprocess import load_tensor
from pepr_edge.records import Decision, EvaluationReport, EvaluationResult, Refer
from pepr_edge.scoring.intervals import exact_interval
from pepr_edge.scoring.rule import rule_of
from pepr_edge.scoring.subgroups import cell
from pepr_edge.tasks import decide_by
from pepr_edge.tasks.refer import confidence

MARK = "zqxvkj"
COUNT = 40
DECISION = Decision(
    kind="threshold", positive="pneumonia", temperature=0.5, threshold=0.3, target="sensitivity >= 0.90"
)


def site(folder: Path) -> Path:
    """A site's table: its names are planted, and the images are brighter where the label says so."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows = ["path,label,sex,patient"]
    for number in range(COUNT):
        label = tiny_bundle.LABELS[number % 2]
        pixels = rng.integers(0, 120 + 100 * (number % 2), (20, 20), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{MARK}_{number}.png")
        rows.append(f"{MARK}_{number}.png,{label},{'fm'[number // 3 % 2]},{MARK} {number}")
    (folder / f"{MARK}_torn.png").write_bytes((folder / f"{MARK}_0.png").read_bytes()[:60])
    rows.append(f"{MARK}_torn.png,normal,f,{MARK} torn")
    (folder / f"{MARK}.csv").write_text("\n".join(rows) + "\n")
    return folder / f"{MARK}.csv"


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, EvaluationReport, Faults]:
    """A bundle with a stored decision, evaluated on a site's table."""
    folder = tmp_path_factory.mktemp("evaluate")
    bundle = tiny_bundle.write(folder / "01-tiny@16-fp32")
    tiny_bundle.rewrite_manifest(bundle, lambda made: made.replace(decision=DECISION))
    data = site(folder / "site")
    subject = Subject(bundle, read_manifest(bundle), read_manifest(bundle).profile.settings)
    faults = Faults([], [], [])
    done: list[tuple[int, int]] = []
    report = evaluate([subject], read_labelled(data), ["sex"], faults, lambda *step: done.append(step))
    assert done == [(0, number + 1) for number in range(COUNT + 1)]
    return bundle, data, report, faults


def test_confusion_and_metrics_are_those_of_the_files_logits(
    evaluated: tuple[Path, Path, EvaluationReport, Faults],
) -> None:
    bundle, data, report, _ = evaluated
    (result,) = report.results
    spec = read_manifest(bundle).preprocess
    tensor = load_tensor([data.with_name(f"{MARK}_{number}.png") for number in range(COUNT)], spec)
    pixels = np.round((tensor * 0.25 + 0.5) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    logits = tiny_bundle.logits_of(bundle / "model.onnx", pixels, spec).astype(np.float64)
    odds = (logits[:, 1] - logits[:, 0]) / DECISION.temperature
    alarm = 1 / (1 + np.exp(-odds)) >= 0.3
    truth = np.arange(COUNT) % 2 == 1
    counts = [
        [np.sum(~truth & ~alarm), np.sum(~truth & alarm)],
        [np.sum(truth & ~alarm), np.sum(truth & alarm)],
    ]
    assert result.confusion == tuple(tuple(cell(int(count)) for count in row) for row in counts)
    hits = int(counts[1][1])
    sensitivity = result.metrics["sensitivity_at_decision"]
    assert sensitivity is not None
    assert sensitivity.value == hits / 20
    assert sensitivity.ci == pytest.approx(exact_interval(hits, 20))
    assert result.calibration.share_correct == np.mean(alarm == truth)
    assert (result.n, result.unreadable, result.unanswered) == (COUNT, 1, 0)
    assert result.decision == DECISION
    assert {"accuracy", "auroc", "calibrated_expected_calibration_error"} <= set(result.metrics)
    (sex,) = result.subgroups
    assert [group.n for group in sex.groups] == [21, 19]
    assert sex.worst in ("f", "m")


def test_the_report_names_nobody(evaluated: tuple[Path, Path, EvaluationReport, Faults]) -> None:
    _, data, report, faults = evaluated
    text = report.model_dump_json()
    assert MARK not in text
    assert data.parent.name not in text
    assert ".png" not in text
    assert MARK in faults.unreadable[0]  # the user on the site is told


def test_the_checksum_notices_a_change(evaluated: tuple[Path, Path, EvaluationReport, Faults]) -> None:
    report = evaluated[2]
    assert is_intact(EvaluationReport.model_validate_json(report.model_dump_json()))
    result: EvaluationResult = report.results[0]
    assert not is_intact(report.replace(results=(result.replace(n=result.n + 1),)))


def test_too_few_images_and_foreign_classes_give_no_figure(
    evaluated: tuple[Path, Path, EvaluationReport, Faults], tmp_path: Path
) -> None:
    bundle = evaluated[0]
    subject = Subject(bundle, read_manifest(bundle), read_manifest(bundle).profile.settings)
    for name in ("normal/a.png", "pneumonia/b.png"):
        (tmp_path / name).parent.mkdir()
        tiny_bundle.image(tmp_path / name)
    faults = Faults([], [], [])
    assert evaluate([subject], read_labelled(tmp_path), [], faults).results == ()
    assert "at least 5" in faults.bundles[0]
    (tmp_path / "normal").rename(tmp_path / "healthy")
    with pytest.raises(DataError, match="healthy"):
        evaluate([subject], read_labelled(tmp_path), [], faults)


def test_referred_images_are_counted_by_their_reason(tmp_path: Path) -> None:
    bundle = tiny_bundle.write(tmp_path / "bundle")
    data = site(tmp_path / "site")
    logits = np.array([_logits(bundle, data.with_name(f"{MARK}_{number}.png")) for number in range(COUNT)])
    rule = rule_of(DECISION, read_manifest(bundle).labels)
    sure = confidence(logits, rule)
    limit = float(np.sort(sure)[[14, 15]].mean())
    unsure = sure < limit
    refer = Refer(asked="refer_share = 0.5", min_confidence=limit)
    tiny_bundle.rewrite_manifest(bundle, lambda made: made.replace(decision=DECISION.replace(refer=refer)))
    manifest = read_manifest(bundle)
    subject = Subject(bundle, manifest, manifest.profile.settings)
    (result,) = evaluate([subject], read_labelled(data), [], Faults([], [], [])).results
    referred = result.referred
    assert referred is not None
    assert referred.n == 15
    assert referred.reasons == {"confidence": 15}
    assert referred.share == result.metrics["referred_share"]
    assert referred.share is not None
    assert referred.share.value == unsure.mean()
    right = (decide_by(logits, rule) == np.arange(COUNT) % 2)[~unsure]
    others = result.metrics["accuracy_if_answered"]
    assert others is not None
    assert others.value == right.mean()
    assert set(result.metrics) >= set(referred.metrics_of_others)


def _logits(bundle: Path, image: Path) -> np.ndarray:
    spec = read_manifest(bundle).preprocess
    tensor = load_tensor([image], spec)
    pixels = np.round((tensor * 0.25 + 0.5) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    logits: np.ndarray = tiny_bundle.logits_of(bundle / "model.onnx", pixels, spec)[0]
    return logits


def test_several_findings_an_image(tmp_path: Path) -> None:
    bundle = tiny_bundle.write(tmp_path / "bundle")
    decision = Decision(
        kind="thresholds", temperatures=(1.0, 2.0), thresholds=(0.4, 0.6), target="f1", positive=None
    )
    tiny_bundle.rewrite_manifest(
        bundle,
        lambda made: made.replace(decision=decision, task="multilabel", performance_metric="mean_auroc"),
    )
    data = site(tmp_path / "site")
    rows = [line.split(",") for line in data.read_text().splitlines()]
    found = np.array([[number % 2, number // 2 % 2] for number in range(COUNT)])
    lines = ["path,normal,pneumonia,sex"]
    lines += [f"{row[0]},{a},{b},{row[2]}" for row, (a, b) in zip(rows[1:-1], found, strict=True)]
    data.write_text("\n".join(lines) + "\n")
    manifest = read_manifest(bundle)
    subject = Subject(bundle, manifest, manifest.profile.settings)
    (result,) = evaluate([subject], read_labelled(data), ["sex"], Faults([], [], [])).results
    logits = np.array([_logits(bundle, data.with_name(f"{MARK}_{number}.png")) for number in range(COUNT)])
    named = 1 / (1 + np.exp(-logits / np.array([1.0, 2.0]))) >= np.array([0.4, 0.6])
    for number, (labels, table) in enumerate(result.confusion_tables()):
        assert labels[1] == manifest.labels[number]
        for truth in (0, 1):
            for decided in (0, 1):
                both = (found[:, number] == truth) & (named[:, number] == decided)
                assert table[truth][decided] == cell(int(both.sum()))
    assert result.task == "multilabel"
    assert result.metrics["mean_auroc"] is not None
    assert result.subgroups[0].groups[0].metrics["mean_auroc"] is not None
    assert result.calibration.share_correct == np.mean(named == found)
