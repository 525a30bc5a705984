from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import signed_files

from pepr_edge.errors import SigningError
from pepr_edge.signing import key_files, library

pytest.importorskip("cryptography", reason="the package cryptography is not installed")


def never() -> str:
    raise AssertionError("asked for a passphrase")


def test_a_pair_signs_and_is_trusted(tmp_path: Path) -> None:
    public = key_files.make(tmp_path / "key", "Vendor A")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600 or os.name == "nt"
    signer = key_files.read_private(tmp_path / "key", never)
    trust = key_files.read_trusted(tmp_path / "key.pub")
    assert trust == ("key.pub", (public,))
    assert trust.find(signer.public) == public
    assert public.name == "Vendor A"
    key_files.make(tmp_path / "other", "Vendor A")
    assert trust.find(key_files.read_private(tmp_path / "other", never).public) is None


@pytest.mark.skipif(os.name == "nt", reason="permissions of Unix")
def test_the_private_key_is_private_under_any_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        key_files.make(tmp_path / "key", "")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


@pytest.mark.parametrize("taken", ["key", "key.pub"])
@pytest.mark.parametrize(
    "put",
    [
        lambda path: path.write_text("mine"),
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.mkdir(),
    ],
    ids=["a file", "a link", "a folder"],
)
def test_nothing_is_written_over(taken: str, put: Callable[[Path], object], tmp_path: Path) -> None:
    put(tmp_path / taken)
    before = os.lstat(tmp_path / taken)
    with pytest.raises(SigningError, match=f"{taken}: exists"):
        key_files.make(tmp_path / "key", "")
    assert os.lstat(tmp_path / taken) == before
    assert [path.name for path in tmp_path.iterdir()] == [taken]


def test_half_a_pair_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = key_files._create

    def fail(path: Path, content: bytes, mode: int) -> None:
        if path.suffix:
            raise OSError("disk full")
        whole(path, content, mode)

    monkeypatch.setattr(key_files, "_create", fail)
    with pytest.raises(OSError, match="disk full"):
        key_files.make(tmp_path / "key", "")
    assert list(tmp_path.iterdir()) == []


def test_a_passphrase_protects_a_key(tmp_path: Path) -> None:
    pytest.importorskip("bcrypt", reason="the package bcrypt is not installed")
    public = key_files.make(tmp_path / "key", "", "open sesame")
    assert key_files.read_private(tmp_path / "key", lambda: "open sesame").public == public
    for wrong in ("Open sesame", ""):
        with pytest.raises(SigningError, match="passphrase"):
            key_files.read_private(tmp_path / "key", lambda secret=wrong: secret)


def test_without_the_extra_it_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = signed_files.pair(tmp_path, "key")
    for name in [name for name in sys.modules if name.split(".")[0] == "cryptography"]:
        monkeypatch.setitem(sys.modules, name, None)
    uses: list[Callable[[], object]] = [
        lambda: key_files.read_trusted(made.public),
        lambda: key_files.read_private(made.private, never),
        lambda: key_files.make(tmp_path / "new", ""),
    ]
    for use in uses:
        with pytest.raises(SigningError, match=r"pip install 'pepr_edge\[sign\]'"):
            use()
    assert key_files.read_public(made.public)  # needs no package
    assert not (tmp_path / "new").exists()


def test_a_passphrase_without_bcrypt_is_one_line() -> None:
    from cryptography.exceptions import UnsupportedAlgorithm

    class Key:
        def private_bytes(self, *options: object) -> bytes:
            raise UnsupportedAlgorithm("Need bcrypt module")

    with pytest.raises(SigningError, match="needs the package bcrypt"):
        library.private_text(Key(), "secret")  # type: ignore[arg-type]


@pytest.mark.skipif(os.name == "nt", reason="permissions of Unix")
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o777])
def test_a_private_key_that_others_can_read_is_refused(mode: int, tmp_path: Path) -> None:
    made = signed_files.pair(tmp_path, "key")
    made.private.chmod(mode)
    with pytest.raises(SigningError, match=f"mode {mode:03o}.*chmod 600"):
        key_files.read_private(made.private, never)


def test_the_other_half_is_told_apart(tmp_path: Path) -> None:
    made = signed_files.pair(tmp_path, "key")
    with pytest.raises(SigningError, match="a public key"):
        key_files.read_private(made.public, never)
    with pytest.raises(SigningError, match="a private key"):
        key_files.read_trusted(made.private)


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (("-t", "ed25519"), ""),
        (("-t", "rsa", "-b", "1024"), "another kind"),
        (("-t", "ecdsa"), "another kind"),
    ],
)
def test_keys_of_ssh_keygen_can_be_used(options: tuple[str, ...], fault: str, tmp_path: Path) -> None:
    words = ["ssh-keygen", "-q", *options, "-N", "", "-C", "someone", "-f", tmp_path / "key"]
    if subprocess.run(words, capture_output=True).returncode:
        pytest.skip("this ssh-keygen makes no such key")
    if fault:
        with pytest.raises(SigningError, match=fault):
            key_files.read_private(tmp_path / "key", never)
        with pytest.raises(SigningError, match="expected `ssh-ed25519"):
            key_files.read_trusted(tmp_path / "key.pub")
    else:
        signer = key_files.read_private(tmp_path / "key", never)
        assert key_files.read_trusted(tmp_path / "key.pub").find(signer.public) is not None
