from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import command_line
import pytest

from pepr_edge.recipe import Recipe, recipes_dir
from pepr_edge.recipe.schema import KEYS, SCHEMA, schema


def keys(model: Any = Recipe, before: str = "") -> set[str]:
    found = set()
    for name, field in model.model_fields.items():
        found.add(before + name)
        if hasattr(field.annotation, "model_fields"):
            found |= keys(field.annotation, f"{before}{name}.")
    return found


def test_every_key_has_its_sentence_and_no_sentence_is_of_none() -> None:
    assert set(KEYS) == keys(), "recipe_schema.KEYS: give each key of a recipe a sentence"
    assert all(text.endswith(".") for text in KEYS.values())


def test_the_shipped_schema_is_current() -> None:
    shipped = json.loads((recipes_dir() / SCHEMA).read_text(encoding="utf-8"))
    assert shipped == json.loads(json.dumps(schema())), (
        "run: pepr-edge recipes schema --out recipes/recipe.schema.json"
    )


def test_the_command_prints_it_or_writes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command_line.run(capsys, monkeypatch, "recipes", "schema", "--out", tmp_path / SCHEMA).status == 0
    assert (tmp_path / SCHEMA).read_bytes() == (recipes_dir() / SCHEMA).read_bytes()
    assert (
        json.loads(command_line.run(capsys, monkeypatch, "recipes", "schema").out)["title"]
        == "A recipe of pepr_edge"
    )


@pytest.mark.parametrize("path", sorted(recipes_dir().glob("*.toml")), ids=lambda path: path.stem)
def test_each_shipped_recipe_names_it(path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith(f"#:schema ./{SCHEMA}\n")


def test_it_says_what_the_reader_takes() -> None:
    made = schema()
    assert "null" not in json.dumps(made)
    assert {"required": made["required"]} == {"required": ["name", "device", "candidates"]}
    assert made["additionalProperties"] is False
    candidates = made["properties"]["candidates"]["properties"]
    assert {"const": "zoo"} in candidates["architectures"]["anyOf"]
    assert candidates["image_size_px"]["default"] == [64]
    device = made["properties"]["device"]["properties"]
    assert device["threads"] == {
        "description": KEYS["device.threads"],
        "type": "integer",
        "minimum": 1,
        "default": 2,
    }
    assert "default" not in device["memory_mib"]


@pytest.mark.slow
def test_the_shipped_recipes_are_valid_by_it() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    from pepr_edge.recipe.toml import tomllib

    for path in sorted(recipes_dir().glob("*.toml")):
        jsonschema.validate(tomllib.loads(path.read_text(encoding="utf-8")), schema())
