"""Measure what a student gains from a teacher: the same training alone and with the teacher, by seed.

    python tools/bench_distil.py ONE.npz OTHER.npz --work DIR --out docs/benchmarks/distil.json [--seeds N]

On each set, with each seed, the teacher is trained, then the student alone, and again with the logits of the
teacher as a part of what it learns (`[train] teacher = "best"`). Both trainings of the student have the same
seed and settings, which the images decide as in the device recipes, on the own splits of the set. They are
compared by the epoch that is kept, on validation and on test. The energy of a student includes that of its
teacher. Energies are CPU seconds times declared watts. Files of finished trainings in DIR are used again.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any, NamedTuple

from single_training import METRIC, WATTS, candidate_for, images_for, recipe_by_images, train_once

from pepr_edge import __version__
from pepr_edge.data import Dataset
from pepr_edge.device.facts import here
from pepr_edge.recipe.settings import ResolvedRecipe
from pepr_edge.records import TrainResult
from pepr_edge.run_dir.store import write_text
from pepr_edge.scoring.fair_cost import charged
from pepr_edge.train.distil import TeacherFiles

TEACHER = "resnet18d"
STUDENT = "mobilenetv2_050"
SEEDS = 5


class Pair(NamedTuple):
    """A student alone and with its teacher: performance on validation and test, and energy."""

    data: str
    seed: int
    teacher_val: float
    alone_val: float
    student_val: float
    alone_test: float
    student_test: float
    alone_j: float
    student_j: float


def main() -> None:
    """Train all pairs and write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sets", nargs=2)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    arguments = parser.parse_args()
    pairs = []
    for name in arguments.sets:
        pairs += [_pair(name, arguments.work / Path(name).stem, seed) for seed in range(arguments.seeds)]
    rows = summary(pairs)
    document = {
        "schema_version": 1,
        "teacher": TEACHER,
        "student": STUDENT,
        "settings": {
            Path(name).stem: _recipe(name, 0).train.model_dump(mode="json") for name in arguments.sets
        },
        "metric": METRIC,
        "watts_per_core": WATTS,
        "machine": here().model_dump(mode="json"),
        "pepr_edge": __version__,
        "pairs": [pair._asdict() for pair in pairs],
        "summary": rows,
    }
    write_text(arguments.out, json.dumps(document, indent=1) + "\n")
    print(as_markdown(rows))


def _pair(source: str, folder: Path, seed: int) -> Pair:
    recipe = _recipe(source, seed)
    of_teacher, of_student = (images_for(recipe, name, folder) for name in (TEACHER, STUDENT))
    teacher = _trained(recipe, TEACHER, of_teacher, folder / f"teacher-{seed}")
    alone = _trained(recipe, STUDENT, of_student, folder / f"alone-{seed}")
    files = TeacherFiles(teacher, folder / f"teacher-{seed}", of_teacher)
    student = _trained(recipe, STUDENT, of_student, folder / f"student-{seed}", files)
    return Pair(
        data=of_student.info.name,
        seed=seed,
        teacher_val=_value(teacher, f"val_{METRIC}"),
        alone_val=_value(alone, f"val_{METRIC}"),
        student_val=_value(student, f"val_{METRIC}"),
        alone_test=_value(alone, METRIC),
        student_test=_value(student, METRIC),
        alone_j=_energy_j(alone),
        student_j=_energy_j(student),
    )


def _recipe(source: str, seed: int) -> ResolvedRecipe:
    return recipe_by_images(source, seed, [TEACHER, STUDENT], "scratch")


def _trained(
    recipe: ResolvedRecipe, name: str, data: Dataset, folder: Path, teacher: TeacherFiles | None = None
) -> TrainResult:
    """Train one model, unless its folder has it."""
    candidate = candidate_for(recipe, name, data, "scratch")
    return train_once("with a teacher" if teacher else "alone", candidate, recipe, data, folder, "", teacher)


def _value(trained: TrainResult, name: str) -> float:
    return trained.performance[name].value


def _energy_j(trained: TrainResult) -> float:
    energy_j = charged(trained.cost, trained.teacher).energy_j.value
    if energy_j is None:
        raise SystemExit(f"{trained.candidate.id}: its energy was not measured, so nothing can be compared.")
    return energy_j


def summary(pairs: list[Pair]) -> list[dict[str, Any]]:
    """Return, by set and over both, the mean gain of the student and its standard error."""
    rows = []
    for name in [*dict.fromkeys(pair.data for pair in pairs), "all"]:
        own = [pair for pair in pairs if name in (pair.data, "all")]
        row: dict[str, Any] = {"set": name, "pairs": len(own)}
        for split in ("val", "test"):
            gains = [getattr(pair, f"student_{split}") - getattr(pair, f"alone_{split}") for pair in own]
            row[f"{split}_gain"] = statistics.fmean(gains)
            row[f"{split}_gain_se"] = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else None
        row["energy_ratio"] = statistics.fmean(pair.student_j / pair.alone_j for pair in own)
        rows.append(row)
    return rows


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """Return the summary as a table."""
    lines = ["| set | pairs | gain on validation | gain on test | energy, times |", "|---|---|---|---|---|"]
    for row in rows:
        gains = []
        for split in ("val", "test"):
            error = row[f"{split}_gain_se"]
            spread = "" if error is None else f" (standard error {error:.4f})"
            gains.append(f"{row[f'{split}_gain']:+.4f}{spread}")
        lines.append(
            f"| {row['set']} | {row['pairs']} | {gains[0]} | {gains[1]} | {row['energy_ratio']:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
