"""What changed between two bundles, by their manifests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pepr_edge.dossier import facts, of_findings
from pepr_edge.records import ABOUT_TITLES, Manifest
from pepr_edge.scoring.percentiles import percentiles
from pepr_edge.text.units import MISSING, SPLIT_NAMES, count, metric, ms, performance, score
from pepr_edge.untrusted.shown import shown

NONE = "none"


class Change(NamedTuple):
    """One difference: its name, its subject, and both values as people read them."""

    what: str
    subject: str
    older: str
    newer: str


def changes(manifest: Manifest, older: Manifest) -> tuple[Change, ...]:
    """Return what differs, in the order of importance; empty if nothing does."""
    before = {(subject, name): value for subject, name, value in _facts(older)}
    after = {(subject, name): value for subject, name, value in _facts(manifest)}
    found = []
    for subject, name in dict.fromkeys([*after, *before]):
        was = before.get((subject, name), NONE)
        now = after.get((subject, name), NONE)
        if was != now:
            found.append(Change(name, subject, was, now))
    subjects = list(dict.fromkeys(subject for subject, _ in [*after, *before]))
    return tuple(sorted(found, key=lambda change: subjects.index(change.subject)))


def caveats(manifest: Manifest, older: Manifest) -> list[str]:
    """Return why the figures of two bundles may not be compared."""
    found = []
    data = [one.provenance.get("data_sha256") for one in (manifest, older)]
    if None in data or data[0] != data[1]:
        found.append(
            "The data differ, and with them perhaps the test images: a difference of figures is then no "
            "difference of models."
        )
    if manifest.labels != older.labels:
        found.append("The classes differ: the two models do not answer the same question.")
    if manifest.profile.device != older.profile.device:
        found.append("They were not measured on the same device and software: do not compare their latency.")
    return found


def _facts(manifest: Manifest) -> Iterator[tuple[str, str, str]]:
    """Yield subject, name and value of each fact that is compared."""
    yield from (("model", name, value) for name, value in _model(manifest))
    yield from (("data", name, value) for name, value in _data(manifest))
    yield from (("decision", name, value) for name, value in _decision(manifest))
    for name, figure in manifest.performance.items():
        split = "" if name.startswith("val_") else f"{SPLIT_NAMES[figure.split]} "
        value = f"{performance(figure.value, figure.ci)}, n = {count(figure.n)}"
        yield "performance", shown(f"{split}{metric(name)}"), value
    yield from (("device", name, value) for name, value in _device(manifest))
    for name, value in facts.versions(manifest).items():
        yield "versions", name, value
    said = {} if manifest.about is None else manifest.about.said()
    for name, title in ABOUT_TITLES.items():
        if name in said:
            yield "makers' statement", title, facts.said(manifest, name) or ""


def _model(manifest: Manifest) -> Iterator[tuple[str, str]]:
    yield "architecture", shown(manifest.architecture)
    yield "variant", shown(manifest.variant)
    yield "input size", f"{manifest.image_size_px} px"
    yield "parameters", count(manifest.num_params)
    yield "model.onnx, sha256", manifest.files["model.onnx"]
    yield "preprocessing", facts.preprocessing(manifest)
    yield "initial weights", facts.initial_weights(manifest) or MISSING
    yield "training", facts.training(manifest) or NONE
    yield "recipe", shown(str(manifest.provenance.get("recipe", NONE)))
    yield "commit", shown(str(manifest.provenance.get("commit") or NONE))


def _data(manifest: Manifest) -> Iterator[tuple[str, str]]:
    yield "source", facts.data_source(manifest)
    yield "task", manifest.kind
    yield "labels", facts.labels(manifest)
    yield "images", facts.image_counts(manifest) or NONE


def _decision(manifest: Manifest) -> Iterator[tuple[str, str]]:
    decision = manifest.decision
    if decision is None:
        return
    yield "kind", decision.kind
    yield "positive", NONE if decision.positive is None else shown(decision.positive)
    yield "target", shown(decision.target)
    yield "threshold", NONE if decision.threshold is None else score(decision.threshold)
    yield "temperature", f"{decision.temperature:.3g}"
    yield "thresholds of findings", of_findings.thresholds(manifest) or NONE
    yield "refers images", "no" if decision.refer is None else "yes"


def _device(manifest: Manifest) -> Iterator[tuple[str, str]]:
    yield "measured on", facts.device(manifest)
    yield "latency p90", ms(percentiles(manifest.profile.latencies_s).p90)
    yield "peak memory", facts.memory(manifest)
