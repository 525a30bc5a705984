"""The lists that name runtimes or their packages agree with `RUNTIMES`. See docs/own-runtime.md."""

from __future__ import annotations

import configparser
import re
import sys
from pathlib import Path
from typing import get_args

import pytest
from test_imports import ALLOWED, HEAVY, PACKAGE, imports

from pepr_edge.cli.bench import command
from pepr_edge.device.facts import FIELD_PACKAGES
from pepr_edge.measure import runtimes
from pepr_edge.measure.runtimes import BUNDLE_RUNTIMES, RUNTIMES
from pepr_edge.recipe import Device

ROOT = Path(__file__).resolve().parents[1]
# The packages of these runtimes are not in an extra of the runtime's own name.
SHARED_EXTRAS = {"pytorch": "train"}


def file_of(name: str) -> str:
    return f"measure/runtimes/{name}.py"


def libraries(name: str) -> set[str]:
    """Return the packages that a runtime's module imports inside its functions, without numpy."""
    top_level = {module.split(".")[0] for module in imports(PACKAGE / file_of(name))}
    return top_level - set(sys.stdlib_module_names) - {"pepr_edge", "numpy"}


def required(text: str) -> set[str]:
    """Return the packages of a list of requirements, by the names under which they are imported."""
    found = (re.match(r"[\w.-]+", line) for line in text.splitlines())
    return {match[0].replace("-", "_") for match in found if match}


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(delimiters="=")
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


@pytest.mark.parametrize("name", RUNTIMES)
def test_the_package_offers_the_module_of_a_runtime(name: str) -> None:
    assert RUNTIMES[name] is getattr(runtimes, name)
    assert name in runtimes.__all__


def test_a_recipe_may_name_every_runtime() -> None:
    assert set(get_args(Device.model_fields["runtime"].annotation)) == {"auto", *RUNTIMES}


def test_bench_takes_the_runtimes_that_can_run_a_bundle() -> None:
    (option,) = (option for option in command.params if option.name == "runtime")
    assert set(option.type.to_info_dict()["choices"]) == set(BUNDLE_RUNTIMES)
    assert set(BUNDLE_RUNTIMES) <= set(RUNTIMES)


@pytest.mark.parametrize("name", RUNTIMES)
def test_the_versions_of_its_packages_are_recorded(name: str) -> None:
    recorded = {package.replace("-", "_") for package in FIELD_PACKAGES}
    assert libraries(name) <= recorded, "add the package to FIELD_PACKAGES in device/facts.py"


@pytest.mark.parametrize("name", RUNTIMES)
def test_its_packages_are_in_the_light_install_or_in_an_extra(name: str) -> None:
    config = setup_cfg()
    missing = libraries(name) - required(config["options"]["install_requires"])
    if not missing:
        return
    extra = SHARED_EXTRAS.get(name, name)
    assert missing <= required(config["options.extras_require"].get(extra, "")), (
        f"no extra [{extra}] has them"
    )
    assert f"pip install '.[{extra}]'" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert missing <= HEAVY, "add the package to HEAVY in tests/test_imports.py"
    assert ALLOWED[file_of(name)] == missing
