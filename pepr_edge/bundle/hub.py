"""The metadata files of a bundle that the libraries of the Hugging Face hub read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pepr_edge.images.preprocess import FILTERS
from pepr_edge.records import Decision, Manifest, Preprocess
from pepr_edge.tasks import TaskKind

# The key of the class, which says nothing of the preprocessing.
PROCESSOR = "image_processor_type"


def hub_config(
    architecture: str,
    labels: tuple[str, ...],
    decisions: Mapping[str, Decision] | None = None,
    task: TaskKind | None = None,
) -> dict[str, Any]:
    """Return config.json: optimum's ORTModelForImageClassification and transformers' AutoConfig load it.

    Args:
        architecture: its name.
        labels: in the order of the logits.
        decisions: of the files, by their name; the libraries do not use them. The file has a checksum, so a
            manifest with another threshold is found.
        task: what a label is; the libraries take the sigmoid of the logits for several labels an image.
    """
    config: dict[str, Any] = {
        "model_type": "timm_wrapper",
        "architecture": architecture,
        "num_classes": len(labels),
        "label_names": list(labels),
        "num_labels": len(labels),
        "id2label": {str(number): label for number, label in enumerate(labels)},
        "label2id": {label: number for number, label in enumerate(labels)},
    }
    if task == "multilabel":
        config["problem_type"] = "multi_label_classification"
    if decisions:
        config["decisions"] = {name: decision.model_dump(mode="json") for name, decision in decisions.items()}
    return config


def decisions_of(manifest: Manifest) -> dict[str, Decision]:
    """Return the decisions of a bundle's files; none in bundles of earlier versions."""
    known = {"model": manifest.decision}
    if manifest.fallback is not None:
        known["fallback"] = manifest.decision_of(fallback=True)
    return {name: decision for name, decision in known.items() if decision is not None}


def hub_preprocessor(spec: Preprocess) -> dict[str, Any]:
    """Return preprocessor_config.json, the preprocessing for transformers.

    It is right for upright images of 8 bits. The fast processor, which needs torchvision, also takes grey
    images (mode L); the other one takes RGB only.
    """
    return {
        PROCESSOR: "ViTImageProcessor" if spec.channels == 3 else "ViTImageProcessorFast",
        "do_resize": True,
        "size": {"height": spec.image_size_px, "width": spec.image_size_px},
        "resample": int(FILTERS[spec.interpolation]),
        "do_rescale": True,
        "rescale_factor": 1 / spec.scale,
        "do_normalize": True,
        "image_mean": list(spec.mean),
        "image_std": list(spec.std),
        "do_convert_rgb": spec.channels == 3,
    }
