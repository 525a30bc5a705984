"""The recipe of a run: its records and TOML, its schema, the checks before a run, and drafting (`init`)."""

from pepr_edge.recipe.auto import AUTO
from pepr_edge.recipe.machines import Budgets, Cluster, Device, WorkerLimits, Workstation
from pepr_edge.recipe.recipe import (
    BILINEAR,
    FLOAT32,
    PAPER,
    PRETRAINED,
    SCRATCH,
    Bundles,
    Candidates,
    Data,
    Export,
    ProfileSettings,
    Recipe,
    ScoreSettings,
    SearchSettings,
    Train,
)
from pepr_edge.recipe.shipped import find, recipes_dir, variants_dir

__all__ = [
    "AUTO",
    "BILINEAR",
    "FLOAT32",
    "PAPER",
    "PRETRAINED",
    "SCRATCH",
    "Budgets",
    "Bundles",
    "Candidates",
    "Cluster",
    "Data",
    "Device",
    "Export",
    "ProfileSettings",
    "Recipe",
    "ScoreSettings",
    "SearchSettings",
    "Train",
    "WorkerLimits",
    "Workstation",
    "checks",
    "find",
    "init",
    "recipes_dir",
    "resolve",
    "schema",
    "settings",
    "toml",
    "variants",
    "variants_dir",
]
