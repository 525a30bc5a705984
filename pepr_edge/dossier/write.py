"""Write the dossier of a bundle into a folder; only files that an earlier dossier left there are replaced."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pepr_edge.dossier.bom import bom
from pepr_edge.dossier.changes import Change, changes
from pepr_edge.dossier.checklists import Answer, Checklist, fill, to_csv
from pepr_edge.dossier.claim import CLAIM
from pepr_edge.dossier.label import label
from pepr_edge.dossier.tables import changes_page, checklists_page
from pepr_edge.dossier.tripod import TRIPOD
from pepr_edge.errors import OutputError
from pepr_edge.field.verify import read_whole
from pepr_edge.records import Manifest
from pepr_edge.run_dir.owned import remove_owned, write_all_owned
from pepr_edge.signing.key_files import Trust
from pepr_edge.untrusted.shown import shown

LABEL = "label.html"
CHECKLISTS = "checklists.html"
BOM = "ml-bom.cdx.json"
CHANGES = "changes.html"
ALL: tuple[Checklist, ...] = (CLAIM, TRIPOD)


class Dossier(NamedTuple):
    """What a dossier says.

    `files`: content by name. `filled`: the answers to each checklist. `changes`: since the older bundle; None
    without one.
    """

    manifest: Manifest
    files: Mapping[str, str]
    filled: Mapping[Checklist, Sequence[Answer]]
    changes: Sequence[Change] | None


def make(bundle: Path, against: Path | None = None, trust: Trust | None = None) -> Dossier:
    """Return the dossier of a bundle.

    Args:
        bundle: the folder. All its files must be as they were shipped.
        against: an older bundle, with which it is compared.
        trust: as in `pepr_edge.bundle.read.read_manifest`.
    Raises:
        BundleError: one of the folders is no whole bundle, or not signed by a trusted key.
    """
    manifest = read_whole(bundle, trust)
    older = None if against is None else read_whole(against, trust)
    filled = {checklist: fill(checklist, manifest) for checklist in ALL}
    files = {
        LABEL: label(manifest),
        CHECKLISTS: checklists_page(manifest, filled),
        **{f"{checklist.file}.csv": to_csv(answers) for checklist, answers in filled.items()},
        BOM: json.dumps(bom(manifest), indent=1) + "\n",
    }
    if older is None:
        return Dossier(manifest, files, filled, None)
    found = changes(manifest, older)
    return Dossier(manifest, files | {CHANGES: changes_page(manifest, older, found)}, filled, found)


def write(dossier: Dossier, out: Path, bundles: Sequence[Path], force: bool = False) -> None:
    """Write all files of a dossier, or none.

    Args:
        dossier: to be written.
        out: the folder, made if missing.
        bundles: the folders of the bundles, which get no further file.
        force: also replace files of these names that are changed or not ours.
    Raises:
        OutputError: a file that is not ours has one of the names, or `out` is a bundle or lies in one.
    """
    target = out.resolve()
    for bundle in bundles:
        if bundle.resolve() in (target, *target.parents):
            raise OutputError(
                f"--out {shown(str(out))}: lies in the bundle {shown(str(bundle))}, which must stay as it "
                "was made. Give another --out."
            )
    contents = {name: text.encode() for name, text in dossier.files.items()}
    write_all_owned(out, contents, _recognise_nothing, force)
    if CHANGES not in contents:
        remove_owned(out, [CHANGES])


def _recognise_nothing(content: bytes, path: Path) -> bool:
    return False
