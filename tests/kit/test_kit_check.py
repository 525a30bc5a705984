from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import signed_files
from made_kit import made_at

from pepr_edge.errors import KitError
from pepr_edge.kit import check, install
from pepr_edge.run_dir.store import sha256_file
from pepr_edge.signing import signatures
from pepr_edge.signing.key_files import read_trusted

BUNDLE = "01-tiny@16-fp32"


@pytest.fixture
def vendor(tmp_path: Path) -> signed_files.Pair:
    return signed_files.pair(tmp_path, "vendor")


@pytest.fixture
def kit(tmp_path: Path, no_network: list[str], vendor: signed_files.Pair) -> Path:
    """A kit that its maker signed, and whose launcher trusts nobody else."""
    return made_at(tmp_path / "kit", signer=vendor.signer, trust=vendor.trust).folder


def recomputed(kit: Path) -> None:
    """Write the checksums of all files again."""
    own = (install.CHECKSUMS, check.SIGNATURE)
    files = [path for path in sorted(kit.rglob("*")) if path.is_file() and path.name not in own]
    lines = [f"{sha256_file(path)}  {path.relative_to(kit).as_posix()}\n" for path in files]
    (kit / install.CHECKSUMS).write_text("".join(lines))


def test_a_signed_kit_passes_and_brings_what_checks(
    kit: Path, no_network: list[str], vendor: signed_files.Pair
) -> None:
    assert no_network[0] == "pepr_edge-1-py3-none-any.whl[sign] 3.11"
    assert install.read_kit(kit)["extras"] == ["sign"]
    assert read_trusted(kit / install.TRUSTED).keys == vendor.trust.keys
    assert check.is_kit(kit)
    assert check.bundles_of(kit, vendor.trust) == [kit / "bundles" / BUNDLE]
    assert signatures.is_signature(kit / "bundles" / BUNDLE / "manifest.json.sig")
    install.check_files(kit)


def altered(kit: Path) -> None:
    (kit / "wheels" / "pip-1-py3-none-any.whl").write_bytes(b"altered")


def altered_with_checksums(kit: Path) -> None:
    altered(kit)
    recomputed(kit)


def signed_again(kit: Path) -> None:
    altered_with_checksums(kit)
    stranger = signed_files.pair(kit.parent, "stranger")
    signed_files.sign(kit / install.CHECKSUMS, stranger.signer, signatures.KIT)


FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a changed byte": (altered, "was added or changed"),
    "recomputed checksums": (altered_with_checksums, "changed since"),
    "another key": (signed_again, "no key of vendor.pub"),
    "no signature": (lambda kit: (kit / check.SIGNATURE).unlink(), "not signed"),
    "a bundle's signature": (
        lambda kit: shutil.copy(kit / "bundles" / BUNDLE / "manifest.json.sig", kit / check.SIGNATURE),
        "signed as manifest@pepr-edge",
    ),
    "a file more": (lambda kit: (kit / "json.py").write_text(""), r"json\.py was added"),
    "a file less": (lambda kit: (kit / "install.py").unlink(), r"install\.py is missing"),
    "no list": (lambda kit: (kit / install.CHECKSUMS).write_bytes(b"\xff"), "changed since"),
    "an installation": (lambda kit: (kit / "pepr").mkdir() or (kit / "pepr" / "a").write_text(""), "pepr/a"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_kit_that_is_not_as_it_was_signed(name: str, kit: Path, vendor: signed_files.Pair) -> None:
    spoil, message = FAULTS[name]
    spoil(kit)
    with pytest.raises(KitError, match=message) as fault:
        check.bundles_of(kit, vendor.trust)
    assert "\n" not in str(fault.value)


def test_without_keys_damage_is_found_and_nothing_else(kit: Path) -> None:
    altered(kit)
    with pytest.raises(KitError, match="pip-1-py3-none-any"):
        check.bundles_of(kit)
    recomputed(kit)
    assert check.bundles_of(kit)


def test_a_kit_that_would_refuse_its_own_bundles_is_not_made(
    tmp_path: Path, no_network: list[str], vendor: signed_files.Pair
) -> None:
    stranger = signed_files.pair(tmp_path, "stranger")
    for signer in (None, stranger.signer):
        with pytest.raises(KitError, match="its own bundles"):
            made_at(tmp_path / "kit", signer=signer, trust=vendor.trust)
    assert not (tmp_path / "kit").exists()


def test_a_signed_kit_is_replaced_by_one_that_is_not(kit: Path, no_network: list[str]) -> None:
    made_at(kit)
    assert not (kit / check.SIGNATURE).exists()
    assert not (kit / install.TRUSTED).exists()
    assert not (kit / "bundles" / BUNDLE / "manifest.json.sig").exists()


@pytest.mark.parametrize("carried", [True, False])
def test_the_launcher_trusts_the_keys_of_the_kit(
    carried: bool, kit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The installed program passes them on before it looks at a bundle."""
    if not carried:
        (kit / install.TRUSTED).unlink()

    def run_pip(wheels: Path, work: Path, packages: Path, extras: object) -> None:
        (packages / "pepr_edge").mkdir()
        (packages / "pepr_edge" / "__init__.py").write_text("")
        (packages / "pepr_edge" / "cli.py").write_text("def entry(trust=None): print(trust)\n")

    monkeypatch.setattr(install, "run_pip", run_pip)
    install.install(kit)
    program = kit / install.PEPR
    done = subprocess.run([sys.executable, "-I", str(program)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == (str(program / install.TRUSTED) if carried else "None")
    (kit / install.TRUSTED).unlink(missing_ok=True)  # the copy on the device counts
    again = subprocess.run([sys.executable, "-I", str(program)], capture_output=True, text=True, check=True)
    assert again.stdout == done.stdout
