"""The answer and its caveats."""

from __future__ import annotations

import subprocess
import sys

import pytest
import report_records as records

from pepr_edge.records import Quantity, Ranking
from pepr_edge.text import units
from pepr_edge.text.robustness import TIME_FOR_ENERGY
from pepr_edge.text.sentences import TOO_FEW, against_baseline, answer, caveats, knowing_cost


def with_first_row(ranking: Ranking, **changes: object) -> Ranking:
    """Return the ranking with its first row changed."""
    first, *others = ranking.rows
    return ranking.model_copy(update={"rows": (first.model_copy(update=changes), *others)})


def worse_than_guessing(ranking: Ranking) -> Ranking:
    """Return the ranking with a first row below the accuracy of the most frequent class, 0.625."""
    return with_first_row(ranking, test_performance=0.62, test_performance_ci=(0.58, 0.66))


def test_the_answer_names_the_model_and_its_figures() -> None:
    ranking = with_first_row(
        records.run().ranking,
        candidate="mobilenetv2_050@64",
        variant="int8_static",
        test_performance=0.868,
        test_performance_ci=(0.839, 0.893),
        resources={"latency": 0.00312, "peak_memory": 61.2 * 2**20, "train_energy": 4.21 * 3600},
    )
    text = answer(ranking)
    assert text.startswith("On clinic_laptop_2core deploy mobilenetv2_050@64 int8_static: ")
    for figure in ("test accuracy 0.87 (0.84 to 0.89)", "3.1 ms at p90", "61 MiB", "4.2 Wh (declared)"):
        assert figure in text


@pytest.mark.parametrize(
    ("by", "word"), [("name", "by its name"), ("order", "the second"), (None, "the second")]
)
def test_the_answer_begins_with_the_positive_class(by: str | None, word: str) -> None:
    ranking = records.run().ranking.model_copy(update={"positive": "malign\nant", "positive_by": by})
    first, _, rest = answer(ranking).partition(". ")
    assert first.startswith("Positive is 'malign ant', ")
    assert word in first
    assert "[task] positive" in first
    assert rest.startswith("On clinic_laptop_2core deploy ")
    confirmed = ranking.model_copy(update={"positive_by": "recipe"})
    assert answer(confirmed).startswith("Positive is 'malign ant'. On ")
    assert not any("malign ant" in caveat for caveat in caveats(ranking))
    of_one_class = ranking.model_copy(update={"performance_metric": "f1"})
    assert any("'malign ant'" in caveat for caveat in caveats(of_one_class))


def test_a_missing_figure_is_never_0() -> None:
    ranking = with_first_row(records.run().ranking, resources={"latency": None}, test_performance=None)
    text = answer(ranking)
    assert "validation accuracy" in text
    for name in ("latency", "peak memory", "training energy"):
        assert f"{name} not measured" in text


def test_without_a_ranked_row_the_answer_counts_the_reasons() -> None:
    run = records.run(budgets={"latency_p90_s": 1e-9}, architectures=("resnet18d",))
    text = answer(run.ranking)
    assert "no model to deploy on clinic_laptop_2core" in text
    assert "of 3 models, 1 failed and 2 rejected" in text
    assert caveats(run.ranking) == ()
    assert "no candidate" in answer(records.rank([]))


def test_a_first_model_below_the_baseline_on_the_test_images_has_a_warning() -> None:
    ranking = records.run().ranking
    worse = worse_than_guessing(ranking)
    assert "most frequent class (accuracy 0.625)" in caveats(worse)[0]
    assert "test images" in against_baseline(worse)
    assert against_baseline(ranking) == against_baseline(records.rank([])) == ""
    unclear = with_first_row(ranking, test_performance=0.64, test_performance_ci=(0.60, 0.68))
    assert "not clearly better" in caveats(unclear)[0]
    assert not any("most frequent" in sentence for sentence in caveats(ranking))


def test_none_is_deployed_only_if_no_row_is_left_and_the_answer_says_what_to_change() -> None:
    ranking = records.run().ranking
    rows = [row.replace(status="no_skill", rank=None, reason="no skill") for row in ranking.rows]
    none = ranking.replace(rows=tuple(rows), positive="malignant")
    text = answer(none)
    assert text.startswith("There is no model to deploy")
    assert "labels" in text
    assert "train.epochs" in text
    assert "pretrained" in text
    assert "deploy" in answer(ranking.replace(rows=(*rows[1:], ranking.rows[0])))
    too_few = f"{TOO_FEW}: with 6 ... Raise data.val_fraction."
    text = answer(none.replace(notes=(too_few,)))
    assert text.endswith(too_few)
    assert "train.epochs" not in text


@pytest.mark.parametrize(
    ("metric", "chance"),
    [
        ("auroc", "guessing (AUROC 0.500)"),
        ("balanced_accuracy", "one class (balanced"),
        ("sensitivity_at_specificity_0.5", "guessing (sensitivity at 50 % specificity 0.500"),
        ("specificity_at_sensitivity_0.3", "guessing (specificity at 30 % sensitivity 0.700"),
        ("f1", "'pneumonia' (F1 0.6"),
    ],
)
def test_each_metric_has_its_chance_level(metric: str, chance: str) -> None:
    ranking = with_first_row(
        records.run(metric=metric).ranking, test_performance=0.4, test_performance_ci=(0.3, 0.45)
    )
    assert chance in caveats(ranking, classes=2)[0]


def test_caveats_on_ties() -> None:
    ranking = records.run().ranking
    first, second, *others = ranking.rows
    top = second.replace(performance=0.99, tied_with_best=False)
    better = " ".join(caveats(ranking.replace(rows=(first, top, *others))))
    assert f"{second.candidate} {second.variant} is better in validation accuracy (0.99)" in better
    assert "is better" not in " ".join(
        caveats(ranking.replace(rows=(first, top.replace(tied_with_best=True))))
    )
    rows = tuple(row.model_copy(update={"tied_with_best": True}) if row.rank else row for row in ranking.rows)
    tied = " ".join(caveats(ranking.model_copy(update={"rows": rows})))
    assert "in validation accuracy" in tied
    assert "and 19 more" in tied


def test_the_choice_of_a_seed_and_the_cost_of_all_trainings_are_said() -> None:
    ranking = records.run().ranking
    assert not any("seeds" in sentence or "together cost" in sentence for sentence in caveats(ranking))
    repeated = with_first_row(ranking, repeats=3, test_performance_mean=0.85, test_performance_sd=0.02)
    text = " ".join(caveats(repeated))
    assert "3 seeds" in text
    assert "0.850" in text
    assert "0.020" in text
    spent = {
        "spent_energy_j": Quantity(value=7200.0, method="declared"),
        "spent_time_s": Quantity(value=300.0, method="measured"),
    }
    assert "2.00 Wh and 5 min" in knowing_cost(ranking.model_copy(update=spent))
    spent["spent_energy_j"] = Quantity(value=None, method="unavailable")
    assert "cost 5 min" in knowing_cost(ranking.model_copy(update=spent))
    assert knowing_cost(ranking) == ""


def test_caveats_on_the_split_and_on_energy() -> None:
    ranking = records.run().ranking
    text = " ".join(caveats(ranking))
    assert "rests on validation accuracy" in text
    assert "declared watts" in text
    on_test = ranking.model_copy(update={"performance_split": "test"})
    assert "on the test split itself" in " ".join(caveats(on_test))
    mixed = with_first_row(ranking, methods={"train_energy": "measured"})
    assert "different ways (declared, measured)" in " ".join(caveats(mixed))
    unmeasured = records.run(energy=False).ranking
    assert "Training energy was not measured" in " ".join(caveats(unmeasured.replace(notes=())))
    by_time = " ".join(caveats(unmeasured.replace(notes=(TIME_FOR_ENERGY,))))
    assert "watts_per_core" in by_time
    assert "not include" not in by_time


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (units.ms(0.00312), "3.12 ms"),
        (units.ms(None), "not measured"),
        (units.mib(61.2 * 2**20, 2), "61 MiB"),
        (units.mib(0), "0 MiB"),
        (units.energy(4.2 * 3600, 2), "4.2 Wh"),
        (units.energy(3.6e6 * 1.5), "1.50 kWh"),
        (units.co2eq(0.0123), "0.0123 g"),
        (units.co2eq(2500), "2.50 kg"),
        (units.duration(12.34), "12.3 s"),
        (units.duration(605), "10 min 5 s"),
        (units.duration(7500), "2 h 5 min"),
        (units.count(2_223_872), "2,223,872"),
        (units.score(0.9999, 2), "0.9999"),
        (units.score(1.0, 2), "1.00"),
        (units.performance(0.868, None), "0.868"),
        (units.metric("val_auroc"), "validation AUROC"),
        (units.significant(12345.6), "12346"),
        (units.significant(0.000123), "0.000123"),
        (units.plural(1, "thread"), "1 thread"),
        (units.resource("unknown", 2.0), "2.00"),
        (units.capitalised("peak RSS"), "Peak RSS"),
    ],
)
def test_units(text: str, expected: str) -> None:
    assert text == expected


def test_sentences_and_model_card_import_no_heavy_package() -> None:
    modules = "pepr_edge.text.sentences, pepr_edge.bundle.model_card, pepr_edge.report.html"
    code = f"import sys, {modules}; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"matplotlib", "jinja2", "torch", "scipy", "pandas"} & set(done.stdout.split())


@pytest.mark.parametrize(
    ("metric", "keyword"),
    [
        ("f1", "F1 refers to 'pneumonia'"),
        ("sensitivity_at_specificity", "use specificity_at_sensitivity"),
        ("specificity_at_sensitivity_0.95", "use sensitivity_at_specificity"),
    ],
)
def test_a_caveat_names_the_class_of_the_metric(metric: str, keyword: str) -> None:
    ranking = records.run(metric=metric).ranking.model_copy(update={"positive": "pneumonia"})
    assert any(keyword in sentence for sentence in caveats(ranking))
    assert not any("refers to" in sentence for sentence in caveats(records.run().ranking))
