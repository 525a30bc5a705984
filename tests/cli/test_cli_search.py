"""search replay: the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import command_line
import pytest

Search = Callable[..., command_line.Outcome]
HEADER = "dataset,model,energy_kwh,test_00,test_01\n"
TABLE = HEADER + "a,one,1,0.5,0.6\na,two,3,0.9,0.9\nb,one,2,0.7,0.8\nb,two,,0.7,0.8\n"


@pytest.fixture
def search(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Search:
    def run(table: str, *words: object) -> command_line.Outcome:
        monkeypatch.chdir(tmp_path)
        Path("t.csv").write_text(table, encoding="utf-8")
        return command_line.run(capsys, monkeypatch, "search", "replay", "t.csv", *words)

    return run


def test_json_has_what_the_contract_says(search: Search) -> None:
    done = search(TABLE, "--json", "--policy", "exhaustive")
    document = json.loads(done.out)
    assert document["policy"] == "exhaustive"
    first = {
        "set": "a",
        "energy_fraction": 1.0,
        "regret": 0.0,
        "rank": 1.0,
        "choice": "one",
        "started": 2,
        "finished": 2,
    }
    assert document["sets"][0] == first
    assert (document["mean_energy_fraction"], document["mean_regret"]) == (1.0, 0.0)
    assert "1 rows lack" in done.err
    assert "test split" in done.err


def test_people_get_a_table(search: Search) -> None:
    done = search(TABLE)
    assert done.status == 0
    assert done.out.startswith("policy bounded: confidence 0.99, share 0.05")
    assert [line.split()[0] for line in done.out.splitlines()[2:]] == ["set", "a", "b", "mean"]


def test_validation_comes_first(search: Search) -> None:
    done = search("model,energy_kwh,val_1,val_2,test_1,test_2\na,1,0.1,0.2,0.3,0.4\n", "--json")
    assert json.loads(done.out)["performance"] == "val_"
    assert "test split" not in done.err


@pytest.mark.parametrize(
    ("table", "words", "fault"),
    [
        (HEADER, (), "a header and no rows"),
        (HEADER + "a,one,1,50,60\n", (), "in percent"),
        (HEADER + "a,one,-1,0.5,0.6\n", (), "expected a number >= 0"),
        (HEADER + "a,one,1,0.5,0.6\na,one,1,0.5,0.6\n", (), "model 'one' is there twice"),
        (HEADER + "a,one,,0.5,0.6\n", (), "no model has its energy and all epochs"),
        (TABLE.replace("test_01", "test_07"), (), "lack epoch 1"),
        (TABLE.replace("test_", "x"), (), "no columns val_00, val_01, ... or test_00"),
        (TABLE, ("--energy", "energy_kw"), "no column 'energy_kw'"),
        (TABLE, ("--group", "set"), "no column 'set'"),
        (TABLE.replace("model", "m"), (), "no column of names"),
    ],
)
def test_faults_are_one_line(search: Search, table: str, words: tuple[str, ...], fault: str) -> None:
    done = search(table, *words)
    assert (done.status, done.out) == (1, "")
    assert fault in done.err
    assert len(done.err.strip().splitlines()) == 1
