"""The table of autotune's trials."""

from __future__ import annotations

import made_records

from pepr_edge.records import Artifact, Estimate, Flips, Quality, SessionSettings, SettingsTrial, VariantTrial
from pepr_edge.report.variant_trials import variant_trials_table

PLAIN = SessionSettings()
MEASURED = SettingsTrial(settings=SessionSettings(runtime="openvino"), latency_s=0.002, n=30)
CRASHED = SettingsTrial(settings=PLAIN, latency_s=None, reason="was ended by SIGSEGV")


def quality(kept: float) -> Quality:
    return Quality(
        settings=PLAIN,
        threshold=0.995,
        performance={"accuracy": Estimate(value=0.9, ci=(0.8, 1.0), split="val", n=100)},
        kept={"accuracy": 1.0, "balanced_accuracy": kept},
        flips=Flips(count=3, n=100, ci=(0.01, 0.08), split="val"),
        passed=kept >= 0.995,
    )


CHOSEN = VariantTrial(
    variant="fp32",
    outcome="chosen",
    reason="the fastest",
    trials=(CRASHED, MEASURED),
    quality=quality(1.0),
    size_bytes=2**20,
)
REJECTED = VariantTrial(
    variant="int8_static",
    outcome="quality",
    reason="lost",
    remedy="only Conv",
    trials=(MEASURED,),
    quality=quality(0.9),
)
NOT_TRIED = VariantTrial(variant="int8_mixed", outcome="not tried", reason="<b>no time</b>")


def artifact(*trials: VariantTrial) -> Artifact:
    return made_records.artifact("small", key="k").model_copy(update={"rungs": trials})


def test_there_is_no_table_if_the_recipe_names_its_variants() -> None:
    assert variant_trials_table([artifact()]) is None


def test_every_trial_is_a_row_with_its_outcome_and_reason() -> None:
    table = variant_trials_table([artifact(CHOSEN, REJECTED, NOT_TRIED)])
    assert table is not None
    assert "99.5 %" in table.caption
    texts = [[cell.text for cell in row] for row in table.rows]
    assert texts[0][1:4] == ["fp32", "chosen", "2.00 ms"]
    assert texts[0][5:9] == ["openvino, 1 thread", "100.0 %", "3 of 100", "1.00 MiB"]
    assert texts[1][6] == "90.0 %"
    assert table.rows[1][1].detail == "only Conv"
    assert [row[2].kind for row in table.rows] == ["good", "bad", "text"]
    assert [cell.kind for cell in table.rows[2][3:9]] == ["missing"] * 6


def test_the_final_race_is_shown_else_the_lowest_ratio() -> None:
    lucky = MEASURED.replace(latency_s=0.001, ratio_to_float32=0.9)
    fastest = MEASURED.replace(latency_s=0.003, ratio_to_float32=0.8)
    final = MEASURED.replace(latency_s=0.002, ratio_to_float32=1.25)
    earlier = CHOSEN.replace(trials=(lucky, fastest))
    table = variant_trials_table([artifact(earlier, earlier.replace(final=final))])
    assert table is not None
    assert [[cell.text for cell in row[3:5]] for row in table.rows] == [
        ["3.00 ms", "0.80"],
        ["2.00 ms", "1.25"],
    ]
