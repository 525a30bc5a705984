"""The names of all files of a run directory, and where they are.

run.json recipe.toml events.jsonl search.json skipped_images.csv data_check.json
ranking.json ranking.csv report.html report/<figure>.{svg,png,csv}
candidates/<architecture>@<px>/
    train.json cost.json checkpoint.safetensors logits.npz log.txt failure.json
    probe.json training.json training-<n>.pt spent.json
    seed-<k>/{train.json,checkpoint.safetensors,logits.npz,log.txt,...}  the training's repeat k, from 1 on
    <variant>/{model.onnx,predictions.npz,export.json,profile.json,profile-full.json,failure.json}
    looks/<variant>/{model.onnx,look.json}
bundles/01-<architecture>@<px>-<variant>/...
.pepr_edge/{lock,files.json,pixels-<px>/...,pixels-<px>-<filter>/...}
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from pepr_edge.records import Candidate, Interpolation

RUN = "run.json"
RECIPE = "recipe.toml"
EVENTS = "events.jsonl"
SEARCH = "search.json"
SKIPPED = "skipped_images.csv"
DATA_CHECK = "data_check.json"
RANKING = "ranking.json"
TABLE = "ranking.csv"
REPORT = "report.html"
FIGURES = "report"
CANDIDATES = "candidates"
BUNDLES = "bundles"
SELFTEST_IMAGES = "selftest_images"

# Of a candidate.
TRAIN_RESULT = "train.json"
CHECKPOINT = "checkpoint.safetensors"
STEP_COST = "cost.json"
LOGITS = "logits.npz"  # of PyTorch, on validation and test
LOG = "log.txt"
FAILURE = "failure.json"
SCREENINGS = "looks"
# Folders of its repeated trainings, by number from 1 on. The first training is in the candidate's own folder.
REPEAT = re.compile(r"seed-[1-9]\d*")

# Of a candidate's training while it is unfinished.
PROBE = "probe.json"
TRAINING = "training.json"
SPENT = "spent.json"
STATE = re.compile(r"training-\d+\.pt")

# Of a variant.
MODEL = "model.onnx"
PREDICTIONS = "predictions.npz"
ARTIFACT = "export.json"
PROFILE = "profile.json"
FULL_PROFILE = "profile-full.json"  # by the full rules, if the ranking is by the adaptive ones
SCREENING = "look.json"

# The folder of a run directory, or of other output, for internal files: lock, record of files, pixels.
PRIVATE = ".pepr_edge"
LOCK = "lock"
FILES = "files.json"
PIXELS = "pixels-"
PIXELS_MARKER = "pixels.json"
# A file that is still being written, see `store.atomic_writer`.
TEMPORARY = re.compile(r"\..+\.\d+(-[0-9a-f]{8})?\.tmp")

# All that a run makes in its directory.
OUTPUTS = frozenset(
    {
        PRIVATE,
        RUN,
        RECIPE,
        EVENTS,
        SEARCH,
        SKIPPED,
        DATA_CHECK,
        RANKING,
        TABLE,
        REPORT,
        FIGURES,
        CANDIDATES,
        BUNDLES,
        SELFTEST_IMAGES,
    }
)
# Names of files within the folder of a candidate, and within that of a variant.
_CANDIDATE_FILE = (
    r"((train|cost|failure|probe|training|spent)\.json|checkpoint\.safetensors|logits\.npz|log\.txt"
    r"|training-\d+\.pt)"
)
_VARIANT_FILE = (
    r"(model(\.part|\.simpler)?\.onnx|(export|profile|profile-full|failure|look)\.json|predictions\.npz"
    r"|program\.pt2(\.part)?)"
)
_UNFINISHED = r"\.\d+(-[0-9a-f]{8})?\.tmp"
# A file of a candidate that was being written when the process was killed.
UNFINISHED_CANDIDATE_FILE = re.compile(rf"\.{_CANDIDATE_FILE}{_UNFINISHED}")
# Paths within the folder of prepared pixels.
PIXEL_FILES = re.compile(
    r"(\.partial-\d+/)?((train|val|test)_(pixels|labels)\.npy(\.shorter)?|skipped_images\.csv|data_check\.json"
    r"|source\.txt|info\.json|pixels\.json|" + TEMPORARY.pattern + r")"
)


def stage_files(variants: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern of all paths that only pepr_edge gives within the folder of a candidate."""
    variant = rf"({SCREENINGS}/)?({'|'.join(map(re.escape, variants))})"
    return re.compile(
        rf"({REPEAT.pattern}/)?({_CANDIDATE_FILE}|{UNFINISHED_CANDIDATE_FILE.pattern})"
        rf"|{variant}/({_VARIANT_FILE}|\.{_VARIANT_FILE}{_UNFINISHED})"
    )


def candidate_folder(run_dir: Path, candidate: Candidate) -> Path:
    """Return the folder of a candidate's files."""
    return run_dir / CANDIDATES / candidate.id


def repeat_folder(candidate_folder: Path, repeat: int) -> Path:
    """Return the folder of a repeat of a candidate's training; repeat 0 is in the candidate's own folder."""
    return candidate_folder / f"seed-{repeat}" if repeat else candidate_folder


def screening_folder(candidate_folder: Path, variant: str) -> Path:
    """Return the folder of a variant's screening, within the folder of its candidate."""
    return candidate_folder / SCREENINGS / variant


def state_name(epoch: int) -> str:
    """Return the name of the file that a training resumes from after an epoch."""
    return f"training-{epoch}.pt"


def pixels_folder(run_dir: Path, px: int, interpolation: Interpolation = "bilinear") -> Path:
    """Return the folder in which a run keeps its images, decoded and resized, until it ends."""
    filter_name = "" if interpolation == "bilinear" else f"-{interpolation}"
    return run_dir / PRIVATE / f"{PIXELS}{px}{filter_name}"
