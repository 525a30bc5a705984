"""OpenSSH's formats: public keys, files that list them, and detached signatures. Standard library only.

Sources: RFC 4251 (strings), RFC 8709 (Ed25519 keys), PROTOCOL.sshsig of OpenSSH (signatures), and the section
ALLOWED SIGNERS of ssh-keygen(1).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from typing import NamedTuple

from pepr_edge.untrusted.shown import excerpt, is_plain

KEY_TYPE = "ssh-ed25519"
PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
MAGIC = b"SSHSIG"
VERSION = 1
HASHES = ("sha512", "sha256")
BEGIN = "-----BEGIN SSH SIGNATURE-----"
END = "-----END SSH SIGNATURE-----"
# ssh-keygen breaks lines here.
LINE_CHARACTERS = 70
# A list of keys that a person keeps.
MAX_KEYS = 100
NAME_CHARACTERS = 100


class PublicKey(NamedTuple):
    """An Ed25519 public key, 32 bytes, and the name of its owner, which its file gives."""

    raw: bytes
    name: str = ""

    @property
    def blob(self) -> bytes:
        """The key as OpenSSH encodes it."""
        return pack(KEY_TYPE.encode()) + pack(self.raw)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the encoded key, as `ssh-keygen -l` prints it."""
        digest = hashlib.sha256(self.blob).digest()
        return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"

    @property
    def line(self) -> str:
        """The line of a .pub file."""
        return f"{KEY_TYPE} {base64.b64encode(self.blob).decode()} {self.name}".rstrip()

    def __str__(self) -> str:
        return f"{self.name} ({self.fingerprint})" if self.name else self.fingerprint


class Signature(NamedTuple):
    """A detached signature: who made it, for which purpose (OpenSSH: namespace), and over which hash."""

    key: PublicKey
    purpose: str
    reserved: bytes
    hash_name: str
    raw: bytes

    def signed_bytes(self, content: bytes) -> bytes:
        """Return what the key has signed if it signed this content."""
        return signed_bytes(content, self.purpose, self.hash_name, self.reserved)


def signed_bytes(content: bytes, purpose: str, hash_name: str = HASHES[0], reserved: bytes = b"") -> bytes:
    """Return the bytes that a key signs for a content: its hash, bound to the purpose."""
    parts = (purpose.encode(), reserved, hash_name.encode(), hashlib.new(hash_name, content).digest())
    return MAGIC + b"".join(map(pack, parts))


def format_signature(key: PublicKey, purpose: str, raw: bytes) -> bytes:
    """Return a signature, 64 bytes over `signed_bytes`, as the text of a .sig file."""
    inner = pack(KEY_TYPE.encode()) + pack(raw)
    parts = (key.blob, purpose.encode(), b"", HASHES[0].encode(), inner)
    blob = MAGIC + struct.pack(">I", VERSION) + b"".join(map(pack, parts))
    text = base64.b64encode(blob).decode()
    lines = [text[begin : begin + LINE_CHARACTERS] for begin in range(0, len(text), LINE_CHARACTERS)]
    return "\n".join([BEGIN, *lines, END, ""]).encode()


def parse_signature(text: bytes) -> Signature:
    """Read the text of a .sig file.

    Raises:
        ValueError: it is no signature of an Ed25519 key. The message is a few words on one line.
    """
    try:
        lines = text.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise ValueError("not ASCII") from None
    lines = [line.rstrip("\r") for line in lines]
    while lines and not lines[-1]:
        del lines[-1]
    if len(lines) < 3 or lines[0] != BEGIN or lines[-1] != END:
        raise ValueError(f"not between {BEGIN} and {END}")
    blob = _decode("".join(lines[1:-1]))
    head = MAGIC + struct.pack(">I", VERSION)
    if not blob.startswith(head):
        raise ValueError("not of version 1")
    key, purpose, reserved, hash_name, inner = _strings(blob[len(head) :], 5)
    kind, raw = _strings(inner, 2)
    if kind != KEY_TYPE.encode() or len(raw) != SIGNATURE_BYTES:
        raise ValueError(f"a signature of another kind than {KEY_TYPE}")
    name = hash_name.decode("ascii", "replace")
    if name not in HASHES:
        raise ValueError(f"the hash {excerpt(name)}, expected {' or '.join(HASHES)}")
    return Signature(_public_key(key, ""), purpose.decode("utf-8", "replace"), reserved, name, raw)


def parse_keys(text: bytes) -> tuple[PublicKey, ...]:
    """Read a .pub file, or a file that lists several keys, as authorized_keys or allowed_signers do.

    Each line is `ssh-ed25519 KEY [NAME]` or `NAME ssh-ed25519 KEY`; lines that begin with # are comments.

    Raises:
        ValueError: another line is in it, or no key. The message is on one line.
    """
    try:
        lines = text.decode().splitlines()
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    keys = []
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        try:
            keys.append(_key_of(fields))
        except ValueError as fault:
            raise ValueError(f"line {number}: {fault}") from None
        if len(keys) > MAX_KEYS:
            raise ValueError(f"more than {MAX_KEYS} keys")
    if not keys:
        raise ValueError("it holds no key")
    return tuple(keys)


def _key_of(fields: list[str]) -> PublicKey:
    """Return the key of a line.

    Options that restrict a key (`namespaces=`, `valid-before=`) are refused: to ignore one would trust more
    than was meant.
    """
    if "PRIVATE" in fields:
        raise ValueError("a private key, expected the public one, the file that ends in .pub")
    position = fields.index(KEY_TYPE) if KEY_TYPE in fields[:2] else None
    if position is None or len(fields) <= position + 1:
        start = excerpt(" ".join(fields))
        raise ValueError(f"{start}, expected `{KEY_TYPE} KEY NAME` or `NAME {KEY_TYPE} KEY`, without options")
    name = fields[0] if position else " ".join(fields[2:])
    if not is_name(name):
        raise ValueError(f"the name {excerpt(name)}, expected at most {NAME_CHARACTERS} plain characters")
    return _public_key(_decode(fields[position + 1]), name)


def is_name(name: str) -> bool:
    """True if a text can be the name of a key: one line, without control characters, not too long."""
    return is_plain(name) and len(name) <= NAME_CHARACTERS


def _public_key(blob: bytes, name: str) -> PublicKey:
    kind, raw = _strings(blob, 2)
    if kind != KEY_TYPE.encode() or len(raw) != PUBLIC_KEY_BYTES:
        raise ValueError(f"a key of another kind than {KEY_TYPE}")
    return PublicKey(raw, name)


def pack(data: bytes) -> bytes:
    """Return a string of RFC 4251: its length as 4 bytes, then its bytes."""
    return struct.pack(">I", len(data)) + data


def _strings(data: bytes, count: int) -> list[bytes]:
    """Return the strings that some bytes consist of.

    Raises:
        ValueError: they are not exactly so many.
    """
    strings = []
    at = 0
    for _ in range(count):
        if len(data) < at + 4:
            raise ValueError("incomplete")
        (length,) = struct.unpack_from(">I", data, at)
        at += 4
        if len(data) < at + length:
            raise ValueError("incomplete")
        strings.append(data[at : at + length])
        at += length
    if at != len(data):
        raise ValueError("followed by other bytes")
    return strings


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not base64") from None
