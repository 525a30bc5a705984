from __future__ import annotations

from pathlib import Path

import pytest
import tiny_bundle

from pepr_edge.bundle.read import read_manifest
from pepr_edge.records import Manifest


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole bundle; not to be changed."""
    return tiny_bundle.write(tmp_path_factory.mktemp("bundles") / "01-tiny@16-fp32")


@pytest.fixture
def own_bundle(tmp_path: Path) -> Path:
    """A whole bundle of the test's own, to be tampered with."""
    return tiny_bundle.write(tmp_path / "bundles" / "01-tiny@16-fp32")


@pytest.fixture
def manifest(bundle: Path) -> Manifest:
    return read_manifest(bundle)


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both rules as short as a test may take."""
    tiny_bundle.be_brief(monkeypatch)
