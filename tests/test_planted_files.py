"""Files of the user at every name that pepr_edge uses: no command changes or deletes any of them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import command_line
import compare_runs
import pytest
import small_run
import tiny_bundle
from PIL import Image
from small_run import GOOD, RECIPE

from pepr_edge import pipeline
from pepr_edge.errors import PeprError
from pepr_edge.pipeline import Options

PRECIOUS = b"precious"
Run = Callable[..., command_line.Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return the command line as a function."""
    return lambda *words: command_line.run(capsys, monkeypatch, *words)


def plant(folder: Path, *names: str) -> dict[Path, bytes]:
    """Put files of the user into a folder; return their contents by path."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PRECIOUS + name.encode())
    return {folder / name: (folder / name).read_bytes() for name in names}


def plant_images(folder: Path) -> dict[Path, bytes]:
    """Write 24 images in folders of two classes; return their contents by path."""
    images = {}
    for label in ("benign", "malignant"):
        (folder / label).mkdir(parents=True)
        for number in range(12):
            path = folder / label / f"{number}.png"
            Image.new("L", (48, 48), 20 * number + len(label)).save(path)
            images[path] = path.read_bytes()
    return images


def assert_kept(planted: dict[Path, bytes]) -> None:
    assert {path: path.read_bytes() if path.is_file() else None for path in planted} == planted


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


@pytest.mark.parametrize("more", [(".lock",), ("run.json",), (".lock", "run.json"), ()], ids=str)
@pytest.mark.parametrize("fresh", [(), ("--fresh",)], ids=str)
def test_images_in_the_output_folder_are_kept(
    more: tuple[str, ...],
    fresh: tuple[str, ...],
    recipe: Path,
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = tmp_path / "home"
    plant_images(home / "data")
    plant(home, *more)
    before = files(home)
    monkeypatch.chdir(home)
    for source in ("data", "phantom", str(home / "data")):
        done = run("run", recipe, "--data", source, "--out", ".", *fresh)
        assert (done.status, done.err.count("\n")) == (1, 1)
        assert files(home) == before


@pytest.mark.parametrize("fresh", [(), ("--fresh",)], ids=str)
def test_images_inside_a_run_directory_are_not_trained_on(
    fresh: tuple[str, ...], recipe: Path, own_run: Path, run: Run
) -> None:
    plant_images(own_run / "data")
    before = files(own_run)
    for out in (own_run, own_run / "data" / "run"):
        done = run("run", recipe, "--data", own_run / "data", "--out", out, *fresh)
        assert (done.status, "lies inside" in done.err) == (1, True)
        assert files(own_run) == before


def test_a_folder_of_images_takes_no_results(recipe: Path, tmp_path: Path, run: Run) -> None:
    before = plant_images(tmp_path / "images")
    for out in ("images", "images/benign", "images/runs/new"):
        done = run("run", recipe, "--data", tmp_path / "images", "--out", tmp_path / out)
        assert (done.status, "lies inside" in done.err) == (1, True)
        assert files(tmp_path / "images") == before


CANDIDATE = f"candidates/{GOOD}@48"
IN_A_RUN = (
    "notes.txt",
    ".lock",
    "data/48/train_pixels.npy",
    "data/mine.png",
    "bundles.tmp",
    "report/mine.png",
    "report/mine.csv",
    ".pepr_edge/notes.txt",
    ".pepr_edge/pixels-x/train_pixels.npy",
    "selftest_images/mine.npy",
    "candidates/notes.txt",
    f"{CANDIDATE}/notes.txt",
    f"{CANDIDATE}/.mine.tmp",
    f"{CANDIDATE}/training-mine.pt",
    f"{CANDIDATE}/auto/mine.txt",
    f"{CANDIDATE}/fp32/mine.onnx.old",
    f"{CANDIDATE}/looks/fp32/mine.txt",
    f"{CANDIDATE}/looks/fp32/mine.onnx",
    f"{CANDIDATE}/.rungs-mine/mine.txt",
    "candidates/other@48/train.json",
    "candidates/other@48/fp32/model.onnx",
)


def test_an_interrupted_run_deletes_no_file_of_the_user(
    own_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    planted = plant(own_run, *IN_A_RUN)
    monkeypatch.setattr(pipeline, "prepare", interrupted)
    for options in (Options(), Options(fresh=True)):
        with pytest.raises(KeyboardInterrupt):
            small_run.carry_out(own_run, monkeypatch, RECIPE + "[score]\nalpha = 2.0\n", options)
        assert_kept(planted)


@pytest.mark.slow
def test_a_run_on_a_run_directory_deletes_no_file_of_the_user(
    own_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = plant(own_run, *IN_A_RUN)
    for options in (Options(), Options(fresh=True)):
        ranking = small_run.carry_out(own_run, monkeypatch, options=options)
        assert [row.rank for row in ranking.rows] == [1, 2, None, None]
        assert_kept(planted)


@pytest.mark.parametrize(
    "name",
    ["report.html", "ranking.csv", "skipped_images.csv", "bundles/mine.txt", "bundles/mine/manifest.json"],
)
@pytest.mark.parametrize("fresh", [False, True])
def test_a_document_of_the_user_stops_a_run_before_it_starts(
    name: str, fresh: bool, own_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "prepare", None)  # nothing may get as far as the images
    planted = plant(own_run, name)
    blocking = name.split("/")[1] if "/" in name else name
    with pytest.raises(PeprError, match=re.escape(blocking)):
        small_run.carry_out(own_run, monkeypatch, RECIPE + "[score]\nalpha = 2.0\n", Options(fresh=fresh))
    assert_kept(planted)


@pytest.mark.parametrize("name", ["run.json", "ranking.json", "search.json", "recipe.toml"])
def test_a_record_that_is_not_ours_is_kept_beside_the_new_one(
    name: str, own_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    plant(own_run, name)
    monkeypatch.setattr(pipeline, "search", interrupted)
    with pytest.raises(KeyboardInterrupt):
        small_run.carry_out(own_run, monkeypatch, RECIPE + "[score]\nalpha = 2.0\n")
    assert (own_run / f"{name}.kept-1").read_bytes() == PRECIOUS + name.encode()


def test_files_inside_a_bundle_stop_its_replacement(own_run: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    assert run("export", own_run, "--out", out).status == 0
    bundle = next(out.iterdir())
    for name in ("patients.txt", "MODEL_CARD.md", "model.onnx"):
        whole = (bundle / name).read_bytes() if (bundle / name).exists() else None
        planted = plant(bundle, name)
        before = files(out)
        done = run("export", own_run, "--out", out)
        assert (done.status, name in done.err) == (1, True)
        assert_kept(planted)
        assert files(out) == before
        (bundle / name).unlink() if whole is None else (bundle / name).write_bytes(whole)
    assert run("export", own_run, "--out", out).status == 0


@pytest.mark.parametrize("name", ["site/manifest.json", "thesis.txt", "out.tmp", "photos/1.png"])
def test_export_deletes_no_folder_of_the_user(name: str, own_run: Path, tmp_path: Path, run: Run) -> None:
    planted = {**plant(tmp_path / "out", name), **plant(tmp_path / ".out.tmp", "mine.txt")}
    assert run("export", own_run, "--out", tmp_path / "out").status == 1
    assert_kept(planted)
    shutil.rmtree(tmp_path / "out")
    assert run("export", own_run, "--out", tmp_path / "out").status == 0
    assert (tmp_path / ".out.tmp" / "mine.txt").is_file()


@pytest.mark.parametrize(
    "name", ["report.html", "report/mine.svg", "report/mine.png", "report/mine.csv", "report/notes.txt"]
)
def test_report_replaces_no_file_of_the_user(name: str, own_run: Path, run: Run) -> None:
    planted = plant(own_run, name)
    done = run("report", own_run)
    assert_kept(planted)
    assert done.status == (1 if name == "report.html" else 0)
    if name == "report.html":
        assert run("report", own_run, "--force").status == 0
        assert (own_run / name).read_bytes() != planted[own_run / name]


def test_bench_replaces_reports_alone(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_bundle.measure_briefly(monkeypatch)
    bundle = tiny_bundle.write(tmp_path / "bundles" / "01-tiny@16-fp32")
    before = files(bundle)
    for out in (bundle / "model.onnx", bundle / "new.json"):
        assert run("bench", bundle, "--quick", "--out", out, "--force").status == 1
    assert files(bundle) == before
    planted = plant(tmp_path, "report.json", "other.before.json")
    for out in ("report.json", "other.json"):
        done = run("bench", bundle, "--quick", "--out", tmp_path / out)
        assert (done.status, "no earlier output" in done.err) == (1, True)
        assert_kept(planted)
    assert run("bench", bundle, "--quick", "--out", tmp_path / "report.json", "--force").status in (0, 3)
    assert run("bench", bundle, "--quick", "--out", tmp_path / "report.json").status in (0, 3)
    assert PRECIOUS not in (tmp_path / "report.json").read_bytes()


def test_tables_and_schemas_of_the_user_are_not_replaced(tmp_path: Path, run: Run) -> None:
    table = tmp_path / "table.csv"
    table.write_text("model,p,e\na,0.9,1\nb,0.8,2\n")
    score = ("score", table, "--performance", "p", "--resource", "e=e", "--out")
    for command in (score, ("recipes", "schema", "--out")):
        planted = plant(tmp_path, "mine")
        done = run(*command, tmp_path / "mine")
        assert (done.status, "no earlier output" in done.err) == (1, True)
        assert_kept(planted)
        assert run(*command, tmp_path / "mine", "--force").status == 0
        assert run(*command, tmp_path / "mine").status == 0
    before = table.read_bytes()
    assert run(*score, table, "--force").status == 1
    assert table.read_bytes() == before


def test_a_comparison_and_a_replay_replace_no_file_of_the_user(tmp_path: Path, run: Run) -> None:
    one = compare_runs.run(tmp_path / "one", compare_runs.spread(0.6), compare_runs.Made(fraction=0.25))
    two = compare_runs.run(tmp_path / "two", compare_runs.spread(0.7), compare_runs.Made())
    out = tmp_path / "out"
    for name in ("comparison.json", "comparison.csv", "compare_performance.svg", "compare_performance.png"):
        planted = plant(out, name)
        done = run("compare", one, two, "--out", out)
        assert (done.status, name in done.err) == (1, True)
        assert_kept(planted)
        (out / name).unlink()
    planted = plant(out, "notes.txt", "compare_mine.svg")
    for _ in range(2):
        assert run("compare", one, two, "--out", out).status == 0
        assert_kept(planted)
    table = tmp_path / "table.csv"
    table.write_text("model,energy_kwh,val_00,val_01\na,1,0.5,0.9\nb,2,0.5,0.8\nc,3,0.6,0.7\n")
    for name in ("search.csv", "search.svg", "search.png"):
        planted = plant(tmp_path / "replay", name)
        done = run("search", "replay", table, "--out", tmp_path / "replay")
        assert (done.status, name in done.err) == (1, True)
        assert_kept(planted)
        (tmp_path / "replay" / name).unlink()
    for _ in range(2):
        assert run("search", "replay", table, "--out", tmp_path / "replay").status == 0


def test_a_lock_that_is_a_link_empties_nothing(own_run: Path, tmp_path: Path, recipe: Path, run: Run) -> None:
    planted = plant(tmp_path, "mine.txt")
    (own_run / ".pepr_edge").mkdir(exist_ok=True)
    lock = own_run / ".pepr_edge" / "lock"
    lock.unlink(missing_ok=True)
    lock.symlink_to(tmp_path / "mine.txt")
    recipe.write_text(RECIPE + "[score]\nalpha = 2.0\n")
    done = run("run", recipe, "--out", own_run)
    assert (done.status, "lock" in done.err) == (1, True)
    assert_kept(planted)


def test_rows_of_the_zoo_replace_no_file_of_the_user(tmp_path: Path, run: Run) -> None:
    for name in ("resnet14t@64.json", "resnet14t@64.log", "notes.txt"):
        planted = plant(tmp_path / "rows", name)
        assert run("zoo", "check", "--only", "resnet14t", "--out", tmp_path / "rows").status == 1
        assert_kept(planted)
        (tmp_path / "rows" / name).unlink()
    planted = plant(tmp_path, "page.md")
    zoo_check = ("zoo", "check", "--only", "resnet14t", "--out", tmp_path / "rows")
    assert run(*zoo_check, "--markdown", tmp_path / "page.md").status == 1
    assert_kept(planted)
