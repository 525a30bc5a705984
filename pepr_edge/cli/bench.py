"""`pepr-edge bench`: measure bundles on this device."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from pepr_edge.cli.common import common, print_json, say
from pepr_edge.cli.progress import TerminalView
from pepr_edge.errors import InvalidMeasurement, MeasurementError
from pepr_edge.records import BenchResult, FieldReport, Provider

if TYPE_CHECKING:
    from pepr_edge.field.bench import Subject
    from pepr_edge.measure.profile import EnergyCounter

NAME_WIDTH = 40
MISSING = "-"


@click.command("bench")
@click.argument("bundles", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="BUNDLE...")
@click.option("--quick", is_flag=True, help="128 queries and 10 s for each bundle, instead of 1024 and 60 s.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads of the runtime. [default: as at home]")
@click.option(
    "--paced",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MS",
    help="Clinic load: one image every MS milliseconds.",
)
@click.option(
    "--runtime",
    type=click.Choice(["onnxruntime", "openvino"]),
    help="What runs the model. [default: as at home]",
)
@click.option(
    "--provider", type=click.Choice(get_args(Provider)), help="What it runs on. [default: as at home]"
)
@click.option(
    "--fallback", is_flag=True, help="Measure the float32 file beside each model, by onnxruntime on the CPU."
)
@click.option(
    "--watts-per-core",
    type=click.FloatRange(min=0, min_open=True),
    metavar="W",
    help="Declare a busy core's power, for energy where no counter can be read.",
)
@click.option("--sweep", is_flag=True, help="Measure with 1, 2, 4 ... threads too, up to all usable cores.")
@click.option(
    "--no-extras",
    is_flag=True,
    help="Leave out what is measured besides: preprocessing, several images at once.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the report here, to be brought home.",
)
@click.option("--force", is_flag=True, help="Replace an --out that is no report, too.")
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
    as_json: bool,
) -> None:
    """Measure latency, memory and cold start of each BUNDLE on this device, and run its self-test.

    Each runs as it was measured at home, as far as this device can; what cannot be is said. Close other programs and plug the device in
    first. Exit status 3: a measurement is INVALID, or a self-test failed; 1: a bundle could not be measured, the others were.
    """
    from pepr_edge.device.cpu import emulated
    from pepr_edge.field.bench import Interrupted, Plan, bench, check_out

    if fallback and (runtime or provider):
        raise click.UsageError(
            "--fallback runs with onnxruntime on the CPU: leave out --runtime and --provider."
        )
    if paced and sweep:
        raise click.UsageError("--sweep measures images that follow each other: leave out --paced.")
    check_out(out, bundles, force)
    subjects = [_subject(bundle, runtime, provider, threads, fallback) for bundle in bundles]
    if quick:
        say("quick rules, 128 queries and 10 s: for figures to decide by, measure without --quick")
    extras = not (no_extras or paced or emulated())
    plan = Plan(
        "quick" if quick else "full",
        None if paced is None else paced / 1e3,
        watts_per_core,
        extras,
        sweep,
        _counter(),
    )
    view, failed = TerminalView(), list[str]()

    def warn(words: str) -> None:
        view.say(f"warning: {words}")

    try:
        with view.bar("bundles") as bar:

            def progress(number: int, share: float, median_s: float) -> None:
                note = f"{bundles[number].name} p50 {median_s * 1e3:.2f} ms"
                bar.to(round(100 * (number + share)), 100 * len(bundles), note)

            with ending_is_an_interrupt():
                report = bench(subjects, plan, out=out, progress=progress, warn=warn, fail=failed.append)
    except Interrupted as cut:
        if cut.report is not None:
            say(f"{out}: {_holds(cut.report)}")
        raise
    if not report.results:
        raise MeasurementError("\n".join(failed))
    if as_json:
        print_json(report.model_dump(mode="json"))
    else:
        show(report)
        if out is not None:
            click.echo(f"report  {out}")
    _judge(report, failed)


def _counter() -> EnergyCounter | None:
    """The processor's energy counter, where it can be read and is the device's own."""
    from pepr_edge.device.cpu import emulated
    from pepr_edge.energy.counter import cpu_counter
    from pepr_edge.measure.profile import EnergyCounter

    found = None if emulated() else cpu_counter()
    return None if found is None else EnergyCounter(*found)


@contextmanager
def ending_is_an_interrupt() -> Iterator[None]:
    """Whoever ends this process (SIGTERM, or its terminal with SIGHUP) ends it as Ctrl-C does: what was measured is kept."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    # nohup has SIGHUP ignored, and means it. None: somebody's who is not Python, and cannot be put back.
    taken = [number for number in numbers if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    before = {number: signal.signal(number, interrupt) for number in taken}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _holds(report: FieldReport) -> str:
    """What a report that was cut short holds, in words."""
    torn = [
        f"{len(result.latencies_s)} latencies of {result.bundle}"
        for result in report.results
        if result.partial
    ]
    whole = len(report.results) - len(torn)
    parts = [f"{whole} whole result{'s' * (whole != 1)}"] * (whole > 0) + torn
    return f"the report so far, marked partial: {' and '.join(parts)}"


def _subject(
    bundle: Path, runtime: str | None, provider: Provider | None, threads: int | None, fallback: bool
) -> Subject:
    """As at home, unless asked otherwise: the figures are to be compared."""
    from pepr_edge.field.bench import Subject
    from pepr_edge.field.verify import read_whole
    from pepr_edge.measure.selftest import file_of
    from pepr_edge.measure.settings import as_at_home, of_fallback

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
    click.echo(
        f"{'bundle':<{width}} {'p50 ms':>7} {'p90 ms':>7} {'p99 ms':>7} {'CPU ms':>7} {'cold ms':>7} {'MiB':>6} {'result':>7}"
    )
    for result in report.results:
        p, cold_s = result.percentiles_s, result.import_s + result.load_s + result.first_s
        times = " ".join(
            f"{_ms(value):>7}" for value in (p.p50, p.p90, p.p99, result.cpu_s_per_inference, cold_s)
        )
        memory = MISSING if result.peak_memory_bytes is None else f"{result.peak_memory_bytes / 2**20:.0f}"
        click.echo(f"{_fit(result.bundle, width):<{width}} {times} {memory:>6} {_word(result):>7}")
    for result in report.results:
        if more := _more(result):
            click.echo("\n  ".join([_fit(result.bundle, width), *more]))
    if report.emulated:
        click.echo("this machine is emulated: the times are not those of a device")


def _more(result: BenchResult) -> list[str]:
    """What was measured besides, in words; lines of their own."""
    lines, made = [], result.preprocessing
    rates = [
        f"{given.batch} at once: {given.images_per_s:.0f} images/s"
        for given in result.throughput
        if given.batch > 1
    ]
    if made is not None:
        lines.append(
            "; ".join([f"image to tensor {_ms(made.median_s)} ms ({made.source_px} px JPEG)", *rates])
        )
    times = {timing.threads: timing.p50_s for timing in result.thread_sweep if timing.p50_s is not None}
    if (single := times.pop(1, None)) and times:
        shares = ", ".join(f"{time_s / single:.2f}" for time_s in times.values())
        lines.append(f"with {', '.join(map(str, times))} threads: {shares} of the time of 1")
    return lines


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


def _judge(report: FieldReport, failed: list[str]) -> None:
    """Raise for what could not be measured, and what must not be relied on, after everything was shown."""
    reasons = [
        f"INVALID {result.bundle}: {reason}"
        for result in report.results
        for reason in result.validity.reasons
    ]
    reasons += [
        f"FAILED {result.bundle}: the self-test differs from home. `pepr-edge verify` says how."
        for result in report.results
        if result.selftest is not None and not result.selftest.passed
    ]
    if failed:
        raise MeasurementError("\n".join([*failed, *reasons]))
    if reasons:
        raise InvalidMeasurement("\n".join(reasons))
