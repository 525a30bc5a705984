"""Simulate the quality gate: how often does it reject harmless variants, and pass harmful ones?

    python tools/gate_simulation.py [--out docs/benchmarks/gate.json] [--variants 400]

A model decides rightly on 90 % of the images of each class. A simulated variant changes its decisions: either
any of them, to another class (harmless at a low rate), or only right ones (harmful). Each simulated variant
has its own images. The rows are written as JSON, the tables of docs/decisions/quality-gate.md to stdout.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pepr_edge.export.quality_gate import (
    AGREEMENT_IMAGES,
    ROUNDING,
    LogitPair,
    agreement,
    is_lost,
    kept_share,
)
from pepr_edge.scoring.metrics import metric as metric_of
from pepr_edge.scoring.resampling import Counts

THRESHOLD = 0.99
ACCURACY = 0.9
# Shares of the classes: one is rare, as in medical images.
SHARES = {2: (0.75, 0.25), 7: (0.4, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03)}
METRICS = ("accuracy", "balanced_accuracy")
VALIDATION = (78, 100, 524, 1000)
TRAINING = (0, 400, 1000, 4000)
# A model knows its training images, so a variant may change fewer decisions there.
MEMORISED = 0.2


@dataclass(frozen=True)
class Setting:
    """Classes, the ranking's metric, and the number of validation images."""

    classes: int
    metric: str
    validation: int


@dataclass(frozen=True)
class Variant:
    """A simulated variant.

    `flipped`: share of all decisions that it changes. `lost`: share of all images on which it makes a right
    decision wrong. `on_training`: factor of these rates on training images.
    """

    name: str
    flipped: float = 0.0
    lost: float = 0.0
    on_training: float = 1.0


@dataclass(frozen=True)
class Row:
    """Shares of the simulated variants: rejected, passed with the note, passed without it."""

    rejected: float
    noted: float
    passed: float


VARIANTS = (
    Variant("0.1 % changed", flipped=0.001),
    Variant("0.5 % changed", flipped=0.005),
    Variant("1 % of performance lost: the threshold", lost=(1 - THRESHOLD) * ACCURACY),
    Variant("1 % of accuracy lost", lost=0.01),
    Variant("3 % of accuracy lost", lost=0.03),
    Variant("10 % of accuracy lost", lost=0.1),
    Variant("3 % lost, a fifth of it on training", lost=0.03, on_training=MEMORISED),
)


def main() -> None:
    """Simulate all settings, write the rows and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/gate.json"))
    parser.add_argument("--variants", type=int, default=400)
    arguments = parser.parse_args()
    rows = []
    for number, values in enumerate(itertools.product(SHARES, METRICS, VALIDATION)):
        setting = Setting(*values)
        for variant in VARIANTS:
            found = simulate(setting, variant, TRAINING, arguments.variants, seed=number)
            for training, row in found.items():
                rows.append({**asdict(setting), "training": training, **asdict(variant), **asdict(row)})
    document = {
        "schema_version": 1,
        "what": "Simulated variants at the quality gate: shares rejected, passed with the note, passed.",
        "threshold": THRESHOLD,
        "accuracy": ACCURACY,
        "class_shares": {str(classes): shares for classes, shares in SHARES.items()},
        "variants_per_row": arguments.variants,
        "rows": rows,
    }
    arguments.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    for setting, training in ((Setting(2, "accuracy", 100), 400), (Setting(2, "accuracy", 524), 4000)):
        print(table(rows, setting, training))


def simulate(
    setting: Setting, variant: Variant, training: Sequence[int], variants: int, seed: int
) -> dict[int, Row]:
    """Judge many simulated variants of one kind.

    Args:
        setting: classes, metric and number of validation images.
        variant: the kind.
        training: numbers of training images; the gate looks at AGREEMENT_IMAGES at most.
        variants: how many.
        seed: of the images and decisions.
    Returns:
        The outcomes by number of training images.
    """
    rng = np.random.default_rng(seed)
    labels = class_labels(setting)
    resamples: dict[bool, Counts] = {}
    outcomes: dict[int, list[str]] = {number: [] for number in training}
    for _ in range(variants):
        validation = decisions(labels, setting.classes, variant, 1.0, rng)
        drawn = rng.choice(setting.classes, AGREEMENT_IMAGES, p=SHARES[setting.classes])
        others = decisions(drawn, setting.classes, variant, variant.on_training, rng)
        rejected = is_rejected(setting.metric, validation, labels, resamples)
        for number in training:
            seen = min(number, max(0, AGREEMENT_IMAGES - setting.validation))
            shown = is_shown(validation, LogitPair(others.own[:seen], others.expected[:seen]))
            passed = "passed" if shown else "noted"
            outcomes[number].append("rejected" if rejected else passed)
    return {number: row_of(names) for number, names in outcomes.items()}


def row_of(outcomes: Sequence[str]) -> Row:
    """Return the share of each outcome."""
    return Row(*(outcomes.count(name) / len(outcomes) for name in ("rejected", "noted", "passed")))


def class_labels(setting: Setting) -> NDArray[np.int64]:
    """Return validation labels with the classes' shares, at least one image of each class."""
    shares = np.array(SHARES[setting.classes])
    ends = np.rint(np.cumsum(shares) * setting.validation).astype(int)
    return np.searchsorted(ends, np.arange(setting.validation), side="right").astype(np.int64)


def decisions(
    labels: NDArray[np.int64], classes: int, variant: Variant, factor: float, rng: np.random.Generator
) -> LogitPair:
    """Draw the decisions of a model and of its variant, as one-hot logits."""
    n = len(labels)
    others = (labels + rng.integers(1, classes, n)) % classes
    model = np.where(rng.random(n) < ACCURACY, labels, others)
    flipped = rng.random(n) < variant.flipped * factor
    lost = (rng.random(n) < variant.lost * factor / ACCURACY) & (model == labels)
    changed = (model + rng.integers(1, classes, n)) % classes
    one_hot = np.eye(classes, dtype=np.float32)
    return LogitPair(one_hot[np.where(flipped | lost, changed, model)], one_hot[model])


def is_rejected(
    metric: str, validation: LogitPair, labels: NDArray[np.int64], resamples: dict[bool, Counts]
) -> bool:
    """True if the gate rejects a variant."""
    for name in dict.fromkeys((metric, "balanced_accuracy")):
        own = metric_of(name)(validation.own, labels)
        if own >= THRESHOLD * metric_of(name)(validation.expected, labels):
            continue  # it cannot be rejected: this saves the resampling
        share = kept_share(name, *validation, labels, resamples)
        if share is not None and is_lost(share, THRESHOLD):
            return True
    return False


def is_shown(validation: LogitPair, training: LogitPair) -> bool:
    """True if the agreement of decisions is shown."""
    return agreement(validation, training).low >= THRESHOLD - ROUNDING


def table(rows: Sequence[dict[str, object]], setting: Setting, training: int) -> str:
    """Return the Markdown table of one setting."""
    lines = [
        f"{setting.validation} validation and {training} training images, {setting.classes} classes, "
        f"{setting.metric}:",
        "",
        "| variant | rejected | passed with the note | passed without |",
        "|---|---|---|---|",
    ]
    for row in rows:
        if {**asdict(setting), "training": training}.items() <= row.items():
            shares = (f"{100 * float(str(row[name])):.1f} %" for name in ("rejected", "noted", "passed"))
            lines.append(f"| {row['name']} | {' | '.join(shares)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
