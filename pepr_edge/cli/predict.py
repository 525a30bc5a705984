"""`pepr-edge predict`: classify images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from pepr_edge.cli.common import (
    TRUST_BUNDLES,
    PathType,
    common,
    echo,
    print_json,
    read_trust,
    say,
    trust_option,
)
from pepr_edge.cli.progress import TerminalView
from pepr_edge.errors import DataError, InvalidMeasurement, NoAnswerError
from pepr_edge.text.tables import aligned_table
from pepr_edge.text.units import plural
from pepr_edge.untrusted.shown import first_items, shown

if TYPE_CHECKING:
    from pepr_edge.field.predict import Classifier, Prediction
    from pepr_edge.measure.inference_process import InferenceProcess
    from pepr_edge.records import Decision
    from pepr_edge.signing.key_files import Trust

NO_ANSWER = "no answer"
REFER = "refer"


class _Outcome(NamedTuple):
    """An image with its prediction, or the reason why the model gives no answer."""

    image: str
    prediction: Prediction | None
    reason: str = ""


@click.command("predict")
@click.argument("bundle", type=PathType())
@click.argument("images", nargs=-1, required=True, type=PathType(), metavar="IMAGE...")
@click.option(
    "--fallback",
    is_flag=True,
    help="Use the bundle's float32 file, if `pepr-edge verify` advises it.",
)
@trust_option(TRUST_BUNDLES)
@common
def command(
    bundle: Path, images: tuple[Path, ...], fallback: bool, trust: Path | None, as_json: bool
) -> None:
    """Classify each IMAGE, also DICOM, with BUNDLE.

    An unreadable image is reported; the others are classified. Where the bundle has limits for it, an image
    is referred to a person in place of a label, with the reason. Exit status 3: the model gives no finite
    answer for an image. A research tool: not for diagnosis.
    """
    from pepr_edge.measure.inference_process import InferenceProcess

    for image in images:
        if (image / "manifest.json").is_file():
            raise DataError(f"{image}: another bundle, expected one bundle and then images. Remove it.")
    outcomes: list[_Outcome] = []
    errors: list[DataError] = []
    trusted = read_trust(trust)
    with InferenceProcess() as process:
        classify = _classifier(bundle, fallback, process, trusted)
        with TerminalView().bar("images") as bar:
            for number, image in enumerate(images, 1):
                try:
                    outcomes.append(_Outcome(str(image), classify(image)))
                except NoAnswerError as error:
                    outcomes.append(_Outcome(str(image), None, str(error)))
                except DataError as error:
                    errors.append(error)
                bar.update(number, len(images))
    if as_json:
        rows = [_row(outcome, classify.decision) for outcome in outcomes]
        print_json({"predictions": rows} | _decision_row(classify.decision))
    elif outcomes:
        _show(outcomes, classify.decision)
    _raise_for(outcomes, errors)


def _classifier(bundle: Path, fallback: bool, process: InferenceProcess, trust: Trust | None) -> Classifier:
    """Check the bundle and load its model. The process starts at the same time."""
    from pepr_edge.bundle.read import read_manifest
    from pepr_edge.device.preflight import check_memory
    from pepr_edge.measure.settings import settings_of_file

    manifest = read_manifest(bundle, trust)
    check_memory(bundle)
    settings, note = settings_of_file(manifest.profile.settings, fallback)
    if note:
        say(f"{shown(bundle.resolve().name)} {note}")
    process.start(settings.runtime)

    from pepr_edge.field.predict import Classifier
    from pepr_edge.field.verify import raise_for_files

    raise_for_files(bundle, manifest)
    return Classifier(bundle, manifest, settings, process, fallback)


def _row(outcome: _Outcome, decision: Decision | None) -> dict[str, Any]:
    if outcome.prediction is None:
        reason = f"{NO_ANSWER}: {outcome.reason}"
        return {"image": outcome.image, "label": None, "probabilities": None, "reason": reason}
    prediction = outcome.prediction
    row = {"image": outcome.image, "label": prediction.label, "probabilities": prediction.probabilities}
    if prediction.findings is not None:
        row |= {"findings": list(prediction.findings)}
    return _with_referral(row, prediction, decision)


def _decision_row(decision: Decision | None) -> dict[str, Any]:
    return {} if decision is None else {"decision": decision.model_dump(mode="json")}


def _with_referral(row: dict[str, Any], prediction: Prediction, decision: Decision | None) -> dict[str, Any]:
    """Return the JSON object of an image with why it is referred; null if the label stands."""
    if decision is None or decision.refer is None:
        return row
    return row | {"refer": None if prediction.referral is None else prediction.referral.reason}


def _show(outcomes: list[_Outcome], decision: Decision | None) -> None:
    rows = [("image", "label", "probability")]
    referred = 0
    for outcome in outcomes:
        prediction = outcome.prediction
        if prediction is None:
            rows.append((outcome.image, NO_ANSWER, "-"))
        elif prediction.referral is not None:
            rows.append((outcome.image, f"{REFER}: {prediction.referral.reason}", "-"))
            referred += 1
        else:
            rows.append((outcome.image, prediction.label, _probability(prediction)))
    echo("\n".join(aligned_table(rows, "llr")))
    if referred:
        echo(f"{referred} of {plural(len(outcomes), 'image')} for a person to decide.")
    if decision is not None and decision.threshold is not None:
        echo(
            f"{shown(decision.positive or '')} is named from a probability of {decision.threshold:.3f} on "
            f"(chosen on validation for {shown(decision.target)})."
        )


def _probability(prediction: Prediction) -> str:
    """Return the probability of the label; of several findings those that are named, else the highest."""
    named = (prediction.label,) if prediction.findings is None else prediction.findings
    if not named:
        return f"at most {max(prediction.probabilities.values()):.3f}"
    return ", ".join(f"{prediction.probabilities[label]:.3f}" for label in named)


def _raise_for(outcomes: list[_Outcome], errors: list[DataError]) -> None:
    """Raise for images that could not be read, and for those without an answer."""
    unanswered = [
        f"{shown(outcome.image)}: {NO_ANSWER}: {outcome.reason}"
        for outcome in outcomes
        if outcome.prediction is None
    ]
    lines = [*first_items([str(error) for error in errors]), *first_items(unanswered)]
    if errors:
        raise DataError("\n".join(lines))
    if unanswered:
        raise InvalidMeasurement("\n".join(lines))
