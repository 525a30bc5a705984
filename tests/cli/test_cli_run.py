from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import command_line
import numpy as np
import psutil
import pytest
from PIL import Image
from small_run import BAD, FLAWLESS, GOOD, RECIPE

from pepr_edge.cli import common


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(RECIPE)
    return path


def image_folder(root: Path, classes: dict[str, int]) -> Path:
    rng = np.random.default_rng(0)
    for name, count in classes.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(rng.integers(0, 256, (20, 20), dtype=np.uint8)).save(
                root / name / f"{number}.png"
            )
    return root


def test_a_finished_run_prints_its_result_again(
    flawless: Path, recipe: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe.write_text(FLAWLESS)
    done = command_line.run(capsys, monkeypatch, "run", recipe, "--out", flawless)
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    assert all(len(line) <= 100 for line in lines if "report.html" not in line and " bundle " not in line)
    assert "On a test's machine deploy " in done.out
    assert f"{GOOD}@48 int8_static" in " ".join(done.out.split())
    report = next(line for line in lines if line.startswith("report")).split(maxsplit=1)[1]
    bundle = next(line for line in lines if line.startswith(("best bundle", "first bundle"))).split(
        maxsplit=2
    )[2]
    assert Path(report).is_file()
    assert (Path(bundle) / "manifest.json").is_file()


def test_json_is_the_ranking_and_nothing_else(
    flawless: Path, recipe: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe.write_text(FLAWLESS)
    done = command_line.run(capsys, monkeypatch, "run", recipe, "--out", flawless, "--json")
    assert json.loads(done.out) == json.loads((flawless / "ranking.json").read_text())


@pytest.mark.slow
def test_a_run_without_a_successful_candidate_ends_with_1(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    done = command_line.run(capsys, monkeypatch, "run", recipe, "--out", out, "--only", BAD)
    assert done.status == 1
    assert f"{BAD}@48 fp32 failed: train: {BAD}: cannot take images of 48 px" in " ".join(done.out.split())
    assert "all candidates failed" in done.err
    assert (out / "ranking.json").is_file()


def test_faults_are_reported_in_one_line(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"

    def fault(*words: object, text: str | None = None) -> str:
        recipe.write_text(text or RECIPE)
        done = command_line.run(capsys, monkeypatch, "run", recipe, "--out", out, *words)
        assert (done.status, done.out) == (1, "")
        assert done.err.startswith("error: ")
        assert done.err.count("\n") == 1, done.err
        assert not (out / "ranking.json").exists()
        return done.err

    assert "train.epoch: unknown key. Did you mean 'epochs'?" in fault(text=RECIPE.replace("epochs", "epoch"))
    assert "train.epochs = 0, expected an integer >= 1" in fault(
        text=RECIPE.replace("epochs = 2", "epochs = 0")
    )
    assert "--only mobilenet: not a candidate of this recipe" in fault("--only", "mobilenet")
    assert "nowhere.npz: no such file or folder" in fault("--data", "nowhere.npz")
    assert "breastmnst: no such file or folder" in fault("--data", "breastmnst")
    one_class = image_folder(tmp_path / "one", {"benign": 12})
    assert "only the class 'benign', expected two or more" in fault("--data", one_class)
    corrupt = image_folder(tmp_path / "corrupt", {"benign": 12, "malignant": 12})
    content = (corrupt / "benign" / "3.png").read_bytes()
    (corrupt / "benign" / "3.png").write_bytes(content[: len(content) // 2])
    assert "3.png: the image is corrupt" in fault("--data", corrupt)
    (corrupt / "benign" / "3.png").write_bytes(b"not an image")
    assert "3.png: not an image, expected PNG" in fault("--data", corrupt)
    similar = fault(text=RECIPE.replace(GOOD, "mobilnetv2_050"))
    assert "mobilnetv2_050: unknown architecture. Did you mean 'mobilenetv2_050'?" in similar
    (tmp_path / "not_a_folder").write_text("x")
    done = command_line.run(capsys, monkeypatch, "run", tmp_path / "missing.toml")
    assert done.status == 1
    assert "missing.toml: no such file" in done.err


def test_bad_images_are_named_before_the_run_starts(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = image_folder(tmp_path / "corrupt", {"benign": 12, "malignant": 12})
    for number in range(12):
        (folder / "benign" / f"{number}.png").write_bytes(b"not an image")
    command = ("run", recipe, "--out", tmp_path / "run", "--data", folder)
    done = command_line.run(capsys, monkeypatch, *command)
    assert (done.status, done.out) == (1, "")
    first, *lines = done.err.splitlines()
    assert first.startswith(f"error: {folder}: 12 of 24 images cannot be used.")
    assert (len(lines), lines[-1]) == (11, "  and 2 more")
    assert all("/" not in line.replace("benign/", "") for line in lines)

    recipe.write_text(RECIPE.replace("[data]", '[data]\non_bad_image = "skip"'))
    done = command_line.run(capsys, monkeypatch, *command)
    assert (done.status, done.out) == (1, "")
    assert "class 'benign' has no image in the training split" in done.err
    assert not [
        path for path in (tmp_path / "run").rglob("*") if path.is_file() and ".pepr_edge" not in path.parts
    ]

    recipe.write_text(RECIPE.replace("[data]", '[data]\non_bad_image = "ignore"'))
    assert "data.on_bad_image" in command_line.run(capsys, monkeypatch, *command).err


def test_all_faults_of_a_recipe_are_reported_at_once(
    recipe: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe.write_text(
        RECIPE.replace("epochs = 2", "epochs = 0\nbatchsize = 4").replace('source = "phantom"', "source = 3")
    )
    done = command_line.run(capsys, monkeypatch, "run", recipe)
    assert done.status == 1
    assert all(key in done.err for key in ("train.epochs", "train.batchsize", "data.source"))


def test_missing_workstation_packages_are_reported(
    recipe: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common.importlib.util, "find_spec", lambda name: None)
    done = command_line.run(capsys, monkeypatch, "run", recipe)
    assert done.status == 1
    assert "pip install 'pepr_edge[train]'" in done.err


@pytest.mark.slow
def test_an_interrupt_ends_with_130_and_leaves_no_process(recipe: Path, tmp_path: Path) -> None:
    recipe.write_text(RECIPE.replace("epochs = 2", "epochs = 500"))
    command = [sys.executable, "-m", "pepr_edge", "run", str(recipe), "--out", str(tmp_path / "run")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    parent = psutil.Process(process.pid)
    deadline = time.monotonic() + 120
    while not (workers := parent.children()) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(2)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert err.strip().endswith("interrupted")
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive
    assert not (tmp_path / "run" / "ranking.json").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("fast")
def test_only_and_data_override_the_recipe(
    recipe: Path,
    tmp_path: Path,
    real_data: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe.write_text(RECIPE.replace("epochs = 2", "epochs = 1"))
    out = tmp_path / "run"
    done = command_line.run(
        capsys,
        monkeypatch,
        "run",
        recipe,
        "--out",
        out,
        "--only",
        GOOD,
        "--data",
        real_data / "breastmnist.npz",
        "--json",
    )
    assert done.status == 0, done.err
    assert "breastmnist: 780 grey images" in done.err
    ranking = json.loads(done.out)
    assert [row["architecture"] for row in ranking["rows"]] == [GOOD, GOOD]
    assert ranking["data"] == "breastmnist"
    # The second run of the same command prints the existing result at once.
    again = command_line.run(
        capsys,
        monkeypatch,
        "run",
        recipe,
        "--out",
        out,
        "--only",
        GOOD,
        "--data",
        real_data / "breastmnist.npz",
        "--json",
    )
    assert json.loads(again.out) == ranking
    assert again.err == ""


def test_an_address_needs_the_ray_engine(
    recipe: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = command_line.run(capsys, monkeypatch, "run", recipe, "--address", "host:6379")
    assert (done.status, done.out) == (2, "")
    assert "--engine ray" in done.err.splitlines()[-1]


def test_an_unreachable_cluster_is_one_line_and_nothing_is_written(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pepr_edge.engine.ray.importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("pepr_edge.cli.run.need_training", lambda: None)
    done = command_line.run(capsys, monkeypatch, "run", recipe, "--engine", "ray", "--out", tmp_path / "run")
    assert (done.status, done.out, len(done.err.splitlines())) == (1, "", 1)
    assert done.err.startswith("error: --engine ray needs Ray, which is not installed")
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".pepr_edge"]
