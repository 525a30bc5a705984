"""The package cryptography, imported when a signature is made or checked: a light install lacks it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pepr_edge.errors import SigningError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

INSTALL = "pip install 'pepr_edge[sign]'"


def check_installed() -> None:
    """Check that signatures can be made and checked here.

    Raises:
        SigningError: the package is missing, or does not load.
    """
    try:
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: F401
    except ImportError as fault:
        reason = "is not installed" if isinstance(fault, ModuleNotFoundError) else "cannot be loaded"
        raise SigningError(
            f"signatures: the package cryptography {reason}. Run: {INSTALL}, make the kit with --sign, "
            "or check the signature with `ssh-keygen -Y verify`."
        ) from None


def is_valid(raw_key: bytes, signature: bytes, content: bytes) -> bool:
    """True if an Ed25519 signature, 64 bytes, is that of a public key, 32 bytes, over this content."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(raw_key).verify(signature, content)
    except (InvalidSignature, ValueError):  # ValueError: the bytes are no point of the curve
        return False
    return True


def new_key() -> Ed25519PrivateKey:
    """Return a new private key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate()


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """Return the 32 bytes of a private key's public key."""
    return key.public_key().public_bytes_raw()


def private_text(key: Ed25519PrivateKey, passphrase: str) -> bytes:
    """Return a private key in OpenSSH's format, encrypted unless the passphrase is empty.

    Raises:
        SigningError: the package bcrypt, with which it is encrypted, is missing.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    try:
        return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, encryption)
    except UnsupportedAlgorithm:
        raise SigningError(f"a passphrase needs the package bcrypt. Run: {INSTALL}") from None


def load_private(text: bytes, passphrase: str | None) -> Ed25519PrivateKey | None:
    """Return the private key in a text; None if it is encrypted and no passphrase was given.

    Raises:
        ValueError: another text, a wrong passphrase, or a key of another kind. The message is on one line.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        key = serialization.load_ssh_private_key(text, None if passphrase is None else passphrase.encode())
    except TypeError:  # it is encrypted
        return None
    except (ValueError, UnsupportedAlgorithm) as fault:
        reason = "wrong passphrase" if passphrase is not None else "not in OpenSSH's format"
        if isinstance(fault, UnsupportedAlgorithm):
            reason = f"of a kind that is not supported; with a passphrase it needs bcrypt: {INSTALL}"
        raise ValueError(reason) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("a key of another kind than ssh-ed25519")
    return key
