from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import made_records
import numpy as np
import pytest
from made_records import N_VAL, entry, results
from three_models import MIB, failed, names, row_of, three

from pepr_edge.errors import ScoreError
from pepr_edge.ranking import over_budget, rank, to_csv
from pepr_edge.records import Form, Ranking, Validity
from pepr_edge.scoring.intervals import mcnemar
from pepr_edge.scoring.pepr import RESOURCES, set_id

LATENCY = {"latency": 1.0}


def test_the_best_score_is_first(tmp_path: Path) -> None:
    ranking = rank(three(tmp_path))
    assert names(ranking) == ["small", "middle", "large"]
    assert [row.rank for row in ranking.rows] == [1, 2, 3]
    middle = row_of(ranking, "middle")
    assert (middle.performance, middle.test_performance) == (0.9, pytest.approx(0.89))
    assert middle.resources["latency"] == 0.02
    assert middle.normalised == pytest.approx(
        {
            "train_energy": 1 / 3,
            "latency": 0.25,
            "peak_memory": 0.5,
            "train_co2eq": 0,
            "train_time": 0,
            "train_memory": 0,
            "train_data": 0,
        }
    )
    assert middle.pepr["edge"] == pytest.approx(0.9 / (1 + (1 / 3 + 1 / 4 + 1 / 2) / 3))
    assert middle.pepr["L"] == pytest.approx(0.9 / 1.25)
    assert all(row.reason == "" for row in ranking.rows)


def test_a_ranking_records_its_inputs(tmp_path: Path) -> None:
    made = three(tmp_path)
    ranking = rank(made)
    assert (ranking.performance_metric, ranking.performance_split) == ("accuracy", "val")
    assert (ranking.normalise, ranking.alpha) == ("minmax", 1.0)
    latency = ranking.bounds["latency"]
    assert (latency.lo, latency.hi, latency.unit) == (0.01, 0.05, "s")
    assert (ranking.device, ranking.data, ranking.majority_baseline) == ("a made device", "made", 0.5)
    assert ranking.set_id == set_id(
        [made_records.digest(f"onnx {name}") for name in ("small", "middle", "large")]
    )
    assert rank(replace(made, entries=made.entries[::-1])).set_id == ranking.set_id
    assert rank(replace(made, entries=made.entries[1:])).set_id != ranking.set_id


def test_the_order_of_the_entries_does_not_matter(tmp_path: Path) -> None:
    made = three(tmp_path)
    assert rank(replace(made, entries=made.entries[::-1])) == rank(made)


def test_weights_of_the_call_override_the_recipe(tmp_path: Path) -> None:
    made = three(tmp_path, "[score]\nweights = { train_time = 1 }\n")
    # All took the same time: the performance alone decides.
    assert names(rank(made)) == ["large", "middle", "small"]
    assert rank(made).weights == {"train_time": 1.0}
    assert names(rank(made, weights=LATENCY)) == ["small", "middle", "large"]
    assert rank(made, weights=LATENCY).weights == LATENCY


def test_emphasis_and_normalisation_come_from_the_recipe(tmp_path: Path) -> None:
    ranking = rank(three(tmp_path, '[score]\nweights = { latency = 1 }\nnormalise = "max"\nalpha = 50\n'))
    assert ranking.bounds["latency"].lo == 0
    assert names(ranking)[0] == "large"
    assert row_of(ranking, "middle").pepr["edge"] == pytest.approx(50 * 0.9 / (50 + 0.4))


def test_the_test_split_does_not_affect_the_ranking(tmp_path: Path) -> None:
    made = three(tmp_path)
    artifact = made.entries[0].artifact
    assert artifact is not None
    on_test = {**artifact.performance, "accuracy": artifact.performance["accuracy"].replace(value=0.0)}
    changed = replace(made.entries[0], artifact=artifact.replace(performance=on_test))
    again = rank(replace(made, entries=(changed, *made.entries[1:])))
    before = rank(made)
    assert names(again) == names(before)
    assert [row.pepr for row in again.rows] == [row.pepr for row in before.rows]
    assert row_of(again, "large").test_performance == 0.0


@pytest.mark.parametrize(
    ("weights", "metric", "message"),
    [
        ({"speed": 1.0}, None, "'speed': unknown resource"),
        ({"latency": 0.0}, None, "all weights are 0"),
        (None, "f2", "performance 'f2', expected one of accuracy, balanced_accuracy, auroc, f1"),
        (None, "cohen_kappa", "performance 'cohen_kappa', .*below 0"),
    ],
)
def test_unknown_weights_and_metrics_are_refused(
    tmp_path: Path, weights: dict[str, float] | None, metric: str | None, message: str
) -> None:
    with pytest.raises(ScoreError, match=message):
        rank(three(tmp_path), weights=weights, metric=metric)


def test_models_over_budget_or_failed_keep_a_row_with_the_reason(tmp_path: Path) -> None:
    made = three(tmp_path, "[budgets]\nlatency_p90_ms = 30\npeak_memory_mib = 350\n")
    made = replace(made, entries=(failed("broken"), *made.entries, failed("waiting", None)))
    ranking = rank(made)
    assert [(row.architecture, row.status, row.rank) for row in ranking.rows] == [
        ("small", "ok", 1),
        ("middle", "ok", 2),
        ("large", "over_budget", None),
        ("broken", "failed", None),
        ("waiting", "failed", None),
    ]
    assert "50 ms, budget 30 ms; peak memory 400 MiB, budget 350 MiB" in row_of(ranking, "large").reason
    assert row_of(ranking, "broken").reason == "train: the pixels run out"
    assert "not done yet" in row_of(ranking, "waiting").reason
    # A model over budget does not affect the bounds.
    assert ranking.bounds["latency"].hi == 0.02
    assert row_of(ranking, "large").pepr == {}
    assert row_of(ranking, "large").performance == 0.95


@pytest.mark.parametrize(
    ("resources", "broken"),
    [
        ({"latency": 0.05, "peak_memory": 100 * MIB}, []),
        ({"latency": 0.0501, "peak_memory": 100 * MIB}, ["latency at p90 50.1 ms, budget 50 ms"]),
        ({"latency": None, "peak_memory": 100 * MIB}, ["latency at p90 could not be measured, budget 50 ms"]),
        ({"latency": 0.05}, ["peak memory could not be measured, budget 100 MiB"]),
    ],
)
def test_a_value_equal_to_its_budget_keeps_it(resources: dict[str, float | None], broken: list[str]) -> None:
    budgets = {"latency_p90_s": 0.05, "peak_memory_bytes": 100 * MIB, "size_bytes": 10 * MIB}
    assert over_budget(budgets, resources, 10 * MIB) == broken


def test_a_file_too_large_is_over_budget_and_no_budget_is_no_limit() -> None:
    assert over_budget({"size_bytes": MIB}, {}, 2 * MIB) == ["file size 2 MiB, budget 1 MiB"]
    assert over_budget({}, {}, 2**60) == []


def test_a_run_without_any_result(tmp_path: Path) -> None:
    ranking = rank(results(tmp_path, failed("a"), failed("b")))
    assert [(row.rank, row.status) for row in ranking.rows] == [(None, "failed")] * 2
    assert ranking.bounds == {}


def test_a_single_model_has_no_resource_cost(tmp_path: Path) -> None:
    (row,) = rank(results(tmp_path, entry(tmp_path, "small", right=160))).rows
    assert (row.rank, row.pepr["edge"], row.tied_with_best) == (1, 0.8, True)


def test_an_unmeasured_resource_gives_no_score_and_a_reason(tmp_path: Path) -> None:
    made = results(
        tmp_path, entry(tmp_path, "small", right=160), entry(tmp_path, "large", right=190, memory_bytes=None)
    )
    ranking = rank(made)
    assert [(row.architecture, row.rank) for row in ranking.rows] == [("small", 1), ("large", None)]
    large = row_of(ranking, "large")
    assert large.status == "ok"
    assert large.reason == "no score: peak_memory not measured"
    assert (large.pepr["edge"], large.pepr["W"], large.resources["peak_memory"]) == (None, None, None)
    assert large.pepr["L"] is not None
    assert large.methods["peak_memory"] == "unavailable"
    assert rank(made, weights=LATENCY).rows[0].rank == 1
    assert all(row.rank is not None for row in rank(made, weights=LATENCY).rows)


def test_too_few_latencies_give_no_p90(tmp_path: Path) -> None:
    made = entry(tmp_path, "small")
    assert made.profile is not None
    short = replace(made, profile=made.profile.model_copy(update={"latencies_s": (0.01,) * 63}))
    (row,) = rank(results(tmp_path, short)).rows
    assert (row.resources["latency"], row.methods["latency"], row.rank) == (None, "unavailable", None)
    assert row.reason.startswith("no score: latency")


def test_gpu_memory_is_the_training_memory_if_known(tmp_path: Path) -> None:
    made = entry(tmp_path, "small")
    assert made.trained is not None
    assert rank(results(tmp_path, made)).rows[0].resources["train_memory"] == 60.0
    gpu = made.trained.cost.energy_j.model_copy(update={"value": 7.0})
    cost = made.trained.cost.model_copy(update={"gpu_peak_memory_bytes": gpu})
    on_gpu = replace(made, trained=made.trained.model_copy(update={"cost": cost}))
    assert rank(results(tmp_path, on_gpu)).rows[0].resources["train_memory"] == 7.0


def test_an_undefined_metric_is_the_reason_for_no_rank(tmp_path: Path) -> None:
    made = three(tmp_path)
    for variant in made.entries:
        logits = variant.predictions()["val"]
        one_class = np.zeros(N_VAL, np.int64)
        np.savez(variant.folder / "predictions.npz", val=logits, val_labels=one_class)
    for row in rank(made, metric="auroc").rows:
        assert (row.rank, row.performance, row.status) == (None, None, "ok")
        assert "auroc is not defined" in row.reason


def test_invalid_measurements_and_parity_failures_are_warnings(tmp_path: Path) -> None:
    made = entry(tmp_path, "small")
    assert made.profile is not None
    assert made.artifact is not None
    parity = made.artifact.parity.model_copy(update={"passed": False, "max_abs_diff": 0.5})
    doubtful = replace(
        made,
        profile=made.profile.model_copy(update={"validity": Validity(valid=False, reasons=("drift: much",))}),
        artifact=made.artifact.model_copy(update={"parity": parity}),
    )
    (row,) = rank(results(tmp_path, doubtful)).rows
    invalid, differing = row.warnings
    assert "INVALID: drift: much" in invalid
    assert "0.5" in differing
    assert "tolerance 0.001" in differing
    assert rank(results(tmp_path, made)).rows[0].warnings == ()


def test_parameters_are_those_of_the_deployed_form(tmp_path: Path) -> None:
    made = entry(tmp_path, "small")
    assert made.artifact is not None
    assert made.trained is not None
    trained_params = made.trained.num_params
    of_0_1_0 = rank(results(tmp_path, made))
    assert (of_0_1_0.rows[0].num_params, of_0_1_0.rows[0].trained_params) == (trained_params, trained_params)
    form = Form(trained_params=trained_params, deployed_params=trained_params // 2)
    merged = replace(made, artifact=made.artifact.replace(form=form))
    ranking = rank(results(tmp_path, merged))
    assert (ranking.rows[0].num_params, ranking.rows[0].trained_params) == (
        trained_params // 2,
        trained_params,
    )
    (line,) = csv.DictReader(io.StringIO(to_csv(ranking)))
    assert (int(line["num_params"]), int(line["trained_params"])) == (trained_params // 2, trained_params)


def test_a_form_that_was_refused_is_a_warning(tmp_path: Path) -> None:
    made = entry(tmp_path, "small")
    assert made.artifact is not None
    artifact = made.artifact.replace(form_note="exported as it was trained", notes=("few images",))
    (row,) = rank(results(tmp_path, replace(made, artifact=artifact))).rows
    assert row.warnings == ("exported as it was trained", "few images")


def test_equal_scores_go_by_performance(tmp_path: Path) -> None:
    # 0.6 / (1 + 0) by the first; in the second 0.9 / (1 + 0.5) is 0.6 too.
    made = results(
        tmp_path,
        entry(tmp_path, "poor", right=120, latency_s=0.01),
        entry(tmp_path, "slow", right=180, latency_s=0.02),
        entry(tmp_path, "best", right=180, latency_s=0.01),
        entry(tmp_path, "last", right=180, latency_s=0.03),
    )
    ranking = rank(made, weights=LATENCY)
    assert names(ranking) == ["best", "slow", "poor", "last"]
    assert ranking.rows[1].pepr["edge"] == pytest.approx(ranking.rows[2].pepr["edge"])


def test_ties_are_decided_by_a_paired_test_against_the_first(tmp_path: Path) -> None:
    rights = {"best": 190, "near": 186, "edge": 184, "far": 150}
    made = results(tmp_path, *(entry(tmp_path, name, right=right) for name, right in rights.items()))
    ranking = rank(made, weights=LATENCY)
    assert names(ranking) == list(rights)
    for row in ranking.rows:
        correct = np.arange(N_VAL) < rights[row.architecture]
        best = np.arange(N_VAL) < 190
        assert row.tied_with_best == (mcnemar(correct, best) > 0.05), row.architecture
    # 4 images against 0 is 2 in 16; 6 against 0 is 1 in 32.
    assert [row.tied_with_best for row in ranking.rows] == [True, True, False, False]


def test_a_tie_is_with_the_first_by_score_not_by_performance(tmp_path: Path) -> None:
    ranking = rank(three(tmp_path))
    assert row_of(ranking, "small").tied_with_best is True
    assert row_of(ranking, "large").tied_with_best is False


def test_the_csv_has_every_row_with_units_in_its_names(tmp_path: Path) -> None:
    made = three(tmp_path, "[budgets]\nlatency_p90_ms = 30\n")
    ranking = rank(replace(made, entries=(*made.entries, failed("broken", 'a "comma", and\na line'))))
    lines = list(csv.DictReader(io.StringIO(to_csv(ranking))))
    expected = ["rank", "candidate", "architecture", "variant", "status", "reason"]
    expected += ["num_params", "trained_params"]
    expected += [
        "performance",
        "performance_low",
        "performance_high",
        "performance_sd",
        "repeats",
        "skill",
        "test_performance",
        "test_low",
        "test_high",
    ]
    expected += ["rank_low", "rank_high", "p_best", "size_bytes"]
    expected += ["train_energy_j", "train_co2eq_g", "train_time_s", "train_memory_b", "train_data_images"]
    expected += ["latency_s", "peak_memory_b", *(f"{name}_method" for name in RESOURCES)]
    expected += ["pepr_E", "pepr_C", "pepr_T", "pepr_M", "pepr_D", "pepr_L", "pepr_W", "pepr_edge"]
    expected += [
        "inference_energy_j",
        "inference_energy_method",
        "lifetime_j_per_image",
        "tied_with_best",
        "bundle",
        "weights",
    ]
    assert list(lines[0]) == expected
    assert [(line["rank"], line["architecture"], line["status"]) for line in lines] == [
        ("1", "small", "ok"),
        ("2", "middle", "ok"),
        ("", "large", "over_budget"),
        ("", "broken", "failed"),
    ]
    small = ranking.rows[0]
    assert small.performance_ci is not None
    assert float(lines[0]["latency_s"]) == small.resources["latency"]
    for letter in ("E", "C", "T", "M", "D", "L", "W", "edge"):
        assert float(lines[0][f"pepr_{letter}"]) == small.pepr[letter]
    assert (lines[0]["performance"], lines[0]["performance_high"]) == ("0.8", str(small.performance_ci[1]))
    assert lines[0]["tied_with_best"] == "True"
    assert lines[1]["tied_with_best"] == "False"
    assert lines[3]["reason"] == 'train: a "comma", and\na line'
    # Not measured is empty, not 0 and not None.
    named = {"candidate", "architecture", "variant", "status", "reason", "repeats", "weights"}
    assert {lines[3][name] for name in lines[3] if name not in named} == {""}


def test_a_ranking_is_the_same_after_its_json(tmp_path: Path) -> None:
    ranking = rank(three(tmp_path))
    assert Ranking.model_validate_json(ranking.model_dump_json()) == ranking
