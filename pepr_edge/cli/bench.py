"""`pepr-edge bench`: measure bundles on this device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from pepr_edge.cli.common import (
    TRUST_BUNDLES,
    FiniteType,
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
from pepr_edge.errors import BundleError, InvalidMeasurement, MeasurementError
from pepr_edge.measure.runtimes import BUNDLE_RUNTIMES
from pepr_edge.records import MAX_THREADS, BenchResult, FieldReport, Provider
from pepr_edge.text.tables import aligned_table
from pepr_edge.text.units import plural
from pepr_edge.untrusted.shown import shown

if TYPE_CHECKING:
    from pepr_edge.field.bench import Plan, Subject
    from pepr_edge.measure.profile import EnergyCounter
    from pepr_edge.signing.key_files import Signer, Trust

NAME_WIDTH = 40
MISSING = "-"


@click.command("bench")
@click.argument("bundles", nargs=-1, required=True, type=PathType(), metavar="BUNDLE...")
@click.option("--quick", is_flag=True, help="Use 128 queries and 10 s per bundle, instead of 1024 and 60 s.")
@click.option(
    "--threads",
    type=click.IntRange(1, MAX_THREADS),
    help="Threads of the runtime. [default: as on the workstation]",
)
@click.option(
    "--paced",
    type=FiniteType(min=0, min_open=True, max=1e9),
    metavar="MS",
    help="Measure a clinic's load: one image every MS milliseconds.",
)
@click.option(
    "--runtime",
    type=click.Choice(BUNDLE_RUNTIMES),
    help="The runtime for the model. [default: as on the workstation]",
)
@click.option(
    "--provider",
    type=click.Choice(get_args(Provider)),
    help="The execution provider. [default: as on the workstation]",
)
@click.option(
    "--fallback", is_flag=True, help="Measure each bundle's float32 file, with onnxruntime on the CPU."
)
@click.option(
    "--watts-per-core",
    type=FiniteType(min=0, min_open=True, max=1e6),
    metavar="W",
    help="Declare the power of a busy core, for the energy if no counter can be read.",
)
@click.option("--sweep", is_flag=True, help="Also measure with 1, 2, 4 ... threads, up to all usable cores.")
@click.option(
    "--no-extras",
    is_flag=True,
    help="Skip the extra measurements: preprocessing, and several images at once.",
)
@click.option(
    "--out",
    type=OutFileType(),
    help="Write the report here, to take it to the workstation.",
)
@click.option("--force", is_flag=True, help="Also replace an --out that is not a report.")
@sign_option("Sign the report with this private key: its signature is written beside it, as REPORT.sig.")
@trust_option(TRUST_BUNDLES)
@common
def command(
    bundles: tuple[Path, ...],
    quick: bool,
    threads: int | None,
    paced: float | None,
    runtime: str | None,
    provider: Provider | None,
    fallback: bool,
    watts_per_core: float | None,
    sweep: bool,
    no_extras: bool,
    out: Path | None,
    force: bool,
    sign: Path | None,
    trust: Path | None,
    as_json: bool,
) -> None:
    """Measure latency, memory and cold start of each BUNDLE on this device, and run its self-test.

    Each model runs as on the workstation, as far as this device allows; differences are reported. Close
    other programs and connect the device to mains power first. Exit status 3: a measurement is INVALID, or
    a self-test failed; 1: a bundle could not be measured (the others were).
    """
    from pepr_edge.device.cpu import emulated
    from pepr_edge.field.bench import Plan, check_out

    _check_usage(paced, runtime, provider, fallback, sweep, sign, out)
    check_out(out, bundles, force, signed=sign is not None)
    trusted = read_trust(trust)
    signer = read_signer(sign)
    subjects, failed = _subjects(bundles, runtime, provider, threads, fallback, trusted)
    if quick:
        say("quick rules, 128 queries and 10 s: for results to decide by, measure without --quick")
    plan = Plan(
        rules="quick" if quick else "full",
        paced_s=None if paced is None else paced / 1e3,
        watts_per_core=watts_per_core,
        extras=not (no_extras or paced or emulated()),
        sweep=sweep,
        counter=_counter(),
    )
    report = _bench(subjects, plan, out, force, failed, signer)
    if not report.results:
        raise MeasurementError("\n".join(failed))
    _print(report, out, signer, as_json)
    _raise_for(report, failed)


def _print(report: FieldReport, out: Path | None, signer: Signer | None, as_json: bool) -> None:
    if as_json:
        print_json(report.model_dump(mode="json"))
        return
    show(report)
    if out is not None:
        echo(f"report  {out}")
    if signer is not None:
        echo(f"signed  {out}.sig, {signer.public.fingerprint}")


def _check_usage(
    paced: float | None,
    runtime: str | None,
    provider: Provider | None,
    fallback: bool,
    sweep: bool,
    sign: Path | None,
    out: Path | None,
) -> None:
    if fallback and (runtime or provider):
        raise click.UsageError(
            "--fallback runs with onnxruntime on the CPU: leave out --runtime and --provider."
        )
    if paced and sweep:
        raise click.UsageError("--sweep measures without pauses between images: leave out --paced.")
    if sign and out is None:
        raise click.UsageError("--sign signs the file of the report: give --out, too.")


def _bench(
    subjects: Sequence[Subject],
    plan: Plan,
    out: Path | None,
    force: bool,
    failed: list[str],
    signer: Signer | None,
) -> FieldReport:
    """Measure with a progress bar; an interrupt says what the partial report contains."""
    from pepr_edge.field.bench import Interrupted, bench

    view = TerminalView()

    def warn(message: str) -> None:
        view.say(f"warning: {message}")

    try:
        with view.bar("bundles") as bar:

            def progress(number: int, share: float, median_s: float) -> None:
                note = f"{shown(subjects[number].folder.name)} p50 {median_s * 1e3:.2f} ms"
                bar.update(round(100 * (number + share)), 100 * len(subjects), note)

            return bench(
                subjects,
                plan,
                out=out,
                force=force,
                signer=signer,
                progress=progress,
                warn=warn,
                fail=failed.append,
            )
    except Interrupted as interrupt:
        if interrupt.report is not None:
            say(f"{out}: {_partial_content(interrupt.report)}")
        raise


def _counter() -> EnergyCounter | None:
    """Return the processor's energy counter; None if it cannot be read or the machine is emulated."""
    from pepr_edge.device.cpu import emulated
    from pepr_edge.energy.counter import cpu_counter
    from pepr_edge.measure.profile import EnergyCounter

    counter = None if emulated() else cpu_counter()
    return None if counter is None else EnergyCounter(*counter)


def _partial_content(report: FieldReport) -> str:
    """Describe the content of a report that was interrupted."""
    unfinished = [result for result in report.results if result.partial]
    complete = len(report.results) - len(unfinished)
    parts = [plural(complete, "complete result")] if complete else []
    parts += [f"{len(result.latencies_s)} latencies of {result.bundle}" for result in unfinished]
    return f"the report so far, marked partial: {' and '.join(parts)}"


def _subjects(
    bundles: Sequence[Path],
    runtime: str | None,
    provider: Provider | None,
    threads: int | None,
    fallback: bool,
    trust: Trust | None,
) -> tuple[list[Subject], list[str]]:
    """Return the bundles that can be measured, and why the others cannot.

    Raises:
        MeasurementError: none can be measured.
    """
    subjects = []
    failed = []
    for bundle in bundles:
        try:
            subjects.append(_subject(bundle, runtime, provider, threads, fallback, trust))
        except (BundleError, MeasurementError) as error:
            failed.append(str(error))
    if not subjects:
        raise MeasurementError("\n".join(failed))
    if failed:
        count = plural(len(failed), "bundle")
        say(f"{count} cannot be measured, the others are; the reasons follow at the end")
    return subjects, failed


def _subject(
    bundle: Path,
    runtime: str | None,
    provider: Provider | None,
    threads: int | None,
    fallback: bool,
    trust: Trust | None,
) -> Subject:
    """Return the bundle with its settings on the workstation, so that results compare, and the options."""
    from pepr_edge.device.preflight import check_memory
    from pepr_edge.field.bench import Subject
    from pepr_edge.field.verify import read_whole
    from pepr_edge.measure.bundle_model import model_file
    from pepr_edge.measure.settings import device_settings, fallback_settings

    manifest = read_whole(bundle, trust)
    check_memory(bundle)
    # Reports a missing fallback now, not after an hour of measuring.
    file = model_file(bundle, manifest, fallback)
    home = manifest.profile.settings
    if fallback:
        say(f"{shown(bundle.resolve().name)}: measures its fallback, {file}")
        return Subject(bundle, manifest, fallback_settings(home, threads), fallback)
    settings, note = device_settings(home, runtime=runtime, provider=provider, threads=threads)
    if note:
        say(f"{shown(bundle.resolve().name)} {note}")
    return Subject(bundle, manifest, settings)


def show(report: FieldReport) -> None:
    """Print a table of at most 100 columns, in ms and MiB, and the extra measurements."""
    header = ("bundle", "p50 ms", "p90 ms", "p99 ms", "CPU ms", "cold ms", "MiB", "result")
    rows = [header, *(_cells(result) for result in report.results)]
    echo("\n".join(aligned_table(rows, "lrrrrrrr", gap=" ")))
    for result in report.results:
        extras = _extras(result)
        if extras:
            echo("\n  ".join([_clipped(result.bundle), *extras]))
    if report.emulated:
        echo("this machine is emulated: the times are not those of a real device")


def _cells(result: BenchResult) -> tuple[str, ...]:
    percentiles = result.percentiles_s
    cold_s = result.import_s + result.load_s + result.first_s
    memory_bytes = result.peak_memory_bytes
    return (
        _clipped(result.bundle),
        _ms(percentiles.p50),
        _ms(percentiles.p90),
        _ms(percentiles.p99),
        _ms(result.cpu_s_per_inference),
        _ms(cold_s),
        MISSING if memory_bytes is None else f"{memory_bytes / 2**20:.0f}",
        _status(result),
    )


def _extras(result: BenchResult) -> list[str]:
    """Return the extra measurements, one per line."""
    lines = []
    preprocessing = result.preprocessing
    if preprocessing is not None:
        parts = [f"image to tensor {_ms(preprocessing.median_s)} ms ({preprocessing.source_px} px JPEG)"]
        for throughput in result.throughput:
            if throughput.batch > 1:
                parts.append(f"{throughput.batch} at once: {throughput.images_per_s:.0f} images/s")
        lines.append("; ".join(parts))
    times = {timing.threads: timing.p50_s for timing in result.thread_sweep if timing.p50_s is not None}
    one_thread_s = times.pop(1, None)
    if one_thread_s and times:
        shares = ", ".join(f"{time_s / one_thread_s:.2f}" for time_s in times.values())
        lines.append(f"with {', '.join(map(str, times))} threads: {shares} of the time of 1 thread")
    return lines


def _ms(value_s: float | None) -> str:
    if value_s is None:
        return MISSING
    if value_s < 1e-3:
        return f"{value_s * 1e3:.3f}"
    return f"{value_s * 1e3:.2f}" if value_s < 1 else f"{value_s * 1e3:.0f}"


def _clipped(name: str) -> str:
    """Cut a long name in its middle: the variant is at its end."""
    half = NAME_WIDTH // 2 - 1
    return name if len(name) <= NAME_WIDTH else f"{name[:half]}..{name[-half:]}"


def _status(result: BenchResult) -> str:
    if result.selftest is not None and not result.selftest.passed:
        return "FAILED"
    return "VALID" if result.validity.valid else "INVALID"


def _raise_for(report: FieldReport, failed: list[str]) -> None:
    """Raise for bundles that failed, are INVALID or fail the self-test, after all results were shown."""
    reasons = []
    for result in report.results:
        reasons += [f"INVALID {result.bundle}: {reason}" for reason in result.validity.reasons]
    for result in report.results:
        if result.selftest is not None and not result.selftest.passed:
            reasons.append(
                f"FAILED {result.bundle}: the self-test differs from the workstation. "
                "`pepr-edge verify` shows the difference."
            )
    if failed:
        raise MeasurementError("\n".join([*failed, *reasons]))
    if reasons:
        raise InvalidMeasurement("\n".join(reasons))
