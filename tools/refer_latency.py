"""How much the second output of a file adds to its latency, measured in interleaved rounds.

    python tools/refer_latency.py BUNDLE... [--pairs 7] [--rounds 20] [--json FILE]

Each bundle's model is timed in turn with a copy that lacks the second output, both in processes of their own
with one thread. Two processes of the same file may differ by some percent, so several pairs are started: the
figure is the median over the pairs, each of them the median over its rounds.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
from pathlib import Path
from typing import Any

from pepr_edge.bundle.read import read_manifest
from pepr_edge.device.facts import here
from pepr_edge.export.novelty import without_novelty
from pepr_edge.measure.interleaved_timing import TimingRules, latency_ratio, time_interleaved
from pepr_edge.measure.model_process import ModelProcess


def measured(bundle: Path, pairs: int, rounds: int, folder: Path) -> dict[str, Any]:
    """Return the figures of one bundle."""
    manifest = read_manifest(bundle)
    settings = manifest.profile.settings.model_copy(update={"threads": 1})
    shape = (1, *manifest.input.shape[1:])
    plain = without_novelty(bundle / "model.onnx", folder / f"{bundle.name}.onnx")
    rules = TimingRules(min_rounds=rounds, prune_ratio=math.inf, round_runs=60, limit_s=600.0)
    ratios = []
    latencies_s: list[float] = []
    for _ in range(pairs):
        with (
            ModelProcess(bundle / "model.onnx", settings, shape) as with_it,
            ModelProcess(plain, settings, shape) as without,
        ):
            results = time_interleaved({"with": with_it, "without": without}, rules)
        ratio = latency_ratio(results["with"], results["without"])
        assert ratio is not None
        ratios.append(ratio)
        latencies_s += results["without"].latencies_s
    return {
        "architecture": manifest.architecture,
        "image_size_px": manifest.image_size_px,
        "variant": manifest.variant,
        "runtime": settings.runtime,
        "latency_without_s": statistics.median(latencies_s),
        "added_share": statistics.median(ratios) - 1,
        "added_shares": [ratio - 1 for ratio in sorted(ratios)],
        "rounds": rounds,
    }


def main() -> None:
    """Time each bundle."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [measured(bundle, options.pairs, options.rounds, Path(folder)) for bundle in options.bundles]
    for row in rows:
        shares = row["added_shares"]
        spread = f"{shares[0]:+.2%} to {shares[-1]:+.2%}"
        print(
            f"{row['architecture']}@{row['image_size_px']} {row['variant']}: "
            f"{row['latency_without_s'] * 1e3:.3f} ms, {row['added_share']:+.2%} ({spread})"
        )
    if options.json is not None:
        document = {"machine": here().model_dump(mode="json"), "rows": rows}
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
