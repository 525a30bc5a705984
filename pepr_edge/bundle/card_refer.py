"""The section of the model card on images that are referred to a person: the limits, and what they cost."""

from __future__ import annotations

from pepr_edge.bundle.card_figures import figures_table
from pepr_edge.bundle.markdown import plain
from pepr_edge.records import Manifest, Refer
from pepr_edge.scoring.refer import REFER_FIGURES
from pepr_edge.text.units import score, significant


def refer_section(manifest: Manifest) -> str:
    """Return the section in Markdown; empty for a bundle that refers no image."""
    refer = None if manifest.decision is None else manifest.decision.refer
    if refer is None:
        return ""
    table = figures_table(manifest, REFER_FIGURES)
    limits = "\n".join(f"- {limit}" for limit in _limits(refer))
    return (
        "## Referred images\n\n`pepr-edge predict` refers an image to a person in place of a class if it is:"
        "\n\n"
        f"{limits}\n\nThe limits were chosen on validation for: {plain(refer.asked)}. "
        f"No test image was used.\n\n{table}\n\n"
        "They know the images of this data alone. An image of another patient, scanner or disease may be no "
        "further away than those: what is not referred can still be wrong."
    )


def _limits(refer: Refer) -> list[str]:
    """Return the limits as items of a list."""
    images = refer.images
    limits = []
    if images.min_side_px:
        limits.append(f"far too small: its shorter side is below {images.min_side_px} px")
    if images.min_contrast > 0:
        limits.append(
            f"blank: the standard deviation of its pixels is below {significant(images.min_contrast)}"
        )
    if images.colour == "grey":
        limits.append("in colour: all images of the data are grey")
    if images.colour == "colour":
        limits.append("without colour: all images of the data have colour")
    if refer.max_novelty is not None:
        limits.append(
            f"unlike the training images: the output `novelty` is above {significant(refer.max_novelty)} "
            "(1 is the mean of training images)"
        )
    if refer.no_novelty:
        limits.append(f"**not** if it is unlike the training images: {plain(refer.no_novelty)}")
    if refer.min_confidence is not None:
        limits.append(f"not sure enough: the confidence is below {score(refer.min_confidence)}")
    return limits
