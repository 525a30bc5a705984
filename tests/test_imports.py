"""The layers of the package, and the imports of the field commands."""

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
    "openvino",
    "optimum",
    "transformers",
    "sklearn",
    "scipy",
    "pandas",
    "matplotlib",
}

# A unit may import itself and the units of the lines above. A dotted unit is a part of a package in another
# layer than the rest.
LAYERS = (
    {"errors", "progress"},
    {"untrusted", "web"},
    {"records", "signing", "tasks"},
    {"scoring", "images", "zoo"},
    {"text", "device", "energy"},
    {"recipe"},
    {"run_dir"},
    {"data", "measure", "tables"},
    {"bundle.read", "bundle.hub"},
    {"train", "export", "field"},
    {"recipe.checks", "recipe.init", "recipe.resolve", "recipe.schema", "zoo.check"},
    {"ranking", "report", "engine"},
    {"search"},
    {"bundle", "compare", "dossier"},
    {"preparation"},
    {"pipeline", "kit"},
    {"cli"},
)
LEVEL = {unit: level for level, units in enumerate(LAYERS) for unit in units}
# Code that the field commands use. It includes reading a bundle. It must not import anything heavy.
LIGHT = (
    "__init__.py",
    "__main__.py",
    "errors.py",
    "progress.py",
    "untrusted/",
    "records/",
    "tasks/",
    "scoring/",
    "images/",
    "text/",
    "run_dir/",
    "recipe/__init__.py",
    "recipe/about.py",
    "recipe/toml.py",
    "recipe/training.py",
    "recipe/auto.py",
    "recipe/key_types.py",
    "recipe/machines.py",
    "recipe/shipped.py",
    "recipe/recipe.py",
    "recipe/settings.py",
    "recipe/variants.py",
    "tables/",
    "search/",
    "device/",
    "data/",
    "measure/",
    "field/",
    "signing/",
    "kit/__init__.py",
    "dossier/",
    "kit/check.py",
    "kit/install.py",
    "kit/serve.py",
    "bundle/__init__.py",
    "bundle/read.py",
    "bundle/hub.py",
    "cli/__init__.py",
    "cli/common.py",
    "cli/progress.py",
    "cli/bench.py",
    "cli/columns.py",
    "cli/evaluate.py",
    "cli/dossier.py",
    "cli/keys.py",
    "cli/predict.py",
    "cli/verify.py",
    "cli/rank.py",
    "cli/score.py",
    "cli/score_output.py",
    "cli/search.py",
    "cli/serve.py",
    "web/",
)

# These import a heavy package inside functions: a runtime only if it was chosen, a task only in training, a
# format only for its files.
# See test_cli_bench.
ALLOWED = {
    "data/tensor.py": {"torch"},
    "measure/runtimes/openvino.py": {"openvino"},
    "measure/runtimes/pytorch.py": {"torch"},
    "tasks/losses.py": {"torch"},
    "tasks/single_label.py": {"torch"},
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted names of all imports of a module, except those for the type checker."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    ignored: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            ignored.update(id(inner) for inner in ast.walk(node))
    for node in ast.walk(tree):
        if id(node) in ignored:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def unit_of(name: str) -> str:
    """Return the longest unit of the table that holds a dotted name below pepr_edge, else its first part."""
    parts = name.split(".")
    prefixes = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next((prefix for prefix in prefixes if prefix in LEVEL), parts[0])


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_modules_import_only_lower_layers(path: Path) -> None:
    unit = unit_of(name_of(path))
    if unit in ("__init__", "__main__"):
        return
    for name in imports(path):
        if name.split(".")[0] != "pepr_edge" or name in ("pepr_edge", "pepr_edge.__version__"):
            continue
        other = unit_of(name.removeprefix("pepr_edge."))
        assert other in LEVEL, f"{path.name} imports {name}, which is not in the table"
        assert other == unit or LEVEL[other] < LEVEL[unit], f"{unit} may not import {other} ({name})"


@pytest.mark.parametrize(
    "path", [path for path in modules() if path.relative_to(PACKAGE).as_posix().startswith(LIGHT)], ids=str
)
def test_the_field_imports_nothing_heavy(path: Path) -> None:
    allowed = ALLOWED.get(path.relative_to(PACKAGE).as_posix(), set())
    assert not {name.split(".")[0] for name in imports(path)} & HEAVY - allowed


def test_every_unit_is_in_the_table() -> None:
    assert {unit_of(name_of(path)) for path in modules()} - {"__init__", "__main__"} == set(LEVEL)


def loaded_by(*command: str) -> set[str]:
    """Return the top-level modules that a command of pepr-edge loads; without one, those of the package."""
    program = f"import sys, json; sys.argv = {['pepr-edge', *command]!r}\ntry:\n import pepr_edge\n"
    program += " from pepr_edge.cli import entry; entry()\n" if command else " pass\n"
    program += "except SystemExit: pass\nprint(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in json.loads(done.stderr.splitlines()[-1])}


def test_importing_the_package_imports_nothing_else() -> None:
    assert not loaded_by() & ({"numpy", "pydantic", "onnxruntime", "PIL", "click", "psutil", "tqdm"} | HEAVY)


def test_a_run_starts_without_pytorch() -> None:
    """Its workers import it: in the run's own process it would take seconds before the first message."""
    program = "import sys, pepr_edge.pipeline; print(sorted({'torch', 'timm'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_imports_only_click() -> None:
    loaded = loaded_by("--help")
    assert "click" in loaded
    assert not loaded & ({"numpy", "pydantic", "onnxruntime", "PIL", "tqdm"} | HEAVY)


@pytest.mark.parametrize(
    "entry",
    [
        "pepr_edge",
        "pepr_edge.measure.worker",
        "pepr_edge.measure.runtimes",
        "pepr_edge.engine.worker",
        "pepr_edge.engine.worker_main",
    ],
)
def test_telemetry_is_off_at_every_entry(entry: str) -> None:
    program = f"import {entry}, os; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "1"
