"""The model card of a bundle: Markdown with a YAML head, as on the Hugging Face hub. Needs no matplotlib."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pepr_edge.bundle.card_about import about_section
from pepr_edge.bundle.card_decision import decision_section, is_of_decision, without_threshold
from pepr_edge.bundle.card_refer import refer_section
from pepr_edge.bundle.card_subgroups import by_group, subgroups_section
from pepr_edge.bundle.card_use import how_to_use
from pepr_edge.bundle.markdown import plain, table_of
from pepr_edge.records import (
    DataInfo,
    Manifest,
    Quality,
    Quantity,
    SessionSettings,
    Split,
    TrainCost,
)
from pepr_edge.scoring.percentiles import percentiles
from pepr_edge.text.sentences import LABEL_NAMES, chance_level, majority_sentence, plural_of
from pepr_edge.text.units import (
    MISSING,
    SPLIT_NAMES,
    co2eq,
    count,
    duration,
    energy,
    metric,
    mib,
    ms,
    percent,
    performance,
    plural,
    score,
    significant,
)
from pepr_edge.train.cost import total_energy

# With fewer test images of a class than this, the card warns.
MIN_CLASS_IMAGES = 30


def model_card(manifest: Manifest, data: DataInfo, confusion: NDArray[np.integer] | None = None) -> str:
    """Return the Markdown of MODEL_CARD.md.

    Args:
        manifest: of the bundle; all figures come from it.
        data: the data that the model was trained and tested on.
        confusion: test images by true class (rows) and decision (columns), shape (classes, classes).
    """
    sections = (
        _head(manifest),
        _intended_use(manifest),
        *filter(None, (about_section(manifest),)),
        _performance(manifest, data, confusion),
        *filter(None, (decision_section(manifest),)),
        *filter(None, (refer_section(manifest),)),
        _on_the_device(manifest),
        *filter(None, (subgroups_section(manifest),)),
        _training_cost(manifest),
        _data(data),
        how_to_use(manifest),
        _limits(manifest, data),
        _provenance(manifest),
    )
    return "\n\n".join(sections) + "\n"


def _head(manifest: Manifest) -> str:
    title = f"{manifest.architecture}@{manifest.image_size_px} {manifest.variant}"
    tags = ["image-classification", "onnx", "onnxruntime", "pepr-edge", "medical-imaging", manifest.variant]
    metrics = sorted({name.removeprefix("val_") for name in manifest.performance})
    # JSON strings are YAML strings too.
    front = [
        "---",
        "library_name: onnx",
        "pipeline_tag: image-classification",
        f"tags: {json.dumps(tags)}",
        f"metrics: {json.dumps(metrics)}",
        f"base_model_architecture: {json.dumps(manifest.architecture)}",
        "---",
    ]
    return "\n".join(front) + f"\n\n# {plain(title)}\n\n{_summary(manifest)}"


def _summary(manifest: Manifest) -> str:
    labels = plain(", ".join(manifest.labels))
    test = manifest.performance.get(manifest.performance_metric)
    if test is None:
        reached = "Not tested"
    else:
        reached = f"Test {metric(manifest.performance_metric)} {performance(test.value, test.ci)}"
    p90 = percentiles(manifest.profile.latencies_s).p90
    latency = f"latency {MISSING}"
    if p90 is not None:
        latency = f"latency {ms(p90)} at p90 on {plain(manifest.profile.device.cpu)}"
    return (
        f"An image classifier for {len(manifest.labels)} {plural_of(manifest.kind)} ({labels}), "
        f"{_parameters(manifest)}, as ONNX ({plain(manifest.variant)}); "
        f"rank {manifest.rank} in its run. {reached}; {latency}."
    )


def _parameters(manifest: Manifest) -> str:
    """Return the number of parameters; that of the trained form, too, if it is another."""
    text = f"{count(manifest.num_params)} parameters"
    if manifest.form is None or manifest.form.trained_params == manifest.num_params:
        return text
    return f"{text} ({count(manifest.form.trained_params)} in training, before branches were merged)"


def _intended_use(manifest: Manifest) -> str:
    return f"""## Intended use

For research, and for trials in which a person who can judge the images checks every result.
**This is not a medical device**: it has no regulatory clearance and no clinical validation.
It must not decide about a patient on its own.

{_names_a_class(manifest)}
Do not use it on images of another modality, body part, population or scanner than those below before you have
tested it on them."""


def _names_a_class(manifest: Manifest) -> str:
    labels = f"{len(manifest.labels)} {plural_of(manifest.kind)}"
    answers = f"names one of {labels}"
    if manifest.kind == "multilabel":
        answers = f"says for each of {labels} whether it is there"
    if manifest.decision is None or manifest.decision.refer is None:
        return f"The model always {answers}, even for an image that shows something else."
    return (
        f"The model {answers}, or refers the image to a person (see below). It does not "
        "notice every image that shows something else."
    )


def _performance(manifest: Manifest, data: DataInfo, confusion: NDArray[np.integer] | None) -> str:
    estimates = sorted(manifest.performance.items(), key=lambda item: (item[1].split != "test", item[0]))
    rows = [
        (metric(name), performance(value.value, value.ci), SPLIT_NAMES[value.split], count(value.n))
        for name, value in estimates
        if not is_of_decision(name)
    ]
    table = f"Performance: {MISSING}."
    if rows:
        table = table_of(("metric", "value (95 % interval)", "split", "images"), rows)
    text = f"""## Performance

Measured on `model.onnx` with {_runtime(manifest.profile.settings)}.

{table}

{majority_sentence(data)} {by_group(manifest)}
{_positive(data)}{without_threshold(manifest)}{_seeds(manifest)}
{_against_float32(manifest.quality)}{_by_class(manifest, confusion)}"""
    baseline = chance_level(manifest.performance_metric, data.majority_baseline, len(manifest.labels))
    test = manifest.performance.get(manifest.performance_metric)
    if baseline and test and test.value <= baseline[0]:
        text += f"\n\n**It is no better than {baseline[1]} ({score(baseline[0])}): do not deploy it.**"
    return text


def _positive(data: DataInfo) -> str:
    """Return a line on the positive of two classes; empty for more."""
    if data.positive_label is None:
        return ""
    how = "" if data.positive_by == "recipe" else ", which nobody has confirmed in the recipe: check it"
    return (
        f"The positive class is {plain(data.positive_label)}{how}. "
        "F1, sensitivity and specificity refer to it.\n"
    )


def _seeds(manifest: Manifest) -> str:
    """Return what the other seeds of the training reach, as a paragraph; empty for one training."""
    seeds = manifest.seeds
    if seeds is None:
        return ""
    name = metric(manifest.performance_metric)
    test = manifest.performance.get(manifest.performance_metric)
    own = "" if test is None else f", this model {score(test.value)}"
    return f"""
{seeds.count} models were trained that differ in their seed alone, and this is the best of them on validation.
So its validation {name} above is optimistic.
Over all seeds: validation {name} {_mean_sd(seeds.val_mean, seeds.val_sd)};
test {name} {_mean_sd(seeds.test_mean, seeds.test_sd)}{own}.
"""


def _mean_sd(mean: float | None, sd: float | None) -> str:
    if mean is None:
        return MISSING
    return f"{score(mean)} (mean)" if sd is None else f"{score(mean)} (mean, standard deviation {score(sd)})"


def _against_float32(quality: Quality | None) -> str:
    """Return how the file's decisions and performance compare with those of the model in float32."""
    if quality is None or quality.agreement is None:
        return ""
    found = quality.agreement
    text = (
        f"Compared with the model in PyTorch, {found.flips} of {count(found.images)} decisions differ "
        "on images that are not test images."
    )
    if quality.note:
        text += f" **Not shown**: {plain(quality.note)}."
    elif quality.shown:
        text += f" That it keeps {percent(quality.threshold, 1)} of them is shown with 95 % confidence."
    return f"{text}\n\n"


def _runtime(settings: SessionSettings) -> str:
    """Return the runtime of the figures. A model timed in PyTorch is evaluated with onnxruntime."""
    runtime = "onnxruntime" if settings.runtime == "pytorch" else plain(settings.runtime)
    return runtime if settings.precision == "float32" else f"{runtime}, {plain(settings.precision)}"


def _by_class(manifest: Manifest, confusion: NDArray[np.integer] | None) -> str:
    if manifest.kind == "multilabel":
        return "Performance by finding: see the next section."
    return _confusion(manifest.labels, confusion)


def _confusion(labels: Sequence[str], confusion: NDArray[np.integer] | None) -> str:
    """Return the confusion matrix with the recall of each class."""
    if confusion is None:
        return f"Performance by class: {MISSING}."
    names = [plain(label) for label in labels]
    rows = []
    for number, (name, row) in enumerate(zip(names, confusion, strict=True)):
        recall = score(float(row[number] / row.sum())) if row.sum() else MISSING
        rows.append((name, *(count(cell) for cell in row), recall))
    table = table_of(("true class", *names, "recall"), rows)
    return f"Test images by true class (rows) and decision (columns):\n\n{table}"


def _on_the_device(manifest: Manifest) -> str:
    profile = manifest.profile
    settings = profile.settings
    latency = percentiles(profile.latencies_s)
    rows = [
        ("latency p50", ms(latency.p50)),
        ("latency p90", ms(latency.p90)),
        ("latency p99", ms(latency.p99)),
        ("first inference", ms(profile.first_s)),
        ("model load", ms(profile.load_s)),
        ("peak memory of the process", mib(profile.peak_memory_bytes)),
        ("energy per inference", _inference_energy(profile.energy_j_per_inference)),
    ]
    validity = "VALID"
    if not profile.validity.valid:
        validity = f"**INVALID** ({plain('; '.join(profile.validity.reasons))})"
    return f"""## On the device

{plain(profile.device.cpu)}, {plural(settings.threads, "thread")},
{plain(settings.runtime)} ({plain(profile.provider_used)}),
one image at a time, {len(profile.latencies_s)} inferences. Measured by the {profile.rules} rules: {validity}.

{table_of(("figure", "value"), rows)}

Run `pepr-edge bench` on the bundle to measure your own device."""


def _inference_energy(quantity: Quantity) -> str:
    return MISSING if quantity.value is None else f"{significant(quantity.value)} J ({quantity.method})"


def _training_cost(manifest: Manifest) -> str:
    cost = manifest.train_cost
    figures = (
        ("energy", energy(cost.energy_j.value), cost.energy_j),
        ("CO2 equivalent", co2eq(cost.co2eq_g.value), cost.co2eq_g),
        ("duration", duration(cost.duration_s.value), cost.duration_s),
        ("peak memory", mib(cost.peak_memory_bytes.value), cost.peak_memory_bytes),
        ("peak GPU memory", mib(cost.gpu_peak_memory_bytes.value), cost.gpu_peak_memory_bytes),
        ("images seen", count(cost.images.value), cost.images),
        ("evaluation, energy", energy(cost.evaluation_energy_j.value), cost.evaluation_energy_j),
        ("evaluation, duration", duration(cost.evaluation_duration_s.value), cost.evaluation_duration_s),
        *_setup_cost(cost),
    )
    rows = [(name, text, quantity.method, plain(quantity.source)) for name, text, quantity in figures]
    table = table_of(("resource", "value", "method", "source"), rows)
    return (
        f"## Cost of training\n\n{_start(manifest)}The sum over all epochs. "
        "Setup (building the model, probes, warm-up) and evaluation are counted separately; the total is the "
        f"sum of the three.\n\n{table}"
    )


def _start(manifest: Manifest) -> str:
    """Return what the training began with, as a sentence; empty for a bundle of version 0.1."""
    begun = manifest.provenance.get("initial_weights")
    if not isinstance(begun, dict):
        return ""
    name = plain(str(begun.get("name", "")))
    if begun.get("kind") == "scratch":
        return "The training began from scratch. "
    licence = begun.get("licence")
    terms = f"licence {plain(str(licence))}" if licence else "licence not known"
    kind = "pretrained weights" if begun.get("kind") == "pretrained" else "the weights of a file"
    notes = begun.get("notes")
    done = f" Notes on their file: {plain(str(notes))}." if notes else ""
    return f"The training began with {kind}, {name} ({terms}).{done} "


def _setup_cost(cost: TrainCost) -> list[tuple[str, str, Quantity]]:
    """Return the setup and the total as rows; none for version 0.1.0, whose training includes the setup."""
    if cost.setup_energy_j is None or cost.setup_duration_s is None:
        return []
    total = total_energy(cost)
    return [
        ("setup, energy", energy(cost.setup_energy_j.value), cost.setup_energy_j),
        ("setup, duration", duration(cost.setup_duration_s.value), cost.setup_duration_s),
        ("total energy", energy(total.value), total),
    ]


def _data(data: DataInfo) -> str:
    order: tuple[Split, ...] = ("train", "val", "test")
    splits = [split for split in order if split in data.splits]
    rows = []
    for number, label in enumerate(data.labels):
        images = (count(data.splits[split].class_counts[number]) for split in splits)
        rows.append((plain(label), *images))
    rows.append(("all", *(count(data.splits[split].images) for split in splits)))
    table = table_of((LABEL_NAMES[data.kind], *(SPLIT_NAMES[split] for split in splits)), rows)
    kind = "grey" if data.channels == 1 else "RGB"
    text = (
        f"## Data\n\n{plain(data.name)}, format {plain(data.format)}, {kind} images, sha256 `{data.sha256}`."
    )
    if data.fraction != 1:
        text += f" Only {significant(100 * data.fraction)} % of the training split was used."
    text += f"\n\n{table}"
    if data.notes:
        text += "\n\n" + "\n".join(f"- {plain(note)}" for note in data.notes)
    return text


def _limits(manifest: Manifest, data: DataInfo) -> str:
    seed = manifest.provenance.get("seed")
    with_seed = "" if seed is None else f", with seed {seed}"
    calibration = "Probabilities were not calibrated."
    if manifest.decision is not None:
        calibration = "Probabilities were calibrated on validation, so they hold for images like those."
    if manifest.decision is None and "expected_calibration_error" in manifest.performance:
        calibration += " See the expected calibration error above; lower is better."
    trained = f"Trained once{with_seed}. Another seed gives another model; "
    if manifest.seeds is not None:
        trained = f"The best of {manifest.seeds.count} seeds{with_seed}. Another seed gives another model; "
    limits = [
        f"{trained}the intervals do not include this variation.",
        calibration,
        f"The {plural_of(data.kind)} may be more or less frequent among your patients than in the data.",
    ]
    if manifest.variant != "fp32":
        limits.append(
            "Quantised: CPUs without VNNI may give other logits for the same file. "
            "Run `pepr-edge verify` to test it on your device."
        )
    test = data.splits.get("test")
    smallest = min(test.class_counts, default=0) if test is not None else 0
    if smallest < MIN_CLASS_IMAGES:
        noun = "rarest finding" if data.kind == "multilabel" else f"smallest {LABEL_NAMES[data.kind]}"
        limits.append(f"The {noun} has {smallest} test images: too few to judge it.")
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits)


def _provenance(manifest: Manifest) -> str:
    rows = []
    for name, value in manifest.provenance.items():
        if value is None:
            continue
        text = str(value)
        if isinstance(value, dict):
            text = ", ".join(f"{key} {item}" for key, item in value.items())
        rows.append((plain(name), plain(text)))
    scores = [f"{name} {score(value)}" for name, value in manifest.pepr.items()]
    bounds = [
        f"{name} {significant(bound.lo)} to {significant(bound.hi)} {bound.unit}"
        for name, bound in manifest.bounds.items()
    ]
    rows += [
        ("PePR", "; ".join(scores)),
        ("bounds of the scores", plain("; ".join(bounds))),
        ("id of the set of models", plain(manifest.set_id)),
    ]
    text = f"## Provenance\n\n{table_of(('item', 'value'), rows)}"
    files = [(plain(name), f"`{digest}`") for name, digest in manifest.files.items()]
    return f"{text}\n\n{table_of(('file', 'sha256'), files)}" if files else text
