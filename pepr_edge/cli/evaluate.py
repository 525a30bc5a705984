"""`pepr-edge evaluate`: how bundles do on labelled images of a site."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pepr_edge.cli.columns import column_option, named_columns
from pepr_edge.cli.common import (
    TRUST_BUNDLES,
    OutFileType,
    PathType,
    common,
    echo,
    print_json,
    read_signer,
    read_trust,
    say,
    sign_option,
    trust_option,
)
from pepr_edge.cli.progress import TerminalView
from pepr_edge.errors import BundleError, DataError, InvalidMeasurement, MeasurementError, OutputError
from pepr_edge.text.tables import aligned_table
from pepr_edge.text.units import metric as metric_name
from pepr_edge.text.units import plural, score
from pepr_edge.untrusted.shown import first_items, shown

if TYPE_CHECKING:
    from pepr_edge.field.evaluate import Faults, Subject
    from pepr_edge.records import EvaluationReport, EvaluationResult, Figure
    from pepr_edge.records import Subgroups as SubgroupsRecord
    from pepr_edge.signing.key_files import Trust

HIDDEN = "<5"
MISSING = "-"


@click.command("evaluate")
@click.argument("bundles", nargs=-1, required=True, type=PathType(), metavar="BUNDLE...")
@click.argument("data", type=PathType(), metavar="DATA")
@column_option
@click.option(
    "--subgroup",
    "groups",
    multiple=True,
    metavar="COLUMN",
    help="Also give results for each value of this column of the table. Can be repeated.",
)
@click.option("--fallback", is_flag=True, help="Evaluate each bundle's float32 file.")
@click.option("--out", type=OutFileType(), help="Write the report here, to take it to the workstation.")
@click.option("--force", is_flag=True, help="Also replace an --out that is not a report.")
@sign_option("Sign the report with this private key: its signature is written beside it, as REPORT.sig.")
@trust_option(TRUST_BUNDLES)
@common
def command(
    bundles: tuple[Path, ...],
    data: Path,
    column: tuple[str, ...],
    groups: tuple[str, ...],
    fallback: bool,
    out: Path | None,
    force: bool,
    sign: Path | None,
    trust: Path | None,
    as_json: bool,
) -> None:
    """Evaluate each BUNDLE on the labelled images of a site, at the decision that is stored in it.

    DATA is a folder with a folder for each class, or a .csv file with the columns path and label. The report
    names no image and no patient, and hides numbers below 5. Exit status 1: an image or a bundle could not be
    used (the others were); 3: a model gave no finite answer for an image.
    """
    from pepr_edge.field.bench import check_out
    from pepr_edge.field.evaluate import Faults, evaluate, write
    from pepr_edge.field.labelled import read_labelled
    from pepr_edge.records import EvaluationReport

    if sign and out is None:
        raise click.UsageError("--sign signs the file of the report: give --out, too.")
    check_out(out, bundles, force, sign is not None, EvaluationReport)
    trusted = read_trust(trust)
    signer = read_signer(sign)
    faults = Faults([], [], [])
    subjects = _subjects(bundles, fallback, trusted, faults)
    if not subjects:
        raise MeasurementError("\n".join(faults.bundles))
    images = read_labelled(data, named_columns(column))
    _check_no_input(out, (data, *images.paths))
    for note in images.notes:
        say(note)
    with TerminalView().bar("images") as bar:

        def progress(number: int, done: int) -> None:
            bar.update(number * len(images.paths) + done, len(subjects) * len(images.paths))

        report = evaluate(subjects, images, groups, faults, progress)
    if not report.results:
        raise MeasurementError("\n".join([*faults.bundles, *first_items(faults.unreadable)]))
    if out is not None:
        write(out, report, signer)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        show(report)
        if out is not None:
            echo(f"report  {out}")
        if signer is not None:
            echo(f"signed  {out}.sig, {signer.public.fingerprint}")
    _raise_for(faults)


def _check_no_input(out: Path | None, inputs: Iterable[Path]) -> None:
    """Refuse to write over the table or an image, whatever `--force` says."""
    if out is None or not out.exists():
        return
    place = out.resolve()
    if any(path.resolve() == place for path in inputs):
        raise OutputError(f"--out {out}: would overwrite what it is made from. Give another name.")


def _subjects(bundles: Sequence[Path], fallback: bool, trust: Trust | None, faults: Faults) -> list[Subject]:
    """Check the bundles. `faults` says why one cannot be used."""
    from pepr_edge.device.preflight import check_memory
    from pepr_edge.field.evaluate import Subject
    from pepr_edge.field.verify import read_whole
    from pepr_edge.measure.bundle_model import model_file
    from pepr_edge.measure.settings import settings_of_file

    subjects = []
    for bundle in bundles:
        try:
            manifest = read_whole(bundle, trust)
            check_memory(bundle)
            model_file(bundle, manifest, fallback)  # reports a missing fallback now
            settings, note = settings_of_file(manifest.profile.settings, fallback)
            if note:
                say(f"{shown(bundle.resolve().name)} {note}")
            subjects.append(Subject(bundle, manifest, settings, fallback))
        except (BundleError, MeasurementError) as error:
            faults.bundles.append(str(error))
    return subjects


def show(report: EvaluationReport) -> None:
    """Print each bundle's metrics with intervals, its confusion and its subgroups."""
    echo("\n\n".join("\n".join(_lines(result)) for result in report.results))
    echo(f"\nNumbers below {HIDDEN[1:]} are hidden. A research tool: not for diagnosis.")


def _lines(result: EvaluationResult) -> list[str]:
    name = f"{shown(result.bundle)}, its fallback" if result.fallback else shown(result.bundle)
    lines = [f"{name}: {plural(result.n, 'image')}"]
    lines += _positive(result)
    decision = result.decision
    if decision is not None and decision.threshold is not None:
        lines.append(
            f"  {shown(decision.positive or '')} is named from a probability of {score(decision.threshold)} "
            f"on (chosen on validation for {shown(decision.target)});"
        )
        lines.append("  accuracy, balanced accuracy, F1 and Cohen's kappa count the more probable class")
    rows = [("metric", "value", "95 % interval")]
    rows += [(metric_name(name), *_figure(figure)) for name, figure in result.metrics.items()]
    lines += aligned_table(rows, "lrl", indent="  ")
    for labels, matrix in result.confusion_tables():
        lines += _matrix(matrix, labels)
    lines += _referred(result)
    for column in result.subgroups:
        lines += _subgroups(column)
    return lines


def _positive(result: EvaluationResult) -> list[str]:
    """Return which of two classes sensitivity and F1 speak of."""
    if result.task != "binary":
        return []
    if result.decision is None or result.decision.positive is None:
        return [f"  positive is {shown(result.labels[1])!r}, the second class: the bundle names none"]
    return [f"  positive is {shown(result.decision.positive)!r}"]


def _figure(figure: Figure | None) -> tuple[str, str]:
    if figure is None:
        return MISSING, ""
    return score(figure.value), f"{score(figure.ci[0])} to {score(figure.ci[1])}"


def _matrix(matrix: Sequence[Sequence[int | None]], labels: Sequence[str]) -> list[str]:
    rows = [("truth", *(f"as {label}" for label in labels))]
    rows += [(label, *(_count(count) for count in row)) for label, row in zip(labels, matrix, strict=False)]
    return aligned_table(rows, "l" + "r" * len(labels), indent="  ")


def _referred(result: EvaluationResult) -> list[str]:
    """Return how many images the model refers to a person, and why."""
    referred = result.referred
    if referred is None:
        return []
    reasons = ", ".join(f"{kind} {_count(count)}" for kind, count in referred.reasons.items())
    text = f"  referred to a person: {_count(referred.n)} of {plural(result.n, 'image')}"
    return [f"{text} ({reasons})" if reasons else text]


def _count(count: int | None) -> str:
    return HIDDEN if count is None else f"{count:,}"


def _subgroups(column: SubgroupsRecord) -> list[str]:
    rows = [(column.column, "images", metric_name(column.metric), "95 % interval", "")]
    for group in column.groups:
        value, interval = _figure(group.metrics.get(column.metric))
        worst = "worst" if group.group == column.worst else ""
        rows.append((group.group, f"{group.n:,}", value, interval, worst))
    lines = aligned_table(rows, "lrrll", indent="  ")
    if column.hidden_groups:
        lines.append(f"  {plural(column.hidden_groups, 'group')} with too few images hidden")
    return lines


def _raise_for(faults: Faults) -> None:
    """Raise for bundles and images that could not be used."""
    lines = [*faults.bundles, *first_items(faults.unreadable), *first_items(faults.unanswered)]
    if faults.bundles or faults.unreadable:
        raise DataError("\n".join(lines))
    if faults.unanswered:
        raise InvalidMeasurement("\n".join(lines))
