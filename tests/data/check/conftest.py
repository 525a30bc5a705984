from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import data_checks
import pytest
from data_checks import Checked

Check = Callable[[Path | str], Checked]


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Check:
    """Return `pepr-edge data check` as a function."""
    return lambda path: data_checks.check(capsys, monkeypatch, path)
