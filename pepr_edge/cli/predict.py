"""`pepr-edge predict`: classify images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pepr_edge.cli.common import common, echo, print_json, say
from pepr_edge.cli.progress import TerminalView
from pepr_edge.errors import DataError
from pepr_edge.text.tables import aligned_table
from pepr_edge.untrusted.shown import shown

if TYPE_CHECKING:
    from pepr_edge.field.predict import Prediction


@click.command("predict")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="IMAGE...")
@click.option(
    "--fallback",
    is_flag=True,
    help="Use the bundle's float32 file, if `pepr-edge verify` advises it.",
)
@common
def command(bundle: Path, images: tuple[Path, ...], fallback: bool, as_json: bool) -> None:
    """Classify each IMAGE, also DICOM, with BUNDLE.

    An unreadable image is reported; the others are classified. A research tool: not for diagnosis.
    """
    from pepr_edge.field.predict import Classifier
    from pepr_edge.field.verify import read_whole
    from pepr_edge.measure.settings import device_settings, fallback_settings

    for image in images:
        if (image / "manifest.json").is_file():
            raise DataError(f"{image}: another bundle, expected one bundle and then images. Remove it.")
    manifest = read_whole(bundle)
    settings = manifest.profile.settings
    if fallback:
        settings = fallback_settings(settings)
    else:
        settings, note = device_settings(settings)
        if note:
            say(f"{bundle.resolve().name} {note}")
    classifier = Classifier(bundle, manifest, settings, fallback)
    predictions: list[tuple[str, Prediction]] = []
    errors: list[DataError] = []
    with TerminalView().bar("images") as bar:
        for number, image in enumerate(images, 1):
            try:
                predictions.append((str(image), classifier(image)))
            except DataError as error:
                errors.append(error)
            bar.update(number, len(images))
    if as_json:
        rows = [
            {"image": name, "label": prediction.label, "probabilities": prediction.probabilities}
            for name, prediction in predictions
        ]
        print_json({"predictions": rows})
    elif predictions:
        _show(predictions)
    if errors:
        raise DataError("\n".join(map(str, errors)))


def _show(predictions: Sequence[tuple[str, Prediction]]) -> None:
    rows = [("image", "label", "probability")]
    for name, prediction in predictions:
        probability = prediction.probabilities[prediction.label]
        rows.append((shown(name), prediction.label, f"{probability:.3f}"))
    echo("\n".join(aligned_table(rows, "llr")))
