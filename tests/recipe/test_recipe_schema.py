from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import command_line
import pytest

from pepr_edge.recipe import Recipe, recipes_dir
from pepr_edge.recipe.schema import KEYS, SCHEMA, schema


def keys(model: Any = Recipe, before: str = "") -> set[str]:
    names = set()
    for name, field in model.model_fields.items():
        names.add(before + name)
        if hasattr(field.annotation, "model_fields"):
            names |= keys(field.annotation, f"{before}{name}.")
    return names


def test_each_key_has_a_sentence() -> None:
    assert set(KEYS) == keys(), "recipe.schema.KEYS: give each key of a recipe a sentence"
    assert all(text.endswith(".") for text in KEYS.values())


def test_the_shipped_schema_is_current() -> None:
    shipped = json.loads((recipes_dir() / SCHEMA).read_text(encoding="utf-8"))
    assert shipped == json.loads(json.dumps(schema())), (
        "run: pepr-edge recipes schema --out recipes/recipe.schema.json --force"
    )


def test_the_command_prints_or_writes_the_schema(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command_line.run(capsys, monkeypatch, "recipes", "schema", "--out", tmp_path / SCHEMA).status == 0
    assert (tmp_path / SCHEMA).read_bytes() == (recipes_dir() / SCHEMA).read_bytes()
    printed = command_line.run(capsys, monkeypatch, "recipes", "schema").out
    assert json.loads(printed)["title"] == "A recipe of pepr_edge"


@pytest.mark.parametrize("path", sorted(recipes_dir().glob("*.toml")), ids=lambda path: path.stem)
def test_each_shipped_recipe_names_the_schema(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith(f"#:schema ./{SCHEMA}\n")


def test_the_schema_allows_the_same_recipes_as_the_reader() -> None:
    document = schema()
    assert "null" not in json.dumps(document)
    assert document["required"] == ["name", "device", "candidates"]
    assert document["additionalProperties"] is False
    candidates = document["properties"]["candidates"]["properties"]
    assert {"const": "zoo"} in candidates["architectures"]["anyOf"]
    assert candidates["image_size_px"]["default"] == [64]
    device = document["properties"]["device"]["properties"]
    assert device["threads"] == {
        "description": KEYS["device.threads"],
        "type": "integer",
        "minimum": 1,
        "default": 2,
    }
    assert "default" not in device["memory_mib"]


@pytest.mark.slow
def test_the_shipped_recipes_match_the_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    from pepr_edge.recipe.toml import tomllib

    for path in sorted(recipes_dir().glob("*.toml")):
        jsonschema.validate(tomllib.loads(path.read_text(encoding="utf-8")), schema())
