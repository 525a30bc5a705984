"""Key pairs for tests, the same each time, and what they sign."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import pytest

from pepr_edge.signing import signatures
from pepr_edge.signing.key_files import Signer, Trust
from pepr_edge.signing.openssh import PublicKey


class Pair(NamedTuple):
    """The files of a key pair, and what is read from them."""

    private: Path
    public: Path
    signer: Signer
    trust: Trust


def pair(folder: Path, name: str) -> Pair:
    """Write a key pair that follows from its name; skips without the package cryptography."""
    pytest.importorskip("cryptography", reason="the package cryptography is not installed")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())
    public = PublicKey(key.public_key().public_bytes_raw(), name)
    text = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    private = folder / name
    private.write_bytes(text)
    private.chmod(0o600)
    public_path = folder / f"{name}.pub"
    public_path.write_text(f"{public.line}\n")
    return Pair(private, public_path, Signer(key, public), Trust(public_path.name, (public,)))


def sign(path: Path, signer: Signer, purpose: str = signatures.MANIFEST) -> Path:
    """Write the signature of a file beside it."""
    beside = signatures.signature_path(path)
    beside.write_bytes(signatures.sign(path.read_bytes(), signer, purpose))
    return beside
