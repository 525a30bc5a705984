"""The JSON Schema of a recipe, for editors and the reference; made from the records and `KEYS`."""

from __future__ import annotations

from typing import Any

from pepr_edge.data.formats import SOURCES
from pepr_edge.recipe import Recipe

# Each key of a recipe: its meaning, its unit and its values.
KEYS: dict[str, str] = {
    "schema_version": "The version of this format.",
    "name": "The name of the run, and of its folder under runs/.",
    "description": "One line for `pepr-edge recipes list`.",
    "seed": "Seed for splits, initial weights, and order and augmentation of the images.",
    "about": (
        "What only you know of the model. It goes into the manifest, the model card, the report and the "
        "dossier as you wrote it, and changes no result. Each text is a paragraph."
    ),
    "about.intended_use": "What the model is for, by whom, and with which part in the decision.",
    "about.population": "The patients or samples that it is for.",
    "about.setting": "Where it is used: screening, primary care, emergency, laboratory.",
    "about.do_not_use_when": "Where it must not be used.",
    "about.reference_standard": "How the labels of the data came about: by whom, from what.",
    "about.acquisition": "How the images were taken: scanners, protocols, places, dates.",
    "about.inclusion": "Which images were taken into the data, and which were left out.",
    "about.licence": "The licence of the model.",
    "about.contact": "Who answers questions and hears of errors.",
    "about.version": "Your own version of the model.",
    "about.review_date": 'The date by which the model is to be looked at again, such as "2027-01-31".',
    "device": "The device that the models are for.",
    "device.name": "The device's name, as the report and the bundles show it.",
    "device.runtime": (
        'The runtime for the models. "auto" is onnxruntime; with export.variants = "auto" it is the fastest '
        "installed runtime."
    ),
    "device.provider": (
        "The execution provider of onnxruntime: the processor, an NVIDIA GPU, or any GPU on Windows."
    ),
    "device.allow_bf16": (
        "Allow a runtime to compute float32 operators in bfloat16, if the quality measured with it passes."
    ),
    "device.threads": "Threads for one inference: the number of cores that the device can spare.",
    "device.memory_mib": "The device's total memory, MiB. A model that needs more is over budget.",
    "device.watts_per_core": "Declared watts of one busy core: used where no energy counter can be read.",
    "budgets": "The limits for a model on the device. An absent key sets no limit.",
    "budgets.latency_p90_ms": "90 % of the inferences must finish within this time, milliseconds.",
    "budgets.peak_memory_mib": "Peak memory of the process that runs the model, runtime included, MiB.",
    "budgets.size_mib": "Size of the model file, MiB.",
    "budgets.min_sensitivity": (
        "The lowest sensitivity of a model's decisions (see decision.target) on validation, for two classes."
    ),
    "budgets.min_specificity": (
        "The lowest specificity of a model's decisions (see decision.target) on validation, for two classes."
    ),
    "data": "The images and their splits.",
    "data.source": f"Where the images come from: {SOURCES}.",
    "data.channels": (
        'Channels of the model input: 1 grey, 3 RGB. "auto" is 1 if all images of a sample are grey, else 3.'
    ),
    "data.interpolation": (
        'Pillow\'s filter for resizing images, the same in training and on the device. "auto" is the filter '
        "that the weights of a model expect, and bilinear from scratch."
    ),
    "data.fraction": "The share of the training images to use.",
    "data.val_fraction": "The share of the images for validation, if the data has no such split.",
    "data.test_fraction": "The share of the images for the test, if the data has no such split.",
    "data.phantom_images": 'The number of images that source = "phantom" generates.',
    "data.raters": (
        "Several targets of an image in an .npz or .pt file are the votes of raters: the majority counts, "
        "and a tie goes to the lower class number. Otherwise targets of 0 and 1 are findings of the image."
    ),
    "data.grey_bits": (
        "The depth of grey images of more than 8 bits, 8 to 16: 0 to its highest value is scaled to 8 bits. "
        '"auto": the smallest that holds nearly all pixels of nearly all images. Recorded in the manifest.'
    ),
    "data.columns": (
        "The names of the columns of a table that is not path,label,split,group: "
        '{path = "image", label = "dx", group = "patient_id"}. `pepr-edge data check` says what it found.'
    ),
    "data.subgroups": (
        "Columns of a table, such as sex, age_band or site: the test performance is also reported for each "
        "of their values, with the worst. At most 20 values each; never names of patients."
    ),
    "data.findings": (
        'With task.kind = "multilabel": the columns of a table that hold 0 or 1 for a finding each; or names '
        "for the columns of a matrix of labels. Absent: all columns of 0 and 1, if there is no column label."
    ),
    "data.separator": (
        'With task.kind = "multilabel": the sign between several names in the column of the labels, such as '
        '"|". Absent: the sign that is found there.'
    ),
    "data.on_bad_image": 'An unreadable image stops the run ("fail"), or is left out and listed ("skip").',
    "task": "What a label is.",
    "task.kind": (
        'Each image has one of several classes ("multiclass"), one of two ("binary"), one of several grades '
        'in an order ("ordinal"), or any number of findings ("multilabel"). "auto": as the data shows.'
    ),
    "task.order": ("The grades of an ordinal task, the lowest first. Absent: by the number in their names."),
    "task.positive": (
        "Of two classes, the positive: the one that sensitivity, specificity and F1 speak of. Absent: the "
        "class whose name tells a finding (malignant, pneumonia, ...), else the second. The answer names it."
    ),
    "decision": "How a probability becomes a decision.",
    "decision.target": (
        "Of two classes, what the threshold on the positive class's probability is to reach on validation: "
        '"sensitivity >= 0.90" or "specificity >= 0.90" (with as much of the other as possible), "youden" '
        '(the highest sum of both), "f1" (the highest F1), "cost 1:5" (a miss costs five times a false '
        'alarm), or "argmax": the more probable class. Of several findings, for each by itself; "argmax" is '
        '"f1" then.'
    ),
    "decision.refer_share": (
        "The highest share of images that may be referred to a person in place of a class. It holds with "
        "95 % confidence for images like those of validation, so of these themselves fewer are referred: "
        "four fifths for being unlike the training images, the rest for a decision that is not sure. Absent, "
        "with max_error: no image is referred."
    ),
    "decision.max_error": (
        "The highest share of wrong decisions on validation among the images that are not referred: as many "
        "are referred as that takes. In place of refer_share."
    ),
    "candidates": "The models to try: each architecture at each image size.",
    "candidates.architectures": (
        'Names from `pepr-edge zoo list` or of other timm models; "zoo" is all 131 architectures of the list.'
    ),
    "candidates.image_size_px": (
        'Width and height of the model\'s input, pixels: one size or several, or "auto" for the size that '
        "suits the images and the architecture."
    ),
    "candidates.weights": (
        'Initial weights: "scratch", "pretrained" (timm\'s), "auto" (pretrained where weights_dir, timm\'s '
        "cache or the hub has them when the run begins, else scratch), or the path of a weights file: "
        "docs/weights.md."
    ),
    "candidates.weights_dir": (
        "A folder with pretrained weights, ARCHITECTURE.safetensors, .pth or .pt. `pepr-edge weights fetch` "
        "makes one."
    ),
    "train": "How a candidate is trained.",
    "train.protocol": (
        'Sets the defaults of the other keys: "paper" is Adam at 5e-4, batches of 32 and 10 epochs '
        "(Selvan et al. 2025)."
    ),
    "train.mode": (
        '"full" trains all weights; "gradual" does, too, but from given weights (pretrained, or of a file) '
        'only the classifier for the first tenth of the steps; "head" trains only the classifier.'
    ),
    "train.epochs": (
        'Max number of passes over the training images; "auto" is chosen by their number when the run begins.'
    ),
    "train.batch_size": 'Images per training step; "auto" is chosen by the number of training images.',
    "train.learning_rate": 'The max learning rate of the schedule; "auto" is chosen by pepr_edge.',
    "train.weight_decay": "Weight decay of AdamW.",
    "train.augment": (
        '"light" rotates, shifts and zooms each image slightly, and changes its brightness and contrast.'
    ),
    "train.flips": (
        'With augment = "light", also mirror images at random. Use it only if left and right have no meaning.'
    ),
    "train.class_balanced": "Weight the images so that all classes count equally in the loss.",
    "train.patience": (
        'Stop after this number of epochs without improvement on validation; "auto" is chosen by the number '
        "of epochs and steps."
    ),
    "train.repeats": (
        'Trainings of each candidate, each with its own seed: a number, or "auto" to repeat those that may '
        "be first until first place is settled."
    ),
    "train.max_repeats": 'With repeats = "auto": max trainings of one candidate, the first included.',
    "train.teacher": (
        '"best": each candidate is trained alone, then those with fewer parameters than the best one again, '
        "with its logits as a part of what they learn. The better training on validation is deployed; the "
        "energy of the teacher is added to that of a student. It did not pay where we measured it: "
        "docs/training.md."
    ),
    "train.device": 'The device for training; "auto" is CUDA if there is a GPU, else the processor.',
    "workstation": "Facts about the training machine that its counters do not give.",
    "workstation.watts_per_core": (
        "Declared watts of one busy core: gives the training energy where no counter can be read."
    ),
    "workstation.gpu_watts": "Declared watts of the busy GPU, where no counter can be read.",
    "workstation.country": (
        "ISO 3166 alpha-3 code of the country that the electricity comes from: gives grams of CO2eq per kWh."
    ),
    "cluster": "Resources that each candidate needs on a node, with `pepr-edge run --engine ray`.",
    "cluster.cpus": "Processor cores, and the number of training threads.",
    "cluster.gpus": "GPUs; a fraction shares one.",
    "cluster.memory_mib": "Memory, MiB. Absent: no memory is reserved.",
    "cluster.device_resource": (
        "Ray resource of the nodes on which measurements run. Absent: they run on the node where the run was "
        "started."
    ),
    "worker": "Limits of one candidate's process. At a limit it is killed and the next candidate starts.",
    "worker.time_h": "Max hours. Absent: no limit.",
    "worker.silence_min": "Kill the process after this many minutes without progress.",
    "worker.memory_mib": "Max memory, MiB. Absent: no limit.",
    "export": "How the models are exported.",
    "export.variants": (
        'Names of the files in export/, or "auto": the fastest variant that keeps its quality, as measured.'
    ),
    "export.keep_performance": (
        "A variant is rejected if it is shown to keep less than this share of float32's performance on "
        "validation."
    ),
    "export.time_budget_s": 'Max seconds to tune one candidate with "auto".',
    "export.selftest_real_images": (
        "Number of real validation images in each bundle's self-test. They leave the site with the bundle."
    ),
    "profile": "How long an artifact is measured.",
    "profile.rules": (
        '"adaptive": at least 1,024 queries, until the 95 % interval of the p90 is within 2 % or the place '
        "in the ranking is certain; models in bundles are then measured for 60 s too. "
        '"full": 1,024 queries and 60 s for all. "quick": 128 queries and 10 s: for a trial, not for a '
        "decision."
    ),
    "score": "How the ranking is computed.",
    "score.performance": (
        "The metric, for example accuracy, balanced_accuracy, auroc, f1 or sensitivity_at_specificity_0.95. "
        "Absent: that of the task; or balanced_accuracy, if other settings are left to the images and the "
        "classes are very unequal."
    ),
    "score.floor": (
        "Min validation performance of a ranked model. In any case a model needs to be shown to beat the "
        "majority-class baseline."
    ),
    "score.skill": (
        "Rank by (P - P0) / (1 - P0) in place of the performance P; P0 is the majority-class baseline's."
    ),
    "score.weights": "The weight of each resource in the score. An absent resource has no weight.",
    "score.normalise": (
        'How resources are scaled to 0 to 1: between min and max ("minmax"), or divided by the max ("max").'
    ),
    "score.alpha": "Emphasis on performance: the score is alpha P / (alpha + R).",
    "search": (
        "How training energy is shared among the candidates: docs/search.md. An absent parameter takes the "
        "policy's default."
    ),
    "search.policy": '"exhaustive" trains every candidate fully; "halving" and "bounded" prune candidates.',
    "search.max_energy_wh": "Stop when all trainings together have used this energy, watt-hours.",
    "search.max_time_h": "Stop when all trainings together have taken this time, hours.",
    "search.max_co2eq_g": "Stop when all trainings together have caused these emissions, grams of CO2eq.",
    "search.confidence": (
        '"bounded" prunes a candidate once the probability that it cannot win reaches this value.'
    ),
    "search.share": 'Max energy of "bounded", as a share of the energy of training all candidates.',
    "search.least_trainings": (
        'Min energy of "bounded", as a number of trainings of average cost; it takes precedence over share.'
    ),
    "search.eta": '"halving" keeps one in this number of candidates in each round.',
    "bundles": "The bundles that the run makes.",
    "bundles.top": "The number of top-ranked models that become bundles. Absent: all.",
}
# Shorter forms of a value that the reader of a recipe accepts, beside the type in its record.
SHORT_FORMS: dict[str, dict[str, Any]] = {
    "candidates.architectures": {"const": "zoo"},
    "candidates.image_size_px": {"type": "integer", "minimum": 16, "maximum": 1024},
    "export.variants": {"const": "auto"},
}
SCHEMA = "recipe.schema.json"


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a recipe: type, limits, default and a sentence per key."""
    generated = Recipe.model_json_schema()
    sections = generated["$defs"]
    properties = {}
    for name, value in generated["properties"].items():
        section = sections.get(value.get("$ref", "").rpartition("/")[2])
        properties[name] = _table(name, section) if section else _key(name, value)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A recipe of pepr_edge"}
    return head | _closed(generated, properties)


def _table(name: str, section: dict[str, Any]) -> dict[str, Any]:
    keys = {key: _key(f"{name}.{key}", value) for key, value in section["properties"].items()}
    return {"description": KEYS[name]} | _closed(section, keys)


def _closed(table: dict[str, Any], properties: dict[str, Any]) -> dict[str, Any]:
    """Return an object schema that allows no other keys."""
    result: dict[str, Any] = {"type": "object", "properties": properties}
    if "required" in table:
        result["required"] = table["required"]
    result["additionalProperties"] = False
    return result


def _key(path: str, value: dict[str, Any]) -> dict[str, Any]:
    """Return a key's schema without the parts that only Python needs: titles, and null, which TOML lacks."""
    dropped = ("title", "anyOf", "default", "description")
    constraints = {name: part for name, part in value.items() if name not in dropped}
    choices = [choice for choice in value.get("anyOf", ()) if choice != {"type": "null"}]
    if path in SHORT_FORMS:
        choices = [SHORT_FORMS[path], *(choices or [constraints])]
    if len(choices) == 1:
        constraints = choices[0]
    elif choices:
        constraints = {"anyOf": choices}
    result = {"description": KEYS[path]} | constraints
    if value.get("default") is not None:
        result["default"] = value["default"]
    return result
