"""From a signed export to a signed report at home, as a person would do it."""

from __future__ import annotations

import json
from pathlib import Path

import command_line
import made_records
import pytest
import signed_files
import tiny_bundle

from pepr_edge.cli import entry
from pepr_edge.field import bench as bench_module
from pepr_edge.field.bench import Plan, Subject, bench
from pepr_edge.field.report_checksum import with_checksum
from pepr_edge.records import FieldReport, Manifest, Ranking, SessionSettings
from pepr_edge.report import html
from pepr_edge.run_dir.store import read_record, write_record
from pepr_edge.signing import signatures


@pytest.fixture
def vendor(tmp_path: Path) -> signed_files.Pair:
    return signed_files.pair(tmp_path, "vendor")


def test_from_export_to_the_ranking_by_a_signed_report(
    flawless: Path,
    tmp_path: Path,
    vendor: signed_files.Pair,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = signed_files.pair(tmp_path, "device")
    out = tmp_path / "usb"
    done = command_line.run(capsys, monkeypatch, "export", flawless, "--out", out, "--sign", vendor.private)
    assert done.status == 0
    assert vendor.signer.public.fingerprint in done.err
    bundle = min(out.iterdir())
    assert (bundle / "manifest.json.sig").is_file()

    tiny_bundle.measure_briefly(monkeypatch)
    report = tmp_path / "report.json"
    words = ("bench", bundle, "--quick", "--no-extras", "--out", report, "--trust", vendor.public)
    done = command_line.run(capsys, monkeypatch, *words, "--sign", device.private)
    assert done.status == 0
    assert signatures.is_signature(tmp_path / "report.json.sig")

    rank = ("rank", flawless, "--field", report, "--json", "--trust")
    foreign = command_line.run(capsys, monkeypatch, *rank, vendor.public)
    assert (foreign.status, foreign.err.count("\n")) == (1, 1)
    assert "no key of vendor.pub" in foreign.err
    ranking = json.loads(command_line.run(capsys, monkeypatch, *rank, device.public).out)
    assert ranking["devices"][0]["reports"] == ["report.json"]
    # An export without a key replaces the signed one, signature included.
    assert command_line.run(capsys, monkeypatch, "export", flawless, "--out", out).status == 0
    assert not (bundle / "manifest.json.sig").exists()


def test_a_page_of_reports_that_a_trusted_key_signed(
    own_run: Path,
    tmp_path: Path,
    vendor: signed_files.Pair,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(html, "draw", lambda report: html.PageFigures())
    device = signed_files.pair(tmp_path, "device")
    ranking = read_record(own_run / "ranking.json", Ranking)
    measured = [
        made_records.bench("x", 0.25, 2**28).replace(artifact_sha256=row.artifact_sha256)
        for row in ranking.rows
        if row.rank
    ]
    report = tmp_path / "there.json"
    write_record(report, with_checksum(made_records.field_report(*measured, cpu="an old laptop")))
    page = own_run / "report.html"
    before = page.read_bytes()
    words = ("report", own_run, "--field", report, "--trust")
    unsigned = command_line.run(capsys, monkeypatch, *words, device.public)
    signed_files.sign(report, device.signer, signatures.REPORT)
    foreign = command_line.run(capsys, monkeypatch, *words, vendor.public)
    for refused, word in ((unsigned, "not signed"), (foreign, "no key of vendor.pub")):
        assert (refused.status, refused.out, refused.err.count("\n")) == (1, "", 1)
        assert word in refused.err
        assert page.read_bytes() == before
    done = command_line.run(capsys, monkeypatch, *words, device.public)
    assert (done.status, done.out.strip()) == (0, str(page))
    assert "an old laptop" in page.read_text(encoding="utf-8")
    assert b"an old laptop" not in before


def test_a_launcher_trusts_only_its_keys_unless_others_are_given(
    own_bundle: Path,
    tmp_path: Path,
    vendor: signed_files.Pair,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stranger = signed_files.pair(tmp_path, "stranger")
    signed_files.sign(own_bundle / "manifest.json", stranger.signer)
    image = tiny_bundle.image(tmp_path / "x.png")

    def start(*words: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["pepr-edge", *map(str, words)])
        status = 0
        try:
            entry(vendor.public)
        except SystemExit as ended:
            status = int(ended.code or 0)
        return status, capsys.readouterr().err

    for words, status in (
        (("verify", own_bundle), 3),
        (("predict", own_bundle, image), 1),
        (("evaluate", own_bundle, tmp_path), 1),
        (("bench", own_bundle, "--quick"), 1),
    ):
        ended, said = start(*words)
        assert ended == status
        assert "no key of vendor.pub" in said
    assert start("predict", own_bundle, image, "--trust", stranger.public)[0] == 0
    vendor.public.unlink()
    ended, said = start("verify", own_bundle)
    assert (ended, said.count("\n")) == (1, 1)
    assert "vendor.pub: no such file" in said


def test_a_kit_is_verified_whole(
    tmp_path: Path,
    vendor: signed_files.Pair,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kit = tmp_path / "kit"
    bundle = tiny_bundle.write(kit / "bundles" / "01-tiny@16-fp32")
    signed_files.sign(bundle / "manifest.json", vendor.signer)
    (kit / "kit.json").write_text("{}")
    files = sorted(path for path in kit.rglob("*") if path.is_file())
    lines = [f"{tiny_bundle.sha256_file(path)}  {path.relative_to(kit).as_posix()}\n" for path in files]
    (kit / "checksums.txt").write_text("".join(lines))
    words = ("verify", kit, "--trust", vendor.public)
    unsigned = command_line.run(capsys, monkeypatch, *words)
    assert (unsigned.status, unsigned.out) == (1, "")
    assert "checksums.txt: not signed" in unsigned.err
    signed_files.sign(kit / "checksums.txt", vendor.signer, signatures.KIT)
    done = command_line.run(capsys, monkeypatch, *words)
    assert done.status == 0
    assert done.out.startswith("01-tiny@16-fp32  passed  signed by vendor (SHA256:")


@pytest.mark.usefixtures("fast")
def test_reports_are_signed_when_complete_and_replace_their_signatures(
    bundle: Path,
    manifest: Manifest,
    tmp_path: Path,
    vendor: signed_files.Pair,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "report.json"
    tiny_bundle.fake_profile(monkeypatch)
    monkeypatch.setattr(bench_module, "FIRST_WRITE_S", 0.0)
    subjects = [Subject(bundle, manifest, SessionSettings())]
    bench(subjects, Plan("quick"), out=out, signer=vendor.signer)
    first = out.read_bytes()
    assert not FieldReport.model_validate_json(first).partial
    signatures.check(out, first, vendor.trust, signatures.REPORT)

    def interrupt(number: int, share: float, median_s: float) -> None:
        raise KeyboardInterrupt

    # The earlier report stays with its signature beside a partial one, which has none.
    with pytest.raises(bench_module.Interrupted):
        bench(subjects, Plan("quick"), out=out, signer=vendor.signer, progress=interrupt)
    assert FieldReport.model_validate_json(out.read_bytes()).partial
    assert not signatures.signature_path(out).exists()
    kept = tmp_path / "report.before.json"
    signatures.check(kept, kept.read_bytes(), vendor.trust, signatures.REPORT)
    assert kept.read_bytes() == first
    kept.rename(out)
    signatures.signature_path(kept).rename(signatures.signature_path(out))
    # One that is not signed leaves no signature of another beside it.
    bench(subjects, Plan("quick"), out=out)
    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "vendor", "vendor.pub"}
