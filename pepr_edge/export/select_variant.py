"""Select a candidate's variant by autotuning, and write the chosen file to the folder "auto"."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from pathlib import Path

from pepr_edge.device.cpu import isa
from pepr_edge.device.facts import here
from pepr_edge.export.artifact import MODEL, ExportSource, Origin, read_drawn, write_artifact
from pepr_edge.export.autotune import OnProgress, autotune
from pepr_edge.export.novelty import without_novelty
from pepr_edge.recipe import AUTO
from pepr_edge.recipe.variants import autotune_variants, load
from pepr_edge.records import Artifact
from pepr_edge.run_dir.owned import remove_matching
from pepr_edge.text.units import plural

TRIALS_PREFIX = ".rungs-"
FLOAT32_FILE = "float32_base.onnx"
# Names that only pepr_edge writes, in the folder of the trials and in that of the chosen file.
TRIAL_FILES = re.compile(r"[a-z0-9_]+(\.part|\.simpler)?\.onnx|program\.pt2(\.part)?")
VARIANT_FILES = re.compile(
    r"model(\.part|\.simpler)?\.onnx|(export|profile|failure)\.json|predictions\.npz|program\.pt2"
)


def select_variant(
    source: ExportSource, base: Artifact, folder: Path, key: str, on_progress: OnProgress
) -> None:
    """Choose a candidate's variant by autotuning; write auto/export.json, with every trial, beside the file.

    Args:
        source: the candidate.
        base: its float32 artifact, in a folder of `folder`.
        folder: the candidate's folder.
        key: of the artifact that is written.
        on_progress: called with the number of finished steps, the number of steps, and the name of the
            current one.
    Raises:
        ExportError, MeasurementError: no variant runs here.
    """
    started_s = time.perf_counter()
    chosen_folder = folder / AUTO
    _remove_leftovers(folder)
    remove_matching(chosen_folder, VARIANT_FILES)
    with tempfile.TemporaryDirectory(prefix=TRIALS_PREFIX, dir=folder) as trials_folder:
        # It is added to the chosen file: a converter would take its nodes for a part of the model.
        float32 = without_novelty(folder / base.variant / MODEL, Path(trials_folder) / FLOAT32_FILE)
        result = autotune(
            source,
            float32,
            autotune_variants(isa(), source.recipe.device.provider),
            Path(trials_folder),
            on_progress,
        )
        chosen_folder.mkdir(exist_ok=True)
        shutil.copyfile(result.path, chosen_folder / MODEL)
    origin = Origin(
        variant=result.variant,
        parity_tolerance=load(result.variant).parity_tolerance,
        exporter=base.exporter,
        simplified=base.simplified,
        form=base.form,
        form_note=base.form_note,
        remedy=result.remedy,
        notes=result.notes,
        chosen=result.settings,
        trials=result.trials,
        chosen_on=here(),
    )
    drawn = read_drawn(folder / base.variant)
    write_artifact(source, origin, chosen_folder, key, result.settings, started_s, drawn)


def _remove_leftovers(folder: Path) -> None:
    """Remove the trials of a run that was killed."""
    for leftover in folder.glob(f"{TRIALS_PREFIX}*"):
        remove_matching(leftover, TRIAL_FILES)


def selection_message(artifact: Artifact) -> str:
    """Return the chosen variant, the number of variants that were tried, and the reason."""
    reason = next(trial.reason for trial in artifact.rungs if trial.outcome == "chosen")
    tried = sum(trial.outcome != "not tried" for trial in artifact.rungs)
    return f"{artifact.variant}, {reason} ({plural(tried, 'variant')} tried in {artifact.duration_s:.0f} s)"
