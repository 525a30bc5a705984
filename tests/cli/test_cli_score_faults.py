"""`pepr-edge score` on tables that are odd or wrong: what is read, and one line for the rest."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
from score_command import BOTH, SMALL, E, Score, document, rows


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
            "t.csv line 4: latency_s = '', expected a number of images >= 1",
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
