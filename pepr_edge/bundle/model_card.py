"""The model card of a bundle, in the form of the Hugging Face hub: Markdown with a YAML head. Needs no matplotlib or jinja2."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pepr_edge.export.options import words
from pepr_edge.records import DataInfo, Manifest, Preprocess, Quantity, Split
from pepr_edge.scoring.percentiles import percentiles
from pepr_edge.text.sentences import guessing
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
    performance,
    plural,
    printable,
    score,
    significant,
)

# Characters that Markdown or HTML would take as markup inside a sentence or a table's cell.
_MARKUP = re.compile(r"([\\`*_{}\[\]<>|#~])")
NORMALISATION = "(x / {scale} - mean) / std, mean {mean}, std {std}, per channel"


def model_card(manifest: Manifest, data: DataInfo, confusion: NDArray[np.integer] | None = None) -> str:
    """Markdown for MODEL_CARD.md: intended use, data, performance, cost, how to use it, limits, provenance.

    Args:
        manifest: of the bundle; all figures come from it.
        data: what it was trained and tested on.
        confusion: images of the test split by true class (rows) and predicted class (columns), shape (classes, classes).
    """
    sections = (
        _head(manifest),
        _intended_use(manifest),
        _performance(manifest, data, confusion),
        _on_the_device(manifest),
        _training_cost(manifest),
        _data(data),
        _how_to_use(manifest),
        _limits(manifest, data),
        _provenance(manifest),
    )
    return "\n\n".join(sections) + "\n"


def plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _MARKUP.sub(r"\\\1", printable(text))


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _head(manifest: Manifest) -> str:
    title = f"{manifest.architecture}@{manifest.image_size_px} {manifest.variant}"
    # JSON strings are YAML strings too.
    front = [
        "---",
        "library_name: onnx",
        "pipeline_tag: image-classification",
        f"tags: {json.dumps(['image-classification', 'onnx', 'onnxruntime', 'pepr-edge', 'medical-imaging', manifest.variant])}",
        f"metrics: {json.dumps(sorted({name.removeprefix('val_') for name in manifest.performance}))}",
        f"base_model_architecture: {json.dumps(manifest.architecture)}",
        "---",
    ]
    test = manifest.performance.get(manifest.performance_metric)
    reached = (
        f"{metric(manifest.performance_metric)} on the test split {performance(test.value, test.ci)}"
        if test
        else "not tested"
    )
    summary = (
        f"An image classifier for {len(manifest.labels)} classes ({plain(', '.join(manifest.labels))}), "
        f"{count(manifest.num_params)} parameters, as ONNX ({plain(manifest.variant)}); rank {manifest.rank} of its run. "
        f"{reached[0].upper()}{reached[1:]}; {_latency_words(manifest)}."
    )
    return "\n".join(front) + f"\n\n# {plain(title)}\n\n{summary}"


def _latency_words(manifest: Manifest) -> str:
    p90 = percentiles(manifest.profile.latencies_s).p90
    return (
        f"latency {ms(p90)}" if p90 is None else f"{ms(p90)} at p90 on {plain(manifest.profile.device.cpu)}"
    )


def _intended_use(manifest: Manifest) -> str:
    return f"""## Intended use

Research, and trials under the eyes of someone who can judge the images. **This is not a medical device**: it has no
regulatory clearance and no clinical validation, and must not decide about a patient on its own.

It says which of {len(manifest.labels)} classes an image looks most like. It always names one of them, also for an image that is of
something else altogether. Out of scope: images of another modality, body part, population or scanner than those below, until it
has been tested on them."""


def _performance(manifest: Manifest, data: DataInfo, confusion: NDArray[np.integer] | None) -> str:
    order = sorted(manifest.performance.items(), key=lambda item: (item[1].split != "test", item[0]))
    rows = [
        (metric(name), performance(found.value, found.ci), SPLIT_NAMES[found.split], count(found.n))
        for name, found in order
    ]
    table = (
        _table(("metric", "value (95 % interval)", "split", "images"), rows)
        if rows
        else f"Performance: {MISSING}."
    )
    text = f"""## Performance

Measured with ONNX Runtime on this very file.

{table}

Always saying the commonest class reaches accuracy {score(data.majority_baseline)} on the test split. Performance by group of patients:
{MISSING}.

{_confusion(manifest.labels, confusion)}"""
    baseline = guessing(manifest.performance_metric, data.majority_baseline, len(manifest.labels))
    test = manifest.performance.get(manifest.performance_metric)
    if baseline and test and test.value <= baseline[0]:
        text += f"\n\n**It does not beat {baseline[1]} ({score(baseline[0])}): do not deploy it.**"
    return text


def _confusion(labels: Sequence[str], confusion: NDArray[np.integer] | None) -> str:
    """The confusion matrix, and how many of each class were recognised."""
    if confusion is None:
        return f"Performance by class: {MISSING}."
    names = [plain(label) for label in labels]
    rows = []
    for number, (name, row) in enumerate(zip(names, confusion, strict=True)):
        recognised = score(float(row[number] / row.sum())) if row.sum() else MISSING
        rows.append((name, *(count(cell) for cell in row), recognised))
    return "Test images by their true class (rows) and the class that the model says (columns):\n\n" + _table(
        ("true class", *names, "share recognised"), rows
    )


def _on_the_device(manifest: Manifest) -> str:
    profile = manifest.profile
    found = percentiles(profile.latencies_s)
    rows = [
        ("latency p50", ms(found.p50)),
        ("latency p90", ms(found.p90)),
        ("latency p99", ms(found.p99)),
        ("first inference", ms(profile.first_s)),
        ("load", ms(profile.load_s)),
        ("peak memory of the process", mib(profile.peak_memory_bytes)),
        ("energy per inference", _inference_energy(profile.energy_j_per_inference)),
    ]
    settings = profile.settings
    validity = (
        "VALID" if profile.validity.valid else f"**INVALID** ({plain('; '.join(profile.validity.reasons))})"
    )
    return f"""## On the device

{plain(profile.device.cpu)}, {plural(settings.threads, "thread")}, {plain(settings.runtime)} ({plain(profile.provider_used)}),
one image at a time, {len(profile.latencies_s)} inferences, {profile.rules} rules: {validity}.

{_table(("figure", "value"), rows)}

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
    )
    rows = [(name, value, found.method, plain(found.source)) for name, value, found in figures]
    return f"## Cost of training\n\nAll epochs; evaluation apart.\n\n{_table(('resource', 'value', 'method', 'source'), rows)}"


def _data(data: DataInfo) -> str:
    order: tuple[Split, ...] = ("train", "val", "test")
    splits = [split for split in order if split in data.splits]
    rows = [
        (plain(label), *(count(data.splits[split].class_counts[number]) for split in splits))
        for number, label in enumerate(data.labels)
    ]
    rows.append(("all", *(count(data.splits[split].images) for split in splits)))
    table = _table(("class", *(SPLIT_NAMES[split] for split in splits)), rows)
    part = (
        ""
        if data.fraction == 1
        else f" A part of the training split was used: {significant(100 * data.fraction)} %."
    )
    notes = "".join(f"\n- {plain(note)}" for note in data.notes)
    kind = "grey" if data.channels == 1 else "RGB"
    return (
        f"## Data\n\n{plain(data.name)} ({plain(data.format)}), {kind} images, sha256 `{data.sha256}`.{part}\n\n{table}"
        + (f"\n{notes}" if notes else "")
    )


def preprocess_words(spec: Preprocess) -> str:
    """How an image becomes the model's input, so that anyone can redo it."""
    mean, std = (", ".join(str(number) for number in numbers) for numbers in (spec.mean, spec.std))
    return (
        f"decode, EXIF orientation applied; {'grey (L)' if spec.channels == 1 else 'RGB'}; resize to {spec.image_size_px} x "
        f"{spec.image_size_px} px ({spec.interpolation}, Pillow) unless it has that size; float32; "
        f"{NORMALISATION.format(scale=spec.scale, mean=mean, std=std)}; NCHW"
    )


def _how_to_use(manifest: Manifest) -> str:
    labels = ", ".join(f"{number} {plain(label)}" for number, label in enumerate(manifest.labels))
    shape, out = (
        "x".join("n" if size == -1 else str(size) for size in spec.shape)
        for spec in (manifest.input, manifest.output)
    )
    return f"""## How to use it

    pepr-edge verify BUNDLE
    pepr-edge predict BUNDLE IMAGE

{_as_run(manifest)}{_tested_on(manifest)}

With optimum, from inside this folder: `ORTModelForImageClassification.from_pretrained(".")`.

By hand: {preprocess_words(manifest.preprocess)}.
Input `{manifest.input.name}` ({manifest.input.dtype}, {shape}), output `{manifest.output.name}` (logits, {out}). Classes: {labels}."""


def _tested_on(manifest: Manifest) -> str:
    """What images leave with the bundle: whoever passes it on has to know."""
    real, generated = manifest.selftest.real_images, manifest.selftest.n - manifest.selftest.real_images
    said = f"`verify` runs the model on {count(generated)} generated images"
    if real == 0:
        return f"{said}. No image of the data leaves with this bundle."
    return f"{said} and {plural(real, 'image')} of the data. **`selftest.npz` holds real images: pass them on only where they may go.**"


def _as_run(manifest: Manifest) -> str:
    """How it ran at home, and what lies beside it for devices on which that does not do."""
    said = f"At home it ran under {words(manifest.profile.settings)}; the commands do the same where they can, and say where they cannot.\n"
    if manifest.fallback is not None:
        said += f"`{manifest.fallback.file}` is the same model in float32, for where `verify` says that this one does not pass:\n"
        said += "`pepr-edge predict --fallback BUNDLE IMAGE`.\n"
    return f"{said}\n"


def _limits(manifest: Manifest, data: DataInfo) -> str:
    seed, error = manifest.provenance.get("seed"), manifest.performance.get("expected_calibration_error")
    limits = [
        f"Trained once{'' if seed is None else f', with seed {seed}'}: another seed gives another model; no interval here says how far.",
        "Probabilities were not calibrated"
        + (": see the expected calibration error above, of which less is better." if error else "."),
        "The classes' shares in the data need not be those of your patients.",
    ]
    if manifest.variant != "fp32":
        limits.append(
            "Quantised: CPUs without VNNI may give other logits for the same file. `pepr-edge verify` tests it on your device."
        )
    smallest = min(
        (min(info.class_counts, default=0) for split, info in data.splits.items() if split == "test"),
        default=0,
    )
    if smallest < 30:
        limits.append(f"The smallest class has {smallest} test images: little can be said about it.")
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits)


def _provenance(manifest: Manifest) -> str:
    rows = []
    for name, value in manifest.provenance.items():
        if value is None:
            continue
        words = (
            ", ".join(f"{key} {item}" for key, item in value.items())
            if isinstance(value, dict)
            else str(value)
        )
        rows.append((plain(name), plain(words)))
    bounds = [
        f"{name} {significant(bound.lo)} to {significant(bound.hi)} {bound.unit}"
        for name, bound in manifest.bounds.items()
    ]
    scores = [f"{name} {score(value)}" for name, value in manifest.pepr.items()]
    rows += [
        ("PePR", "; ".join(scores)),
        ("bounds of the scores", plain("; ".join(bounds))),
        ("set of models", plain(manifest.set_id)),
    ]
    files = [(plain(name), f"`{digest}`") for name, digest in manifest.files.items()]
    return f"## Provenance\n\n{_table(('what', 'value'), rows)}\n\n{_table(('file', 'sha256'), files)}"
