"""Who may import whom, and what the field may import at all."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "pepr_edge"
HEAVY = {
    "torch",
    "torchvision",
    "timm",
    "onnx",
    "onnxscript",
    "optimum",
    "transformers",
    "sklearn",
    "scipy",
    "pandas",
    "matplotlib",
}

# A unit may import itself and those of the lines above its own. A dotted unit is the part of a package that stands elsewhere than the rest.
LAYERS = (
    {"errors", "progress"},
    {"untrusted"},
    {"records"},
    {"scoring", "images", "zoo"},
    {"text", "device", "energy"},
    {"recipe"},
    {"run_dir", "recipe.schema"},
    {"data", "measure", "tables"},
    {"bundle.read", "bundle.hub"},
    {"train", "export", "field"},
    {"recipe.checks", "recipe.init", "zoo.check"},
    {"ranking", "report", "engine"},
    {"search"},
    {"bundle", "compare"},
    {"pipeline", "kit"},
    {"cli"},
)
LEVEL = {unit: level for level, units in enumerate(LAYERS) for unit in units}
# Beyond the table: reading a bundle is the field's affair, so nothing heavy may come in by it.
LIGHT = (
    *(
        "__init__.py",
        "__main__.py",
        "errors.py",
        "progress.py",
        "untrusted/",
        "records/",
        "scoring/",
        "images/",
        "text/",
    ),
    *(
        "run_dir/",
        "recipe/__init__.py",
        "recipe/toml.py",
        "recipe/recipe.py",
        "recipe/variants.py",
        "tables/",
        "search/",
    ),
    *("device/", "measure/", "field/", "bundle/__init__.py", "bundle/read.py", "bundle/hub.py"),
    *(
        "cli/__init__.py",
        "cli/common.py",
        "cli/progress.py",
        "cli/bench.py",
        "cli/predict.py",
        "cli/verify.py",
        "cli/rank.py",
    ),
    *("cli/score.py", "cli/search.py"),
)


# The runtime for workstations: it imports torch, and only when it is asked to run a model. No field command asks it: see test_cli_bench.
ALLOWED = {"measure/runtimes/pytorch.py": {"torch"}}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Dotted names of all that a module imports, wherever it does so, but for what only the type checker reads."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    unread = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in unread:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def unit_of(name: str) -> str:
    """The longest unit of the table that a dotted name below pepr_edge is of, or its first part where it is of none."""
    parts = name.split(".")
    prefixes = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next((prefix for prefix in prefixes if prefix in LEVEL), parts[0])


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_modules_import_only_what_stands_below_them(path: Path) -> None:
    unit = unit_of(name_of(path))
    if unit in ("__init__", "__main__"):
        return
    for name in imports(path):
        if name.split(".")[0] != "pepr_edge" or name in ("pepr_edge", "pepr_edge.__version__"):
            continue
        other = unit_of(name.removeprefix("pepr_edge."))
        assert other in LEVEL, f"{path.name} imports {name}, which has no place in the table"
        assert other == unit or LEVEL[other] < LEVEL[unit], f"{unit} may not import {other} ({name})"


@pytest.mark.parametrize(
    "path", [path for path in modules() if path.relative_to(PACKAGE).as_posix().startswith(LIGHT)], ids=str
)
def test_the_field_imports_nothing_heavy(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports(path)} & HEAVY - ALLOWED.get(
        path.relative_to(PACKAGE).as_posix(), set()
    )


def test_every_unit_has_its_place() -> None:
    assert {unit_of(name_of(path)) for path in modules()} - {"__init__", "__main__"} == set(LEVEL)


def loaded_by(*words: str) -> set[str]:
    program = f"import sys, json; sys.argv = {['pepr-edge', *words]!r}\ntry:\n import pepr_edge\n"
    program += " from pepr_edge.cli import entry; entry()\n" if words else " pass\n"
    program += "except SystemExit: pass\nprint(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in json.loads(done.stderr.splitlines()[-1])}


def test_importing_the_package_imports_nothing_else() -> None:
    assert not loaded_by() & ({"numpy", "pydantic", "onnxruntime", "PIL", "click", "psutil", "tqdm"} | HEAVY)


def test_help_imports_no_library_but_click() -> None:
    loaded = loaded_by("--help")
    assert "click" in loaded
    assert not loaded & ({"numpy", "pydantic", "onnxruntime", "PIL", "tqdm"} | HEAVY)


@pytest.mark.parametrize(
    "entry",
    [
        "pepr_edge",
        "pepr_edge.measure.worker",
        "pepr_edge.measure.model_process_main",
        "pepr_edge.measure.runtimes",
        "pepr_edge.engine.worker",
    ],
)
def test_telemetry_is_off_whichever_way_the_package_is_entered(entry: str) -> None:
    program = f"import {entry}, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "1"
