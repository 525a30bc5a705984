"""Sets like ChestMNIST and RetinaMNIST go the whole way, within 2 GB of memory."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import peak_memory
import pytest
from made_tasks import multilabel_npz, ordinal_npz

pytestmark = pytest.mark.slow
MAX_BYTES = 2_000_000_000
LIMIT_S = 1800
RECIPE = """
schema_version = 1
name = "like"
[device]
name = "a test's machine"
threads = 1
[data]
source = {source}
[candidates]
architectures = ["mobilenetv2_050"]
image_size_px = 32
weights = "scratch"
[train]
epochs = {epochs}
[workstation]
watts_per_core = 5.0
[export]
variants = ["fp32", "int8_static"]
[profile]
rules = "quick"
"""


def whole_way(folder: Path, source: Path, epochs: int) -> dict[str, object]:
    """Run the set; check the memory, and return the ranking."""
    recipe = folder / "like.toml"
    recipe.write_text(RECIPE.format(source=json.dumps(source.as_posix()), epochs=epochs))
    words = [sys.executable, "-m", "pepr_edge", "run", str(recipe), "--out", str(folder / "run")]
    log = folder / "log.txt"
    status, peak = peak_memory.run(words, log, LIMIT_S)
    print(f"{source.name}: peak memory {peak / 1e6:.0f} MB")
    assert status == 0, log.read_text()[-4000:]
    assert peak < MAX_BYTES
    document: dict[str, object] = json.loads((folder / "run" / "ranking.json").read_text())
    return document


def test_a_set_of_14_findings_and_20_000_images(tmp_path: Path) -> None:
    source = multilabel_npz(tmp_path / "chest_like.npz", (14_000, 2_000, 4_000), findings=14)
    ranking = whole_way(tmp_path, source, epochs=1)
    assert ranking["task"] == "multilabel"
    assert (tmp_path / "run" / "bundles").is_dir()


def test_a_set_of_five_grades(tmp_path: Path) -> None:
    # RetinaMNIST has 1080, 120 and 400 colour images.
    source = ordinal_npz(tmp_path / "grades.npz", (1_080, 120, 400), grades=5)
    recipe = '\n[task]\nkind = "ordinal"\n'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[__name__], "RECIPE", RECIPE + recipe)
        ranking = whole_way(tmp_path, source, epochs=4)
    assert ranking["task"] == "ordinal"
    assert (tmp_path / "run" / "bundles").is_dir()


def test_chestmnist_itself(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "chestmnist.npz"
    if not source.is_file():
        pytest.skip("no chestmnist.npz in $PEPR_TEST_DATA/data: fetch it from zenodo.org/records/10519652")
    ranking = whole_way(tmp_path, source, epochs=1)
    assert ranking["task"] == "multilabel"
