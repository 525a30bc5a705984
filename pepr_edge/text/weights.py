"""The initial weights of models, in words."""

from __future__ import annotations

from pepr_edge.records import InitialWeights, Ranking
from pepr_edge.text.units import listed, plural, printable

SCRATCH = "scratch"
NAMED = 4


def begun_with(ranking: Ranking) -> dict[str, str]:
    """Return what each candidate of a ranking began with, as far as it is known."""
    return {row.candidate: row.weights for row in ranking.rows if row.weights}


def are_mixed(ranking: Ranking) -> bool:
    """True if candidates of a ranking began with different kinds of weights."""
    return len(set(begun_with(ranking).values())) > 1


def mixed_weights(ranking: Ranking) -> str:
    """Say that candidates began with different kinds of weights; empty if they did not."""
    if not are_mixed(ranking):
        return ""
    begun = begun_with(ranking)
    scratch = [printable(name) for name, weights in begun.items() if weights == SCRATCH]
    return (
        f"The models did not begin alike: {len(scratch)} of {plural(len(begun), 'candidate')} from scratch "
        f"({listed(scratch, NAMED)}), the others with pretrained weights. This is a part of their difference."
    )


def start_text(ranking: Ranking) -> str:
    """Return what all candidates of a ranking began with; empty if it differs or is not known."""
    kinds = set(begun_with(ranking).values())
    if len(kinds) != 1:
        return ""
    kind = kinds.pop()
    if kind == SCRATCH:
        return "trained from scratch"
    return "pretrained" if kind == "pretrained" else f"weights of {printable(kind)}"


def origin(weights: InitialWeights) -> str:
    """Return where weights come from: their name and their licence."""
    if weights.kind == SCRATCH:
        return "from scratch"
    licence = f", licence {weights.licence}" if weights.licence else ""
    kind = "pretrained" if weights.kind == "pretrained" else "file"
    return printable(f"{kind}: {weights.name}{licence}") if weights.name else kind
