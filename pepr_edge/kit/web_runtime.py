"""The runtime of a web kit: onnxruntime-web, as published for npm, at one version whose checksum is known."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pepr_edge.errors import KitError, OutputError
from pepr_edge.run_dir.store import write_bytes
from pepr_edge.untrusted.files import MIB, content
from pepr_edge.untrusted.paths import cache_folder
from pepr_edge.untrusted.shown import one_line, shown

PACKAGE = "onnxruntime-web"
VERSION = "1.30.0"
# As the npm registry gives it.
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
FILE = f"{PACKAGE}-{VERSION}.tgz"
LIMIT_BYTES = 128 * MIB
TIMEOUT_S = 600
MANUAL = (
    f"On a machine with npm and a network run `npm pack {PACKAGE}@{VERSION}`, "
    f"and give the file: --web-runtime {FILE}"
)
# The script and the WebAssembly of each provider, in the folder package/dist of the archive.
PROVIDERS = {
    "wasm": ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"),
    "webgpu": ("ort.webgpu.bundle.min.mjs", "ort-wasm-simd-threaded.asyncify.wasm"),
}


class ProviderFiles(NamedTuple):
    """What runs models with one provider."""

    script: bytes
    wasm: bytes


def read(providers: tuple[str, ...], file: Path | None = None) -> dict[str, ProviderFiles]:
    """Return the files of each provider, out of the given archive, the cached one, or one that npm fetches.

    Args:
        providers: names in `PROVIDERS`.
        file: the archive that `npm pack` writes; None: that of the cache, or from npm.
    Raises:
        KitError: the archive is not that of this version, or there is none and npm cannot fetch it.
    """
    archive = _checked(file) if file is not None else _cached() or _fetched()
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / FILE
        write_bytes(path, archive)
        with tarfile.open(path) as members:
            return {name: _provider_files(members, name) for name in providers}


def _provider_files(archive: tarfile.TarFile, provider: str) -> ProviderFiles:
    script, wasm = PROVIDERS[provider]
    return ProviderFiles(_member(archive, script), _member(archive, wasm))


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    opened = archive.extractfile(f"package/dist/{name}")
    assert opened is not None  # the checksum says that it is there
    return opened.read()


def _checked(file: Path) -> bytes:
    """Return the content of an archive that the user gave.

    Raises:
        KitError: it cannot be read, or is another one.
    """
    try:
        archive = content(file, LIMIT_BYTES)
    except OSError as fault:
        raise KitError(
            f"--web-runtime {shown(str(file))}: cannot be read ({fault.strerror}). {MANUAL}"
        ) from None
    if not _is_intact(archive):
        raise KitError(
            f"--web-runtime {shown(str(file))}: not {FILE} as published (its sha512 differs). {MANUAL}"
        )
    return archive


def _is_intact(archive: bytes) -> bool:
    digest = base64.b64encode(hashlib.sha512(archive).digest()).decode()
    return f"sha512-{digest}" == INTEGRITY


def cache_file() -> Path:
    """Return where the archive is kept. Raises OutputError if the user has no home for a cache."""
    return cache_folder() / "pepr_edge" / FILE


def _cached() -> bytes | None:
    """Return the archive of the cache; None if there is none, or a damaged one."""
    try:
        archive = content(cache_file(), LIMIT_BYTES)
    except (OSError, OutputError):
        return None
    return archive if _is_intact(archive) else None


def _fetched() -> bytes:
    """Let npm fetch the archive, and keep it in the cache.

    Raises:
        KitError: npm is missing, or fails, or fetches another archive.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise KitError(f"{PACKAGE} {VERSION} is needed, and npm, to fetch it, is not installed. {MANUAL}")
    with tempfile.TemporaryDirectory() as temporary:
        reason = _run_npm(npm, temporary)
        try:
            archive = content(Path(temporary) / FILE, LIMIT_BYTES)
        except OSError:
            raise KitError(f"npm cannot fetch {PACKAGE} {VERSION} ({reason}). {MANUAL}") from None
    if not _is_intact(archive):
        raise KitError(f"npm fetched another {FILE} than was published (its sha512 differs). {MANUAL}")
    with suppress(OSError, OutputError):  # else the next kit fetches it again
        cache_file().parent.mkdir(parents=True, exist_ok=True)
        write_bytes(cache_file(), archive)
    return archive


def _run_npm(npm: str, folder: str) -> str:
    """Let npm write the archive into a folder, and return what it says on a failure."""
    try:
        done = subprocess.run(
            [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent", "--pack-destination", folder],
            capture_output=True,
            text=True,
            errors="replace",
            cwd=folder,
            timeout=TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {TIMEOUT_S} s"
    return one_line(done.stderr or done.stdout or "it gives no reason")
