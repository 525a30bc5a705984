"""`pepr-edge score`: PePR of the models in any table."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import command_line
import made_records
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pepr_edge.text.tables import WIDTH

ROOT = Path(__file__).resolve().parents[2]
Score = Callable[..., command_line.Outcome]
SMALL = "group,model,acc,energy_j,latency_s\na,one,0.8,10,1\na,two,0.9,30,2\nb,one,0.7,5,\nb,two,0.6,inf,3\n"
E = ("--performance", "acc", "--resource", "E=energy_j")
BOTH = (*E, "--resource", "L=latency_s")


@pytest.fixture
def score(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Score:
    """Run `pepr-edge score` in a temporary folder, on a table given as text or by its path."""
    monkeypatch.chdir(tmp_path)

    def run(table: str | bytes | Path, *words: object) -> command_line.Outcome:
        if not isinstance(table, Path):
            path = tmp_path / "t.csv"
            path.write_bytes(table.encode() if isinstance(table, str) else table)
            table = Path("t.csv")
        return command_line.run(capsys, monkeypatch, "score", table, *words)

    return run


def document(done: command_line.Outcome) -> dict[str, Any]:
    assert done.status == 0, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def rows(path: str) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


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


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_dialects(score: Score, mark: str, end: str, start: bytes) -> None:
    text = SMALL.replace(",", mark).replace("\n", end).replace("two", f'"t{mark}wo"')
    found = document(score(start + text.encode(), *E, "--group", "group", "--out", "o.csv", "--json"))
    assert found["groups"][0]["models"] == 2
    with open("o.csv", newline="") as file:
        written = [row[1] for row in csv.reader(file, delimiter=mark)]
    assert written == ["model", "one", f"t{mark}wo", "one", f"t{mark}wo"]


@pytest.mark.parametrize(
    "header",
    [
        'model;"acc, test";e',
        'model;"acc, (a, b, c)";e',
        '"mo,\ndel";"acc, test";e',
        '\nmodel;"acc, test";e',
        '"the ""model"", it";acc, test;e',
    ],
)
def test_a_delimiter_in_quotation_marks_is_text(score: Score, header: str) -> None:
    name = next(cell for cell in next(csv.reader([header.strip()], delimiter=";")) if cell.startswith("acc"))
    table = f"{header}\none;0.5;1\ntwo;0.9;1\n"
    found = document(score(table, "--performance", name, "--resource", "E=e", "--json"))
    assert found["groups"][0]["best"][0]["performance"] == 0.9


@pytest.mark.parametrize("cell", ["", " ", "nan", "NaN", "NA", "none", "None", "-", "inf"])
def test_unmeasured_models_take_no_part(score: Score, cell: str) -> None:
    found = document(score(f"acc,energy_j\n0.5,1\n0.9,{cell}\n0.6,2\n", *E, "--json"))
    (group,) = found["groups"]
    assert (group["group"], group["models"], group["scored"], len(group["best"])) == (None, 3, 2, 2)
    why = "infinite" if cell == "inf" else "not measured"
    assert len(group["warnings"]) == 1
    assert f"E {why} 1" in group["warnings"][0]


def test_a_missing_performance_takes_no_part(score: Score) -> None:
    found = document(score("acc,energy_j\n0.5,1\n,100\n0.6,2\n", *E, "--out", "o.csv", "--json"))
    assert found["groups"][0]["bounds"]["E"]["hi"] == 2.0
    assert rows("o.csv")[1]["pepr_reason"] == "performance not measured"


def test_a_resource_without_any_measurement(score: Score) -> None:
    done = score("acc,energy_j\n0.5,\n0.6,-\n", *E)
    assert "E not measured" in done.out
    assert "No model has a score." in done.out
    assert document(score("acc,energy_j\n0.5,\n0.6,-\n", *E, "--json"))["groups"][0]["bounds"] == {"E": None}


CONTROL = "one\n\x1b[31mred\x1b[0m\x07"


def test_names_cannot_break_the_text(score: Score) -> None:
    table = 'GROUP,model,acc,"energy\n\x1b[1m(J)",latency_s\nX,X,0.9,1,2\nX,two,0.8,2,1\n'
    table = table.replace("GROUP", '"gr\noup"').replace("X", f'"{CONTROL}"')
    resources = ("--resource", "E=energy\n\x1b[1m(J)", "--resource", "L=latency_s", "--weights", "E=3,L=2")
    words = ("--performance", "acc", *resources, "--group", "gr\noup")
    done = score(table, *words, "--out", "o.csv")
    assert done.out.splitlines() == [
        "PePR of acc per unit of E (energy (J), weight 3), L (latency_s, weight 2); resources scaled by",
        "  minmax.",
        "",
        "one red: 2 models; E 1 to 2, L 1 to 2",
        "  rank  name     performance       R    PePR",
        "     1  one red       0.9000  0.4000  0.6429",
        "     2  two           0.8000  0.6000  0.5000",
        "E weight 0.6: winner unchanged from 0.42 to 1 (below: two).",
        "L weight 0.4: winner unchanged from 0 to 0.58 (above: two).",
        "normalisation minmax: winner unchanged with minmax and max.",
    ]
    with open("o.csv", newline="", encoding="utf-8") as file:
        assert list(csv.reader(file))[1][:2] == [CONTROL, CONTROL]
    (group,) = document(score(table, *words, "--json"))["groups"]
    assert (group["group"], group["best"][0]["name"]) == (CONTROL, CONTROL)
    assert group["winners"] == {"minmax": CONTROL, "max": CONTROL}


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


@pytest.mark.parametrize(
    ("table", "words", "said"),
    [
        (
            "acc,energy_j\n0.5,1\n83.1,2\n",
            E,
            "t.csv line 3: acc = '83.1', expected a number in [0, 1]. If it is in percent",
        ),
        ("acc,energy_j\n-0.5,1\n", E, "t.csv line 2: acc = '-0.5', expected a number in [0, 1]. Leave"),
        ("acc,energy_j\n0.5,-1\n", E, "t.csv line 2: energy_j = '-1', expected a number >= 0."),
        ("acc,energy_j\n0.5,-inf\n", E, "t.csv line 2: energy_j = '-inf', expected"),
        (
            'model,acc,energy_j\n"a\nb",0.5,1\n\nb,0.5,1.5 kWh\n',
            E,
            "t.csv line 5: energy_j = '1.5 kWh', expected the figure alone",
        ),
        (
            SMALL,
            ("--performance", "acc", "--resource", "E=enrgy_j"),
            "t.csv: no column 'enrgy_j', expected one of group, model, acc,",
        ),
        (SMALL, ("--performance", "acc", "--resource", "E=enrgy_j"), "Did you mean 'energy_j'?"),
        ("acc,energy_j\n0.5,1\n0.5\n", E, "t.csv line 3: 1 cells, the header has 2."),
        ("acc,energy_j\n0.5,1,2\n0.5,1,2\n", E, "t.csv line 2: 3 cells, the header has 2."),
        ("acc,energy_j,acc\n0.5,1,1\n", E, "t.csv: several columns named 'acc' (1, 3)."),
        ("", E, "t.csv: empty, expected a header line"),
        ("\n\n", E, "t.csv: empty, expected a header line"),
        ("acc,energy_j\n", E, "t.csv: a header and no rows"),
        ("acc,energy_j\n\n\n", E, "t.csv: a header and no rows"),
        ('acc,energy_j\n0.5,"1\n0.6,2\n', E, "not CSV (unexpected end of data)"),
        (SMALL.encode("utf-16"), E, "t.csv: not UTF-8 text."),
        (b"acc,energy_j\n0.5,\xff\n", E, "t.csv: not UTF-8 text."),
        (
            "acc,energy_j,r_E\n0.5,1,1\n",
            (*E, "--out", "o.csv"),
            "t.csv: has a column 'r_E', which --out would add.",
        ),
        (SMALL, (*E, "--out", "t.csv"), "--out t.csv: would overwrite what it is made from."),
        (SMALL, (*E, "--out", "."), ".: not a regular file."),
        (SMALL, (*E, "--alpha", 0.5), "alpha = 0.5, expected a number >= 1."),
        (SMALL, (*E, "--weights", "M=1"), "--weights 'M': no such resource, expected one of E."),
        (SMALL, (*E, "--weights", "E=0"), "all weights are 0"),
        (
            SMALL,
            (*BOTH, "--weights", "E=1e308,L=1e308"),
            "weights sum to inf, expected numbers with a finite sum.",
        ),
        ("acc,energy_j\n0.5,1\n0.5,1_000\n", E, "t.csv line 3: energy_j = '1_000', expected a number >= 0."),
        ("acc,energy_j\n0_0.5,1\n0.5,-\n", E, "t.csv line 2: acc = '0_0.5', expected a number in [0, 1]."),
        (
            'acc,"energy\n(J)"\n0.5,x\n',
            ("--performance", "acc", "--resource", "E=energy\n(J)"),
            "t.csv line 3: 'energy\\n(J)' = 'x', expected",
        ),
        (
            'acc,"energy\n(J)"\n0.5,x\n',
            E,
            "t.csv: no column 'energy_j', expected one of acc, 'energy\\n(J)'.",
        ),
        (
            "acc,energy_j,pepr_reason\n0.5,1,\n",
            (*E, "--out", "o.csv"),
            "t.csv: has a column 'pepr_reason', which --out would add.",
        ),
        (
            'group,acc,energy_j\n"a\nb",0.5,1\n',
            (*E, "--group", "group", "--baseline", "c=1"),
            "expected one of 'a\\nb'.",
        ),
        (
            SMALL,
            (*E, "--baseline", 66.9),
            "--baseline 66.9, expected a performance in [0, 1]. If it is in percent",
        ),
        (
            SMALL,
            (*E, "--group", "group", "--baseline", "c=0.5"),
            "--baseline c: no such group in t.csv, expected one of a, b.",
        ),
        (
            SMALL,
            (*E, "--images", "latency_s"),
            "t.csv line 4: latency_s = '', expected a number of images >= 1.",
        ),
        (SMALL, (*E, "--reference", "none.json"), "none.json: no such file"),
    ],
)
def test_faults_are_one_line(score: Score, table: str | bytes, words: tuple[object, ...], said: str) -> None:
    done = score(table, *words)
    assert (done.status, done.out) == (1, "")
    assert said in done.err
    assert done.err.count("\n") == 1
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["t.csv"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*E, "--resource", "E=latency_s"), "--resource E is given twice"),
        ((*E, "--resource", "latency_s"), "expected NAME=COL"),
        ((*E, "--resource", "combined=latency_s"), "--resource combined"),
        ((*E, "--method", "L=model"), "--method L: no such resource"),
        ((*E, "--normalise", "reference"), "needs --reference FILE"),
        ((*E, "--normalise", "max", "--reference", "t.csv"), "exclude each other"),
        ((*E, "--baseline", "a=0.5"), "there is no --group"),
        ((*E, "--baseline", "much"), "expected P or GROUP=P"),
        ((*E, "--images", "0"), "--images 0: expected a number >= 1"),
        ((*E, "--top", "0"), "--top"),
        (("--performance", "acc"), "--resource"),
    ],
)
def test_wrong_usage(score: Score, words: tuple[object, ...], said: str) -> None:
    done = score(SMALL, *words)
    assert (done.status, done.out) == (2, "")
    assert said in done.err


def test_a_table_must_be_a_file(score: Score, tmp_path: Path) -> None:
    assert "no such file" in score(Path("none.csv"), *E).err
    assert "a folder, not a file" in score(tmp_path, *E).err
    if hasattr(os, "mkfifo"):
        os.mkfifo("pipe")
        assert "not a regular file" in score(Path("pipe"), *E).err


def test_out_may_not_be_a_link_to_the_table(score: Score) -> None:
    Path("t.csv").write_text(SMALL)
    Path("link.csv").hardlink_to("t.csv")
    assert "would overwrite" in score(SMALL, *E, "--out", "link.csv").err
    assert Path("t.csv").read_text() == SMALL


@pytest.mark.parametrize(
    ("cell", "hint"),
    [
        ('"0,9"', "expected a point for the decimals"),
        ("90%", "expected the figure alone"),
        ("good", "expected a number in [0, 1]"),
    ],
)
def test_a_cell_that_is_no_number_gets_a_hint(score: Score, cell: str, hint: str) -> None:
    done = score(f"model,acc,e\na,{cell},1\n", "--performance", "acc", "--resource", "e=e")
    assert done.status == 1
    assert hint in done.err
