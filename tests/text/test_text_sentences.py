"""The answer and its caveats."""

from __future__ import annotations

import subprocess
import sys

import pytest
import report_records as records

from pepr_edge.records import Ranking
from pepr_edge.text import units
from pepr_edge.text.sentences import answer, caveats, learnt_nothing


def changed(ranking: Ranking, **changes: object) -> Ranking:
    """The ranking with its first row altered."""
    first, *others = ranking.rows
    return ranking.model_copy(update={"rows": (first.model_copy(update=changes), *others)})


def test_answer_says_what_to_deploy_and_what_it_costs() -> None:
    first = (
        records.run()
        .ranking.rows[0]
        .model_copy(
            update={
                "candidate": "mobilenetv2_050@64",
                "variant": "int8_static",
                "test_performance": 0.868,
                "test_performance_ci": (0.839, 0.893),
                "resources": {"latency": 0.00312, "peak_memory": 61.2 * 2**20, "train_energy": 4.21 * 3600},
            }
        )
    )
    ranking = records.run().ranking.model_copy(update={"rows": (first,)})
    assert answer(ranking) == (
        "On clinic_laptop_2core deploy mobilenetv2_050@64 int8_static: test accuracy 0.87 (0.84 to 0.89), 3.1 ms at p90, "
        "61 MiB peak, trained for 4.2 Wh (declared)."
    )


def test_answer_never_says_0_for_what_was_not_measured() -> None:
    ranking = changed(records.run().ranking, resources={"latency": None}, test_performance=None)
    text = answer(ranking)
    assert "validation accuracy" in text
    assert "latency not measured, peak memory not measured, training energy not measured" in text


def test_answer_without_a_ranked_row_says_why() -> None:
    run = records.run(budgets={"latency_p90_s": 1e-9}, architectures=("resnet18d",))
    assert (
        answer(run.ranking)
        == "There is no model to deploy on clinic_laptop_2core: of 3 tried, 1 failed and 2 broke a budget."
    )
    assert caveats(run.ranking) == ()
    assert "no candidate was tried" in answer(records.rank([]))


def test_caveat_on_a_model_no_better_than_the_commonest_class() -> None:
    ranking = records.run().ranking
    worse = caveats(changed(ranking, test_performance=0.62, test_performance_ci=(0.58, 0.66)))
    assert worse[0].startswith("The model does not beat always saying the commonest class (accuracy 0.625)")
    useless = answer(changed(ranking, test_performance=0.62, test_performance_ci=(0.58, 0.66)))
    assert "deploy none of these yet" in useless
    assert "learnt nothing of use" in useless
    unclear = caveats(changed(ranking, test_performance=0.64, test_performance_ci=(0.60, 0.68)))
    assert "not clearly better" in unclear[0]
    assert not any("commonest" in sentence for sentence in caveats(ranking))


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("auroc", "guessing (AUROC 0.500)"),
        ("balanced_accuracy", "always saying one class (balanced"),
        ("sensitivity_at_specificity_0.5", "guessing (sensitivity at 50 % specificity 0.500"),
        ("specificity_at_sensitivity_0.3", "guessing (specificity at 30 % sensitivity 0.700"),
        ("f1", "always saying 'pneumonia' (F1 0.6"),
    ],
)
def test_caveat_on_guessing_by_metric(metric: str, words: str) -> None:
    ranking = changed(
        records.run(metric=metric).ranking, test_performance=0.4, test_performance_ci=(0.3, 0.45)
    )
    assert words in caveats(ranking, classes=2)[0]


def test_caveats_on_ties_choice_and_energy() -> None:
    ranking = records.run().ranking
    better = " ".join(caveats(changed(ranking, tied_with_best=False)))
    assert "Others are better in validation accuracy (" in better
    rows = tuple(row.model_copy(update={"tied_with_best": True}) if row.rank else row for row in ranking.rows)
    tied = " ".join(caveats(ranking.model_copy(update={"rows": rows})))
    assert "Tied in validation accuracy" in tied
    assert "and 19 more" in tied
    assert "rests on validation accuracy" in tied
    assert "declared watts" in tied
    assert "on the test split itself" in " ".join(
        caveats(ranking.model_copy(update={"performance_split": "test"}))
    )
    mixed = changed(ranking, methods={"train_energy": "measured"})
    assert any("different ways (declared, measured)" in sentence for sentence in caveats(mixed))
    assert any(
        "nothing here accounts for it" in sentence for sentence in caveats(records.run(energy=False).ranking)
    )


@pytest.mark.parametrize(
    ("written", "expected"),
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
    ],
)
def test_units(written: str, expected: str) -> None:
    assert written == expected


def test_words_and_model_card_are_light() -> None:
    code = "import sys, pepr_edge.text.sentences, pepr_edge.bundle.model_card, pepr_edge.report.html; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"matplotlib", "jinja2", "torch", "scipy", "pandas"} & set(loaded)


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("f1", "F1 is that of 'pneumonia', the second of the two classes."),
        ("sensitivity_at_specificity", "For the other class take specificity_at_sensitivity."),
        ("specificity_at_sensitivity_0.95", "For that class take sensitivity_at_specificity."),
    ],
)
def test_caveat_on_the_class_that_a_metric_is_of(metric: str, words: str) -> None:
    ranking = records.run(metric=metric).ranking.model_copy(update={"positive": "pneumonia"})
    assert any(words in sentence for sentence in caveats(ranking))
    assert not any("second of the two" in sentence for sentence in caveats(records.run().ranking))


def test_a_model_that_learnt_nothing_is_said_to() -> None:
    ranking = records.run().ranking
    assert not learnt_nothing(ranking)
    assert learnt_nothing(changed(ranking, test_performance=0.62, test_performance_ci=(0.58, 0.66)))
    assert not learnt_nothing(records.rank([]))
