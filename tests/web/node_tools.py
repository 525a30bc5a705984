"""Node and browsers for the tests of the page; each is skipped with a reason where it is missing."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pepr_edge.errors import KitError
from pepr_edge.kit import web_runtime

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
MIN_NODE = 18
INSTALL = "npm ci --prefix tests/web"


def node() -> str:
    """Return the path of node; skips if there is none of a recent version."""
    found = shutil.which("node")
    if found is None:
        pytest.skip("node is not installed")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.lstrip("v").split(".")[0]) < MIN_NODE:
        pytest.skip(f"node {version.strip()}, expected {MIN_NODE} or later")
    return found


def module(name: str) -> Path:
    """Return the folder of an npm package; skips if it is not installed."""
    if not (MODULES / name).is_dir():
        pytest.skip(f"{name} is not installed: {INSTALL}")
    return MODULES / name


BROWSERS = {"chromium": ("chromium", "chromium-browser"), "firefox": ("firefox-esr", "firefox")}


def executable(browser: str) -> str:
    """Return the path of a browser; skips if it or its driver is not installed."""
    module("playwright-core")
    found = next(filter(None, map(shutil.which, BROWSERS[browser])), None)
    if found is None:
        pytest.skip(f"{browser} is not installed")
    return found


def runtime_files(*providers: str) -> dict[str, web_runtime.ProviderFiles]:
    """Return the files of the page's runtime; skips if they cannot be had."""
    try:
        return web_runtime.read(providers)
    except KitError as reason:
        pytest.skip(str(reason))


def run_script(script: str, document: Any, timeout_s: float = 120) -> Any:
    """Run a script of this folder with a JSON document on its input, and return the JSON that it prints."""
    done = subprocess.run(
        [node(), str(HERE / script)],
        input=json.dumps(document),
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)
