"""Draft a first recipe for images: choose settings, estimate the time, write commented TOML."""

from pepr_edge.recipe.init.choose import RecipeDraft, draft
from pepr_edge.recipe.init.recipe_text import summary_lines, text
from pepr_edge.recipe.init.run_time import RunTimeEstimate, estimate

__all__ = [
    "RecipeDraft",
    "RunTimeEstimate",
    "choose",
    "draft",
    "estimate",
    "summary_lines",
    "text",
]
