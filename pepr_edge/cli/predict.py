"""`pepr-edge predict`: classify images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pepr_edge.cli.common import common, print_json, say
from pepr_edge.cli.progress import TerminalView
from pepr_edge.errors import DataError
from pepr_edge.untrusted.documents import shown

if TYPE_CHECKING:
    from pepr_edge.field.predict import Prediction


@click.command("predict")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE...")
@click.option(
    "--fallback",
    is_flag=True,
    help="Use the float32 file beside the model, where `pepr-edge verify` says so.",
)
@common
def command(bundle: Path, images: tuple[Path, ...], fallback: bool, as_json: bool) -> None:
    """Classify each IMAGE with BUNDLE, DICOM files too. One that cannot be read is said, and the others are classified.

    A research tool: not for diagnosis.
    """
    from pepr_edge.field.predict import Classifier
    from pepr_edge.field.verify import read_whole
    from pepr_edge.measure.settings import as_at_home, of_fallback

    if others := [image for image in images if (image / "manifest.json").is_file()]:
        raise DataError(f"{others[0]}: another bundle. predict takes one, then images.")
    manifest = read_whole(bundle)
    home = manifest.profile.settings
    settings, note = (of_fallback(home), "") if fallback else as_at_home(home)
    if note:
        say(f"{bundle.resolve().name} {note}")
    classifier = Classifier(bundle, manifest, settings, fallback)
    found: list[tuple[str, Prediction]] = []
    faults: list[DataError] = []
    with TerminalView().bar("images") as bar:
        for number, image in enumerate(images, 1):
            try:
                found.append((str(image), classifier(image)))
            except DataError as fault:
                faults.append(fault)
            bar.to(number, len(images))
    if as_json:
        rows = [
            {"image": name, "label": one.label, "probabilities": one.probabilities} for name, one in found
        ]
        print_json({"predictions": rows})
    elif found:
        _show(found, manifest.labels)
    if faults:
        raise DataError("\n".join(map(str, faults)))


def _show(found: Sequence[tuple[str, Prediction]], labels: Sequence[str]) -> None:
    """An aligned table."""
    rows = [(shown(name), one) for name, one in found]
    wide, label_wide = (
        max(len("image"), *(len(name) for name, _ in rows)),
        max(len("label"), *map(len, labels)),
    )
    click.echo(f"{'image':<{wide}}  {'label':<{label_wide}}  probability")
    for name, one in rows:
        click.echo(f"{name:<{wide}}  {one.label:<{label_wide}}  {one.probabilities[one.label]:>11.3f}")
