"""What changed between two bundles."""

from __future__ import annotations

import dossier_manifests

from pepr_edge.dossier.changes import caveats, changes
from pepr_edge.records import Estimate, Manifest


def test_equal_bundles_have_no_differences(manifest: Manifest) -> None:
    full = dossier_manifests.full(manifest)
    assert changes(full, full) == ()
    assert caveats(full, full) == []


def test_each_kind_of_difference_is_a_row(manifest: Manifest) -> None:
    older = dossier_manifests.full(manifest)
    newer = older.replace(
        variant="int8_static",
        decision=dossier_manifests.DECISION.replace(threshold=0.4),
        performance={
            **older.performance,
            "accuracy": Estimate(value=0.95, ci=(0.9, 1.0), split="test", n=100),
        },
        provenance={**older.provenance, "data_sha256": "d" * 64, "versions": {"pepr_edge": "0.3.0"}},
        about=dossier_manifests.ABOUT.replace(version="4"),
        files={**older.files, "model.onnx": "e" * 64},
    )
    found = {(change.subject, change.what): (change.older, change.newer) for change in changes(newer, older)}
    assert found["model", "variant"] == ("fp32", "int8_static")
    assert found["model", "model.onnx, sha256"][1] == "e" * 64
    assert found["decision", "threshold"] == ("0.310", "0.400")
    assert found["performance", "test accuracy"][1] == "0.950 (0.900 to 1.000), n = 100"
    assert found["versions", "torch"] == ("2.9.0+cpu", "none")
    assert found["makers' statement", "version"] == ("3", "4")
    assert ("data", "source") in found
    assert ("decision", "target") not in found
    assert "data differ" in caveats(newer, older)[0]


def test_a_bundle_of_an_earlier_version_has_less(manifest: Manifest) -> None:
    found = changes(dossier_manifests.full(manifest), manifest)
    was = {change.what: change.older for change in found if change.subject == "decision"}
    assert set(was.values()) == {"none"}
    assert any("data differ" in caveat for caveat in caveats(dossier_manifests.full(manifest), manifest))
