"""Compare learning rates, by architecture: the same training from scratch at each rate, by seed.

    python tools/bench_rates.py ONE.npz OTHER.npz --work DIR --out docs/benchmarks/rates.json

All else is as the images decide it (pepr_edge/recipe/settings.py), which gives every architecture the same
rate. The epoch that is kept is judged on validation and on test, in balanced accuracy and in the area under
the ROC curve. Files of finished trainings in DIR are used again.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from single_training import METRIC, candidate_for, images_for, recipe_by_images, train_once

from pepr_edge import __version__
from pepr_edge.device.facts import here
from pepr_edge.records import TrainResult
from pepr_edge.run_dir.store import write_text

ARCHITECTURES = ("mobilenetv2_050", "mnasnet_100", "ghostnet_100", "dla46_c", "resnet14t")
RATES = (5e-4, 1e-3, 2e-3, 4e-3)
SEEDS = 2
SHOWN = {"val": f"val_{METRIC}", "val_auroc": "val_auroc", "test": METRIC, "test_auroc": "auroc"}


def main() -> None:
    """Train all that is missing, and write the results after each training."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs="+", help=".npz files in MedMNIST's format")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--architectures", nargs="+", default=ARCHITECTURES)
    parser.add_argument("--rates", nargs="+", type=float, default=RATES)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for seed in range(arguments.seeds):
        for source in arguments.sets:
            for architecture in arguments.architectures:
                for rate in arguments.rates:
                    trained = _trained(source, seed, architecture, rate, arguments.work)
                    about = {"data": Path(source).stem, "architecture": architecture, "rate": rate}
                    rows.append({**about, "seed": seed, **_figures(trained)})
                    print(rows[-1], flush=True)
                    _write(arguments.out, rows)
    print(as_markdown(rows))


def _trained(source: str, seed: int, architecture: str, rate: float, work: Path) -> TrainResult:
    recipe = recipe_by_images(source, seed, [architecture], "scratch")
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"learning_rate": rate})})
    folder = work / Path(source).stem
    data = images_for(recipe, architecture, folder)
    candidate = candidate_for(recipe, architecture, data, "scratch")
    return train_once("rates", candidate, recipe, data, folder / f"{architecture}-{rate:g}-{seed}")


def _figures(trained: TrainResult) -> dict[str, Any]:
    found = {name: trained.performance[metric].value for name, metric in SHOWN.items()}
    return {**found, "energy_j": trained.cost.energy_j.value, "epochs": len(trained.epochs)}


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    document = {
        "schema_version": 1,
        "metric": METRIC,
        "machine": here().model_dump(mode="json"),
        "pepr_edge": __version__,
        "trainings": rows,
    }
    write_text(path, json.dumps(document, indent=1) + "\n")


def as_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return the means over seeds as a table: validation and test of each architecture at each rate."""
    rates = list(dict.fromkeys(row["rate"] for row in rows))
    lines = ["| set | architecture | " + " | ".join(f"{rate:g}" for rate in rates) + " |"]
    lines.append("|---|---|" + "---|" * len(rates))
    for data, architecture in dict.fromkeys((row["data"], row["architecture"]) for row in rows):
        own = [row for row in rows if (row["data"], row["architecture"]) == (data, architecture)]
        cells = [_cell([row for row in own if row["rate"] == rate]) for rate in rates]
        lines.append(f"| {data} | {architecture} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(rows: Sequence[dict[str, Any]]) -> str:
    """Return the mean on validation and on test; nothing without a row."""
    if not rows:
        return ""
    return " / ".join(f"{statistics.fmean(row[name] for row in rows):.3f}" for name in ("val", "test"))


if __name__ == "__main__":
    main()
