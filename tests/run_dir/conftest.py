from __future__ import annotations

from pathlib import Path

import made_records
import numpy as np
import pytest


@pytest.fixture
def made_run(tmp_path: Path) -> Path:
    """Make a run of two candidates: "small" went through all stages, "large" is not started."""
    made_records.write_run(tmp_path, "small", "large")
    predictions = tmp_path / "candidates" / "small@64" / "fp32" / "predictions.npz"
    np.savez(predictions, val=np.zeros((1, 2), np.float32))
    return tmp_path
