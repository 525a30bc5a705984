"""Detached signatures: FILE.sig holds the signature of FILE. Its purpose is part of the signed bytes."""

from __future__ import annotations

from pathlib import Path

from pepr_edge.errors import SignatureError
from pepr_edge.signing import library, openssh
from pepr_edge.signing.key_files import Signer, Trust
from pepr_edge.signing.openssh import PublicKey
from pepr_edge.untrusted.files import content
from pepr_edge.untrusted.shown import excerpt, shown

SUFFIX = ".sig"
# Our signatures have some 300 bytes.
MAX_BYTES = 1 << 14
# The purposes, OpenSSH's namespaces: a signed report cannot be passed off as a manifest.
MANIFEST = "manifest@pepr-edge"
KIT = "kit@pepr-edge"
REPORT = "report@pepr-edge"
ASK = "Do not use it; ask for a signed copy."


def signature_path(path: Path) -> Path:
    """Return the path of a file's signature."""
    return path.with_name(path.name + SUFFIX)


def sign(data: bytes, signer: Signer, purpose: str) -> bytes:
    """Return the signature of some bytes as the text of a .sig file."""
    raw = signer.key.sign(openssh.signed_bytes(data, purpose))
    return openssh.format_signature(signer.public, purpose, raw)


def is_signature(path: Path) -> bool:
    """True if the path is a regular file, not a link, that holds a signature by any key."""
    if path.is_symlink():
        return False
    try:
        openssh.parse_signature(content(path, MAX_BYTES))
    except (OSError, ValueError):
        return False
    return True


def check(path: Path, data: bytes, trust: Trust, purpose: str) -> PublicKey:
    """Check the signature of a file.

    Args:
        path: of the file; its signature lies beside it.
        data: the bytes that were read from the file and will be used.
        trust: the keys, one of which must have signed.
        purpose: what the signature must be for.
    Returns:
        The key that signed, under the name that `trust` gives it.
    Raises:
        SignatureError: there is no signature, or it is damaged, by a key that is not trusted, for another
            purpose, or of other bytes. The message is one line, to which the caller adds the file's path.
    """
    beside = signature_path(path)
    name = shown(beside.name)
    try:
        signature = openssh.parse_signature(content(beside, MAX_BYTES))
    except FileNotFoundError:
        raise SignatureError(
            f"not signed (no {name}), expected a signature by a key of {trust.source}. {ASK}"
        ) from None
    except OSError as fault:
        reason = fault.strerror or type(fault).__name__
        raise SignatureError(f"its signature {name} cannot be read ({reason}). {ASK}") from None
    except ValueError as fault:
        raise SignatureError(f"its signature {name} is not in OpenSSH's format ({fault}). {ASK}") from None
    key = trust.find(signature.key)
    if key is None:
        raise SignatureError(
            f"signed by {signature.key.fingerprint}, which is no key of {trust.source}. Do not use it, "
            "unless you know whose key that is and add it."
        )
    if signature.purpose != purpose:
        raise SignatureError(f"signed as {excerpt(signature.purpose)}, expected {purpose}. {ASK}")
    if not library.is_valid(key.raw, signature.raw, signature.signed_bytes(data)):
        raise SignatureError(f"not what {key} signed: it was changed since. {ASK}")
    return key
