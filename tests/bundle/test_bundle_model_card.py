"""The model card of a bundle."""

from __future__ import annotations

import json

import numpy as np
import pytest
import report_records as records

from pepr_edge.bundle.model_card import model_card
from pepr_edge.records import Agreement, Estimate, Flips, Form, Manifest, Quality, Seeds, SessionSettings
from pepr_edge.scoring.metrics import METRICS
from pepr_edge.text.units import METRIC_NAMES, count, metric


def test_card_holds_what_a_reader_needs() -> None:
    card = model_card(records.manifest(), records.data_info())
    for heading in (
        "Intended use",
        "Performance",
        "On the device",
        "Cost of training",
        "Data",
        "How to use it",
        "Limits",
        "Provenance",
    ):
        assert f"\n## {heading}\n" in card
    assert "**This is not a medical device**" in card
    assert "| accuracy | 0.764 (0.731 to 0.797) | test | 624 |" in card
    assert "| energy | 0.333 Wh | declared | 15 W per core x CPU seconds (recipe) |" in card
    assert "| peak GPU memory | not measured | unavailable |  |" in card
    assert "mean 0.57, std 0.17" in card
    assert "0 normal, 1 pneumonia" in card
    assert "| normal | 1,214 | 135 | 234 |" in card
    assert "The positive class is pneumonia, which nobody has confirmed" in card
    confirmed = records.data_info().replace(positive="normal", positive_by="recipe")
    assert "The positive class is normal. " in model_card(records.manifest(), confirmed)
    assert "with seed 0" in card
    assert records.digest("data") in card


def test_real_images_in_the_bundle_are_named() -> None:
    made = records.manifest()
    card = model_card(made, records.data_info())
    assert "on 16 generated images." in card
    assert "no image of the data" in card
    given = made.model_copy(update={"selftest": made.selftest.model_copy(update={"n": 17, "real_images": 1})})
    card = model_card(given, records.data_info())
    assert "on 16 generated images and 1 image of the data" in card
    assert "**`selftest.npz` holds real images" in card


def test_the_card_says_how_many_seeds_there_were_and_what_they_reach() -> None:
    once = model_card(records.manifest(), records.data_info())
    assert "Trained once, with seed 0" in once
    seeds = Seeds(count=3, val_mean=0.81, val_sd=0.012, test_mean=0.79, test_sd=0.021)
    card = model_card(records.manifest().replace(seeds=seeds), records.data_info())
    assert "3 models were trained" in card
    assert "optimistic" in card
    assert "validation accuracy 0.810 (mean, standard deviation 0.012)" in card
    assert "test accuracy 0.790 (mean, standard deviation 0.021), this model 0.764" in card
    assert "Trained once" not in card
    assert "The best of 3 seeds, with seed 0" in card


@pytest.mark.parametrize(
    ("begun", "expected"),
    [
        (None, None),
        ({"kind": "scratch", "reason": "no network"}, "began from scratch."),
        (
            {"kind": "pretrained", "name": "resnet18.a1_in1k", "licence": "apache-2.0"},
            r"began with pretrained weights, resnet18.a1\_in1k (licence apache-2.0).",
        ),
        (
            {"kind": "file", "name": "mine.pth"},
            "the weights of a file, mine.pth (licence not known). The sum",
        ),
        (
            {"kind": "file", "name": "mine.pth", "notes": "2 tensors beside the model left out"},
            "(licence not known). Notes on their file: 2 tensors beside the model left out. The sum",
        ),
    ],
)
def test_the_card_says_what_the_training_began_with(begun: object, expected: str | None) -> None:
    made = records.manifest()
    card = model_card(
        made.replace(provenance={**made.provenance, "initial_weights": begun}), records.data_info()
    )
    assert ("The training began" in card) == (expected is not None)
    assert expected is None or expected in card


def test_the_card_has_both_numbers_of_parameters_where_they_differ() -> None:
    made = records.manifest()
    deployed = made.num_params
    of_0_1_0 = model_card(made, records.data_info())
    same = made.replace(form=Form(trained_params=deployed, deployed_params=deployed))
    assert model_card(same, records.data_info()) == of_0_1_0
    assert f"{count(deployed)} parameters, as ONNX" in of_0_1_0
    merged = made.replace(form=Form(trained_params=2 * deployed, deployed_params=deployed))
    card = model_card(merged, records.data_info())
    assert f"{count(deployed)} parameters ({count(2 * deployed)} in training" in card


def test_head_is_yaml() -> None:
    card = model_card(records.manifest(), records.data_info())
    assert card.startswith("---\n")
    head = card.split("---\n")[1]
    fields = dict(line.split(": ", 1) for line in head.strip().splitlines())
    assert fields["pipeline_tag"] == "image-classification"
    assert json.loads(fields["metrics"]) == ["accuracy"]


def test_few_latencies_give_no_p99_and_an_invalid_profile_says_so() -> None:
    trained = records.train_result("mobilenetv2_050", 0)
    profile = records.profile(records.artifact(trained, "fp32"), 0, valid=False, memory=False)
    card = model_card(records.manifest(profile=profile), records.data_info())
    assert "| latency p99 | not measured |" in card
    assert "| peak memory of the process | not measured |" in card
    assert "**INVALID** (drift of 14 %" in card


def test_a_model_no_better_than_guessing_has_a_warning() -> None:
    performance = {"accuracy": records.estimate(0.6, "test", 624)}
    assert "do not deploy it" in model_card(records.manifest(performance=performance), records.data_info())


@pytest.mark.parametrize(
    ("training", "note", "expected"),
    [
        (900, "", "0 % of them is shown"),
        (400, "could not be shown on 500 images", "**Not shown**: could not"),
    ],
)
def test_the_agreement_with_float32_is_stated(training: int, note: str, expected: str) -> None:
    quality = Quality(
        settings=SessionSettings(),
        threshold=0.99,
        performance={"accuracy": Estimate(value=0.9, ci=(0.8, 1.0), split="val", n=100)},
        kept={"accuracy": 1.0},
        flips=Flips(count=0, n=100, ci=(0.0, 0.04), split="val"),
        passed=True,
        agreement=Agreement(
            validation_flips=0, validation_images=100, training_flips=3, training_images=training, low=0.985
        ),
        shown=not note,
        note=note,
    )
    manifest = records.manifest()
    card = model_card(manifest.replace(quality=quality), records.data_info())
    assert f"3 of {count(training + 100)} decisions" in card
    assert expected in card
    assert "decisions differ" not in model_card(manifest, records.data_info())


def test_missing_performance_and_small_classes() -> None:
    splits = {"test": {"images": 12, "class_counts": (2, 10)}}
    card = model_card(records.manifest(performance={}), records.data_info(splits=splits, fraction=0.25))
    assert "Performance: not measured." in card
    assert "The smallest class has 2 test images" in card
    assert "Only 25.0 % of the training split was used." in card


def test_markup_in_labels_stays_text() -> None:
    labels = ("<b>x</b>", "a|b *c*")
    card = model_card(records.manifest(labels=labels), records.data_info(labels=labels))
    assert "<b>" not in card
    assert "a\\|b \\*c\\*" in card
    assert isinstance(records.manifest(labels=labels), Manifest)


def test_the_confusion_matrix_has_true_rows_and_predicted_columns() -> None:
    card = model_card(records.manifest(), records.data_info(), np.array([[1200, 34], [8, 382]]))
    assert (
        "| true class | normal | pneumonia | recall |\n| --- | --- | --- | --- |\n"
        "| normal | 1,200 | 34 | 0.972 |\n| pneumonia | 8 | 382 | 0.979 |\n"
    ) in card
    assert "Performance by class: not measured" not in card


def test_without_predictions_there_is_no_confusion_matrix() -> None:
    assert "Performance by class: not measured." in model_card(records.manifest(), records.data_info())


def test_a_class_without_test_images_and_markup_in_the_confusion_matrix() -> None:
    labels = ("a|b\x1b[31m", "<i>")
    card = model_card(
        records.manifest(labels=labels), records.data_info(labels=labels), np.array([[3, 0], [0, 0]])
    )
    assert "| true class | a\\|b | \\<i\\> | recall |" in card
    assert "| \\<i\\> | 0 | 0 | not measured |" in card


def test_every_metric_has_its_name() -> None:
    performance = {name: records.estimate(0.8, "test", 624) for name in METRICS}
    card = model_card(records.manifest(performance=performance), records.data_info())
    for name in METRICS:
        assert f"| {METRIC_NAMES[name]} | 0.800 (0.769 to 0.831) | test | 624 |" in card
    assert "See the expected calibration error above" in card
    assert metric("val_sensitivity_at_specificity_0.975") == "validation sensitivity at 97.5 % specificity"
    assert metric("specificity_at_sensitivity_0.07") == "specificity at 7 % sensitivity"
    assert metric("specificity_at_sensitivity") == "specificity at 90 % sensitivity"


@pytest.mark.parametrize(
    ("settings", "runtime"),
    [
        ({}, "onnxruntime"),
        ({"runtime": "openvino", "precision": "bfloat16"}, "openvino, bfloat16"),
        ({"runtime": "pytorch"}, "onnxruntime"),
    ],
)
def test_performance_names_the_runtime_that_was_used(settings: dict[str, str], runtime: str) -> None:
    manifest = records.manifest()
    changed = manifest.profile.settings.model_copy(update=settings)
    profile = manifest.profile.model_copy(update={"settings": changed})
    card = model_card(manifest.model_copy(update={"profile": profile}), records.data_info())
    assert f"Measured on `model.onnx` with {runtime}." in card
