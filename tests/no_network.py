"""Imported first: neither the network nor the caches of this machine decide what a run begins with."""

from __future__ import annotations

import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_CACHE"] = os.environ["TORCH_HOME"] = str(Path(__file__).with_name("no_cache"))
