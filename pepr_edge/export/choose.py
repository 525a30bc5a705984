"""The choice of a candidate's variant: climb its ladder, and put the file that came out first in its place."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from pathlib import Path

from pepr_edge.export.artifact import MODEL, Origin, Source, write_artifact
from pepr_edge.export.ladder import Tell, climb
from pepr_edge.export.variants import ladder, load
from pepr_edge.field.cpu import isa
from pepr_edge.field.facts import here
from pepr_edge.owned import remove_known
from pepr_edge.recipe import AUTO
from pepr_edge.records import Artifact

RUNGS = ".rungs-"
# Names that only we give, among the trials of variants and in the folder of the chosen one.
RUNG_FILES = re.compile(r"[a-z0-9_]+(\.part|\.simpler)?\.onnx|program\.pt2(\.part)?")
VARIANT_FILES = re.compile(r"model(\.part|\.simpler)?\.onnx|(export|profile|failure)\.json|predictions\.npz|program\.pt2")


def choose_variant(source: Source, base: Artifact, folder: Path, key: str, tell: Tell) -> None:
    """Choose a candidate's variant by measuring, and write it down: auto/export.json with every rung, beside the file.

    Args:
        source: the candidate.
        base: its float32 artifact, whose folder stands in `folder`.
        folder: the candidate's.
        key: of the choice.
        tell: called with rungs done, rungs in all, and what is under way.
    Raises:
        ExportError, MeasurementError: none of the variants can be run here.
    """
    begin, place = time.perf_counter(), folder / AUTO
    for left in folder.glob(f"{RUNGS}*"):  # of a run that was killed
        remove_known(left, RUNG_FILES)
    remove_known(place, VARIANT_FILES)
    with tempfile.TemporaryDirectory(prefix=RUNGS, dir=folder) as rungs:
        choice = climb(source, folder / base.variant / MODEL, ladder(isa(), source.recipe.device.provider), Path(rungs), tell)
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


def in_words(artifact: Artifact) -> str:
    """What was chosen of how many, and why."""
    reason = next(rung.reason for rung in artifact.rungs if rung.outcome == "chosen")
    tried = sum(rung.outcome != "not tried" for rung in artifact.rungs)
    return f"{artifact.variant}, of {tried} variants in {artifact.duration_s:.0f} s {reason}"
