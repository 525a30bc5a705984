"""The bill of materials: valid by the official schema, and the same for the same bundle."""

from __future__ import annotations

import json

import dossier_manifests
import pytest

from pepr_edge.dossier.bom import bom
from pepr_edge.records import Manifest

schema = pytest.importorskip("cyclonedx.schema", reason="needs cyclonedx-python-lib[json-validation]")
validation = pytest.importorskip("cyclonedx.validation.json", reason="needs cyclonedx-python-lib")


@pytest.fixture(scope="module")
def validator() -> object:
    return validation.JsonStrictValidator(schema.SchemaVersion.V1_6)


@pytest.mark.parametrize("kind", ["bare", "full", "nasty"])
def test_the_document_follows_the_schema(kind: str, manifest: Manifest, validator: object) -> None:
    made = {
        "bare": manifest,
        "full": dossier_manifests.full(manifest),
        "nasty": dossier_manifests.nasty(manifest),
    }
    text = json.dumps(bom(made[kind]), allow_nan=False)
    assert validator.validate_str(text) is None  # type: ignore[attr-defined]
    assert len(text) < 150_000
    references = [component["bom-ref"] for component in json.loads(text)["components"]]
    assert len(set(references)) == len(references)


def test_it_holds_what_the_manifest_says(manifest: Manifest) -> None:
    full = dossier_manifests.full(manifest)
    document = bom(full)
    model = document["metadata"]["component"]
    assert model["type"] == "machine-learning-model"
    assert model["version"] == "3"
    assert model["hashes"] == [{"alg": "SHA-256", "content": full.files["model.onnx"]}]
    card = model["modelCard"]
    assert card["considerations"]["useCases"] == ["Second reader of chest images."]
    assert card["considerations"]["technicalLimitations"][0] == "Do not use when: The patient is a child."
    assert {
        "type": "sensitivity of its decisions",
        "value": "0.91",
        "slice": "test split, 100 images",
        "confidenceInterval": {"lowerBound": "0.86", "upperBound": "0.96"},
    } in card["quantitativeAnalysis"]["performanceMetrics"]
    by_reference = {component["bom-ref"]: component for component in document["components"]}
    assert by_reference["data"]["hashes"][0]["content"] == "a" * 64
    assert by_reference["initial-weights"]["licenses"] == [{"license": {"name": "Apache 2.0"}}]
    assert {"pkg:pypi/torch@2.9.0%2Bcpu", "pkg:pypi/typing-extensions@4.15"} <= {
        component.get("purl") for component in document["components"]
    }
    assert by_reference["file:model.onnx"]["type"] == "file"


def test_the_same_bundle_gives_the_same_document(manifest: Manifest) -> None:
    full = dossier_manifests.full(manifest)
    assert bom(full) == bom(full)
    assert bom(full)["serialNumber"] != bom(full.replace(rank=2))["serialNumber"]
