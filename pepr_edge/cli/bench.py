"""`pepr-edge bench`: measure bundles on this device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import click

from pepr_edge.cli.common import common, print_json, say
from pepr_edge.cli.view import TerminalView
from pepr_edge.errors import InvalidMeasurement
from pepr_edge.records import BenchResult, FieldReport, Provider

if TYPE_CHECKING:
    from pepr_edge.field.bench import Subject

NAME_WIDTH = 40
MISSING = "-"


@click.command("bench")
@click.argument("bundles", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="BUNDLE...")
@click.option("--quick", is_flag=True, help="128 queries and 10 s for each bundle, instead of 1024 and 60 s.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of the runtime. [default: as at home]")
@click.option("--paced", type=click.FloatRange(min=0, min_open=True), metavar="MS", help="Clinic load: one image every MS milliseconds.")
@click.option("--runtime", type=click.Choice(["onnxruntime", "openvino"]), help="What runs the model. [default: as at home]")
@click.option("--provider", type=click.Choice(get_args(Provider)), help="What it runs on. [default: as at home]")
@click.option("--fallback", is_flag=True, help="Measure the float32 file beside each model, by onnxruntime on the CPU.")
@click.option("--watts-per-core", type=click.FloatRange(min=0, min_open=True), metavar="W", help="Declare a busy core's power, for energy.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the report here, to be brought home.")
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
    out: Path | None,
    as_json: bool,
) -> None:
    """Measure latency, memory and cold start of each BUNDLE on this device, and run its self-test.

    Each runs as it was measured at home, as far as this device can; what cannot be is said. Close other programs and plug the device in
    first. Exit status 3: a measurement is INVALID, or a self-test failed.
    """
    from pepr_edge.field.bench import bench

    if fallback and (runtime or provider):
        raise click.UsageError("--fallback runs with onnxruntime on the CPU: leave out --runtime and --provider.")
    subjects = [_subject(bundle, runtime, provider, threads, fallback) for bundle in bundles]
    if quick:
        say("quick rules, 128 queries and 10 s: for figures to decide by, measure without --quick")
    with TerminalView().bar("bundles") as bar:

        def progress(number: int, share: float, median_s: float) -> None:
            note = f"{bundles[number].name} p50 {median_s * 1e3:.2f} ms"
            bar.to(round(100 * (number + share)), 100 * len(bundles), note)

        rules: Literal["full", "quick"] = "quick" if quick else "full"
        paced_s = None if paced is None else paced / 1e3
        report = bench(subjects, rules=rules, paced_s=paced_s, watts_per_core=watts_per_core, out=out, progress=progress)
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        show(report)
        if out is not None:
            click.echo(f"report  {out}")
    _judge(report)


def _subject(bundle: Path, runtime: str | None, provider: Provider | None, threads: int | None, fallback: bool) -> Subject:
    """As at home, unless asked otherwise: the figures are to be compared."""
    from pepr_edge.bundle.verify import read_whole
    from pepr_edge.field.bench import Subject
    from pepr_edge.field.selftest import file_of
    from pepr_edge.field.settings import as_at_home, of_fallback

    manifest = read_whole(bundle)
    # That there is no fallback is said before an hour of measuring, not in it.
    file, home = file_of(bundle, manifest, fallback), manifest.profile.settings
    if fallback:
        say(f"{bundle.resolve().name}: measures its fallback, {file}")
        return Subject(bundle, manifest, of_fallback(home, threads), fallback)
    settings, note = as_at_home(home, runtime=runtime, provider=provider, threads=threads)
    if note:
        say(f"{bundle.resolve().name} {note}")
    return Subject(bundle, manifest, settings)


def show(report: FieldReport) -> None:
    """A table of at most 100 columns, in ms and MiB."""
    width = min(NAME_WIDTH, max(len("bundle"), *(len(result.bundle) for result in report.results)))
    click.echo(f"{'bundle':<{width}} {'p50 ms':>7} {'p90 ms':>7} {'p99 ms':>7} {'CPU ms':>7} {'cold ms':>7} {'MiB':>6} {'result':>7}")
    for result in report.results:
        p, cold_s = result.percentiles_s, result.import_s + result.load_s + result.first_s
        times = " ".join(f"{_ms(value):>7}" for value in (p.p50, p.p90, p.p99, result.cpu_s_per_inference, cold_s))
        memory = MISSING if result.peak_memory_bytes is None else f"{result.peak_memory_bytes / 2**20:.0f}"
        click.echo(f"{_fit(result.bundle, width):<{width}} {times} {memory:>6} {_word(result):>7}")
    if report.emulated:
        click.echo("this machine is emulated: the times are not those of a device")


def _ms(value_s: float | None) -> str:
    if value_s is None:
        return MISSING
    digits = 3 if value_s < 1e-3 else 2 if value_s < 1 else 0
    return f"{value_s * 1e3:.{digits}f}"


def _fit(name: str, width: int) -> str:
    """A long name without its middle: the variant stands at its end."""
    return name if len(name) <= width else f"{name[: width // 2 - 1]}..{name[-(width - width // 2 - 1) :]}"


def _word(result: BenchResult) -> str:
    if result.selftest is not None and not result.selftest.passed:
        return "FAILED"
    return "VALID" if result.validity.valid else "INVALID"


def _judge(report: FieldReport) -> None:
    """Raise for what must not be relied on, after everything was shown."""
    reasons = [f"INVALID {result.bundle}: {reason}" for result in report.results for reason in result.validity.reasons]
    reasons += [
        f"FAILED {result.bundle}: the self-test differs from home. `pepr-edge verify` says how."
        for result in report.results
        if result.selftest is not None and not result.selftest.passed
    ]
    if reasons:
        raise InvalidMeasurement("\n".join(reasons))
