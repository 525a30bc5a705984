"""`pepr-edge dossier`: its files, what it replaces, and which bundles it takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import command_line
import dossier_manifests
import pytest
import signed_files
from command_line import Outcome

from pepr_edge.bundle.read import read_manifest
from pepr_edge.run_dir.store import write_record

Run = Callable[..., Outcome]
FILES = {"label.html", "checklists.html", "claim_2024.csv", "tripod_ai.csv", "ml-bom.cdx.json"}


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    def dossier(*words: object) -> Outcome:
        return command_line.run(capsys, monkeypatch, "dossier", *words)

    return dossier


def say_more(bundle: Path) -> Path:
    write_record(bundle / "manifest.json", dossier_manifests.full(read_manifest(bundle)))
    return bundle


def test_all_files_of_a_bundle_that_says_much(own_bundle: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "paper" / "trail"
    done = run(say_more(own_bundle), "--out", out)
    assert done.status == 0
    assert {path.name for path in out.iterdir()} == {*FILES, ".pepr_edge"}
    assert "Second reader of chest images." in (out / "label.html").read_text(encoding="utf-8")
    assert "44 items" in done.err
    again = {name: (out / name).read_bytes() for name in FILES}
    assert run(own_bundle, "--out", out).status == 0
    assert {name: (out / name).read_bytes() for name in FILES} == again


def test_json_has_each_item(own_bundle: Path, tmp_path: Path, run: Run) -> None:
    done = run(own_bundle, "--out", tmp_path / "out", "--json")
    document = json.loads(done.out)
    assert set(document["files"]) == FILES
    assert document["changes"] is None
    claim = document["checklists"]["claim_2024"]
    assert sum(claim["counts"].values()) == len(claim["items"]) == 44
    assert claim["items"][4]["state"] == "by you"
    assert claim["items"][4]["from_the_bundle"] is None


def test_against_an_older_bundle(own_bundle: Path, bundle: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    done = run(say_more(own_bundle), "--out", out, "--against", bundle, "--json")
    changes = json.loads(done.out)["changes"]
    assert {"what": "threshold", "subject": "decision", "older": "none", "newer": "0.310"} in changes
    assert "The data differ" in (out / "changes.html").read_text(encoding="utf-8")
    run(own_bundle, "--out", out)
    assert not (out / "changes.html").exists()  # it would be of another comparison


def test_what_somebody_filled_in_is_kept(bundle: Path, tmp_path: Path, run: Run) -> None:
    out = tmp_path / "out"
    run(bundle, "--out", out)
    filled = out / "claim_2024.csv"
    filled.write_text("mine")
    before = (out / "label.html").stat().st_mtime_ns
    refused = run(bundle, "--out", out)
    assert (refused.status, filled.read_text()) == (1, "mine")
    assert "claim_2024.csv" in refused.err
    assert (out / "label.html").stat().st_mtime_ns == before
    assert run(bundle, "--out", out, "--force").status == 0
    assert filled.read_text() != "mine"


@pytest.mark.parametrize("place", [".", "inside"])
def test_a_bundle_gets_no_further_file(own_bundle: Path, place: str, run: Run) -> None:
    before = sorted(own_bundle.iterdir())
    done = run(own_bundle, "--out", own_bundle / place)
    assert done.status == 1
    assert "lies in the bundle" in done.err
    assert sorted(own_bundle.iterdir()) == before


def test_only_whole_bundles(own_bundle: Path, bundle: Path, tmp_path: Path, run: Run) -> None:
    (own_bundle / "selftest.npz").write_bytes(b"altered")
    for words in ((own_bundle,), (bundle, "--against", own_bundle), (tmp_path / "none",)):
        done = run(*words, "--out", tmp_path / "out")
        assert done.status == 1
        assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_trusted_key_may_be_asked_for(bundle: Path, tmp_path: Path, run: Run) -> None:
    key = signed_files.pair(tmp_path, "vendor").public
    done = run(bundle, "--out", tmp_path / "out", "--trust", key)
    assert done.status == 1
    assert "sign" in done.err
