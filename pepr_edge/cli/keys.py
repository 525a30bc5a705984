"""`pepr-edge keys`: make a key pair for signatures, and show public keys."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pepr_edge.cli.common import OutFileType, PathType, common, echo, print_json, say
from pepr_edge.errors import SigningError
from pepr_edge.text.tables import aligned_table
from pepr_edge.untrusted.shown import shown


@click.group("keys")
def command() -> None:
    """Make a key pair that signs bundles, kits and field reports; show public keys."""


@command.command("make")
@click.argument("key", type=OutFileType(dir_okay=True))
@click.option("--name", help="Whose key it is, shown where a signature is checked. [default: name of KEY]")
@click.option("--passphrase", is_flag=True, help="Ask for a passphrase that encrypts the private key.")
@common
def make_command(key: Path, name: str | None, passphrase: bool, as_json: bool) -> None:
    """Make an Ed25519 key pair: KEY, which stays secret, and KEY.pub, which others get.

    No existing file is written over. The files are in OpenSSH's formats.
    """
    from pepr_edge.signing import key_files

    if not key.name:
        raise SigningError(f"{key}: a folder, expected the name of the file to write.")
    _check_not_passed_on(key)
    secret = _new_passphrase() if passphrase else ""
    public = key_files.make(key, key.name if name is None else name, secret)
    public_path = key.with_name(key.name + key_files.PUBLIC_SUFFIX)
    if as_json:
        print_json(
            {"private_key": str(key), "public_key": str(public_path), "fingerprint": public.fingerprint}
        )
        return
    echo(f"private key  {key}")
    echo(f"public key   {public_path}")
    echo(f"fingerprint  {public.fingerprint}")
    say(f"Keep {key} secret, and a copy of it in a safe place. Give {public_path} to those who are to check.")


@command.command("show")
@click.argument("public_key", type=PathType())
@common
def show_command(public_key: Path, as_json: bool) -> None:
    """Show name and fingerprint of each key in PUBLIC_KEY: KEY.pub, or a file that lists several.

    Compare fingerprints by telephone, say, before you trust a key. `ssh-keygen -l` prints the same.
    """
    from pepr_edge.signing import key_files

    keys = key_files.read_public(public_key)
    if as_json:
        print_json({"keys": [{"name": key.name, "fingerprint": key.fingerprint} for key in keys]})
        return
    rows = [("fingerprint", "name"), *((key.fingerprint, key.name) for key in keys)]
    echo("\n".join(aligned_table(rows, "ll")))


def _check_not_passed_on(key: Path) -> None:
    """Refuse a private key in a bundle or a kit, which others get."""
    from pepr_edge.bundle.read import bundle_around
    from pepr_edge.kit.install import KIT

    folder = bundle_around(key)
    if folder is None:
        folder = next((part for part in key.resolve().parents if (part / KIT).is_file()), None)
    if folder is not None:
        raise SigningError(
            f"{key}: lies inside {shown(folder.name)}, a bundle or kit, which others get. Keep the private "
            "key elsewhere."
        )


def _new_passphrase() -> str:
    if not sys.stdin.isatty():
        raise SigningError("--passphrase: there is no terminal to ask on. Start the command in one.")
    secret: str = click.prompt("Passphrase", hide_input=True, confirmation_prompt=True, err=True)
    return secret
