"""`pepr-edge predict`: classify images."""

from __future__ import annotations

from pathlib import Path

import click

from pepr_edge.cli.common import common, print_json, say
from pepr_edge.cli.view import TerminalView
from pepr_edge.errors import DataError


@click.command("predict")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE...")
@click.option("--fallback", is_flag=True, help="Use the float32 file beside the model, where `pepr-edge verify` says so.")
@common
def command(bundle: Path, images: tuple[Path, ...], fallback: bool, as_json: bool) -> None:
    """Classify each IMAGE with BUNDLE. A research tool: not for diagnosis."""
    from pepr_edge.bundle.verify import read_whole
    from pepr_edge.field.predict import Classifier
    from pepr_edge.field.settings import as_at_home, of_fallback

    if others := [image for image in images if (image / "manifest.json").is_file()]:
        raise DataError(f"{others[0]}: another bundle. predict takes one, then images.")
    manifest = read_whole(bundle)
    home = manifest.profile.settings
    settings, note = (of_fallback(home), "") if fallback else as_at_home(home)
    if note:
        say(f"{bundle.resolve().name} {note}")
    classifier = Classifier(bundle, manifest, settings, fallback)
    found = []
    with TerminalView().bar("images") as bar:
        for number, image in enumerate(images, 1):
            found.append(classifier(image))
            bar.to(number, len(images))
    if as_json:
        rows = [
            {"image": str(image), "label": prediction.label, "probabilities": prediction.probabilities}
            for image, prediction in zip(images, found, strict=True)
        ]
        print_json({"predictions": rows})
        return
    names = [str(image) for image in images]
    wide, label_wide = max(len("image"), *map(len, names)), max(len("label"), *map(len, manifest.labels))
    click.echo(f"{'image':<{wide}}  {'label':<{label_wide}}  probability")
    for name, prediction in zip(names, found, strict=True):
        click.echo(f"{name:<{wide}}  {prediction.label:<{label_wide}}  {prediction.probabilities[prediction.label]:>11.3f}")
