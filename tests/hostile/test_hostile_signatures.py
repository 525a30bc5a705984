"""Signatures that are missing, foreign, damaged or of something else: on bundles, kits' keys and reports."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import made_records
import pytest
import signed_files
import tiny_bundle
from hostile_check import PLACES, Row, Run, Spoil, check, try_row, write

from pepr_edge.run_dir.store import sha256_file, write_record
from pepr_edge.signing import openssh, signatures
from pepr_edge.signing.openssh import PublicKey

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
BUNDLE = "01-tiny@16-fp32"
MANIFEST = f"{BUNDLE}/manifest.json"
SIGNATURE = f"{MANIFEST}.sig"
TRUST = ("--trust", "{here}/vendor.pub")
# Each command, and its exit status for a bundle that is refused: to `verify` it is a failed check.
COMMANDS: dict[str, tuple[tuple[str, ...], int]] = {
    "verify": (("verify", f"{{here}}/{BUNDLE}"), 3),
    "predict": (("predict", f"{{here}}/{BUNDLE}", "{here}/good.png"), 1),
    "bench": (("bench", "--quick", "--no-extras", f"{{here}}/{BUNDLE}"), 1),
}


@pytest.fixture(scope="module")
def signed_home(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signed bundle, an image, a signed report, and two key pairs; not to be changed."""
    folder = Path(shutil.copytree(home, tmp_path_factory.mktemp("signed") / "here"))
    vendor = signed_files.pair(folder, "vendor")
    signed_files.pair(folder, "stranger")
    signed_files.sign(folder / MANIFEST, vendor.signer)
    kit = folder / "kit"
    shutil.copytree(folder / BUNDLE, kit / "bundles" / BUNDLE)
    (kit / "kit.json").write_text("{}")
    seal(kit)
    signed_files.sign(kit / "checksums.txt", vendor.signer, signatures.KIT)
    made_records.write_run(folder / "run", "small")
    write_record(folder / "r.json", made_records.field_report(made_records.bench("small")))
    signed_files.sign(folder / "r.json", vendor.signer, signatures.REPORT)
    return folder


@pytest.fixture
def here(signed_home: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(signed_home, tmp_path / "here"))


def seal(kit: Path) -> None:
    """Write the checksums of a kit's files."""
    files = sorted(path for path in kit.rglob("*") if path.is_file() and "checksums" not in path.name)
    lines = [f"{sha256_file(path)}  {path.relative_to(kit).as_posix()}\n" for path in files]
    (kit / "checksums.txt").write_text("".join(lines))


def by_stranger(path: Path) -> None:
    """Sign a file with a key that nobody trusts."""
    signed_files.sign(path, signed_files.pair(path.parents[1], "stranger").signer)


def for_a_report(path: Path) -> None:
    signed_files.sign(path, signed_files.pair(path.parents[1], "vendor").signer, signatures.REPORT)


def with_checksums(bundle: Path) -> None:
    """Put another model into a bundle, and recompute the checksums."""
    tiny_bundle.spoil(bundle, "model.onnx")


def with_labels_swapped(bundle: Path) -> None:
    """Swap two labels wherever they stand, and recompute the checksums."""
    path = bundle / "manifest.json"
    document = json.loads(path.read_bytes())
    document["labels"].reverse()
    path.write_text(json.dumps(document))


def with_stranger_for_vendor(path: Path) -> None:
    """Claim in a signature that the vendor made it: the stranger's, with the vendor's key in it."""
    made = signed_files.pair(path.parents[1], "stranger").signer
    text = path.with_suffix("").read_bytes()
    raw = made.key.sign(openssh.signed_bytes(text, signatures.MANIFEST))
    vendor = signed_files.pair(path.parents[1], "vendor").signer.public
    path.write_bytes(openssh.format_signature(vendor, signatures.MANIFEST, raw))


def drop(path: Path) -> None:
    path.unlink()


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


# What happened to a bundle, where, and the word that says it.
CASES: dict[str, tuple[Spoil, str, str]] = {
    "another key": (by_stranger, MANIFEST, "which is no key of vendor.pub"),
    "a changed byte of the model": (flip, f"{BUNDLE}/model.onnx", "altered"),
    "a changed byte of the manifest": (append, MANIFEST, "changed since"),
    "another model with its checksums": (with_checksums, BUNDLE, "changed since"),
    "swapped labels": (with_labels_swapped, BUNDLE, "changed since"),
    "no signature": (drop, SIGNATURE, "not signed"),
    "the signature of a report": (for_a_report, MANIFEST, "signed as report@pepr-edge"),
    "another's signature under the key": (with_stranger_for_vendor, SIGNATURE, "changed since"),
    "a key in place of the signature": (write(b"ssh-ed25519 AAAA x"), SIGNATURE, "not in OpenSSH's format"),
    "a megabyte": (write(b"A" * (1 << 20)), SIGNATURE, "larger than"),
    "a control character": (write(b"\x1b[2J"), SIGNATURE, "not in OpenSSH's format"),
    "half a signature": (
        lambda path: path.write_bytes(path.read_bytes()[:100]),
        SIGNATURE,
        "not in OpenSSH's format",
    ),
    "a purpose with an escape sequence": (
        write(openssh.format_signature(PublicKey(bytes(32)), "\x1b[2J\u202e" + "x" * 9000, bytes(64))),
        SIGNATURE,
        "no key of vendor.pub",
    ),
    **{name: (place, SIGNATURE, "manifest.json") for name, place in PLACES.items()},
}


def bundle_rows() -> Iterator[tuple[str, Row]]:
    for command, (words, status) in COMMANDS.items():
        for name, (spoil, target, word) in CASES.items():
            yield f"{command}: {name}", Row((*words, *TRUST), status, word, target, spoil)
        for name, place in PLACES.items():
            if name != "missing":
                row = Row(words, status, "not part of the bundle", SIGNATURE, place)
                yield f"{command}: without --trust, {name}", row


BUNDLE_ROWS = dict(bundle_rows())


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("name", BUNDLE_ROWS)
def test_a_bundle_that_the_key_did_not_sign(name: str, here: Path, run: Run) -> None:
    try_row(BUNDLE_ROWS[name], here, run)


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("command", COMMANDS)
def test_the_signed_bundle_passes(command: str, here: Path, run: Run) -> None:
    words = [word.replace("{here}", str(here)) for word in COMMANDS[command][0]]
    for options in ((), ("--trust", here / "vendor.pub")):
        check(run(*words, *options), 0)


@pytest.mark.usefixtures("one_process")
def test_one_bundle_of_a_stranger_leaves_the_others_their_turn(here: Path, run: Run) -> None:
    tiny_bundle.write(here / "02-other")
    by_stranger(here / "02-other" / "manifest.json")
    words = ("verify", here / "02-other", here / BUNDLE, "--trust", here / "vendor.pub")
    done = run(*words)
    check(done, 3, "no key of vendor.pub")
    assert [line.split()[1] for line in done.out.splitlines()] == ["FAILED", "passed"]
    assert "signed by vendor (SHA256:" in done.out
    rows = json.loads(run(*words, "--json").out)
    signers = [row["signed_by"] for row in rows["bundles"]]
    assert signers[0] is None
    assert signers[1].startswith("SHA256:")


# A file in place of the public key, and of the private one.
KEYS: dict[str, tuple[Spoil, str]] = {
    **{name: (place, "") for name, place in PLACES.items()},
    "a private key": (lambda path: shutil.copy(path.with_name("stranger"), path), ""),
    "an RSA key": (write(b"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC x\n"), ""),
    "an option": (write(b'x namespaces="file" ssh-ed25519 AAAA\n'), ""),
    "a name with a mark of direction": (
        write(f"{PublicKey(bytes(32)).line} a\u202eb\n".encode()),
        "the name",
    ),
    "a name of 10,000 letters": (write(f"{PublicKey(bytes(32)).line} {'x' * 10_000}\n".encode()), "the name"),
    "a line of 60,000 letters": (write(b"x" * 60_000), "expected"),
    "1,000 keys": (write(f"{PublicKey(bytes(32)).line}\n".encode() * 1000), ""),
    "base64 that is none": (write(b"ssh-ed25519 AAAA=A= x\n"), "base64"),
}


def key_rows() -> Iterator[tuple[str, Row]]:
    for name, (spoil, word) in KEYS.items():
        for command, (words, _) in COMMANDS.items():
            yield (
                f"{command} --trust, {name}",
                Row((*words, *TRUST), 1, word or "vendor.pub", "vendor.pub", spoil),
            )
        words = ("rank", "{here}/run", "--field", "{here}/r.json", *TRUST)
        yield f"rank --trust, {name}", Row(words, 1, word or "vendor.pub", "vendor.pub", spoil)
        yield (
            f"keys show, {name}",
            Row(("keys", "show", "{here}/vendor.pub"), 1, word or "vendor.pub", "vendor.pub", spoil),
        )


def private(spoil: Spoil) -> Spoil:
    """Return what spoils a private key and leaves it private."""

    def put(path: Path) -> None:
        spoil(path)
        if path.is_file() and not path.is_symlink():
            path.chmod(0o600)

    return put


def sign_rows() -> Iterator[tuple[str, Row]]:
    kinds: dict[str, Spoil] = {
        **PLACES,
        "a public key": lambda path: shutil.copy(path.with_suffix(".pub"), path),
        "half a key": lambda path: path.write_bytes(path.read_bytes()[:200]),
        "a changed byte": flip,
    }
    for name, spoil in kinds.items():
        words = ("export", "{here}/run", "--out", "{here}/out", "--sign", "{here}/vendor")
        yield f"export --sign, {name}", Row(words, 1, "vendor", "vendor", private(spoil))
    words = ("export", "{here}/run", "--sign", "{here}/vendor")
    yield "export --sign, open to all", Row(words, 1, "600", "vendor", lambda path: path.chmod(0o644))
    words = ("bench", f"{{here}}/{BUNDLE}", "--out", "{here}/new.json", "--sign", "{here}/stranger.pub")
    yield "bench --sign, a public key", Row(words, 1, "a public key")
    words = ("bench", f"{{here}}/{BUNDLE}", "--sign", "{here}/vendor")
    yield "bench --sign without --out", Row(words, 2, "--out")
    yield "rank --trust without --field", Row(("rank", "{here}/run", *TRUST), 2, "--field")
    yield "report --trust without --field", Row(("report", "{here}/run", *TRUST), 2, "--field")
    words = ("kit", "{here}/run", "--platform", "linux-x86_64", "--out", "{here}/out", *TRUST)
    yield "kit --trust without --sign", Row(words, 2, "--sign")
    words = ("bench", f"{{here}}/{BUNDLE}", "--out", "{here}/new.json", "--sign", "{here}/vendor")
    row = Row(words, 1, "no earlier output", "new.json.sig", write(b"mine"))
    yield "bench --sign over a file of others", row
    yield "keys make over a key", Row(("keys", "make", "{here}/vendor"), 1, "exists")
    yield (
        "keys make with a name of two lines",
        Row(("keys", "make", "{here}/new", "--name", "a\nb"), 1, "--name"),
    )


def make_deep(path: Path) -> None:
    (path / "/".join("d" * 200)).mkdir(parents=True)


def spoil_and_seal(path: Path) -> None:
    flip(path)
    seal(path.parents[2])


KITS: dict[str, tuple[Spoil, str, str]] = {
    "a changed byte": (flip, f"kit/bundles/{BUNDLE}/model.onnx", "was added or changed"),
    "recomputed checksums": (spoil_and_seal, f"kit/bundles/{BUNDLE}/model.onnx", "changed since"),
    "folders 200 deep": (make_deep, "kit", "was added"),
    "links in a circle": (lambda path: path.symlink_to("."), "kit/more", "more was added"),
    "a folder too many": (
        lambda path: shutil.copytree(path, path.with_name("02")),
        f"kit/bundles/{BUNDLE}",
        "02/",
    ),
    "a name that is not UTF-8": (write(b""), "kit/r\udcf6ntgen", "was added"),
    "a name with an escape sequence": (write(b""), "kit/\x1b[2J", "was added"),
    "checksums of a file outside": (
        lambda path: path.write_bytes(path.read_bytes() + b"0" * 64 + b"  ../../etc/passwd\n"),
        "kit/checksums.txt",
        "changed since",
    ),
    **{
        f"signature, {name}": (place, "kit/checksums.txt.sig", "checksums.txt")
        for name, place in PLACES.items()
    },
    **{f"checksums, {name}": (place, "kit/checksums.txt", "kit") for name, place in PLACES.items()},
    **{f"kit.json, {name}": (place, "kit/kit.json", "kit") for name, place in PLACES.items()},
}


def kit_rows() -> Iterator[tuple[str, Row]]:
    for name, (spoil, target, word) in KITS.items():
        yield f"kit, {name}", Row(("verify", "{here}/kit", *TRUST), 1, word, target, spoil)
        unsigned = "signature" in name or "recomputed" in name or "outside" in name
        if not unsigned:
            yield f"kit without --trust, {name}", Row(("verify", "{here}/kit"), 1, "kit", target, spoil)


REPORTS: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a changed byte": (flip, "r.json", "changed since"),
    "a space more": (append, "r.json", "changed since"),
    "no signature": (drop, "r.json.sig", "not signed"),
    "a manifest's signature": (
        lambda path: signed_files.sign(path, signed_files.pair(path.parent, "vendor").signer),
        "r.json",
        "signed as manifest@pepr-edge",
    ),
    "another key": (
        lambda path: signed_files.sign(
            path, signed_files.pair(path.parent, "stranger").signer, signatures.REPORT
        ),
        "r.json",
        "no key of vendor.pub",
    ),
    **{name: (place, "r.json.sig", "r.json") for name, place in PLACES.items()},
}
RANK = ("rank", "{here}/run", "--field", "{here}/r.json", *TRUST)
ROWS = {
    **dict(key_rows()),
    **dict(sign_rows()),
    **dict(kit_rows()),
    **{
        f"report, {name}": Row(RANK, 1, word, target, spoil)
        for name, (spoil, target, word) in REPORTS.items()
    },
}


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("name", ROWS)
def test_a_key_or_a_report_that_cannot_be_used(name: str, here: Path, run: Run) -> None:
    row = ROWS[name]
    try_row(row, here, run)
    assert not (here / "out").exists()
    assert not (here / "new.json").exists()
    assert not (here / "new").exists()
