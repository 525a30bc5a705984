"""A kit for tests, made without a network: the fixture `no_network` of tests/kit replaces the downloads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pepr_edge.kit.make import Kit, make


def made_at(out: Path, **changes: Any) -> Kit:
    """Make a kit of one model for two Pythons on Linux; `changes` replace arguments."""
    arguments: dict[str, Any] = {
        "platform": "linux-x86_64",
        "pythons": ("3.11", "3.12"),
        "top": 1,
        "progress": lambda *words: None,
    }
    return make(Path("run"), out, **{**arguments, **changes})
