from __future__ import annotations

import json
from pathlib import Path

import command_line
import pytest

from pepr_edge.recipe import recipes_dir

SHIPPED = {"quickstart", "clinic_laptop_2core", "gtx_1050ti_4gb"}


def test_list_is_a_table_with_the_budgets(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    done = command_line.run(capsys, monkeypatch, "recipes", "list")
    assert {line.split()[0] for line in done.out.splitlines()[1:]} >= SHIPPED
    assert all(len(line) <= 100 for line in done.out.splitlines())
    rows = json.loads(command_line.run(capsys, monkeypatch, "recipes", "list", "--json").out)["recipes"]
    assert {row["name"] for row in rows} >= SHIPPED
    assert all({"device", "budgets"} <= set(row) for row in rows)


def test_show_prints_the_file(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    done = command_line.run(capsys, monkeypatch, "recipes", "show", "quickstart")
    assert done.out == (recipes_dir() / "quickstart.toml").read_text(encoding="utf-8")
    assert json.loads(command_line.run(capsys, monkeypatch, "recipes", "show", "quickstart", "--json").out)["name"] == "quickstart"


def test_copy_writes_over_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert command_line.run(capsys, monkeypatch, "recipes", "copy", "quickstart").status == 0
    assert command_line.run(capsys, monkeypatch, "recipes", "copy", "quickstart", "mine.toml").out.strip() == "mine.toml"
    assert Path("quickstart.toml").read_bytes() == Path("mine.toml").read_bytes()
    assert command_line.run(capsys, monkeypatch, "recipes", "check", "mine.toml").out == "mine: ok\n"
    again = command_line.run(capsys, monkeypatch, "recipes", "copy", "quickstart")
    assert (again.status, "is there already" in again.err) == (1, True)
    nowhere = command_line.run(capsys, monkeypatch, "recipes", "copy", "quickstart", "none/mine.toml")
    assert (nowhere.status, "there is no folder none" in nowhere.err) == (1, True)


def test_check_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert command_line.run(capsys, monkeypatch, "recipes", "check").status == 0
    path = tmp_path / "bad.toml"
    path.write_text('name = "bad"\n[device]\nname = "x"\ncores = 2\n[candidates]\narchitectures = []\n')
    done = command_line.run(capsys, monkeypatch, "recipes", "check", path, "quickstart")
    assert done.status == 1
    assert done.out == "bad: faulty\nquickstart: ok\n"
    assert "device.cores: unknown key" in done.err
    assert "candidates.architectures" in done.err
    rows = json.loads(command_line.run(capsys, monkeypatch, "recipes", "check", path, "--json").out)["recipes"]
    assert [(row["passed"], len(row["faults"])) for row in rows] == [(False, 2)]


def test_an_unknown_recipe_is_named_with_the_nearest(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    done = command_line.run(capsys, monkeypatch, "recipes", "show", "quickstrat")
    assert (done.status, done.out) == (1, "")
    assert "Did you mean 'quickstart'?" in done.err
