"""`pepr-edge score`: PePR of the models in any table."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import made_records
import pytest
from hypothesis import given
from hypothesis import strategies as st
from score_command import BOTH, SMALL, E, Score, document, rows

from pepr_edge.text.tables import WIDTH

ROOT = Path(__file__).resolve().parents[2]


def published() -> Path:
    made_records.paper("published_results.csv")
    return (
        ROOT / os.environ.get("PEPR_TEST_DATA", "../shared") / "paper" / "published_results.csv"
    ).resolve()


PAPER = ("--performance", "test_09", "--resource", "energy=energy_kwh", "--group", "dataset")


def test_the_paper_in_json(score: Score) -> None:
    found = document(score(published(), *PAPER, "--baseline", "derma=0.669", "--images", 500, "--json"))
    groups = {group["group"]: group for group in found["groups"]}
    assert list(groups) == ["derma", "derma_small", "lidc", "pneumonia_small"]
    assert groups["derma"]["baseline"] == {"performance": 0.669, "outranks": 97, "of": 131}
    assert groups["lidc"]["baseline"] is None
    assert groups["derma"]["outliers"] == []
    lidc = {
        outlier["name"]: (set(outlier["enters"]), set(outlier["leaves"]))
        for outlier in groups["lidc"]["outliers"]
    }
    assert set(lidc) == {"convmixer_768_32", "mobilenetv2_050"}
    assert lidc["convmixer_768_32"] == ({"mobilenetv2_050", "semnasnet_075"}, {"resnet34d", "resnet26d"})
    first = groups["lidc"]["best"][0]
    assert (first["rank"], first["name"], first["rank_low"]) == (1, "mnasnet_100", 1)
    assert 0 < first["p_best"] < 1
    assert found["resources"] == {"energy": "energy_kwh"}


def test_the_paper_in_words(score: Score) -> None:
    done = score(published(), *PAPER, "--baseline", "derma=0.669", "--images", 500)
    said = " ".join(done.out.split())
    assert "Leaving out convmixer_768_32 alone changes the best five:" in said
    assert "mobilenetv2_050 and semnasnet_075 enter, resnet34d and resnet26d leave." in said
    assert "(0.669, free) outranks 97 of 131 models." in said
    assert "Leaving out any single model does not change the best five." in said
    assert max(map(len, done.out.splitlines())) <= WIDTH


def test_table_1_of_the_paper(score: Score) -> None:
    score(published(), *PAPER, "--normalise", "max", "--out", "out.csv")
    found = {(row["dataset"], row["model"]): float(row["pepr_energy"]) for row in rows("out.csv")}
    for row in made_records.paper("table1.csv"):
        assert found[row["dataset"], row["timm_name"]] == pytest.approx(float(row["pepr_e"]), abs=1e-4)


def test_out_holds_the_table_and_its_scores(score: Score) -> None:
    done = score(SMALL, *BOTH, "--group", "group", "--out", "deep/out.csv", "--json")
    assert document(done)["out"] == str(Path("deep/out.csv"))
    assert done.err == "written: deep/out.csv\n"
    with open("deep/out.csv", newline="") as file:
        found = list(csv.reader(file))
    assert found[0] == [
        *SMALL.splitlines()[0].split(","),
        "r_E",
        "pepr_E",
        "r_L",
        "pepr_L",
        "pepr_combined",
        "pepr_reason",
    ]
    assert found[1][5:] == ["0.0", "0.8", "0.0", "0.8", "0.8", ""]
    assert found[2][5:] == ["1.0", "0.45", "1.0", "0.45", "0.45", ""]
    assert found[3][5:] == ["0.0", "0.7", "", "", "", "L not measured"]
    assert found[4][5:] == ["", "", "0.0", "0.6", "", "E infinite"]
    assert [row[:5] for row in found[1:]] == [line.split(",") for line in SMALL.splitlines()[1:]]


@given(performance=st.floats(0, 1), energy=st.floats(0.001, 1e6))
def test_one_model_scores_its_performance_and_the_costlier_of_two_half(
    performance: float, energy: float
) -> None:
    import tempfile

    from click.testing import CliRunner

    from pepr_edge.cli.score import command

    with tempfile.TemporaryDirectory() as folder:
        table, out = Path(folder, "t.csv"), Path(folder, "o.csv")
        lines = [
            "set,acc,energy_j",
            f"1,{performance},{energy}",
            f"2,{performance},{energy}",
            f"2,{performance},{2 * energy}",
        ]
        table.write_text("\n".join(lines))
        done = CliRunner().invoke(command, [str(table), *E, "--group", "set", "--out", str(out), "-q"])
        assert done.exit_code == 0, done.output
        assert [float(row["pepr_E"]) for row in rows(str(out))] == [performance, performance, performance / 2]


def test_the_baseline_is_a_row_that_does_not_affect_bounds(score: Score) -> None:
    baselines = ("--baseline", 0.5, "--baseline", "b=0.65")
    found = document(score(SMALL, *BOTH, "--group", "group", *baselines, "--out", "o.csv", "--json"))
    assert [group["baseline"]["performance"] for group in found["groups"]] == [0.5, 0.65]
    assert [group["baseline"]["outranks"] for group in found["groups"]] == [1, 0]
    assert found["groups"][0]["bounds"]["E"] == {"lo": 10.0, "hi": 30.0, "unit": "", "method": ""}
    last = rows("o.csv")[-1]
    assert (last["group"], last["model"], last["acc"]) == ("b", "majority baseline", "0.65")
    assert (last["energy_j"], last["pepr_reason"]) == ("", "")
    assert (last["r_E"], last["pepr_E"], last["r_L"], last["pepr_combined"]) == ("0.0", "0.65", "0.0", "0.65")


def test_weights_choose_the_combined_resources(score: Score) -> None:
    found = document(score(SMALL, *BOTH, "--group", "group", "--weights", "E=2", "--json"))
    assert found["weights"] == {"E": 2.0, "L": 0.0}
    b = found["groups"][1]
    assert (b["models"], b["scored"]) == (2, 1)
    assert b["best"][0]["pepr"] == {"E": 0.7, "L": None, "combined": 0.7}


def test_names_come_from_the_table_or_are_row_numbers(score: Score) -> None:
    def best(table: str, *words: str) -> str:
        name: str = document(score(table, *E, *words, "--json"))["groups"][0]["best"][0]["name"]
        return name

    assert best(SMALL) == "one"
    assert best(SMALL, "--name", "latency_s") == "row 3"  # its cell is empty
    assert best("acc,energy_j\n0.5,1\n\n0.9,1\n") == "row 2"


def test_reference_bounds_come_from_the_file(score: Score) -> None:
    Path("bounds.json").write_text('{"E": [0, 20]}')
    found = document(score(SMALL, *E, "--group", "group", "--reference", "bounds.json", "--json"))
    a = found["groups"][0]
    assert (found["normalise"], a["bounds"]["E"]["hi"], a["outliers"]) == ("reference", 20.0, [])
    assert a["best"][0]["pepr"]["E"] == pytest.approx(0.8 / 1.5)
    assert len(a["warnings"]) == 1
    assert "1 of 2 values of E" in a["warnings"][0]


def test_earlier_scores_are_a_reference(score: Score) -> None:
    first = score(SMALL, *BOTH, "--group", "group", "--json").out
    Path("before.json").write_text(first)
    again = document(score(SMALL, *BOTH, "--group", "group", "--reference", "before.json", "--json"))
    for before, after in zip(json.loads(first)["groups"], again["groups"], strict=True):
        for key in ("best", "bounds", "set_id"):
            assert before[key] == after[key]


def test_bounds_of_another_group_are_refused(score: Score) -> None:
    Path("derma.json").write_text('{"groups": [{"group": "derma", "bounds": {"E": [0, 20]}}]}')
    done = score(SMALL, *E, "--group", "group", "--reference", "derma.json")
    assert (done.status, done.out) == (1, "")
    assert "derma.json: no bounds for group 'a'" in done.err
    ungrouped = document(score(SMALL, *E, "--reference", "derma.json", "--json"))
    assert ungrouped["groups"][0]["bounds"]["E"]["hi"] == 20.0


@pytest.mark.parametrize("more", [(), ("--group", "group")])
def test_a_reference_without_a_resource_is_refused_before_the_table_is_read(
    score: Score, more: tuple[str, ...]
) -> None:
    Path("bounds.json").write_text('{"E": [0, 20]}')
    done = score(SMALL + "a,torn\n", *BOTH, *more, "--reference", "bounds.json")
    assert (done.status, done.out) == (1, "")
    assert "bounds.json: no bounds for resource 'L', has E" in done.err


TRADE = "group,model,acc,energy_j,latency_s\na,one,0.8,1,2\na,two,0.8,2,1\nb,three,0.9,1,2\nb,four,0.1,9,9\n"


def test_what_each_winner_depends_on(score: Score) -> None:
    a, b = document(score(TRADE, *BOTH, "--group", "group", "--weights", "E=3,L=2", "--json"))["groups"]
    assert a["sensitivity"] == [
        {
            "setting": "E weight",
            "at": 0.6,
            "tried": [0.0, 1.0],
            "stays": [0.5, 1.0],
            "winner_below": "two",
            "winner_above": None,
        },
        {
            "setting": "L weight",
            "at": 0.4,
            "tried": [0.0, 1.0],
            "stays": [0.0, 0.5],
            "winner_below": None,
            "winner_above": "two",
        },
    ]
    assert [one["stays"] for one in b["sensitivity"]] == [[0.0, 1.0], [0.0, 1.0]]
    assert (a["winners"], b["winners"]) == (
        {"minmax": "one", "max": "one"},
        {"minmax": "three", "max": "three"},
    )
    said = score(TRADE, *BOTH, "--group", "group", "--weights", "E=3,L=2").out
    assert "E weight 0.6: winner unchanged from 0.5 to 1 (below: two).\n" in said
    assert "E weight 0.6: winner unchanged from 0 to 1.\n" in said


def test_the_winner_may_depend_on_the_normalisation(score: Score) -> None:
    table = "model,acc,energy_j,latency_s\nthrifty,0.6,10,1\ngood,0.9,11,1\ndear,0.1,12,1\n"
    Path("bounds.json").write_text('{"E": [10, 10.5], "L": [0, 1]}')
    found = document(score(table, *BOTH, "--weights", "E=1", "--reference", "bounds.json", "--json"))
    (group,) = found["groups"]
    assert group["winners"] == {"minmax": "thrifty", "max": "good", "reference": "thrifty"}
    said = score(table, *BOTH, "--weights", "E=1").out
    assert "normalisation minmax: winner unchanged with minmax (max: good).\n" in said


def test_one_resource_has_no_sensitivity(score: Score) -> None:
    (group,) = document(score(FOUR, *E, "--json"))["groups"]
    assert (group["sensitivity"], group["winners"]) == (None, None)
    assert "winner" not in score(FOUR, *E).out


def test_a_runs_ranking_is_a_table(score: Score, tmp_path: Path) -> None:
    from pepr_edge.ranking import rank, to_csv

    first = made_records.entry(tmp_path, "resnet18d", joules=100.0)
    second = made_records.entry(tmp_path, "resnet26d", joules=300.0)
    run = made_records.results(tmp_path, first, second)
    words = ("--performance", "performance", "--resource", "energy=train_energy_j", "latency=latency_s")
    done = score(to_csv(rank(run)), *words, "--out", "o.csv")
    assert (done.status, done.err) == (0, "written: o.csv\n")
    scored = rows("o.csv")
    assert [row["architecture"] for row in scored] == ["resnet18d", "resnet26d"]
    for row in scored:
        assert (row["pepr_energy"], row["pepr_latency"]) == (row["pepr_E"], row["pepr_L"])


METHODS = "group,acc,energy_j,how\na,0.5,1,measured\nb,0.5,2,declared\nb,0.6,4,declared\na,0.7,,declared\n"


def test_methods_may_differ_only_between_groups(score: Score) -> None:
    ways = (*E, "--method", "E=how", "--json")
    found = document(score(METHODS, *ways, "--group", "group"))
    assert [group["bounds"]["E"]["method"] for group in found["groups"]] == ["measured", "declared"]
    refused = score(METHODS, *ways)
    assert "t.csv: E was obtained in different ways (declared, measured)" in refused.err
    mixed = score(METHODS + "b,0.6,5,\n", *ways, "--group", "group")
    assert "E of group 'b' was obtained in different ways (declared, not stated)" in mixed.err
    Path("bounds.json").write_text('{"E": {"lo": 0, "hi": 9, "method": "measured"}}')
    other = score(METHODS, *ways, "--group", "group", "--reference", "bounds.json")
    assert "E of group 'b' was obtained in different ways (declared, measured in bounds.json)" in other.err


FOUR = "model,acc,energy_j\na,0.9,1\nb,0.8,1\nc,0.7,1\nd,0.6,1\n"


@pytest.mark.parametrize(
    ("performance", "top", "ranks"),
    [
        (1.0, 3, ["majority", "1", "2", "3"]),
        (0.75, 3, ["1", "2", "majority", "3"]),
        (0.7, 3, ["1", "2", "3", "majority"]),  # a model with the same score is before it
        (0.65, 3, ["1", "2", "3", "majority"]),
        (0.1, 3, ["1", "2", "3", "... majority"]),
        (0.1, 5, ["1", "2", "3", "4", "majority"]),
    ],
)
def test_the_baseline_stands_at_its_place(
    score: Score, performance: float, top: int, ranks: list[str]
) -> None:
    done = score(FOUR, *E, "--baseline", performance, "--top", top, "--images", 100)
    table = [line.split() for line in done.out.splitlines()[4 : 4 + len(ranks)]]
    assert [" ".join(cells[:-4]) if "majority" in cells else cells[0] for cells in table] == ranks
    (baseline,) = (cells for cells in table if "majority" in cells)
    assert baseline[-4:] == ["baseline", f"{performance:.4f}", "0.0000", f"{performance:.4f}"]
    assert f"({performance:g}, free) outranks" in done.out


def test_models_that_do_not_beat_the_baseline_are_left_out_only_on_request(score: Score) -> None:
    table = "model,acc,energy_j\ncheap,0.7,1\ngood,0.9,50\nlarge,0.92,100\n"
    plain = score(table, *E, "--baseline", 0.65, "--images", 100)
    assert "1 of 3 models are not shown to beat it" in plain.out
    done = score(table, *E, "--baseline", 0.65, "--images", 100, "--only-skilled", "--json")
    group = document(done)["groups"][0]
    assert [model["name"] for model in group["best"]] == ["good", "large"]
    assert (group["bounds"]["E"]["lo"], group["scored"], group["no_skill"]) == (50.0, 2, 0)
    assert "baseline" in " ".join(group["warnings"])


def test_a_floor_leaves_models_out(score: Score) -> None:
    group = document(score(FOUR, *E, "--floor", 0.75, "--json"))["groups"][0]
    assert [model["name"] for model in group["best"]] == ["a", "b"]
    assert score(FOUR, *E, "--floor", 2).status == 2


def test_scoring_by_skill(score: Score) -> None:
    table = "model,acc,energy_j\npoor,0.65,1\ngood,0.9,100\n"
    assert document(score(table, *E, "--json"))["groups"][0]["best"][0]["name"] == "poor"
    by_skill = document(score(table, *E, "--skill", "--baseline", 0.5, "--json"))
    (good, poor) = by_skill["groups"][0]["best"]
    assert (good["name"], good["performance"], poor["name"]) == ("good", 0.9, "poor")
    assert good["pepr"]["E"] == pytest.approx(0.4)
    assert by_skill["ranked_by_skill"]
    assert score(table, *E, "--skill").status == 2
    assert score(table, *E, "--only-skilled").status == 2


def test_text_shows_the_first_20_groups(score: Score) -> None:
    table = "group,acc,energy_j\n" + "".join(f"g{place},0.5,1\n" for place in range(23))
    done = score(table, *E, "--group", "group")
    assert done.out.splitlines()[-1].startswith("and 3 more groups")
    assert "g19: 1 model" in done.out
    assert "g20" not in done.out
