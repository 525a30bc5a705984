"""The parsers of signatures and keys, with valid inputs; none where the package cryptography is missing."""

from __future__ import annotations

import atexit
import importlib.util
import tempfile
from functools import cache
from pathlib import Path

import signed_files
import tiny_bundle

from pepr_edge.bundle import read as bundle_read
from pepr_edge.signing import key_files, signatures

HAS_LIBRARY = importlib.util.find_spec("cryptography") is not None


@cache
def folder() -> Path:
    """Return a folder of this session."""
    made = tempfile.TemporaryDirectory(prefix="fuzz-")
    atexit.register(made.cleanup)
    return Path(made.name)


@cache
def bundle() -> Path:
    return tiny_bundle.write(folder() / "bundle")


@cache
def vendor() -> signed_files.Pair:
    return signed_files.pair(folder(), "vendor")


def signature() -> list[bytes]:
    if not HAS_LIBRARY:
        return []
    text = (bundle() / bundle_read.MANIFEST).read_bytes()
    return [signatures.sign(text, vendor().signer, signatures.MANIFEST)]


def feed_signature(path: Path) -> None:
    (bundle() / bundle_read.SIGNATURE).write_bytes(path.read_bytes())
    bundle_read.signer(bundle(), vendor().trust)


def public_keys() -> list[bytes]:
    if not HAS_LIBRARY:
        return []
    line = vendor().public.read_bytes()
    return [line, b"# keys\n" + line + b"vendor@example.org " + line.rsplit(b" ", 1)[0] + b"\n"]


def private_key() -> list[bytes]:
    return [vendor().private.read_bytes()] if HAS_LIBRARY else []


def feed_private_key(path: Path) -> None:
    path.chmod(0o600)
    key_files.read_private(path, lambda: "secret")
