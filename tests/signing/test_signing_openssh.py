from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path

import pytest
import signed_files

from pepr_edge.signing import openssh, signatures
from pepr_edge.signing.openssh import KEY_TYPE, PublicKey

KEY = PublicKey(bytes(range(32)), "Vendor A")
LINE = KEY.line.encode()
TEXT = openssh.format_signature(KEY, signatures.MANIFEST, bytes(64))
BLOB = base64.b64decode(b"".join(TEXT.split(b"\n")[1:-2]))


def armoured(blob: bytes) -> bytes:
    lines = (openssh.BEGIN, base64.b64encode(blob).decode(), openssh.END, "")
    return "\n".join(lines).encode()


def with_parts(*parts: bytes) -> bytes:
    return armoured(openssh.MAGIC + b"\0\0\0\1" + b"".join(map(openssh.pack, parts)))


def test_a_signature_is_read_as_it_was_written() -> None:
    read = openssh.parse_signature(TEXT)
    assert read == (PublicKey(KEY.raw), signatures.MANIFEST, b"", "sha512", bytes(64))
    assert openssh.parse_signature(TEXT.replace(b"\n", b"\r\n") + b"\r\n\n") == read
    assert max(map(len, TEXT.splitlines())) == openssh.LINE_CHARACTERS


RAW = openssh.pack(KEY_TYPE.encode()) + openssh.pack(bytes(64))
RSA = openssh.pack(b"ssh-rsa") + openssh.pack(bytes(64))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "not between"),
        (b"\xff", "ASCII"),
        (TEXT.replace(b"BEGIN", b"BEGUN"), "not between"),
        (TEXT.replace(b"END", b"FIN"), "not between"),
        (TEXT + b"more\n", "not between"),
        (TEXT.replace(b"U1NI", b"U1N!", 1), "base64"),
        (armoured(b""), "version"),
        (armoured(BLOB.replace(b"\0\0\0\1", b"\0\0\0\2", 1)), "version"),
        (armoured(BLOB[:-1]), "incomplete"),
        (armoured(BLOB[:12]), "incomplete"),
        (armoured(BLOB + b"\0"), "other bytes"),
        (with_parts(KEY.blob, b"a", b"", b"md5", RAW), "hash"),
        (with_parts(KEY.blob, b"a", b"", b"sha512", RSA), "kind"),
        (with_parts(KEY.blob, b"a", b"", b"sha512", RAW + b"\0"), "other bytes"),
        (with_parts(RSA, b"a", b"", b"sha512", RAW), "kind"),
        (with_parts(openssh.pack(b"x"), b"a", b"", b"sha512", RAW), "incomplete"),
        (armoured(openssh.MAGIC + b"\0\0\0\1" + b"\xff" * 40), "incomplete"),
    ],
)
def test_what_is_no_signature_is_refused(text: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        openssh.parse_signature(text)


def test_keys_are_read_from_a_pub_file_and_from_lists() -> None:
    assert openssh.parse_keys(LINE) == (KEY,)
    other = PublicKey(bytes(32), "b@example.org")
    listed = f"# ours\n\n{KEY.line}\nb@example.org {other.line.rsplit(' ', 1)[0]} a comment\n"
    assert openssh.parse_keys(listed.encode()) == (KEY, other)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "no key"),
        (b"# ssh-ed25519\n", "no key"),
        (b"\xff", "UTF-8"),
        (b"ssh-ed25519", "line 1"),
        (b"\nssh-ed25519 !", "line 2: not base64"),
        (b"ssh-rsa AAAA x", "expected `ssh-ed25519"),
        (b'a namespaces="file" ' + LINE, "options"),
        (b"cert-authority,x " + LINE.replace(b"ssh-ed25519", b"ssh-rsa"), "options"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----", "private key"),
        (LINE.replace(b"AAAA", b"AAAB", 1), "line 1"),
        (LINE[:-1] + b"\xe2\x80\xae", "the name"),
        (LINE + b"x" * 200, "the name"),
        (b"\n".join([LINE] * 101), "more than 100"),
    ],
)
def test_what_is_no_list_of_keys_is_refused(text: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as fault:
        openssh.parse_keys(text)
    assert "\n" not in str(fault.value)


def test_any_byte_of_a_signature_counts(tmp_path: Path) -> None:
    """Not one changed byte of a signature's content passes."""
    made = signed_files.pair(tmp_path, "vendor")
    path = tmp_path / "a.json"
    path.write_bytes(b"{}")
    beside = signed_files.sign(path, made.signer)
    blob = base64.b64decode("".join(beside.read_text().splitlines()[1:-1]))
    assert signatures.check(path, b"{}", made.trust, signatures.MANIFEST).name == "vendor"
    for at in range(len(blob)):
        beside.write_bytes(armoured(blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :]))
        with pytest.raises(signatures.SignatureError):
            signatures.check(path, b"{}", made.trust, signatures.MANIFEST)


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
def test_ssh_keygen_checks_our_signatures_and_we_check_its(tmp_path: Path) -> None:
    made = signed_files.pair(tmp_path, "vendor")
    path = tmp_path / "manifest.json"
    path.write_bytes(b'{"a": 1}\n')
    beside = signed_files.sign(path, made.signer)
    allowed = tmp_path / "allowed_signers"
    allowed.write_text(f"vendor@example.org {made.public.read_text()}")
    verify = ["ssh-keygen", "-Y", "verify", "-f", allowed, "-I", "vendor@example.org"]
    verify += ["-n", signatures.MANIFEST, "-s", beside]
    done = subprocess.run(verify, input=path.read_bytes(), capture_output=True)
    assert done.returncode == 0, done.stderr
    assert subprocess.run(verify, input=b"{}", capture_output=True).returncode != 0
    for hash_name in ("sha512", "sha256"):
        beside.unlink()
        words = ["ssh-keygen", "-Y", "sign", "-f", made.private, "-n", signatures.MANIFEST]
        subprocess.run([*words, "-O", f"hashalg={hash_name}", path], check=True, capture_output=True)
        signatures.check(path, path.read_bytes(), made.trust, signatures.MANIFEST)
        assert openssh.parse_signature(beside.read_bytes()).hash_name == hash_name
    listed = subprocess.run(["ssh-keygen", "-lf", made.public], capture_output=True, text=True, check=True)
    assert made.signer.public.fingerprint in listed.stdout
