"""Key files: make a pair, read a private key to sign with, read the public keys that are trusted."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pepr_edge.errors import SigningError
from pepr_edge.signing import library, openssh
from pepr_edge.signing.openssh import PublicKey
from pepr_edge.untrusted.files import open_regular
from pepr_edge.untrusted.read import read_file
from pepr_edge.untrusted.shown import excerpt, shown

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PUBLIC_SUFFIX = ".pub"
KEY_BYTES = 1 << 16
# Of a private key: nobody but its owner may read it. ssh asks for the same.
PRIVATE_MODE = 0o600
OTHERS_MODE = 0o077
MAKE = "Make one with `pepr-edge keys make`."
EXPECTED_PUBLIC = "a public key of `pepr-edge keys make`, or a file that lists several. Check the path."
EXPECTED_PRIVATE = "a private key of `pepr-edge keys make`. Check the path."


class Signer(NamedTuple):
    """A private key that is ready to sign, and its public key."""

    key: Ed25519PrivateKey
    public: PublicKey


class Trust(NamedTuple):
    """The public keys whose signatures are accepted, and the name of the file that lists them."""

    source: str
    keys: tuple[PublicKey, ...]

    def find(self, key: PublicKey) -> PublicKey | None:
        """Return the trusted key with the same bytes, under the name that the file gives it, or None."""
        return next((trusted for trusted in self.keys if trusted.raw == key.raw), None)


def make(path: Path, name: str, passphrase: str = "") -> PublicKey:
    """Make a key pair: PATH, which only its owner can read, and PATH.pub.

    Args:
        path: of the private key.
        name: of the owner, shown where a signature is checked.
        passphrase: encrypts the private key; empty: it is not encrypted.
    Raises:
        SigningError: one of the files exists, the name is none, or the package cryptography is missing.
            Nothing was written.
    """
    library.check_installed()
    if not openssh.is_name(name):
        limit = openssh.NAME_CHARACTERS
        raise SigningError(f"--name {excerpt(name)}: expected at most {limit} plain characters. Shorten it.")
    public_path = path.with_name(path.name + PUBLIC_SUFFIX)
    for taken in (path, public_path):
        if os.path.lexists(taken):
            raise _taken(taken)
    key = library.new_key()
    public = PublicKey(library.public_bytes(key), name)
    _create(path, library.private_text(key, passphrase), PRIVATE_MODE)
    try:
        _create(public_path, f"{public.line}\n".encode(), 0o644)
    except BaseException:
        path.unlink()
        raise
    return public


def _taken(path: Path) -> SigningError:
    return SigningError(f"{shown(str(path))}: exists, and a key is never written over. Give another name.")


def _create(path: Path, content: bytes, mode: int) -> None:
    """Write a new file with these permissions from its first byte on. An existing one is left alone."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags, mode)
    except FileExistsError:
        raise _taken(path) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


def read_private(path: Path, ask: Callable[[], str]) -> Signer:
    """Read a private key to sign with.

    Args:
        path: of the key.
        ask: returns the passphrase; called if the key is encrypted.
    Raises:
        SigningError: it is missing, can be read by others, is no Ed25519 key in OpenSSH's format, the
            passphrase is wrong, or the package cryptography is missing.
    """
    where = shown(str(path))
    text = read_file(path, KEY_BYTES, SigningError, EXPECTED_PRIVATE)
    if text.startswith(openssh.KEY_TYPE.encode()):
        raise SigningError(f"{where}: a public key, expected the private one. Leave out {PUBLIC_SUFFIX}.")
    _check_private(path)
    library.check_installed()
    try:
        key = library.load_private(text, None)
        if key is None:
            key = library.load_private(text, ask())
    except ValueError as fault:
        raise SigningError(f"{where}: {fault}, expected an Ed25519 private key. {MAKE}") from None
    if key is None:  # the passphrase is empty
        raise SigningError(f"{where}: needs its passphrase. Start again, and enter it.")
    return Signer(key, PublicKey(library.public_bytes(key)))


def _check_private(path: Path) -> None:
    """Refuse a private key that others can read. Windows has other permissions, which are not checked."""
    if os.name == "nt":
        return
    with open_regular(path) as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
    if mode & OTHERS_MODE:
        raise SigningError(
            f"{shown(str(path))}: a private key that others can read (mode {mode:03o}), expected 600. Run "
            "chmod 600 on it; from a stick, copy it to this computer's disk first."
        )


def read_trusted(path: Path) -> Trust:
    """Read the public keys that are trusted, and check that signatures can be checked here.

    Raises:
        SigningError: as `read_public`; or the package cryptography is missing.
    """
    keys = read_public(path)
    library.check_installed()
    return Trust(shown(path.name), keys)


def read_public(path: Path) -> tuple[PublicKey, ...]:
    """Read a file with public keys, at least one.

    Raises:
        SigningError: the file is missing, or not a list of Ed25519 public keys.
    """
    text = read_file(path, KEY_BYTES, SigningError, EXPECTED_PUBLIC)
    try:
        return openssh.parse_keys(text)
    except ValueError as fault:
        raise SigningError(
            f"{shown(str(path))}: not a list of public keys ({fault}). Give a file such as KEY.pub."
        ) from None
