"""Comparisons as tools/peers.py makes them, without any peer; and the modules of that tool."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import made_records
import numpy as np
import tiny_bundle

from pepr_edge.export.quality_gate import assess_quality
from pepr_edge.records import Quality, SessionSettings

TOOLS = Path(__file__).resolve().parents[1] / "tools"
SETTINGS = SessionSettings()


def tool(name: str) -> Any:
    """A module of tools/, which is no package."""
    if str(TOOLS) not in sys.path:
        sys.path.insert(0, str(TOOLS))
    return importlib.import_module(name)


peers, make, measure, records, table = (
    tool(f"peers{name}") for name in ("", "_make", "_measure", "_records", "_table")
)


def quality(wrong: int = 0) -> Quality:
    """Of a file that decides so many of 100 images otherwise than PyTorch, which is always right."""
    labels = np.arange(100) % 2
    before = np.eye(2, dtype=np.float32)[labels]
    after = before.copy()
    after[:wrong] = 1 - after[:wrong]
    return assess_quality(after, before, labels, measure.GATED, measure.THRESHOLD, SETTINGS)


def peer(name: str, milliseconds: float, wrong: int = 0) -> Any:
    latencies_s = tuple(milliseconds / 1e3 * share for share in (0.8, 0.9, 1.0, 1.1, 2.0))
    return records.Peer(
        name=name,
        settings=SETTINGS,
        latencies_s=latencies_s,
        quality=quality(wrong),
        size_bytes=3 << 20,
        made="int8, made",
    )


def row(architecture: str, *those: Any) -> Any:
    return records.Architecture(
        key=architecture,
        architecture=architecture,
        image_size_px=64,
        num_params=2_000_000,
        rounds=40,
        peers=those,
    )


def comparison(*rows: Any) -> Any:
    rules = records.Rules(runs=200, seconds=20.0, fewest=30, calibration_images=512, validation_images=100)
    device = tiny_bundle.profile(made_records.digest("any")).device.model_copy(
        update={"cpu": "made cpu", "cores": 1}
    )
    names = {"versions": {"torch": "9.9"}, "olive_versions": {"olive-ai": "8.8"}, "nncf_versions": {}}
    said = {
        "what": "made",
        "threads": 1,
        "data": "made",
        "data_sha256": made_records.digest("data"),
        "preset": "avx2",
    }
    return records.Comparison(**said, **names, rules=rules, device=device, rows=rows)


def two() -> Any:
    """Two architectures: on the first a peer fails the gate, on the second one did not run."""
    first = row(
        "small", peer("eager", 40), peer("onnxruntime", 9), peer("olive", 4, wrong=6), peer("ours", 10)
    )
    dead = records.Peer(name="olive", reason="was ended by SIGSEGV")
    return comparison(first, row("large", peer("eager", 90), peer("onnxruntime", 30), dead, peer("ours", 10)))
