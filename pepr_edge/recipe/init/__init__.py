"""A first recipe, drafted from the images: look at them, choose and say why, estimate the time, write it with comments."""

from pepr_edge.recipe.init.choose import Draft, draft
from pepr_edge.recipe.init.dataset_summary import Look, look
from pepr_edge.recipe.init.recipe_text import seen, text
from pepr_edge.recipe.init.run_time import Estimated, estimate

__all__ = ["Draft", "Estimated", "Look", "draft", "estimate", "look", "seen", "text"]
