"""The choice of a candidate's variant: climb its ladder, and put the file that came out first in its place."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from pepr_edge.export.artifact import MODEL, Origin, Source, write_artifact
from pepr_edge.export.ladder import Choice, Task, Tell, climb
from pepr_edge.export.options import words
from pepr_edge.export.variants import ladder, load
from pepr_edge.field.cpu import cpu_name, isa
from pepr_edge.field.facts import FIELD_PACKAGES, versions
from pepr_edge.recipe import AUTO
from pepr_edge.records import Artifact, Ladder
from pepr_edge.store import LADDER, write_record

RUNGS = ".rungs-"


def choose_variant(source: Source, base: Artifact, folder: Path, key: str, tell: Tell) -> str:
    """Choose a candidate's variant by measuring, and write it down: ladder.json, and export.json with every rung beside the file.

    Args:
        source: the candidate.
        base: its float32 artifact, whose folder stands in `folder`.
        folder: the candidate's.
        key: of the choice.
        tell: called with rungs done, rungs in all, and what is under way.
    Returns:
        What was chosen, in words.
    Raises:
        ExportError, MeasurementError: none of the variants can be run here.
    """
    begin = time.perf_counter()
    device = source.recipe.device
    (folder / LADDER).unlink(missing_ok=True)
    for left in folder.glob(f"{RUNGS}*"):  # of a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    task = Task(
        base=folder / base.variant / MODEL,
        variants=ladder(isa(), device.provider),
        recipe=source.recipe,
        spec=source.trained.preprocess,
        calibration=_shuffled(source),
        pixels=source.pixels("val"),
        labels=source.labels("val"),
        before=source.expected["val"],
    )
    with tempfile.TemporaryDirectory(prefix=RUNGS, dir=folder) as rungs:
        choice = climb(task, Path(rungs), tell)
        place = folder / choice.variant
        if choice.variant != base.variant:
            place.mkdir(exist_ok=True)
            shutil.copyfile(choice.path, place / MODEL)
    if base.settings is not None and choice.variant != base.variant:
        # An earlier ladder had chosen float32 and ran it in its own way.
        plain = Origin(base.variant, load(base.variant).parity_tolerance, base.exporter, base.simplified)
        write_artifact(source, plain, folder / base.variant, base.key, device.settings(), begin)
    chosen = Origin(
        variant=choice.variant,
        parity_tolerance=load(choice.variant).parity_tolerance,
        exporter=base.exporter,
        simplified=base.simplified,
        remedy=choice.remedy,
        notes=choice.notes,
        chosen=choice.settings,
        rungs=choice.rungs,
    )
    write_artifact(source, chosen, place, base.key if choice.variant == base.variant else key, choice.settings, begin)
    (folder / AUTO / "failure.json").unlink(missing_ok=True)
    duration_s = time.perf_counter() - begin
    made = Ladder(
        key=key,
        candidate=source.trained.candidate,
        variant=choice.variant,
        cpu=cpu_name(),
        versions=versions(FIELD_PACKAGES),
        duration_s=duration_s,
    )
    write_record(folder / LADDER, made)
    return _told(choice, duration_s)


def _shuffled(source: Source) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Training images in an order of their own, so that the first few are of all classes."""
    pixels = source.pixels("train")
    most = max((variant.quantise.calibration_images for variant in ladder(isa(), "cpu") if variant.quantise), default=1)
    order = np.random.default_rng(source.trained.seed).permutation(len(pixels))[:most]
    return np.asarray(pixels[np.sort(order)])


def _told(choice: Choice, duration_s: float) -> str:
    reason = next(rung.reason for rung in choice.rungs if rung.outcome == "chosen")
    tried = sum(rung.outcome != "not tried" for rung in choice.rungs)
    return f"{choice.variant} with {words(choice.settings)}, of {tried} variants in {duration_s:.0f} s: {reason}"
