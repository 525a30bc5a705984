"""The variants of an untrained candidate that are screened. Light: a run asks before it imports PyTorch."""

from __future__ import annotations

from pepr_edge.recipe import FLOAT32, Export

TYPICAL_VARIANT = "int8_static"  # stands for the choice of autotuning


def screened_variants(settings: Export) -> tuple[str, ...]:
    """Return the variants to screen: the recipe's, or float32 and the usual choice for autotuning."""
    variants = list(settings.required)
    if settings.auto:
        variants += [FLOAT32, TYPICAL_VARIANT]
    return tuple(dict.fromkeys(variants))
