"""A first recipe, drafted from the images: look at them, choose and say why, estimate the time, write it with comments."""

from pepr_edge.draft.choose import Draft, draft
from pepr_edge.draft.look import Look, look
from pepr_edge.draft.run_time import Estimated, estimate
from pepr_edge.draft.words import seen, text

__all__ = ["Draft", "Estimated", "Look", "draft", "estimate", "look", "seen", "text"]
