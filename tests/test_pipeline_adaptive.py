"""A run by the adaptive rules: measured in turns, then what goes into bundles by the full rules."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import small_run
from small_run import FLAWLESS, GOOD, Listener

from pepr_edge.bundle.read import read_manifest
from pepr_edge.records import DeviceProfile
from pepr_edge.run_dir.reader import load
from pepr_edge.run_dir.store import read_record

ADAPTIVE = FLAWLESS.replace('rules = "quick"', 'rules = "adaptive"') + "[bundles]\ntop = 1\n"
FULL = ADAPTIVE.replace('rules = "adaptive"', 'rules = "full"')
VARIANTS = ("fp32", "int8_static")


def events(folder: Path) -> list[dict[str, object]]:
    lines = (folder / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == "measured"]


@pytest.mark.slow
def test_what_goes_into_bundles_is_measured_twice(own_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(events(own_run))
    view = Listener()
    ranking = small_run.carry_out(own_run, monkeypatch, ADAPTIVE, view=view)
    folders = {variant: own_run / "candidates" / f"{GOOD}@48" / variant for variant in VARIANTS}
    for folder in folders.values():
        profile = read_record(folder / "profile.json", DeviceProfile)
        assert profile.rules == "adaptive"
        assert profile.ended_by is not None
        assert sum(profile.blocks) == len(profile.latencies_s)
        assert len(profile.peak_memory_samples_bytes) == 3
    bundled = [row for row in ranking.rows if row.bundle is not None]
    assert len(bundled) == sum(row.rank == 1 for row in ranking.rows)
    assert {"artifacts measured", "queries"} <= set(view.bars)
    for row in bundled:
        full = read_record(folders[row.variant or ""] / "profile-full.json", DeviceProfile)
        assert full.rules == "full"
        assert read_manifest(own_run / (row.bundle or "")).profile == full
    assert len(events(own_run)) == before + len(VARIANTS) + len(bundled)

    # Nothing of that is measured again.
    (own_run / "run.json").unlink()
    small_run.carry_out(own_run, monkeypatch, ADAPTIVE)
    assert len(events(own_run)) == before + len(VARIANTS) + len(bundled)


@pytest.mark.slow
def test_what_was_measured_fully_stays(own_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_run.carry_out(own_run, monkeypatch, FULL)
    measured = len(events(own_run))
    small_run.carry_out(own_run, monkeypatch, ADAPTIVE)
    assert len(events(own_run)) == measured
    entries = load(own_run).entries
    assert [entry.profile is not None and entry.profile.rules for entry in entries] == ["full", "full"]
    assert [entry.full_profile for entry in entries] == [None, None]
