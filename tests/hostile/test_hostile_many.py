"""Many reports at once, kits for browsers from archives of others, and keys at odd places."""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_records
import numpy as np
import pytest
import signed_files
from hostile_check import PLACES, Row, Run, Spoil, check, try_row, write

from pepr_edge.kit import web_runtime
from pepr_edge.ranking import rank
from pepr_edge.run_dir.reader import load
from pepr_edge.run_dir.store import write_record
from pepr_edge.signing import signatures

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
MANY = 100


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one candidate, and signed reports of many devices; not to be changed."""
    folder = tmp_path_factory.mktemp("reports")
    write_predictions(made_records.write_run(folder / "run", "small"))
    write_record(folder / "run" / "ranking.json", rank(load(folder / "run")))
    vendor = signed_files.pair(folder, "vendor")
    signed_files.pair(folder, "stranger")
    for number in range(MANY):
        path = folder / f"r{number}.json"
        report = made_records.field_report(made_records.bench("small"), cpu=f"cpu {number}")
        write_record(path, report)
        if number < 3:
            signed_files.sign(path, vendor.signer, signatures.REPORT)
    return folder


def write_predictions(run: Path) -> None:
    """Write what a ranking needs of its one candidate."""
    labels = np.arange(made_records.N_VAL) % 2
    logits = np.eye(2, dtype=np.float32)[labels]
    for folder in ("", "fp32"):
        arrays: dict[str, Any] = {"val": logits, "val_labels": labels, "test": logits, "test_labels": labels}
        name = "predictions.npz" if folder else "logits.npz"
        np.savez(run / "candidates/small@64" / folder / name, **arrays)


@pytest.fixture
def here(reported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(reported, tmp_path / "here"))


def field(*names: str) -> tuple[str, ...]:
    return tuple(word for name in names for word in ("--field", f"{{here}}/{name}"))


def leave(path: Path) -> None:
    """Leave all as it is."""


ALL = tuple(f"r{number}.json" for number in range(MANY))
TRUST = ("--trust", "{here}/vendor.pub")
REPORTS: dict[str, tuple[tuple[str, ...], int, str, str, Spoil]] = {
    "100 reports": (field(*ALL), 0, "", "x", leave),
    "one report twice": (field("r0.json", "r0.json"), 1, "twice", "x", leave),
    "one report 100 times": (field(*["r0.json"] * MANY), 1, "twice", "x", leave),
    "a copy of a report": (
        field("r0.json", "copy.json"),
        1,
        "same report",
        "copy.json",
        lambda path: shutil.copy(path.with_name("r0.json"), path),
    ),
    "100 reports, the last is none": (field(*ALL), 1, "r99.json", "r99.json", write(b"[]")),
    "100 reports, the last is a pipe": (field(*ALL), 1, "r99.json", "r99.json", PLACES["a pipe"]),
    "2,000 reports that are not there": (
        field(*(f"n{n}.json" for n in range(2000))),
        1,
        "n0.json",
        "x",
        leave,
    ),
    "a run directory": (field("run"), 1, "folder", "x", leave),
    "a bundle's manifest": (field("run/run.json"), 1, "not a report", "x", leave),
    "a report of 300 MB": (
        field("r0.json"),
        1,
        "larger than",
        "r0.json",
        lambda path: os.truncate(path, 300_000_000),
    ),
    "three signed reports": ((*field(*ALL[:3]), *TRUST), 0, "", "x", leave),
    "one of 100 is not signed": ((*field(*ALL), *TRUST), 1, "not signed", "x", leave),
    "a signature of another report": (
        (*field(*ALL[:3]), *TRUST),
        1,
        "changed since",
        "r1.json.sig",
        lambda path: shutil.copy(path.with_name("r0.json.sig"), path),
    ),
    "a signature that is a link to another's": (
        (*field(*ALL[:3]), *TRUST),
        1,
        "changed since",
        "r1.json.sig",
        lambda path: (path.unlink(), path.symlink_to("r0.json.sig")),
    ),
    "trust in a private key": ((*field("r0.json"), "--trust", "{here}/vendor"), 1, "vendor", "x", leave),
    "trust in a report": ((*field("r0.json"), "--trust", "{here}/r0.json"), 1, "r0.json", "x", leave),
    "trust in a folder": ((*field("r0.json"), "--trust", "{here}/run"), 1, "run", "x", leave),
    "trust in nobody": ((*field("r0.json"), "--trust", ""), 1, "empty", "x", leave),
}


@pytest.mark.parametrize(
    ("command", "name"),
    [
        *(("rank", name) for name in REPORTS),
        # Drawing the figures of what is accepted takes seconds.
        *(("report", name) for name, row in REPORTS.items() if row[1] and "300 MB" not in name),
    ],
)
def test_many_reports(command: str, name: str, here: Path, run: Run) -> None:
    words, status, word, target, spoil = REPORTS[name]
    before = (here / "run" / "ranking.json").read_bytes()
    try_row(Row((command, "{here}/run", *words), status, word, target, spoil), here, run)
    if status:
        assert (here / "run" / "ranking.json").read_bytes() == before
        assert not (here / "run" / "report.html").exists()


def tar(*members: tuple[str, bytes, bytes], gzip: bool = True) -> bytes:
    """Return an archive of members: their names, kinds, and contents or targets of links."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz" if gzip else "w") as made:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(content)
                made.addfile(info, io.BytesIO(content))
            else:
                info.linkname = content.decode()
                made.addfile(info)
    return out.getvalue()


SCRIPT, WASM = (f"package/dist/{name}" for name in web_runtime.PROVIDERS["wasm"])
FILE = tarfile.REGTYPE
ARCHIVES: dict[str, Callable[[], bytes]] = {
    "the names and other bytes": lambda: tar((SCRIPT, FILE, b"alert(1)"), (WASM, FILE, b"\0asm")),
    "a link out": lambda: tar((SCRIPT, tarfile.SYMTYPE, b"/etc/passwd"), (WASM, FILE, b"")),
    "a hard link out": lambda: tar((SCRIPT, tarfile.LNKTYPE, b"../../etc/passwd"), (WASM, FILE, b"")),
    "a path up": lambda: tar(("../../../x", FILE, b"x"), (SCRIPT, FILE, b""), (WASM, FILE, b"")),
    "an absolute path": lambda: tar(("/tmp/x", FILE, b"x"), (SCRIPT, FILE, b""), (WASM, FILE, b"")),
    "a device": lambda: tar((SCRIPT, tarfile.CHRTYPE, b""), (WASM, FILE, b"")),
    "a pipe in it": lambda: tar((SCRIPT, tarfile.FIFOTYPE, b""), (WASM, FILE, b"")),
    "a folder in it": lambda: tar((SCRIPT, tarfile.DIRTYPE, b""), (WASM, FILE, b"")),
    "each name twice": lambda: tar(*[(name, FILE, b"x") for name in (SCRIPT, WASM)] * 2),
    "a bomb": lambda: tar((SCRIPT, FILE, b"x"), (WASM, FILE, bytes(64 << 20))),
    "2,000 members": lambda: tar(*((f"package/{number}", FILE, b"") for number in range(2000))),
    "no member": lambda: tar(),
    "not packed": lambda: tar((SCRIPT, FILE, b"x"), (WASM, FILE, b"x"), gzip=False),
    "another kind": lambda: b"PK\x03\x04" + bytes(100),
    "cut in two": lambda: tar((SCRIPT, FILE, os.urandom(4000)))[:2000],
    "empty": lambda: b"",
}
ROWS: dict[str, Spoil] = {
    **{name: lambda path, make=make: path.write_bytes(make()) for name, make in ARCHIVES.items()},  # type: ignore[misc]
    **{f"in its place, {name}": place for name, place in PLACES.items()},
}


@pytest.mark.parametrize("name", ROWS)
def test_an_archive_of_others_makes_no_web_kit(name: str, here: Path, run: Run) -> None:
    """It is known by its checksum: none of its members is looked at."""
    words = ("kit", "{here}/run", "--platform", "web", "--web-runtime", "{here}/w.tgz", "--out", "{here}/kit")
    before = {path.name for path in here.iterdir()}
    try_row(Row(words, 1, "--web-runtime", "w.tgz", ROWS[name]), here, run)
    assert {path.name for path in here.iterdir()} - before <= {"w.tgz"}


KEYS: dict[str, tuple[tuple[str, ...], int | tuple[int, ...], str, str, Spoil]] = {
    "a key at a pipe": (("make", "{here}/k"), 1, "regular", "k", PLACES["a pipe"]),
    "a public key at a pipe": (("make", "{here}/k"), 1, "k.pub", "k.pub", PLACES["a pipe"]),
    "a public key of others": (("make", "{here}/k"), 1, "k.pub", "k.pub", write(b"mine")),
    "a public key that is a link": (("make", "{here}/k"), 1, "k.pub", "k.pub", PLACES["a link to nothing"]),
    "a key that is a link": (("make", "{here}/k"), 1, "k", "k", PLACES["a link to nothing"]),
    "a full device": (("make", "/dev/full"), 1, "regular", "x", leave),
    "no folder": (("make", "{here}/none/k"), 1, "none", "x", leave),
    "a folder": (("make", "{here}/run"), 1, "run", "x", leave),
    "a key in a kit": (("make", "{here}/kit/key"), 1, "others get", "kit/kit.json", write(b"{}")),
    "a key in a kit's folder": (("make", "{here}/kit/a/key"), 1, "others get", "kit/kit.json", write(b"{}")),
    "a name of 10,000 letters": (("make", "{here}/k", "--name", "n" * 10_000), 1, "--name", "x", leave),
    "a name with a mark of direction": (("make", "{here}/k", "--name", "a\u202eb"), 1, "--name", "x", leave),
    "a name of no letters": (("make", "{here}/k", "--name", ""), (0, 1), "", "x", leave),
    "a name that is an option of OpenSSH": (
        ("make", "{here}/k", "--name", 'a cert-authority="x'),
        (0, 1),
        "",
        "x",
        leave,
    ),
    "a passphrase without a terminal": (("make", "{here}/k", "--passphrase"), 1, "terminal", "x", leave),
    "a file name of 300 letters": (("make", "{here}/" + "k" * 300), 1, "", "x", leave),
    "a file name that leaves no room for .pub": (("make", "{here}/" + "k" * 253), 1, "", "x", leave),
    "a key in place of itself": (("make", "{here}/vendor"), 1, "exists", "x", leave),
    "show a private key": (("show", "{here}/vendor"), 1, "vendor", "x", leave),
    "show the root": (("show", "/"), 1, "folder", "x", leave),
}


@pytest.mark.parametrize("name", KEYS)
def test_a_key_that_cannot_be(name: str, here: Path, run: Run) -> None:
    words, status, word, target, spoil = KEYS[name]
    spoil(here / target)
    before = names_and_sizes(here)
    done = run("keys", *(part.replace("{here}", str(here)) for part in words))
    check(done, status, word)
    if done.status:
        assert names_and_sizes(here) == before


def names_and_sizes(folder: Path) -> dict[str, int]:
    return {path.name: path.lstat().st_size for path in folder.iterdir()}
