from __future__ import annotations

import json
from pathlib import Path

import command_line
import pytest

from pepr_edge.recipe import Recipe, recipes_dir
from pepr_edge.recipe.toml import read

DEVICES = {
    *(
        "office_laptop_no_avx2",
        "clinic_laptop_2core",
        "mini_pc_n100",
        "raspberry_pi_4",
        "raspberry_pi_5",
        "jetson_orin_nano",
    ),
    *(
        "gtx_1050ti_4gb",
        "gtx_1650_4gb",
        "intel_laptop_openvino",
        "android_arm_cpu",
        "windows_tablet",
        "server_4core",
    ),
}
SHIPPED = {"quickstart", *DEVICES}


def test_list_is_a_table_with_the_budgets(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = command_line.run(capsys, monkeypatch, "recipes", "list")
    assert {line.split()[0] for line in done.out.splitlines()[1:]} >= SHIPPED
    assert all(len(line) <= 100 for line in done.out.splitlines())
    rows = json.loads(command_line.run(capsys, monkeypatch, "recipes", "list", "--json").out)["recipes"]
    assert {row["name"] for row in rows} >= SHIPPED
    assert all({"device", "budgets"} <= set(row) for row in rows)


def test_show_prints_the_file(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    done = command_line.run(capsys, monkeypatch, "recipes", "show", "quickstart")
    assert done.out == (recipes_dir() / "quickstart.toml").read_text(encoding="utf-8")
    assert (
        json.loads(command_line.run(capsys, monkeypatch, "recipes", "show", "quickstart", "--json").out)[
            "name"
        ]
        == "quickstart"
    )


def test_a_device_recipe_names_its_sources_and_sets_budgets() -> None:
    for name in DEVICES:
        path = recipes_dir() / f"{name}.toml"
        head = path.read_text(encoding="utf-8").split("schema_version")[0]
        assert all(
            f"# {word}:" in head
            for word in ("For whom", "Device", "Source", "Budgets", "Run time", "Command")
        ), name
        recipe = read(path, Recipe)
        assert None not in (
            recipe.budgets.latency_p90_ms,
            recipe.budgets.peak_memory_mib,
            recipe.budgets.size_mib,
        ), name
        assert recipe.device.memory_mib is not None
        assert recipe.budgets.peak_memory_mib is not None
        assert recipe.budgets.peak_memory_mib <= recipe.device.memory_mib / 4, (
            f"{name}: leaves too little to everything else"
        )
    searched = [
        name for name in DEVICES if read(recipes_dir() / f"{name}.toml", Recipe).search.policy == "bounded"
    ]
    assert len(searched) >= len(DEVICES) / 2


def test_copy_does_not_overwrite(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = command_line.run(capsys, monkeypatch, "recipes", "copy", "quickstart")
    assert (done.status, done.out) == (0, "quickstart.toml\n")
    assert "recipes schema --out recipe.schema.json" in done.err
    assert (
        command_line.run(
            capsys, monkeypatch, "recipes", "copy", "quickstart", "--out", "mine.toml"
        ).out.strip()
        == "mine.toml"
    )
    assert Path("quickstart.toml").read_bytes() == Path("mine.toml").read_bytes()
    assert command_line.run(capsys, monkeypatch, "recipes", "check", "mine.toml").out == "mine: ok\n"
    again = command_line.run(capsys, monkeypatch, "recipes", "copy", "quickstart")
    assert (again.status, "already exists" in again.err) == (1, True)
    nowhere = command_line.run(
        capsys, monkeypatch, "recipes", "copy", "quickstart", "--out", "none/mine.toml"
    )
    assert (nowhere.status, "there is no folder none" in nowhere.err) == (1, True)


def test_check_reports_faults(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command_line.run(capsys, monkeypatch, "recipes", "check").status == 0
    path = tmp_path / "bad.toml"
    path.write_text('name = "bad"\n[device]\nname = "x"\ncores = 2\n[candidates]\narchitectures = []\n')
    done = command_line.run(capsys, monkeypatch, "recipes", "check", path, "quickstart")
    assert done.status == 1
    assert done.out == "bad: faulty\nquickstart: ok\n"
    assert "device.cores: unknown key" in done.err
    assert "candidates.architectures" in done.err
    rows = json.loads(command_line.run(capsys, monkeypatch, "recipes", "check", path, "--json").out)[
        "recipes"
    ]
    assert [(row["passed"], len(row["faults"])) for row in rows] == [(False, 2)]


def test_an_unknown_recipe_suggests_a_similar_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = command_line.run(capsys, monkeypatch, "recipes", "show", "quickstrat")
    assert (done.status, done.out) == (1, "")
    assert "Did you mean 'quickstart'?" in done.err


def test_check_knows_names_and_sizes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\n[device]\nname = "x"\n'
        '[candidates]\narchitectures = ["dla46_c", "resnet18d"]\nimage_size_px = [48, 64]\n'
        'weights = "scrach"\n[export]\nvariants = ["int9"]\n[workstation]\ncountry = "Denmark"\n'
    )
    monkeypatch.setattr(
        "pepr_edge.cli.recipes.unknown_architectures",
        lambda recipe: ["candidates.architectures: no such name"],
    )
    done = command_line.run(capsys, monkeypatch, "recipes", "check", path, "--json")
    assert done.status == 1
    (row,) = json.loads(done.out)["recipes"]
    assert row["faults"][0] == f"{path}: candidates.architectures: no such name"
    assert any("image_size_px = 48, but dla46_c takes multiples of 32 px" in fault for fault in row["faults"])
    assert any("int9" in fault for fault in row["faults"])
    assert any('candidates.weights = "scrach": no such file' in fault for fault in row["faults"])
    assert any("Denmark" in fault for fault in row["faults"])
    assert len(row["faults"]) == 5
    assert done.err.count("\n") == 5


def test_check_knows_the_positive_class(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.toml"
    text = (
        'name = "mine"\n[device]\nname = "x"\n[candidates]\narchitectures = ["resnet18d"]\n'
        '[data]\nsource = "phantom"\n[train]\nepochs = "auto"\n[task]\npositive = '
    )
    for label, status in (("benign", 0), ("cancer", 1)):
        path.write_text(f'{text}"{label}"\n')
        done = command_line.run(capsys, monkeypatch, "recipes", "check", path, "--json")
        assert done.status == status, done.err
    assert "task.positive = 'cancer', expected one of" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.slow
def test_check_looks_up_other_names_in_timm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "mine"\n[device]\nname = "x"\n[candidates]\narchitectures = ["resnet10t", "resnet18q"]\n'
    )
    done = command_line.run(capsys, monkeypatch, "recipes", "check", path)
    assert done.status == 1
    assert "resnet18q: unknown architecture" in done.err
    assert "resnet10t" not in done.err


def test_check_finds_weights_beside_the_recipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    recipe = tmp_path / "mine.toml"
    text = 'name = "mine"\n[device]\nname = "x"\n[candidates]\narchitectures = ["dla46_c"]\n'
    recipe.write_text(f'{text}weights = "mine.pth"\n')
    missing = command_line.run(capsys, monkeypatch, "recipes", "check", str(recipe))
    assert missing.status == 1
    assert "no such file" in missing.err
    (tmp_path / "mine.pth").write_bytes(b"weights")
    done = command_line.run(capsys, monkeypatch, "recipes", "check", str(recipe))
    assert (done.status, done.out) == (0, "mine: ok\n")
