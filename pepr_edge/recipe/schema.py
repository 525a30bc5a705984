"""The JSON Schema of a recipe, for editors and for the reference: made from the records, with a sentence for each key."""

from __future__ import annotations

from typing import Any

from pepr_edge.recipe import Recipe

# Every key of a recipe, in words: what it says, its unit, and what its values mean.
KEYS: dict[str, str] = {
    "schema_version": "The version of this format.",
    "name": "What the run is called, and its folder under runs/.",
    "description": "One line for `pepr-edge recipes list`.",
    "seed": "Seeds the splits, the initial weights, and the order and augmentation of the images.",
    "device": "The device that the models are for.",
    "device.name": "What people call the device; it stands in the report and on the bundles.",
    "device.runtime": 'What runs the models there. "auto" is onnxruntime; with export.variants = "auto" whatever is fastest.',
    "device.provider": "The execution provider of onnxruntime: the processor, an NVIDIA GPU, or any GPU on Windows.",
    "device.allow_bf16": "Whether a runtime may compute in bfloat16 what the file has in float32, if the quality measured under it passes.",
    "device.threads": "Threads of one inference: as many as the device has cores to spare.",
    "device.memory_mib": "All the memory that it has, MiB: a model that needs more is over budget.",
    "device.watts_per_core": "Watts of one busy core, declared: its energy where no counter can be read.",
    "budgets": "What a model may need on the device at most. A key that is absent sets no limit.",
    "budgets.latency_p90_ms": "Milliseconds within which nine of ten answers must come.",
    "budgets.peak_memory_mib": "Peak memory of the process that runs the model, MiB, runtime included.",
    "budgets.size_mib": "Size of the model's file, MiB.",
    "data": "The images and how they are split.",
    "data.source": '"phantom" (generated), the name of a MedMNIST set, or the path of a folder, or of an .npz, .csv or .pt file.',
    "data.channels": 'Channels of the model\'s input: 1 grey, 3 RGB. "auto" is 1 where a sample of the images is grey throughout.',
    "data.interpolation": "Pillow's filter with which images are resized, in training and in the field alike.",
    "data.fraction": "The share of the training images that is used.",
    "data.val_fraction": "The share of the images that becomes validation where the data has no such split.",
    "data.test_fraction": "The share of the images that becomes test where the data has no such split.",
    "data.phantom_images": 'How many images source = "phantom" generates.',
    "data.on_bad_image": 'An image that cannot be read stops the run ("fail"), or is left out and listed ("skip").',
    "candidates": "The models to try: each architecture at each size.",
    "candidates.architectures": 'Names of `pepr-edge zoo list` or of any timm model; "zoo" is all 131 that are known to work.',
    "candidates.image_size_px": "Width and height of the model's input, pixels: one size or several.",
    "candidates.weights": 'Initial weights: "scratch", "pretrained" (timm\'s, fetched once), or the path of a weights file.',
    "train": "How a candidate is trained.",
    "train.protocol": 'Defaults of the other keys: "paper" is Adam at 5e-4, batches of 32 and 10 epochs (Selvan et al. 2025).',
    "train.mode": '"head" trains the classifier alone, and leaves the rest as it was.',
    "train.epochs": "Passes over the training images, at most.",
    "train.batch_size": "Images in one step.",
    "train.learning_rate": "The greatest learning rate of the schedule.",
    "train.weight_decay": "Weight decay of AdamW.",
    "train.augment": '"light" turns, shifts and zooms each image a little, and changes its brightness and contrast.',
    "train.flips": 'With augment = "light", mirror images at random too: only where left and right mean nothing.',
    "train.class_balanced": "Weigh each image so that all classes count alike in the loss.",
    "train.patience": "Stop after so many epochs without a gain on validation.",
    "train.device": 'Where to train; "auto" is CUDA where there is a GPU.',
    "workstation": "The machine that trains, for what its counters cannot say.",
    "workstation.watts_per_core": "Watts of one busy core, declared: the energy of training where no counter can be read.",
    "workstation.gpu_watts": "Watts of the busy GPU, declared, where no counter can be read.",
    "workstation.country": "ISO 3166 alpha-3 code of where its electricity comes from: grams of CO2eq for each kWh.",
    "cluster": "What each candidate asks of a node, with `pepr-edge run --engine ray`.",
    "cluster.cpus": "Processor cores: it is trained with as many threads.",
    "cluster.gpus": "GPUs, or a share of one.",
    "cluster.memory_mib": "Memory, MiB. Absent: none is asked for.",
    "cluster.device_resource": "Ray's resource that the device's nodes carry: measured there. Absent: where the run was started.",
    "worker": "What the process of one candidate may take before it is ended and the next one starts.",
    "worker.time_h": "Hours that it may take. Absent: no limit.",
    "worker.silence_min": "Minutes that it may say nothing of how far it is, by which one that hangs is known.",
    "worker.memory_mib": "Memory that it may hold, MiB. Absent: no limit.",
    "export": "How the models leave.",
    "export.variants": 'Names of the files in export/, or "auto": the fastest form that keeps its quality, as measured.',
    "export.keep_performance": "The least share of float32's performance on validation that a variant must keep.",
    "export.time_budget_s": 'Seconds that the ladder of "auto" may take for one candidate.',
    "export.selftest_real_images": "How many real images of validation each bundle holds to test itself on: they leave with it.",
    "profile": "How long an artifact is measured.",
    "profile.rules": '"full" is 1,024 queries and 60 s, "quick" 128 queries and 10 s: enough to try, too little to decide by.',
    "score": "What the ranking rests on.",
    "score.performance": "The metric: accuracy, balanced_accuracy, auroc, f1, sensitivity_at_specificity_0.95 and the like.",
    "score.weights": "The weight of each resource in the score; those left out count nothing.",
    "score.normalise": 'How resources are scaled to 0 to 1: between the least and the greatest ("minmax"), or by the greatest ("max").',
    "score.alpha": "Emphasis on performance: the score is alpha P / (alpha + R).",
    "search": "Which candidates energy is spent on: docs/search.md. Of a parameter that is absent the policy's own default holds.",
    "search.policy": '"exhaustive" trains all to the end; "halving" and "bounded" decide after each epoch.',
    "search.max_energy_wh": "Stop once all trainings have taken so many watt-hours.",
    "search.max_time_h": "Stop once all trainings have taken so many hours.",
    "search.max_co2eq_g": "Stop once all trainings have caused so many grams of CO2eq.",
    "search.confidence": 'How sure "bounded" is that a candidate cannot win before it spares it.',
    "search.share": 'The most that "bounded" spends, of the energy of training all.',
    "search.least_trainings": 'But never less than so many trainings of average cost ("bounded").',
    "search.eta": 'One in so many survives each round ("halving").',
    "bundles": "What the run hands over.",
    "bundles.top": "How many of the ranked models become bundles. Absent: all.",
}
# What a key may be beside what its record holds, since the recipe's reader lets it be written shorter.
SHORTER: dict[str, dict[str, Any]] = {
    "candidates.architectures": {"const": "zoo"},
    "candidates.image_size_px": {"type": "integer", "minimum": 16, "maximum": 1024},
    "export.variants": {"const": "auto"},
}
SCHEMA = "recipe.schema.json"


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a recipe: each key with its type, limits, default and a sentence."""
    made = Recipe.model_json_schema()
    sections = made["$defs"]
    properties = {}
    for name, value in made["properties"].items():
        section = sections.get(value.get("$ref", "").rpartition("/")[2])
        properties[name] = _table(name, section) if section else _key(name, value)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A recipe of pepr_edge",
        **_closed(made, properties),
    }


def _table(name: str, section: dict[str, Any]) -> dict[str, Any]:
    keys = {key: _key(f"{name}.{key}", value) for key, value in section["properties"].items()}
    return {"description": KEYS[name], **_closed(section, keys)}


def _closed(table: dict[str, Any], properties: dict[str, Any]) -> dict[str, Any]:
    required = {"required": table["required"]} if "required" in table else {}
    return {"type": "object", "properties": properties, **required, "additionalProperties": False}


def _key(path: str, value: dict[str, Any]) -> dict[str, Any]:
    """A key without what only Python needs: titles, and null, which TOML has not."""
    kept = {
        name: part for name, part in value.items() if name not in ("title", "anyOf", "default", "description")
    }
    choices = [choice for choice in value.get("anyOf", ()) if choice != {"type": "null"}]
    if path in SHORTER:
        choices, kept = [SHORTER[path], kept], {}
    if len(choices) == 1:
        kept = choices[0]
    elif choices:
        kept = {"anyOf": choices}
    default = {"default": value["default"]} if value.get("default") is not None else {}
    return {"description": KEYS[path], **kept, **default}
