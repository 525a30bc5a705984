"""The recipes and export variants that come with pepr_edge, and the file of a recipe."""

from __future__ import annotations

import difflib
from pathlib import Path

from pepr_edge.errors import RecipeError
from pepr_edge.untrusted.paths import is_file
from pepr_edge.untrusted.shown import shown


def _shipped(folder: str, beside: str) -> Path:
    """Return a folder of TOML files: inside the package (wheel), else beside it (checkout)."""
    package = Path(__file__).parents[1]
    return package / folder if (package / folder).is_dir() else package.parent / beside


def recipes_dir() -> Path:
    """Return the folder of the recipes that come with pepr_edge."""
    return _shipped("recipes", "recipes")


def variants_dir() -> Path:
    """Return the folder of the export variants that come with pepr_edge."""
    return _shipped("variants", "export")


def find(name: str | Path) -> Path:
    """Return the file of a recipe, given by path or by the name of a recipe that comes with pepr_edge."""
    path = Path(name)
    bare = path.parent == Path() and path.suffix in ("", ".toml")
    if is_file(path) or (path.suffix == ".toml" and not bare):
        return path
    shipped = recipes_dir() / f"{path.stem}.toml"
    if bare and is_file(shipped):
        return shipped
    names = sorted(file.stem for file in recipes_dir().glob("*.toml"))
    similar = difflib.get_close_matches(path.stem, names, n=1)
    known = "`pepr-edge recipes list` shows the recipes that come with pepr_edge."
    hint = f"Did you mean {similar[0]!r}?" if similar else known
    raise RecipeError(f"{shown(str(name))}: no such recipe. {hint}")
