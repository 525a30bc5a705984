from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import signed_files
import tiny_bundle

from pepr_edge.bundle.best import ExportedBundles
from pepr_edge.kit import make as module
from pepr_edge.signing.key_files import Signer


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replace the export and the downloads; the requirements and Pythons that were asked for."""
    asked: list[str] = []

    def export_best(run_dir: Path, out: Path, top: int, signer: Signer | None) -> ExportedBundles:
        made = [(None, tiny_bundle.write(out / f"{number:02d}-tiny@16-fp32")) for number in range(1, top + 1)]
        for _, bundle in made if signer is not None else ():
            signed_files.sign(bundle / "manifest.json", signer)
        return ExportedBundles(made, ("made of nothing",))  # type: ignore[arg-type]

    def own(folder: Path) -> Path:
        (folder / "pepr_edge-1-py3-none-any.whl").write_bytes(b"own")
        return folder / "pepr_edge-1-py3-none-any.whl"

    def fetch(own: str, name: str, python: str, folder: Path, on_package: Any) -> None:
        asked.append(f"{Path(own).name} {python}")
        on_package("numpy")
        for file in ("pip-1-py3-none-any.whl", f"numpy-1-cp{python.replace('.', '')}-none-any.whl"):
            (folder / file).write_bytes(file.encode())

    monkeypatch.setattr(module, "export_best", export_best)
    monkeypatch.setattr(module.own_wheel, "make", own)
    monkeypatch.setattr(module.wheels, "fetch", fetch)
    return asked
