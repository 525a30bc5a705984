"""Files of the user at every name that pepr_edge uses: no command changes or deletes any of them."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import compare_runs
import numpy as np
import pytest
import small_run
import tiny_bundle
from command_line import Run
from planted import PRECIOUS, assert_kept, files, plant, plant_images
from small_run import GOOD, RECIPE

from pepr_edge import pipeline, preparation
from pepr_edge.errors import PeprError
from pepr_edge.pipeline import Options


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
    monkeypatch.setattr(preparation, "prepare", interrupted)
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
    monkeypatch.setattr(preparation, "prepare", None)  # nothing may get as far as the images
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
@pytest.mark.slow
def test_report_replaces_no_file_of_the_user(name: str, own_run: Path, run: Run) -> None:
    planted = plant(own_run, name)
    done = run("report", own_run)
    assert_kept(planted)
    assert done.status == (1 if name == "report.html" else 0)
    if name == "report.html":
        assert run("report", own_run, "--force").status == 0
        assert (own_run / name).read_bytes() != planted[own_run / name]


@pytest.mark.slow
def test_bench_replaces_reports_alone(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_bundle.measure_briefly(monkeypatch)
    bundle = tiny_bundle.write(tmp_path / "bundles" / "01-tiny@16-fp32")
    before = files(bundle)
    for out in (bundle / "model.onnx", bundle / "new.json"):
        assert run("bench", bundle, "--quick", "--out", out, "--force").status == 1
    assert files(bundle) == before
    out = tmp_path / "report.json"
    planted = plant(tmp_path, "report.json")
    done = run("bench", bundle, "--quick", "--out", out)
    assert (done.status, "no earlier output" in done.err) == (1, True)
    assert_kept(planted)
    assert run("bench", bundle, "--quick", "--out", out, "--force").status in (0, 3)
    # A file of the user at the name of the backup, and an edited report.
    planted = plant(tmp_path, "report.before.json")
    assert run("bench", bundle, "--quick", "--out", out).status in (0, 3)
    assert_kept(planted)
    out.write_bytes(
        out.read_bytes().replace(b'"partial": false', b'"partial":  false').replace(b"0.", b"1.", 1)
    )
    edited = {out: out.read_bytes()}
    assert run("bench", bundle, "--quick", "--out", out).status == 1
    assert_kept(edited)
    other = tiny_bundle.write(tmp_path / "bundles" / "02-tiny@16-fp32")
    assert run("bench", bundle, "--quick", "--out", other / "report.json").status == 1
    assert not (other / "report.json").exists()


def test_tables_and_schemas_of_the_user_are_not_replaced(tmp_path: Path, run: Run) -> None:
    table = tmp_path / "table.csv"
    table.write_text("model,p,e\na,0.9,1\nb,0.8,2\n")
    score = ("score", table, "--performance", "p", "--resource", "e=e", "--out")
    for command in (score, ("recipes", "schema", "--out")):
        planted = plant(tmp_path, "mine")
        done = run(*command, tmp_path / "mine")
        assert (done.status, "exists" in done.err) == (1, True)
        assert_kept(planted)
        assert run(*command, tmp_path / "mine", "--force").status == 0
        with open(tmp_path / "mine", "a") as file:
            file.write(" ")
        edited = {tmp_path / "mine": (tmp_path / "mine").read_bytes()}
        done = run(*command, tmp_path / "mine")
        assert done.status == (0 if command[0] == "recipes" else 1)  # a space changes no schema
        if done.status:
            assert_kept(edited)
    before = table.read_bytes()
    assert run(*score, table, "--force").status == 1
    assert table.read_bytes() == before


@pytest.mark.slow
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


@pytest.mark.slow
def test_edits_in_a_directory_without_a_record_are_kept(own_run: Path, run: Run) -> None:
    """Version 0.1.0 kept no record, and `cp RUN/* COPY` leaves it behind."""
    shutil.rmtree(own_run / ".pepr_edge")
    report = own_run / "report.html"
    report.write_text(report.read_text() + "<!-- my notes -->")
    assert run("report", own_run).status == 0
    assert "my notes" not in report.read_text()
    kept = own_run / ".pepr_edge" / "kept-1" / "report.html"
    assert kept.read_text().endswith("<!-- my notes -->")


@pytest.mark.slow
def test_force_makes_no_file_of_the_user_ours(own_run: Path, run: Run) -> None:
    report = own_run / "report.html"
    plant(own_run, "report.html")
    assert run("report", own_run, "--force").status == 0
    planted = plant(own_run, "report.html")  # restored from a backup
    assert run("report", own_run).status == 1
    assert_kept(planted)
    report.unlink()
    os.mkfifo(report)
    assert run("report", own_run, "--force").status == 1
    assert report.is_fifo()


def test_an_array_of_the_user_among_self_test_images_is_kept(own_run: Path, run: Run) -> None:
    path = own_run / "selftest_images" / "1.npy"
    path.parent.mkdir()
    np.save(path, np.zeros((2, 4, 4, 1), np.uint8))
    planted = {path: path.read_bytes()}
    assert run("export", own_run, "--out", own_run.parent / "out").status == 0
    assert_kept(planted)


def test_init_replaces_neither_its_source_nor_a_file_that_appeared(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant_images(tmp_path / "images")
    rows = [
        f"images/{label}/{number}.png,{label}" for label in ("benign", "malignant") for number in range(12)
    ]
    (tmp_path / "images.csv").write_text("\n".join(["path,label", *rows]))
    planted = files(tmp_path)
    assert run("init", tmp_path / "images.csv", "--out", tmp_path / "images.csv", "--force").status == 1
    (tmp_path / "link.toml").symlink_to(tmp_path / "nowhere")
    assert run("init", tmp_path / "images", "--out", tmp_path / "link.toml", "--no-time").status == 1
    monkeypatch.setattr("pepr_edge.cli.init._run_time", lambda *words: plant(tmp_path, "new.toml") and "")
    assert run("init", tmp_path / "images", "--out", tmp_path / "new.toml").status == 1
    planted |= {tmp_path / "new.toml": PRECIOUS + b"new.toml"}
    assert_kept(planted)
