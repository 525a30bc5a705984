"""`pepr-edge dossier`: the paper trail of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pepr_edge.cli.common import (
    TRUST_BUNDLES,
    OutFolderType,
    PathType,
    common,
    echo,
    print_json,
    read_trust,
    say,
    trust_option,
)

if TYPE_CHECKING:
    from pepr_edge.dossier.checklists import Answer
    from pepr_edge.dossier.write import Dossier


@click.command("dossier")
@click.argument("bundle", type=PathType(), metavar="BUNDLE")
@click.option("--out", type=OutFolderType(), required=True, help="Folder to write to.")
@click.option(
    "--against",
    type=PathType(),
    metavar="OLDER_BUNDLE",
    help="Also write what changed since this bundle.",
)
@click.option(
    "--force", is_flag=True, help="Also replace files of the same names that you filled in or made."
)
@trust_option(TRUST_BUNDLES)
@common
def command(
    bundle: Path, out: Path, against: Path | None, force: bool, trust: Path | None, as_json: bool
) -> None:
    """Write the paper trail of BUNDLE: a label, reporting checklists, and a bill of materials.

    label.html has the facts of the model on one page. checklists.html, claim_2024.csv and tripod_ai.csv have
    the items of CLAIM 2024 and TRIPOD+AI, with what the bundle knows and what is to be filled in by you.
    ml-bom.cdx.json is a CycloneDX ML-BOM.
    """
    from pepr_edge.dossier.checklists import STATES, counts
    from pepr_edge.dossier.write import make, write

    dossier = make(bundle, against, read_trust(trust))
    write(dossier, out, [bundle, *([] if against is None else [against])], force)
    if as_json:
        print_json(_document(dossier, out))
        return
    for name in dossier.files:
        echo(out / name)
    for checklist, answers in dossier.filled.items():
        numbers = counts(answers)
        told = ", ".join(f"{numbers[state]} {state}" for state in STATES)
        say(f"{checklist.name}: {len(answers)} items, {told}")
    if dossier.changes is not None:
        say(f"since {against}: {len(dossier.changes)} differences")


def _document(dossier: Dossier, out: Path) -> dict[str, Any]:
    from pepr_edge.dossier.checklists import counts

    checklists = {}
    for checklist, answers in dossier.filled.items():
        checklists[checklist.file] = {"counts": counts(answers), "items": list(map(_item, answers))}
    changes = None if dossier.changes is None else [change._asdict() for change in dossier.changes]
    return {
        "schema_version": 1,
        "dossier": str(out),
        "files": list(dossier.files),
        "checklists": checklists,
        "changes": changes,
    }


def _item(answer: Answer) -> dict[str, str | None]:
    return {
        "item": answer.item.number,
        "section": answer.item.section,
        "state": answer.state,
        "from_the_bundle": answer.known or None,
        "by_you": answer.by_you or None,
    }
