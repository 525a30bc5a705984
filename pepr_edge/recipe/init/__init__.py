"""Draft a first recipe: summarise the images, choose settings, estimate the time, write commented TOML."""

from pepr_edge.recipe.init.choose import RecipeDraft, draft
from pepr_edge.recipe.init.dataset_summary import DatasetSummary, summarise
from pepr_edge.recipe.init.recipe_text import summary_lines, text
from pepr_edge.recipe.init.run_time import RunTimeEstimate, estimate

__all__ = [
    "DatasetSummary",
    "RecipeDraft",
    "RunTimeEstimate",
    "choose",
    "draft",
    "estimate",
    "summarise",
    "summary_lines",
    "text",
]
