"""Statements about a model, each from its manifest; None where the manifest does not know.

All texts of the manifest pass through `shown`: a bundle may come from anywhere.
"""

from __future__ import annotations

from collections.abc import Iterable

from pepr_edge.dossier import of_findings
from pepr_edge.records import TEXT_CHARACTERS, Estimate, Manifest, Split
from pepr_edge.text.sentences import plural_of
from pepr_edge.text.units import (
    MISSING,
    SPLIT_NAMES,
    count,
    duration,
    energy,
    listed,
    metric,
    mib,
    performance,
    plural,
    score,
    significant,
)
from pepr_edge.untrusted.shown import first_items, shown

SPLITS: tuple[Split, ...] = ("train", "val", "test")
MAX_LABELS = 12
AT_DECISION = "_at_decision"  # end of the names of figures at the stored decision
MAX_NOTES = 6
# Figures, versions or settings in one sentence; ours have fewer.
MAX_ITEMS = 24
# Seeds, quantisation and populations: what no figure of a manifest includes.
GENERAL_LIMITS = (
    "The intervals do not include the variation between seeds of the training.",
    "Findings may be more or less frequent among your patients than in the data.",
)


def model_name(manifest: Manifest) -> str:
    """Return architecture, size and variant."""
    return shown(f"{manifest.architecture}@{manifest.image_size_px} {manifest.variant}")


def labels(manifest: Manifest) -> str:
    """Return the classes, the first of many."""
    return listed([shown(label, 60) for label in manifest.labels], MAX_LABELS)


def said(manifest: Manifest, name: str) -> str | None:
    """Return a statement of the makers, by its key in `[about]`."""
    value = None if manifest.about is None else manifest.about.said().get(name)
    return None if value is None else shown(value, TEXT_CHARACTERS)


def figures(manifest: Manifest, split: Split) -> list[tuple[str, Estimate]]:
    """Return the figures on a split by the names that people use.

    The metric of the ranking comes first, then what the stored decision reaches.
    """
    found = [
        (name.removeprefix("val_"), value)
        for name, value in manifest.performance.items()
        if value.split == split
    ]
    found.sort(key=lambda item: (item[0] != manifest.performance_metric, not item[0].endswith(AT_DECISION)))
    return [(shown(metric(name)), value) for name, value in found]


def figures_text(manifest: Manifest, split: Split) -> str | None:
    """Return all figures on a split in one sentence."""
    texts = [
        f"{name} {performance(value.value, value.ci)}, n = {count(value.n)}"
        for name, value in figures(manifest, split)
    ]
    return f"On {SPLIT_NAMES[split]} images: {'; '.join(_some(texts))}." if texts else None


def at_decision(manifest: Manifest) -> str | None:
    """Return the figures at the stored decision, on test."""
    texts = [
        f"{shown(metric(name))} {performance(value.value, value.ci)}, n = {count(value.n)}"
        for name, value in manifest.performance.items()
        if value.split == "test" and name.endswith(AT_DECISION)
    ]
    return f"At the stored decision, on test images: {'; '.join(_some(texts))}." if texts else None


def metric_names(manifest: Manifest) -> str | None:
    """Return the metrics by name."""
    names = dict.fromkeys(name.removeprefix("val_") for name in manifest.performance)
    return f"{', '.join(_some([shown(metric(name)) for name in names]))}." if names else None


def data_source(manifest: Manifest) -> str:
    """Return name, format and hash of the data."""
    name = shown(str(manifest.provenance.get("data", MISSING)))
    form = "" if manifest.data is None else f", format {shown(manifest.data.format)}"
    return f"{name}{form}, sha256 {shown(str(manifest.provenance.get('data_sha256', MISSING)))}."


def image_counts(manifest: Manifest) -> str | None:
    """Return the images of each split and class."""
    if manifest.data is None:
        return None
    texts = []
    for name in SPLITS:
        split = manifest.data.splits.get(name)
        if split is None:
            continue
        classes = [
            f"{count(number)} {shown(label, 60)}"
            for label, number in zip(manifest.labels, split.class_counts, strict=True)
        ]
        texts.append(f"{SPLIT_NAMES[name]} {count(split.images)} ({', '.join(first_items(classes))})")
    return f"Images: {'; '.join(texts)}."


def splits(manifest: Manifest) -> str | None:
    """Return the images by split, and what the run noted on its data."""
    counts = image_counts(manifest)
    if counts is None or manifest.data is None:
        return None
    notes = [shown(note, TEXT_CHARACTERS).rstrip(".") for note in manifest.data.notes]
    return " ".join([counts, *(f"{note}." for note in first_items(notes, MAX_NOTES))])


def left_out(manifest: Manifest) -> str | None:
    """Return which images of the data were not used."""
    if manifest.data is None:
        return None
    share = "All training images were used."
    if manifest.data.fraction < 1:
        share = f"{significant(100 * manifest.data.fraction)} % of the training images were used."
    skipped = manifest.data.skipped_images
    return f"{share} Left out because they could not be read: {plural(skipped, 'image')}."


def preprocessing(manifest: Manifest) -> str:
    """Return the steps from an image to the input of the model."""
    spec = manifest.preprocess
    depth = f"grey of more than 8 bits scaled from {spec.grey_bits} bits; " if spec.grey_bits else ""
    mean = ", ".join(f"{value:g}" for value in spec.mean)
    std = ", ".join(f"{value:g}" for value in spec.std)
    return (
        f"Decoding with EXIF orientation; {depth}{'grey' if spec.channels == 1 else 'RGB'}; resizing to "
        f"{spec.image_size_px} x {spec.image_size_px} px ({spec.interpolation}); divided by {spec.scale:g}, "
        f"minus mean {mean}, divided by standard deviation {std}, per channel."
    )


def network(manifest: Manifest) -> str:
    """Return architecture, parameters, input and output."""
    shape = "x".join("n" if size == -1 else str(size) for size in manifest.input.shape)
    return (
        f"{shown(manifest.architecture)} (name in timm), {count(manifest.num_params)} parameters, ONNX "
        f"variant {shown(manifest.variant)}; input {shown(manifest.input.name)} {shape}; output: logits of "
        f"{len(manifest.labels)} {plural_of(manifest.kind)} ({labels(manifest)})."
    )


def versions(manifest: Manifest) -> dict[str, str]:
    """Return the versions of the software of the training, by package."""
    found = manifest.provenance.get("versions")
    return {shown(name): shown(value) for name, value in found.items()} if isinstance(found, dict) else {}


def software(manifest: Manifest) -> str | None:
    """Return the versions in one sentence, with the runtime on the device."""
    texts = [f"{name} {version}" for name, version in versions(manifest).items()]
    runtime = manifest.profile.settings.runtime
    runs_with = manifest.profile.device.versions.get(runtime)
    if runs_with is not None:
        texts.append(f"measured with {shown(runtime)} {shown(runs_with)}")
    return f"{', '.join(_some(texts))}." if texts else None


def initial_weights(manifest: Manifest) -> str | None:
    """Return what the training began with."""
    begun = manifest.provenance.get("initial_weights")
    known = begun if isinstance(begun, dict) else {}
    kind = known.get("kind") or manifest.provenance.get("weights")
    if kind is None:
        return None
    if kind == "scratch":
        return "Trained from scratch: random initial weights."
    if not known:
        return f"Initial weights: {shown(str(kind))}."
    told = [f"{shown(name)} {shown(value)}" for name, value in known.items() if name != "sha256"]
    facts = ", ".join(_some(told))
    return f"Initial weights: {facts}."


def training(manifest: Manifest) -> str | None:
    """Return how the model was trained, as far as the manifest says it."""
    facts = manifest.provenance.get("training")
    if not isinstance(facts, dict):
        return None
    texts = [f"{shown(name).replace('_', ' ')} {shown(value)}" for name, value in facts.items()]
    texts.append(f"protocol {shown(str(manifest.provenance.get('protocol', MISSING)))}")
    texts.append(f"seed {shown(str(manifest.provenance.get('seed', MISSING)))}")
    return f"{', '.join(_some(texts))}."


def training_cost(manifest: Manifest) -> str:
    """Return energy and time of the training, with the method."""
    cost = manifest.train_cost
    return (
        f"{energy(cost.energy_j.value)} ({cost.energy_j.method}), {duration(cost.duration_s.value)} "
        f"({cost.duration_s.method})"
    )


def selection(manifest: Manifest) -> str:
    """Return how this model was chosen among others."""
    text = f"Rank {manifest.rank} in its run, whose metric is {shown(metric(manifest.performance_metric))}."
    facts = manifest.provenance.get("training")
    if isinstance(facts, dict) and "selected_epoch" in facts:
        text += f" Weights of epoch {shown(facts['selected_epoch'])}, the best on validation."
    if manifest.seeds is not None:
        text += f" Best on validation of {manifest.seeds.count} trainings that differ in their seed."
    return text


def decision_rule(manifest: Manifest) -> str | None:
    """Return how probabilities become a decision; None for a bundle of an earlier version."""
    decision = manifest.decision
    if decision is None:
        return None
    probabilities = f"Probabilities: softmax of the logits divided by {decision.temperature:.3g}."
    rule = "The class of the highest logit is named."
    if decision.kind == "median":
        rule = (
            "The lowest grade is named at which the cumulated probability, without temperature, reaches 0.5."
        )
    if decision.kind == "thresholds":
        rule = (
            "Each finding is named if its probability reaches a threshold of its own, chosen for: "
            f"{shown(decision.target)}."
        )
        probabilities = (
            f"Thresholds: {of_findings.thresholds(manifest)}. Probabilities: sigmoid of the logits, each "
            "divided by a temperature of its own."
        )
    if decision.threshold is not None and decision.positive is not None:
        rule = (
            f"{shown(decision.positive)} is named from a probability of {score(decision.threshold)} on, "
            f"chosen for: {shown(decision.target)}."
        )
    return f"{rule} {probabilities} Fitted on {SPLIT_NAMES[decision.fitted_on]} images."


def subgroups(manifest: Manifest) -> str | None:
    """Return the performance on test images by group of patients; None if it was not asked for."""
    texts = []
    for column in manifest.subgroups:
        groups = []
        for group in column.groups:
            figure = group.metrics.get(column.metric)
            value = MISSING if figure is None else performance(figure.value, figure.ci)
            groups.append(f"{shown(group.group, 60)} {value}, n = {count(group.n)}")
        texts.append(
            f"{shown(metric(column.metric))} by {shown(column.column, 60)}: {'; '.join(_some(groups))}."
        )
    return " ".join(_some(texts)) or None


def worst_groups(manifest: Manifest) -> str | None:
    """Return the worst group of each column; None if no group is known to be worse."""
    texts = []
    for column in manifest.subgroups:
        for group in column.groups:
            figure = group.metrics.get(column.metric)
            if group.group == column.worst and figure is not None:
                name = f"{shown(column.column, 60)}: {shown(group.group, 60)}"
                texts.append(f"{name} {performance(figure.value, figure.ci)}, n = {count(group.n)}")
    return f"Worst group by {'; '.join(_some(texts))}." if texts else None


def robustness(manifest: Manifest) -> str | None:
    """Return what the manifest knows of the effect of seeds and of the quantisation."""
    texts = []
    if manifest.seeds is not None and manifest.seeds.test_sd is not None:
        texts.append(
            f"Over {manifest.seeds.count} seeds the test performance has the mean "
            f"{score(manifest.seeds.test_mean)} and the standard deviation {score(manifest.seeds.test_sd)}."
        )
    quality = manifest.quality
    if quality is not None and quality.agreement is not None:
        texts.append(
            f"{quality.agreement.flips} of {count(quality.agreement.images)} decisions of this file differ "
            "from those of the trained model in PyTorch."
        )
    return " ".join(texts) or None


def device(manifest: Manifest) -> str:
    """Return the device and the runtime of the measurement."""
    profile = manifest.profile
    return (
        f"{shown(profile.device.cpu)}, {plural(profile.settings.threads, 'thread')}, "
        f"{shown(profile.settings.runtime)}, {shown(profile.device.os, 80)}"
    )


def memory(manifest: Manifest) -> str:
    """Return the peak memory of the process on the device."""
    return mib(manifest.profile.peak_memory_bytes)


def majority_baseline(manifest: Manifest) -> float | None:
    """Return the accuracy of always naming the most frequent class; None where an image may have several."""
    if manifest.data is None or manifest.kind == "multilabel":
        return None
    return manifest.data.majority_baseline


def limits(manifest: Manifest) -> list[str]:
    """Return what a user must know before relying on the model."""
    found = [f"It knows {labels(manifest)}, and nothing else an image may show."]
    worst = worst_groups(manifest)
    if worst is not None:
        found.append(worst)
    if manifest.decision is None:
        found.append("Its probabilities are not calibrated.")
    if manifest.variant != "fp32":
        found.append("Quantised: run pepr-edge verify on each device, as processors differ in its decisions.")
    if not manifest.profile.validity.valid:
        found.append("Its measurement on the device is INVALID.")
    baseline = majority_baseline(manifest)
    accuracy = manifest.performance.get("accuracy")
    if baseline is not None and accuracy is not None and accuracy.value <= baseline:
        found.append("It is no better than always naming the most frequent class: do not deploy it.")
    seed = manifest.provenance.get("seed")
    if manifest.seeds is None and seed is not None:
        found.append(f"Trained once, with seed {shown(str(seed))}.")
    return [*found, *GENERAL_LIMITS]


def _some(texts: list[str]) -> list[str]:
    return first_items(texts, MAX_ITEMS)


def joined(texts: Iterable[str | None]) -> str | None:
    """Return the texts that are known as one; None if there are none."""
    return " ".join(text for text in texts if text) or None


def use(manifest: Manifest) -> str | None:
    """Return population, intended use and setting."""
    return joined(said(manifest, name) for name in ("population", "intended_use", "setting"))


def test_images(manifest: Manifest) -> str | None:
    """Return the number of test images."""
    numbers = {value.n for value in manifest.performance.values() if value.split == "test"}
    return f"{count(max(numbers))} test images." if numbers else None


def test_figures(manifest: Manifest) -> str | None:
    """Return all figures on test."""
    return joined((figures_text(manifest, "test"), of_findings.figures(manifest)))


def all_figures(manifest: Manifest) -> str | None:
    """Return all figures, on test, by group of patients, and on validation."""
    return joined((test_figures(manifest), subgroups(manifest), figures_text(manifest, "val")))


def refusals(manifest: Manifest) -> str:
    """Return which images get no answer."""
    refers = manifest.decision is not None and manifest.decision.refer is not None
    if refers:
        return (
            "predict refuses a file that it cannot read, and refers others to a person by its stored limits."
        )
    return "predict refuses a file that it cannot read; each other image gets an answer, whatever it shows."
