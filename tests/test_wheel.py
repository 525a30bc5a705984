"""What is installed, and what is not."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FIELD = {"click", "numpy", "onnxruntime", "pillow", "psutil", "pydantic", "tomli", "tqdm"}


def names(text: str) -> set[str]:
    return {line.split(">")[0].split(";")[0].strip() for line in text.splitlines() if line.strip()}


def configuration() -> ConfigParser:
    parser = ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def test_the_field_install_is_light() -> None:
    assert names(configuration()["options"]["install_requires"]) == FIELD


def test_the_workstations_install_has_what_was_named() -> None:
    wanted = {
        "torch",
        "torchvision",
        "timm",
        "onnx",
        "onnxscript",
        "optimum-onnx",
        "scikit-learn",
        "matplotlib",
        "pooch",
        "safetensors",
    }
    assert wanted <= names(configuration()["options.extras_require"]["train"])


def test_every_package_is_listed() -> None:
    listed = set(configuration()["options"]["packages"].split())
    found = {
        ".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "pepr_edge").rglob("__init__.py")
    }
    assert listed == found | {"pepr_edge.recipes", "pepr_edge.variants"}


@pytest.mark.slow
def test_the_wheel_holds_pepr_edge_alone_with_recipes_and_variants(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("pepr_edge", "recipes", "export", "tools", "tests"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path),
        str(tree),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = archive.namelist()
    assert {name.split("/")[0].split("-")[0] for name in held} == {"pepr_edge"}
    for folder, inside in (("recipes", "recipes"), ("export", "variants")):
        files = {path.name for path in (ROOT / folder).glob("*.toml")}
        assert files
        assert files == {
            name.rsplit("/", 1)[1]
            for name in held
            if name.startswith(f"pepr_edge/{inside}/") and name.endswith(".toml")
        }
    assert {"pepr_edge/energy/carbon.csv", "pepr_edge/report/report.html", "pepr_edge/py.typed"} <= set(held)
    assert "pepr_edge/recipes/recipe.schema.json" in held
    page = {
        path.name
        for path in (ROOT / "pepr_edge" / "web").iterdir()
        if path.suffix in (".mjs", ".css", ".html")
    }
    assert {f"pepr_edge/web/{name}" for name in page} <= set(held)
    # Recipes and variants are found where the wheel has them.
    program = (
        "from pepr_edge.recipe import recipes_dir, variants_dir; "
        "print(recipes_dir().parent.name, variants_dir().parent.name)"
    )
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path / "installed",
    )
    assert done.stdout.split() == ["pepr_edge", "pepr_edge"]
