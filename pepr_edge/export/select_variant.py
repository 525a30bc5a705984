"""The choice of a candidate's variant: climb its ladder, and put the file that came out first in its place."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from pathlib import Path

from pepr_edge.device.cpu import isa
from pepr_edge.device.facts import here
from pepr_edge.export.artifact import MODEL, ExportSource, Origin, write_artifact
from pepr_edge.export.autotune import OnProgress, autotune
from pepr_edge.recipe import AUTO
from pepr_edge.recipe.variants import autotune_variants, load
from pepr_edge.records import Artifact
from pepr_edge.run_dir.owned import remove_known

TRIALS_PREFIX = ".rungs-"
# Names that only we give, among the trials of variants and in the folder of the chosen one.
TRIAL_FILES = re.compile(r"[a-z0-9_]+(\.part|\.simpler)?\.onnx|program\.pt2(\.part)?")
VARIANT_FILES = re.compile(
    r"model(\.part|\.simpler)?\.onnx|(export|profile|failure)\.json|predictions\.npz|program\.pt2"
)


def select_variant(
    source: ExportSource, base: Artifact, folder: Path, key: str, on_progress: OnProgress
) -> None:
    """Choose a candidate's variant by measuring, and write it down: auto/export.json with every rung, beside the file.

    Args:
        source: the candidate.
        base: its float32 artifact, whose folder stands in `folder`.
        folder: the candidate's.
        key: of the choice.
        on_progress: called with rungs done, rungs in all, and what is under way.
    Raises:
        ExportError, MeasurementError: none of the variants can be run here.
    """
    begin, place = time.perf_counter(), folder / AUTO
    for left in folder.glob(f"{TRIALS_PREFIX}*"):  # of a run that was killed
        remove_known(left, TRIAL_FILES)
    remove_known(place, VARIANT_FILES)
    with tempfile.TemporaryDirectory(prefix=TRIALS_PREFIX, dir=folder) as rungs:
        choice = autotune(
            source,
            folder / base.variant / MODEL,
            autotune_variants(isa(), source.recipe.device.provider),
            Path(rungs),
            on_progress,
        )
        place.mkdir(exist_ok=True)
        shutil.copyfile(choice.path, place / MODEL)
    origin = Origin(
        variant=choice.variant,
        parity_tolerance=load(choice.variant).parity_tolerance,
        exporter=base.exporter,
        simplified=base.simplified,
        remedy=choice.remedy,
        notes=choice.notes,
        chosen=choice.settings,
        rungs=choice.rungs,
        chosen_on=here(),
    )
    write_artifact(source, origin, place, key, choice.settings, begin)


def selection_message(artifact: Artifact) -> str:
    """What was chosen of how many, and why."""
    reason = next(rung.reason for rung in artifact.rungs if rung.outcome == "chosen")
    tried = sum(rung.outcome != "not tried" for rung in artifact.rungs)
    return f"{artifact.variant}, of {tried} variants in {artifact.duration_s:.0f} s {reason}"
