"""Run directories as sides."""

from __future__ import annotations

from pathlib import Path

import compare_runs
import numpy as np
import pytest
from compare_runs import ARCHITECTURES, Made, spread
from compare_sides import read

from pepr_edge import compare
from pepr_edge.compare import differences
from pepr_edge.errors import ScoreError
from pepr_edge.records import RunInfo
from pepr_edge.run_dir.reader import load
from pepr_edge.run_dir.store import read_record, write_record
from pepr_edge.scoring import metrics

pytest.importorskip("scipy")


def test_a_fraction_of_the_data_asks_whether_more_data_pays(tmp_path: Path) -> None:
    a = compare_runs.run(tmp_path / "a", spread(0.7), Made(fraction=1.0))
    b = compare_runs.run(tmp_path / "b", spread(0.6, step=0.02), Made(fraction=0.25))
    inputs, pairs = read(a, b)
    assert (inputs.question.text, inputs.question.treatment) == ("Does more data pay off?", 0)
    assert inputs.question.contrast == "with 100 % instead of 25 % of the training images"
    assert inputs.question.differs == ("data.fraction: 1.0 in A, 0.25 in B",)
    assert inputs.warnings == ()
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
    assert set(pairs.joint) == {"E", "C", "T", "M", "D", "L", "W", "edge"}


@pytest.mark.parametrize(
    ("a", "b", "text", "contrast"),
    [
        (
            Made(),
            Made(weights="pretrained"),
            "Does pretraining pay off?",
            "with pretrained weights instead of training from scratch",
        ),
        (
            Made(weights="pretrained"),
            Made(),
            "Does pretraining pay off?",
            "with pretrained weights instead of training from scratch",
        ),
        (
            Made(weights="own.safetensors"),
            Made(),
            "Does pretraining pay off?",
            "with weights of own.safetensors instead of training from scratch",
        ),
        (
            Made(weights="own.safetensors"),
            Made(weights="pretrained"),
            "Does B's way pay off?",
            "with B's way (candidates.weights) instead of A's",
        ),
        # What "auto" found counts, not the recipe's word.
        (
            Made(weights="auto", begun=("scratch",)),
            Made(weights="auto", begun=("pretrained",)),
            "Does pretraining pay off?",
            "with pretrained weights instead of training from scratch",
        ),
        (
            Made(),
            Made(weights="auto", begun=("scratch", "pretrained")),
            "Does B's way pay off?",
            "with B's way (candidates.weights) instead of A's",
        ),
        (
            Made(),
            Made(weights="auto", begun=("scratch",)),
            "Do A and B differ?",
            "with B instead of A",
        ),
        (
            Made(),
            Made(weights="pretrained", fraction=0.5),
            "Does B's way pay off?",
            "with B's way (data.fraction, candidates.weights) instead of A's",
        ),
        (
            Made(fraction=0.125),
            Made(),
            "Does more data pay off?",
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
            "Does B's way pay off?",
            "with B's way (train.epochs, seed) instead of A's",
        ),
        (
            Made(),
            Made(more="[train]\nepochs = 3\n"),
            "Does B's way pay off?",
            "with B's way (train.epochs) instead of A's",
        ),
        (Made(), Made(), "Do A and B differ?", "with B instead of A"),
        (
            Made(weights="pretrained", files=("a" * 64,)),
            Made(weights="pretrained", files=("b" * 64,)),
            "Does B's way pay off?",
            "with B's way (candidates.weights) instead of A's",
        ),
    ],
)
def test_the_differences_decide_the_question(
    tmp_path: Path, a: Made, b: Made, text: str, contrast: str
) -> None:
    runs = [
        compare_runs.run(tmp_path / name, spread(0.6, count=3), made) for name, made in (("a", a), ("b", b))
    ]
    inputs, _ = read(*runs)
    assert (inputs.question.text, inputs.question.contrast) == (text, contrast)
    expected = 0 if text == "Does pretraining pay off?" and b.weights == "scratch" else 1
    assert inputs.question.treatment == expected


def test_identical_runs_have_the_verdict_identical(tmp_path: Path) -> None:
    runs = [compare_runs.run(tmp_path / name, spread(0.6)) for name in "ab"]
    inputs, pairs = read(*runs)
    comparison = compare.compare(inputs, pairs)
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
    inputs, _ = read(a, b)
    assert inputs.question.text == "Do A and B differ?"
    assert "The test images are not the same: here (no, yes) and there (no, yes)." in inputs.warnings


@pytest.mark.parametrize("made", [Made(data="other"), Made(seed=1), Made(device="another")])
def test_a_difference_that_is_no_choice_does_not_pay(tmp_path: Path, made: Made) -> None:
    a = compare_runs.run(tmp_path / "a", spread(0.6))
    b = compare_runs.run(tmp_path / "b", spread(0.7, step=0.02), made)
    comparison = compare.compare(*read(a, b))
    assert comparison.headline.startswith("B is better: with B's ")
    assert "pay" not in comparison.headline
    assert "pays" not in compare.text(comparison).partition("Within each side:")[0]


@pytest.mark.parametrize(
    ("b_start", "a_start", "expected"),
    [(0.45, 0.6, True), (0.45, 0.45, True), (0.46, 0.46, True), (0.47, 0.47, False)],
)
def test_the_headline_warns_if_most_models_learnt_nothing(
    tmp_path: Path, b_start: float, a_start: float, expected: bool
) -> None:
    a = compare_runs.run(tmp_path / "a", spread(a_start))
    b = compare_runs.run(tmp_path / "b", spread(b_start))
    comparison = compare.compare(*read(a, b))
    assert ("no better than guessing" in comparison.headline) == expected
    assert any("no better than" in warning for warning in comparison.warnings)


def test_models_that_learnt_nothing_are_counted(tmp_path: Path) -> None:
    runs = [compare_runs.run(tmp_path / name, spread(0.48)) for name in "ab"]
    inputs, pairs = read(*runs)
    (warning,) = inputs.a.warnings
    assert warning.startswith("3 of 8 models are no better than")
    assert warning.endswith("(accuracy 0.500)")
    assert inputs.b.warnings == (warning,)
    assert compare.compare(inputs, pairs).warnings == (f"A: {warning}.", f"B: {warning}.")


def test_failed_and_unfinished_candidates_are_left_out(tmp_path: Path) -> None:
    a = compare_runs.run(
        tmp_path / "a", spread(0.6, count=3), Made(failed=("resnet14t",), todo=("resnet18d",))
    )
    b = compare_runs.run(tmp_path / "b", spread(0.7, count=4))
    inputs, pairs = read(a, b)
    reasons = {entry.candidate: entry.reason for entry in pairs.left_out}
    assert reasons == {"resnet14t@64": "A: train: the pixels ran out", "resnet18d@64": "A: not done yet"}
    assert inputs.a.warnings == ("not finished: 3 of 5 candidates are there",)


def test_a_run_without_the_variant_is_read_from_pytorch(tmp_path: Path) -> None:
    a, b = (compare_runs.run(tmp_path / name, spread(0.6), Made(variant="int8_static")) for name in "ab")
    inputs, pairs = read(a, b)
    assert "PyTorch" in inputs.a.warnings[0]
    assert set(pairs.joint) == {"E", "C", "T", "M", "D"}
    _, chosen = read(a, b, variant="int8_static")
    assert "L" in chosen.joint


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
    assert set(pairs.joint) == {"T", "M", "D", "L", "W"}


@pytest.mark.parametrize(
    ("a", "b", "options", "message"),
    [
        (
            Made(),
            Made(metric="auroc"),
            {},
            "accuracy and B for auroc.*--performance NAME.*: accuracy, auroc",
        ),
        (
            Made(variant="int8_static"),
            Made(variant="int8_static"),
            {"metric": "f1"},
            "--performance 'f1': not recorded.*: accuracy, auroc",
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
            "variant 'fp32' is in A alone.*no variant in common",
        ),
        (
            Made(),
            Made(),
            {"variant": "int9"},
            "variant 'int9' is in neither run.*--variant fp32",
        ),
    ],
)
def test_a_metric_or_variant_of_one_run_alone_is_refused(
    tmp_path: Path, a: Made, b: Made, options: dict[str, str], message: str
) -> None:
    runs = [
        compare_runs.run(tmp_path / name, spread(0.6, count=2), made) for name, made in (("a", a), ("b", b))
    ]
    with pytest.raises(ScoreError, match=message):
        read(*runs, **options)


def test_a_metric_of_another_class_in_each_run_is_refused(tmp_path: Path) -> None:
    runs = [compare_runs.run(tmp_path / name, spread(0.6)) for name in ("a", "b")]
    info = read_record(runs[1] / "run.json", RunInfo)
    data = info.data.replace(positive="no", positive_by="recipe")
    write_record(runs[1] / "run.json", info.replace(data=data))
    with pytest.raises(ScoreError, match=r"f1 refers to 'yes' in A and to 'no' in B.*\[task\] positive"):
        read(*runs, metric="f1")
    read(*runs, metric="accuracy")


def test_a_metric_that_both_have_can_be_named(tmp_path: Path) -> None:
    runs = [
        compare_runs.run(tmp_path / name, spread(0.6), Made(metric=metric))
        for name, metric in (("a", "accuracy"), ("b", "auroc"))
    ]
    inputs, pairs = read(*runs, metric="balanced_accuracy")
    assert inputs.a.metric == "balanced_accuracy"
    assert "test balanced accuracy" in compare.compare(inputs, pairs).headline


@pytest.mark.parametrize("metric", ["f1", "sensitivity_at_specificity_0.95"])
def test_a_metric_that_was_not_recorded_comes_from_the_predictions(tmp_path: Path, metric: str) -> None:
    a, b = (compare_runs.run(tmp_path / name, spread(start)) for name, start in (("a", 0.6), ("b", 0.7)))
    inputs, _ = read(a, b, metric=metric)
    for compared, start in ((inputs.a, 0.6), (inputs.b, 0.7)):
        for one, accuracy in zip(compared.models, spread(start).values(), strict=True):
            made = compare_runs.predictions(accuracy)
            assert one.performance == metrics.metric(metric)(
                made["test"], made["test_labels"].astype(np.int64)
            )


def test_the_same_words_about_other_weights_are_a_difference(tmp_path: Path) -> None:
    """Which candidates began from scratch counts, not how many; candidates of one run alone do not."""
    names = dict.fromkeys(compare_runs.ARCHITECTURES[:3], 0.8)
    x, y = "a" * 64, "b" * 64
    begun = {
        "a": Made(weights="auto", begun=("scratch", "pretrained", "pretrained"), files=(None, x, x)),
        "b": Made(weights="auto", begun=("pretrained", "scratch", "pretrained"), files=(x, None, x)),
        "c": Made(weights="auto", begun=("pretrained", "pretrained"), files=(x, y)),
        "d": Made(weights="auto", begun=("pretrained",), files=(x, y, y)),
    }
    results = {
        name: load(
            compare_runs.run(tmp_path / name, dict(list(names.items())[: 2 if name == "c" else 3]), made)
        )
        for name, made in begun.items()
    }
    (found,) = differences.differences(results["a"], results["b"])
    assert (found.key, found.a, found.b) == (
        "candidates.weights",
        "1 of 3 from scratch, the others pretrained (mobilenetv2_050@64 scratch and dla46_c@64 aaaaaaaa)",
        "1 of 3 from scratch, the others pretrained (mobilenetv2_050@64 aaaaaaaa and dla46_c@64 scratch)",
    )
    assert list(differences.differences(results["c"], results["d"])) == []
