"""Sides that are run directories."""

from __future__ import annotations

from pathlib import Path

import compare_runs
import numpy as np
import pytest
from compare_runs import ARCHITECTURES, Made, spread
from compare_sides import read

from pepr_edge import compare
from pepr_edge.errors import ScoreError
from pepr_edge.scoring import metrics

pytest.importorskip("scipy")


def test_a_fraction_of_the_data_asks_whether_more_data_pays(tmp_path: Path) -> None:
    a = compare_runs.run(tmp_path / "a", spread(0.7), Made(fraction=1.0))
    b = compare_runs.run(tmp_path / "b", spread(0.6, step=0.02), Made(fraction=0.25))
    both, pairs = read(a, b)
    assert (both.question.text, both.question.treatment) == ("Does more data pay?", 0)
    assert both.question.contrast == "with 100 % instead of 25 % of the training images"
    assert both.question.differs == ("data.fraction: 1.0 in A, 0.25 in B",)
    assert both.warnings == ()
    assert [one.name for one in pairs.a] == [f"{name}@64" for name in ARCHITECTURES]
    first = pairs.a[0]
    assert (first.performance, first.num_params, first.family, first.efficient) == (
        0.7,
        1_000_000,
        "CNN",
        True,
    )
    assert first.resources == {
        "train_energy": 100.0,
        "train_co2eq": 10.0,
        "train_time": 100 / 7,
        "train_memory": 60.0,
        "train_data": 400,
        "latency": 0.01,
        "peak_memory": 50_000_000,
    }
    assert pairs.b[0].resources["train_data"] == 100
    assert set(pairs.together) == {"E", "C", "T", "M", "D", "L", "W", "edge"}


@pytest.mark.parametrize(
    ("a", "b", "text", "contrast"),
    [
        (
            Made(),
            Made(weights="pretrained"),
            "Does pretraining pay?",
            "with pretrained weights instead of training from scratch",
        ),
        (
            Made(weights="pretrained"),
            Made(),
            "Does pretraining pay?",
            "with pretrained weights instead of training from scratch",
        ),
        (
            Made(weights="own.safetensors"),
            Made(),
            "Does pretraining pay?",
            "with weights of own.safetensors instead of training from scratch",
        ),
        (
            Made(weights="own.safetensors"),
            Made(weights="pretrained"),
            "Does B's way pay?",
            "with B's way (candidates.weights) instead of A's",
        ),
        (
            Made(),
            Made(weights="pretrained", fraction=0.5),
            "Does B's way pay?",
            "with B's way (data.fraction, candidates.weights) instead of A's",
        ),
        (
            Made(fraction=0.125),
            Made(),
            "Does more data pay?",
            "with 100 % instead of 12.5 % of the training images",
        ),
        (Made(), Made(seed=1), "Do A and B differ?", "with B's seed instead of A's"),
        (Made(), Made(device="another"), "Do A and B differ?", "with B's device.name instead of A's"),
        (
            Made(),
            Made(device="another", seed=1),
            "Do A and B differ?",
            "with B's seed, device.name instead of A's",
        ),
        (Made(), Made(data="other"), "Do A and B differ?", "with B's data.source instead of A's"),
        (
            Made(),
            Made(data="other", weights="pretrained"),
            "Do A and B differ?",
            "with B's data.source, candidates.weights instead of A's",
        ),
        (
            Made(),
            Made(seed=1, more="[train]\nepochs = 3\n"),
            "Does B's way pay?",
            "with B's way (train.epochs, seed) instead of A's",
        ),
        (
            Made(),
            Made(more="[train]\nepochs = 3\n"),
            "Does B's way pay?",
            "with B's way (train.epochs) instead of A's",
        ),
        (Made(), Made(), "Do A and B differ?", "with B instead of A"),
    ],
)
def test_what_differs_makes_the_question(tmp_path: Path, a: Made, b: Made, text: str, contrast: str) -> None:
    runs = [
        compare_runs.run(tmp_path / name, spread(0.6, count=3), made) for name, made in (("a", a), ("b", b))
    ]
    both, _ = read(*runs)
    assert (both.question.text, both.question.contrast) == (text, contrast)
    expected = 0 if text == "Does pretraining pay?" and b.weights == "scratch" else 1
    assert both.question.treatment == expected


def test_identical_runs_are_said_to_be_identical(tmp_path: Path) -> None:
    runs = [compare_runs.run(tmp_path / name, spread(0.6)) for name in "ab"]
    both, pairs = read(*runs)
    comparison = compare.compare(both, pairs)
    assert comparison.headline.startswith(
        "B changes nothing: with B instead of A, test accuracy is identical in all 8 architectures"
    )
    assert all(
        found.verdict == "identical" and found.paired_p is None
        for found in comparison.tests
        if found.side is None
    )


def test_other_test_images_are_a_warning(tmp_path: Path) -> None:
    a, b = (compare_runs.run(tmp_path / name, spread(0.6), Made(data=name)) for name in ("here", "there"))
    both, _ = read(a, b)
    assert both.question.text == "Do A and B differ?"
    assert "The test images are not the same: here (no, yes) and there (no, yes)." in both.warnings


@pytest.mark.parametrize("made", [Made(data="other"), Made(seed=1), Made(device="another")])
def test_what_is_no_choice_between_two_ways_does_not_pay(tmp_path: Path, made: Made) -> None:
    a, b = (
        compare_runs.run(tmp_path / "a", spread(0.6)),
        compare_runs.run(tmp_path / "b", spread(0.7, step=0.02), made),
    )
    both, pairs = read(a, b)
    headline = compare.compare(both, pairs).headline
    assert headline.startswith("B is better: with B's ")
    assert "pay" not in headline
    assert "pays" not in compare.text(compare.compare(both, pairs)).partition("Within each side:")[0]


@pytest.mark.parametrize(
    ("start", "a_start", "said"),
    [(0.45, 0.6, True), (0.45, 0.45, True), (0.46, 0.46, True), (0.47, 0.47, False)],
)
def test_the_headline_says_when_most_models_learnt_nothing(
    tmp_path: Path, start: float, a_start: float, said: bool
) -> None:
    a, b = (
        compare_runs.run(tmp_path / name, spread(value)) for name, value in (("a", a_start), ("b", start))
    )
    both, pairs = read(a, b)
    comparison = compare.compare(both, pairs)
    assert (
        comparison.headline.endswith(". Most of these models learnt nothing of use, so this says little.")
        == said
    )
    assert any("no better than" in warning for warning in comparison.warnings)


def test_models_that_learnt_nothing_are_counted(tmp_path: Path) -> None:
    runs = [compare_runs.run(tmp_path / name, spread(0.48)) for name in "ab"]
    both, pairs = read(*runs)
    said = "3 of 8 models are no better than always saying the commonest class (accuracy 0.500)"
    assert both.a.warnings == both.b.warnings == (said,)
    assert compare.compare(both, pairs).warnings == (f"A: {said}.", f"B: {said}.")


def test_what_failed_or_was_not_begun_is_left_out(tmp_path: Path) -> None:
    a = compare_runs.run(
        tmp_path / "a", spread(0.6, count=3), Made(failed=("resnet14t",), todo=("resnet18d",))
    )
    b = compare_runs.run(tmp_path / "b", spread(0.7, count=4))
    both, pairs = read(a, b)
    reasons = {absent.name: absent.reason for absent in pairs.left_out}
    assert reasons == {"resnet14t@64": "A: train: the pixels ran out", "resnet18d@64": "A: not done yet"}
    assert both.a.warnings == ("not finished: 3 of 5 candidates are there",)


def test_a_run_without_the_variant_is_read_from_pytorch(tmp_path: Path) -> None:
    a, b = (compare_runs.run(tmp_path / name, spread(0.6), Made(variant="int8_static")) for name in "ab")
    both, pairs = read(a, b)
    assert "PyTorch" in both.a.warnings[0]
    assert set(pairs.together) == {"E", "C", "T", "M", "D"}
    _, chosen = read(a, b, variant="int8_static")
    assert "L" in chosen.together


def test_a_candidate_without_a_profile_still_has_its_performance(tmp_path: Path) -> None:
    a, b = (compare_runs.run(tmp_path / name, spread(0.6), Made(profiled=name == "a")) for name in "ab")
    _, pairs = read(a, b)
    assert len(pairs.a) == 8
    assert "PePR-L left out: latency is known in A alone." in pairs.reasons


def test_methods_of_runs_are_kept_apart(tmp_path: Path) -> None:
    a = compare_runs.run(tmp_path / "a", spread(0.6), Made(method="measured"))
    b = compare_runs.run(tmp_path / "b", spread(0.6), Made(method="declared"))
    _, pairs = read(a, b)
    # CO2eq is computed from the energy.
    assert set(pairs.together) == {"T", "M", "D", "L", "W"}


@pytest.mark.parametrize(
    ("a", "b", "options", "message"),
    [
        (
            Made(),
            Made(metric="auroc"),
            {},
            "A was made for accuracy and B for auroc.*Give --performance NAME, one that both have: accuracy, auroc",
        ),
        (
            Made(variant="int8_static"),
            Made(variant="int8_static"),
            {"metric": "f1"},
            "--performance 'f1': not recorded of the PyTorch models of both runs. Give --performance NAME, one that both have: acc",
        ),
        (Made(), Made(), {"metric": "f2"}, "--performance 'f2': expected one of accuracy, "),
        (
            Made(),
            Made(),
            {"metric": "cohen_kappa"},
            "--performance 'cohen_kappa': expected one of .*Cohen's kappa can be below 0",
        ),
        (
            Made(),
            Made(variant="int8_static"),
            {},
            "variant 'fp32' is in A alone, so the runs cannot be compared by it. The runs have no variant",
        ),
        (
            Made(),
            Made(),
            {"variant": "int9"},
            "variant 'int9' is in neither run, so the runs cannot be compared by it. Give --variant fp32",
        ),
    ],
)
def test_what_runs_do_not_share_is_refused(
    tmp_path: Path, a: Made, b: Made, options: dict[str, str], message: str
) -> None:
    runs = [
        compare_runs.run(tmp_path / name, spread(0.6, count=2), made) for name, made in (("a", a), ("b", b))
    ]
    with pytest.raises(ScoreError, match=message):
        read(*runs, **options)


def test_a_metric_that_both_have_can_be_named(tmp_path: Path) -> None:
    runs = [
        compare_runs.run(tmp_path / name, spread(0.6), Made(metric=metric))
        for name, metric in (("a", "accuracy"), ("b", "auroc"))
    ]
    both, pairs = read(*runs, metric="balanced_accuracy")
    assert both.a.metric == "balanced_accuracy"
    assert "test balanced accuracy" in compare.compare(both, pairs).headline


@pytest.mark.parametrize("metric", ["f1", "sensitivity_at_specificity_0.95"])
def test_a_metric_that_was_not_recorded_comes_from_the_predictions(tmp_path: Path, metric: str) -> None:
    a, b = (compare_runs.run(tmp_path / name, spread(start)) for name, start in (("a", 0.6), ("b", 0.7)))
    both, _ = read(a, b, metric=metric)
    for compared, start in ((both.a, 0.6), (both.b, 0.7)):
        for one, accuracy in zip(compared.models, spread(start).values(), strict=True):
            made = compare_runs.predictions(accuracy)
            assert one.performance == metrics.metric(metric)(
                made["test"], made["test_labels"].astype(np.int64)
            )
