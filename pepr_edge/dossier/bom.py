"""The bill of materials of a model, as CycloneDX 1.6 JSON with a model card (ML-BOM).

Plain JSON: cyclonedx-python-lib 11.12 has no model card (its issue 912). A test validates against the
official schema, which comes with that library. The document has no date and no random serial number, so
that the same bundle gives the same document.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Any
from urllib.parse import quote

from pepr_edge.dossier import facts
from pepr_edge.records import Estimate, Manifest
from pepr_edge.text.units import metric
from pepr_edge.untrusted.shown import shown

SPEC_VERSION = "1.6"
MODEL = "model"
DATA = "data"
WEIGHTS = "initial-weights"


def bom(manifest: Manifest) -> dict[str, Any]:
    """Return the document."""
    components = [_dataset(manifest), *_weights(manifest), *_files(manifest), *_packages(manifest)]
    return {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPEC_VERSION}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "serialNumber": _serial_number(manifest),
        "version": 1,
        "metadata": {"component": _model(manifest)},
        "components": components,
        "dependencies": [
            {"ref": MODEL, "dependsOn": [component["bom-ref"] for component in components]},
            *({"ref": component["bom-ref"]} for component in components),
        ],
    }


def _serial_number(manifest: Manifest) -> str:
    """Return a UUID that follows from the manifest alone."""
    content = hashlib.sha256(manifest.model_dump_json().encode()).hexdigest()
    return f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, content)}"


def _model(manifest: Manifest) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": MODEL,
        "name": facts.model_name(manifest),
        "description": facts.said(manifest, "intended_use") or f"Image classifier: {facts.labels(manifest)}.",
        "hashes": _sha256(manifest.files["model.onnx"]),
        "modelCard": _model_card(manifest),
        "properties": _properties(manifest),
    }
    version = facts.said(manifest, "version")
    if version is not None:
        component["version"] = version
    licence = facts.said(manifest, "licence")
    if licence is not None:
        component["licenses"] = [{"license": {"name": licence}}]
    return component


def _model_card(manifest: Manifest) -> dict[str, Any]:
    figures = list(manifest.performance.items())
    return {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": "image classification",
            "modelArchitecture": shown(manifest.architecture),
            "datasets": [{"ref": DATA}],
            "inputs": [{"format": _tensor(manifest.input.dtype, manifest.input.shape)}],
            "outputs": [{"format": _tensor(manifest.output.dtype, manifest.output.shape)}],
        },
        "quantitativeAnalysis": {
            "performanceMetrics": [_figure(name, value) for name, value in figures[: facts.MAX_ITEMS]]
        },
        "considerations": _considerations(manifest),
    }


def _tensor(dtype: str, shape: tuple[int, ...]) -> str:
    return shown(f"{dtype} tensor {'x'.join('n' if size == -1 else str(size) for size in shape)}")


def _figure(name: str, value: Estimate) -> dict[str, Any]:
    low, high = value.ci
    return {
        "type": shown(metric(name)),
        "value": f"{value.value:.6g}",
        "slice": f"{value.split} split, {value.n} images",
        "confidenceInterval": {"lowerBound": f"{low:.6g}", "upperBound": f"{high:.6g}"},
    }


def _considerations(manifest: Manifest) -> dict[str, Any]:
    considerations: dict[str, Any] = {"technicalLimitations": facts.limits(manifest)}
    intended = facts.said(manifest, "intended_use")
    if intended is not None:
        considerations["useCases"] = [intended]
    setting = facts.said(manifest, "setting")
    if setting is not None:
        considerations["users"] = [setting]
    warning = facts.said(manifest, "do_not_use_when")
    if warning is not None:
        considerations["technicalLimitations"].insert(0, f"Do not use when: {warning}")
    return considerations


def _properties(manifest: Manifest) -> list[dict[str, str]]:
    """Return what the schema has no place for.

    The energy is among it: the schema asks for the provider of the energy, which no manifest knows.
    """
    found = {
        "parameters": str(manifest.num_params),
        "training_cost": facts.training_cost(manifest),
        "decision": facts.decision_rule(manifest),
        "preprocessing": facts.preprocessing(manifest),
        "population": facts.said(manifest, "population"),
        "contact": facts.said(manifest, "contact"),
        "review_date": facts.said(manifest, "review_date"),
        "commit": shown(str(manifest.provenance.get("commit") or "")) or None,
    }
    return [
        {"name": f"pepr_edge:{name}", "value": value} for name, value in found.items() if value is not None
    ]


def _dataset(manifest: Manifest) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "data",
        "bom-ref": DATA,
        "name": shown(str(manifest.provenance.get("data", "not named"))),
        "data": [{"type": "dataset", "description": facts.image_counts(manifest) or "No counts."}],
    }
    sha256 = str(manifest.provenance.get("data_sha256") or "")
    if _is_sha256(sha256):
        component["hashes"] = _sha256(sha256)
    texts = (facts.said(manifest, name) for name in ("acquisition", "inclusion", "reference_standard"))
    description = facts.joined(texts)
    if description is not None:
        component["description"] = description
    return component


def _weights(manifest: Manifest) -> list[dict[str, Any]]:
    """Return the weights that the training began with, unless it began from scratch."""
    begun = manifest.provenance.get("initial_weights")
    if not isinstance(begun, dict) or begun.get("kind") in (None, "scratch"):
        return []
    component: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": WEIGHTS,
        "name": shown(begun.get("name") or "not named"),
        "description": facts.initial_weights(manifest),
    }
    if _is_sha256(begun.get("sha256", "")):
        component["hashes"] = _sha256(begun["sha256"])
    if begun.get("licence"):
        component["licenses"] = [{"license": {"name": shown(begun["licence"])}}]
    return [component]


def _files(manifest: Manifest) -> list[dict[str, Any]]:
    return [
        {"type": "file", "bom-ref": f"file:{name}", "name": name, "hashes": _sha256(sha256)}
        for name, sha256 in manifest.files.items()
    ]


def _packages(manifest: Manifest) -> list[dict[str, Any]]:
    """Return the packages of the training."""
    found = manifest.provenance.get("versions")
    names = list(found) if isinstance(found, dict) else []
    components: list[dict[str, Any]] = []
    for name in names[: facts.MAX_ITEMS]:
        version = str(found[name]) if isinstance(found, dict) else ""
        project = quote(shown(name).lower().replace("_", "-"), safe="")
        components.append(
            {
                "type": "library",
                "bom-ref": f"package:{len(components)}",
                "name": shown(name),
                "version": shown(version),
                "purl": f"pkg:pypi/{project}@{quote(shown(version), safe='')}",
            }
        )
    return components


def _sha256(digest: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": digest}]


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")
