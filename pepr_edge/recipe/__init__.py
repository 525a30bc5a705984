"""The recipe of a run: its records and TOML, its schema, the checks before a run, and drafting (`init`)."""

from pepr_edge.recipe.about import AboutSettings
from pepr_edge.recipe.auto import AUTO
from pepr_edge.recipe.machines import Budgets, Cluster, Device, WorkerLimits, Workstation
from pepr_edge.recipe.recipe import (
    BILINEAR,
    FLOAT32,
    PRETRAINED,
    Bundles,
    Candidates,
    Data,
    DecisionSettings,
    Export,
    ProfileSettings,
    Recipe,
    ScoreSettings,
    SearchSettings,
    TaskSettings,
)
from pepr_edge.recipe.shipped import find, recipes_dir, variants_dir
from pepr_edge.recipe.training import PAPER, SCRATCH, Train

__all__ = [
    "AUTO",
    "BILINEAR",
    "FLOAT32",
    "PAPER",
    "PRETRAINED",
    "SCRATCH",
    "AboutSettings",
    "Budgets",
    "Bundles",
    "Candidates",
    "Cluster",
    "Data",
    "DecisionSettings",
    "Device",
    "Export",
    "ProfileSettings",
    "Recipe",
    "ScoreSettings",
    "SearchSettings",
    "TaskSettings",
    "Train",
    "WorkerLimits",
    "Workstation",
    "about",
    "checks",
    "find",
    "init",
    "recipes_dir",
    "resolve",
    "schema",
    "settings",
    "task",
    "toml",
    "variants",
    "variants_dir",
]
