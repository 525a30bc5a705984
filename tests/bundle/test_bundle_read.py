from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_bundle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pepr_edge.bundle.read import read_manifest
from pepr_edge.errors import BundleError
from pepr_edge.records import Manifest

DATA = {"format": "folder", "majority_baseline": 0.5}
json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle.write(tmp_path_factory.mktemp("bundles") / "01-tiny@16-fp32")


@pytest.fixture(scope="module")
def document(bundle: Path) -> dict[str, Any]:
    return dict(json.loads((bundle / "manifest.json").read_text()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("written")


def fault(folder: Path, content: bytes) -> str:
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError) as caught:
        read_manifest(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_manifest_is_read(bundle: Path) -> None:
    found = read_manifest(bundle)
    assert isinstance(found, Manifest)
    assert set(found.files) == {"model.onnx", "selftest.npz", "MODEL_CARD.md"}


def test_a_path_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    for name, words in (
        ("file", "not a folder"),
        ("none", "no such folder"),
        ("empty", r"holds no manifest\.json"),
    ):
        with pytest.raises(BundleError, match=words):
            read_manifest(tmp_path / name)


def test_another_version_is_named(folder: Path, document: dict[str, Any]) -> None:
    found = fault(folder, json.dumps({**document, "schema_version": 2, "new_in_2": True}).encode())
    assert "schema_version = 2, this pepr_edge reads 1" in found


def test_an_unknown_key_is_an_error(folder: Path, document: dict[str, Any]) -> None:
    assert "extra_key" in fault(folder, json.dumps({**document, "extra_key": 1}).encode())


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "..",
        ".",
        "",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "C:evil",
        "manifest.json",
        "a\nb",
        "nul.txt",
        "a ",
        "x" * 201,
    ],
)
def test_names_that_lead_out_of_the_folder(folder: Path, document: dict[str, Any], name: str) -> None:
    found = fault(folder, json.dumps({**document, "files": {**document["files"], name: "0" * 64}}).encode())
    assert "expected plain names inside the folder" in found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"files": {}}, "files does not name model.onnx"),
        ({"labels": ["a", "b", "c"]}, "does not fit labels"),
        ({"labels": ["a", "a"]}, "does not fit labels"),
        ({"input": {"name": "x", "shape": [-1, 3, 16, 16]}}, "input.shape"),
        ({"output": {"name": "x", "shape": [-1, 5]}}, "output.shape"),
        ({"decision": {"positive": "cancer"}}, "decision.positive = cancer"),
        ({"decision": {}}, "does not fit 2 labels"),
        ({"decision": {"positive": "normal", "kind": "threshold"}}, "decision.threshold = None"),
        ({"decision": {"positive": "normal", "threshold": 0.5}}, "decision.threshold = 0.5"),
        ({"decision": {"positive": "normal", "threshold": 2}}, "decision.threshold"),
        ({"decision": {"positive": "normal", "temperature": 0}}, "decision.temperature"),
        ({"decision": {"positive": "normal", "target": "a\nb"}}, "decision.target"),
        ({"about": {"licence": "a\nb"}}, "about.licence"),
        ({"about": {"population": "x" * 601}}, "about.population"),
        ({"about": {"review_date": "soon"}}, "about.review_date"),
        ({"data": DATA | {"splits": {"test": {"images": 3, "class_counts": [3]}}}}, "data.splits.test"),
        ({"data": DATA | {"splits": {"all": {"images": 3, "class_counts": [3, 0]}}}}, "data.splits.all"),
        ({"decision": {"positive": "normal", "refer": 0.5}}, "decision.refer"),
    ],
)
def test_a_manifest_that_contradicts_itself(
    folder: Path, document: dict[str, Any], change: dict[str, Any], words: str
) -> None:
    assert words in fault(folder, json.dumps({**document, **change}).encode())


@pytest.mark.parametrize(
    "name", ["none.onnx", "model.onnx", "selftest.npz", "../fallback.onnx", "MODEL_CARD.md"]
)
def test_a_fallback_that_is_none_of_the_files(folder: Path, document: dict[str, Any], name: str) -> None:
    fallback = {"file": name, "variant": "fp32", "selftest": document["selftest"]}
    assert f"fallback.file = {name!r}" in fault(
        folder, json.dumps({**document, "fallback": fallback}).encode()
    )


def test_a_fallback_is_read(tmp_path: Path) -> None:
    found = read_manifest(tiny_bundle.write(tmp_path / "bundle", fallback=True)).fallback
    assert found is not None
    assert found.file == "fallback.onnx"


def test_a_profile_of_another_model(folder: Path, document: dict[str, Any]) -> None:
    changed = {**document, "profile": {**document["profile"], "artifact_sha256": "0" * 64}}
    assert "profile is of another model" in fault(folder, json.dumps(changed).encode())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace('"rank": 1', '"rank": 1, "rank": 1'), "the key rank twice"),
        (lambda text: text.replace("pneumonia", "\\u001b[2J"), "control characters"),
        (lambda text: text.replace("pneumonia", "\\u202e"), "control characters"),
        (lambda text: text.replace("0.95", "NaN"), "NaN"),
        (lambda text: text.replace("0.95", "9" * 5000), "beyond 64 bits"),
        (lambda text: "\ufeff" + text, "not a manifest"),
        (lambda text: text.replace('"n": 4', '"n": 4000000'), "selftest.n"),
        (lambda text: text + " " * (33 << 20), "larger than 32 MiB"),
    ],
)
def test_a_manifest_that_means_two_things_or_too_much(
    folder: Path, bundle: Path, change: Any, words: str
) -> None:
    text = (bundle / "manifest.json").read_text()
    assert change(text) != text
    assert words in fault(folder, change(text).encode())


def test_more_files_than_a_bundle_has(folder: Path, document: dict[str, Any]) -> None:
    files = {**document["files"], **{f"{number}.txt": "0" * 64 for number in range(40)}}
    assert "43 files, expected at most 32" in fault(folder, json.dumps({**document, "files": files}).encode())
    files = {**document["files"], "Model.onnx": "0" * 64}
    assert "capitals alone" in fault(folder, json.dumps({**document, "files": files}).encode())


def test_a_manifest_that_is_a_link_or_a_folder(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").symlink_to(bundle / "manifest.json")
    with pytest.raises(BundleError, match="a link"):
        read_manifest(tmp_path)
    (tmp_path / "b" / "manifest.json").mkdir(parents=True)
    with pytest.raises(BundleError, match="cannot be read"):
        read_manifest(tmp_path / "b")


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    content=st.binary(max_size=200)
    | json_value.map(lambda value: json.dumps(value).encode())
    | st.just(b"[" * 100_000)
)
def test_garbage_is_a_bundle_error_and_nothing_else(folder: Path, content: bytes) -> None:
    fault(folder, content)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_garbled_manifest_is_read_or_is_a_bundle_error(
    folder: Path, document: dict[str, Any], data: st.DataObject
) -> None:
    changed = json.loads(json.dumps(document))
    place, key = changed, data.draw(st.sampled_from(sorted(changed)))
    while isinstance(place[key], dict) and place[key] and data.draw(st.booleans()):
        place, key = place[key], data.draw(st.sampled_from(sorted(place[key])))
    place[key] = data.draw(json_value)
    (folder / "manifest.json").write_text(json.dumps(changed))
    said = ""
    try:
        read_manifest(folder)
    except BundleError as found:
        said = str(found)
    assert "\n" not in said
