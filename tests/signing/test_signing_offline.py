"""Five answers about a signed bundle and a signed kit, in a namespace without a network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import signed_files
import tiny_bundle

from pepr_edge.run_dir.store import sha256_file
from pepr_edge.signing import signatures

ROOT = Path(__file__).resolve().parents[2]
NO_NETWORK = ("unshare", "--map-root-user", "--net")
BUNDLE = "kit/bundles/01-tiny@16-fp32"


def has_namespaces() -> bool:
    if shutil.which(NO_NETWORK[0]) is None:
        return False
    return subprocess.run([*NO_NETWORK, "true"], capture_output=True).returncode == 0


pytestmark = [
    pytest.mark.slow,  # a second each
    pytest.mark.skipif(not has_namespaces(), reason="no namespace without a network can be made here"),
]


class Case(NamedTuple):
    """What happened, the exit statuses for the bundle and for the kit, and the word of both."""

    spoil: Callable[[Path], object]
    bundle: int
    kit: int
    word: str


def recompute(here: Path) -> None:
    """Make all checksums right again, of the bundle and of the kit."""
    bundle = here / BUNDLE
    document = json.loads((bundle / "manifest.json").read_bytes())
    document["files"] = {name: sha256_file(bundle / name) for name in document["files"]}
    document["profile"]["artifact_sha256"] = document["files"]["model.onnx"]
    (bundle / "manifest.json").write_text(json.dumps(document))
    list_files(here / "kit")


def list_files(kit: Path) -> None:
    files = [path for path in sorted(kit.rglob("*")) if path.is_file() and "checksums" not in path.name]
    lines = [f"{sha256_file(path)}  {path.relative_to(kit).as_posix()}\n" for path in files]
    (kit / "checksums.txt").write_text("".join(lines))


def sign(here: Path, name: str) -> None:
    signer = signed_files.pair(here, name).signer
    signed_files.sign(here / BUNDLE / "manifest.json", signer)
    list_files(here / "kit")
    signed_files.sign(here / "kit" / "checksums.txt", signer, signatures.KIT)


def flip_byte(here: Path) -> None:
    path = here / BUNDLE / "model.onnx"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def put_other_model(here: Path) -> None:
    tiny_bundle.spoil(here / BUNDLE, "model.onnx")
    recompute(here)


def remove_signatures(here: Path) -> None:
    (here / BUNDLE / "manifest.json.sig").unlink()
    list_files(here / "kit")
    (here / "kit" / "checksums.txt.sig").unlink()


CASES = {
    "round trip": Case(lambda here: None, 0, 0, "signed by vendor (SHA256:"),
    "wrong key": Case(lambda here: sign(here, "stranger"), 3, 1, "which is no key of vendor.pub"),
    "changed byte": Case(flip_byte, 3, 1, "model.onnx"),
    "recomputed checksums": Case(put_other_model, 3, 1, "it was changed since"),
    "removed signature": Case(remove_signatures, 3, 1, "not signed"),
}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    tiny_bundle.write(tmp_path / BUNDLE)
    (tmp_path / "kit" / "kit.json").write_text("{}")
    sign(tmp_path, "vendor")
    return tmp_path


@pytest.mark.parametrize("name", CASES)
def test_the_answer_without_a_network(name: str, here: Path) -> None:
    case = CASES[name]
    case.spoil(here)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [*NO_NETWORK, sys.executable, "-m", "pepr_edge", "verify", "--trust", "vendor.pub"]
    for what, status in ((BUNDLE, case.bundle), ("kit", case.kit)):
        done = subprocess.run([*command, what], cwd=here, env=environment, capture_output=True, text=True)
        said = done.stdout + done.stderr
        assert done.returncode == status, said
        assert case.word in said
        assert "Traceback" not in said
        assert len(done.stderr.splitlines()) == (0 if status == 0 else 1)
