"""The page's modules: node's tests of them, their types, and how they are put together."""

from __future__ import annotations

import re
import subprocess

import pytest
from node_tools import HERE, module, node

from pepr_edge.kit import web_page


def test_units() -> None:
    done = subprocess.run(
        [node(), "--test", str(HERE / "units.test.mjs")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_the_script_is_one_whole() -> None:
    script = web_page.script()
    assert "</script" not in script.lower()
    assert not re.search(r"^(import|export) ", script, re.MULTILINE)
    for path in web_page.WEB.glob("*.mjs"):
        assert f"const {path.stem}_module" in script, "a module that nothing imports"
    checked = subprocess.run(
        [node(), "--check", "--input-type=module", "-"],
        input=script,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr[-2000:]


@pytest.mark.slow
def test_types() -> None:
    compiler = module("typescript") / "bin" / "tsc"
    done = subprocess.run(
        [node(), str(compiler), "--project", str(HERE)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
