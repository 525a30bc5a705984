"""docs/benchmarks/peers.md: the comparison of tools/peers.py as a page."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence

from peers_records import (
    KINDS,
    OURS,
    Architecture,
    Comparison,
    Peer,
    fastest,
    geometric_mean,
    ours,
    ratio,
    ratios,
    time_to_fastest,
)

from pepr_edge.text.units import listed, plural

WIDTH = 140  # of a line of prose in the page
# The first rows of the summary: what users would take otherwise.
MAIN_PEERS = ("eager", "optimum_static", "olive")


def page(comparison: Comparison, source: str) -> str:
    """Return the page in Markdown; `source` is the name of the JSON file beside it."""
    rows = comparison.rows
    sections = [
        _head(comparison, source),
        _summary(rows),
        _latencies(rows),
        _ratios(rows),
        _choices(rows),
        _int8(rows),
        _quality(rows),
        _resources(rows),
        _failures(rows),
        _machine(comparison, source),
    ]
    return _wrapped("\n\n".join(section for section in sections if section)) + "\n"


def _head(comparison: Comparison, source: str) -> str:
    rules = comparison.rules
    count = plural(len(comparison.rows), "architecture")
    present = _present(comparison.rows) or list(KINDS)
    listing = "\n".join(f"- **{KINDS[name].title}**: {KINDS[name].what}." for name in present)
    alone = ""
    if comparison.runtime is not None:
        alone = f" Only {comparison.runtime} runs ONNX files here, and the processor's bfloat16 is not used."
    return f"""# Our choice beside other tools' files of the same weights

`tools/peers.py` wrote this page from {source}: {count} trained on {comparison.data}, one image at a time,
{plural(comparison.threads, "thread")}. Every peer runs in its own process. All are open at the same time and
run short blocks in turn, in an order that changes every round, until each has {rules.runs} runs, or
{rules.fewest} runs and at least {rules.seconds:g} s. The first run of each block refills the caches and is
not counted. Quantisers calibrate on the same {rules.calibration_images} training images.{alone}

The gate: 99 % of PyTorch eager's accuracy and of its balanced accuracy on {rules.validation_images}
validation images. A file fails it if the upper end of the 95 % interval of its share is lower, so that a loss
is shown.

{listing}"""


def _summary(rows: Sequence[Architecture]) -> str:
    """Return the geometric means over the architectures, and the worst case."""
    lines = []
    other_peers = [name for name in KINDS if name not in (*MAIN_PEERS, OURS)]
    for name in (*MAIN_PEERS, *other_peers):
        values = ratios(rows, name)
        mean = geometric_mean(values)
        if mean is not None:
            lines.append(
                (KINDS[name].title, f"{mean:.2f}", f"{min(values):.2f}", f"{max(values):.2f}", len(values))
            )
    titles = ("latency, multiple of ours", "geometric mean", "minimum", "maximum", "architectures")
    table = _table(titles, lines)
    return f"## In short\n\n{_worst(rows)}\n\n{table}"


def _worst(rows: Sequence[Architecture]) -> str:
    shares = [(share, row) for row in rows if (share := time_to_fastest(row)) is not None]
    if not shares:
        return "Our choice was not measured beside any peer that passes the gate."
    share, row = max(shares, key=lambda pair: pair[0])
    best = fastest(row)
    assert best is not None
    words = f"{share - 1:.1%} slower" if share > 1 else f"{1 - share:.1%} faster"
    mean = geometric_mean(1 / share for share, _ in shares)
    return (
        f"Compared with the fastest peer that passes the gate, our choice is {words} in the worst case "
        f"({row.architecture}, {KINDS[best.name].title}), and {mean:.2f} times as fast in geometric mean "
        f"over {plural(len(shares), 'architecture')}. {_our_quality(rows)}"
    )


def _our_quality(rows: Sequence[Architecture]) -> str:
    """Return where our choice fails the gate, and where its share is below it but no loss is shown."""
    ran = [(row.architecture, choice) for row in rows if (choice := ours(row)) is not None]
    failed = [name for name, choice in ran if not choice.passed]
    lower = [name for name, choice in ran if choice.passed and not choice.keeps_all]
    gate = f"It fails the gate on {listed(failed)}." if failed else "It passes the gate wherever it ran."
    if lower:
        gate += (
            f" On {listed(lower)} its share is below 99 %, but on so few images that is no proof of a loss."
        )
    return gate


def _latencies(rows: Sequence[Architecture]) -> str:
    def cell(row: Architecture, peer: Peer) -> str:
        best = fastest(row)
        text = f"{_ms(peer.p50_s)} ({_ms(peer.p90_s)})"
        text = f"**{text}**" if best is not None and best.name == peer.name else text
        return text if peer.passed else f"{text} †"

    note = "p50 (p90). Bold: fastest peer that passes the gate. †: fails the gate. -: did not run, see below."
    return f"## Latency, ms\n\n{note}\n\n{_matrix(rows, cell)}"


def _ratios(rows: Sequence[Architecture]) -> str:
    def cell(row: Architecture, peer: Peer) -> str:
        return f"{ratio(row, peer.name) or 0:.2f}{'' if peer.passed else ' †'}"

    rows = [row for row in rows if ours(row) is not None]
    return (
        "## How many times as long as ours\n\nBy medians. †: fails the "
        f"gate.\n\n{_matrix(rows, cell, without=(OURS,))}"
        if rows
        else ""
    )


def _choices(rows: Sequence[Architecture]) -> str:
    body = []
    for row in rows:
        share = time_to_fastest(row)
        latency = f"{share:.3f}" if share else "-"
        for peer in row.peers:
            if peer.name == OURS:
                parameters = f"{row.num_params / 1e6:.2f}"
                body.append((row.architecture, parameters, peer.made, peer.reason or latency))
    titles = ("architecture", "parameters (M)", "choice", "time / fastest peer above the gate")
    return f"## Our choices\n\n{_table(titles, body)}"


def _int8(rows: Sequence[Architecture]) -> str:
    """Return how much faster our choice is than float32, and what became of each int8 variant."""
    if not any(row.int8 for row in rows):
        return ""
    body = [cells for row in rows for cells in _trials(row)]
    titles = ("architecture", "variant", "time / float32", "outcome", "reason", "made")
    return f"## int8, and what stopped it\n\n{_speed(rows)}{_table(titles, body)}"


def _speed(rows: Sequence[Architecture]) -> str:
    """Return how many times as fast as float32 our choice is, also with float32 where its share is low."""
    speeds = ratios(rows, "onnxruntime")
    mean = geometric_mean(speeds)
    if mean is None:
        return ""
    choices = [(ratio(row, "onnxruntime"), ours(row)) for row in rows]
    strict = [
        speed if choice.keeps_all else 1.0
        for speed, choice in choices
        if speed is not None and choice is not None
    ]
    lower = ""
    if strict != speeds:
        lower = f" With float32 where a share is below 99 %, it would be {geometric_mean(strict):.2f} times."
    return (
        f"Our choice is {mean:.2f} times as fast as onnxruntime's float32 in geometric mean over "
        f"{plural(len(speeds), 'architecture')}, {min(speeds):.2f} times in the worst case.{lower}\n\n"
    )


def _trials(row: Architecture) -> list[tuple[str, ...]]:
    """Return the cells of each int8 variant that was tried; those that were not, by reason."""
    cells = []
    left: dict[str, list[str]] = {}
    for trial in row.int8:
        if trial.outcome == "not tried":
            left.setdefault(trial.reason, []).append(trial.variant)
        else:
            share = "-" if trial.ratio_to_float32 is None else f"{trial.ratio_to_float32:.2f}"
            cells.append((row.architecture, trial.variant, share, trial.outcome, trial.reason, trial.remedy))
    for reason, names in left.items():
        cells.append((row.architecture, ", ".join(names), "-", "not tried", reason, ""))
    return cells


def _quality(rows: Sequence[Architecture]) -> str:
    def cell(row: Architecture, peer: Peer) -> str:
        if peer.quality is None:
            return "-"
        shares = [peer.quality.kept.get(name) for name in ("balanced_accuracy", "accuracy")]
        words = " / ".join("-" if share is None else f"{100 * share:.1f}" for share in shares)
        return f"{words}, {peer.quality.flips.count}"

    note = (
        "Validation: balanced accuracy / accuracy in % of PyTorch eager's, and decisions that differ from it."
    )
    return f"## Quality\n\n{note}\n\n{_matrix(rows, cell)}"


def _resources(rows: Sequence[Architecture]) -> str:
    def cell(row: Architecture, peer: Peer) -> str:
        return f"{_mib(peer.size_bytes)} / {_mib(peer.peak_memory_bytes)}"

    return f"## File and peak memory of the process, MiB\n\n{_matrix(rows, cell)}"


def _failures(rows: Sequence[Architecture]) -> str:
    body = []
    for row in rows:
        body += [(row.architecture, KINDS[peer.name].title, peer.reason) for peer in row.peers if peer.reason]
    return f"## Failures\n\n{_table(('architecture', 'peer', 'reason'), body)}" if body else ""


def _machine(comparison: Comparison, source: str) -> str:
    """Return the machine, the versions and the commands."""
    device = comparison.device
    environments = {
        "": comparison.versions,
        "Olive's environment: ": comparison.olive_versions,
        "NNCF's environment: ": comparison.nncf_versions,
    }
    details = []
    loads = [row.load_before for row in comparison.rows] + [row.load_after for row in comparison.rows]
    measured = [load for load in loads if load is not None]
    if measured:
        load_range = f"{min(measured):.1f} to {max(measured):.1f}"
        details.append(f"- load average before and after each architecture: {load_range}")
    for environment, versions in environments.items():
        if versions:
            names = ", ".join(f"{name} {version}" for name, version in versions.items())
            details.append(f"- {environment}{names}")
    listing = "\n".join(details)
    return f"""## Machine

- {device.cpu}, {plural(device.cores, "core")}, {device.os}, Python {device.python}
- instruction sets: {", ".join(device.isa)}; optimum's preset: {comparison.preset}
{listing}

{_commands(comparison, source)}"""


def _commands(comparison: Comparison, source: str) -> str:
    """Return how the page was made; a page of one runtime has a recipe of its own."""
    if comparison.runtime is not None:
        return f"""    pepr-edge run tools/peers_commodity.toml --data {comparison.data} --out runs/commodity
    python tools/peers.py runs/commodity --runtime {comparison.runtime} --out docs/benchmarks/{source}"""
    return f"""    pepr-edge run tools/peers.toml --data {comparison.data} --out runs/peers
    python tools/peers.py runs/peers --olive-python OLIVE/bin/python --nncf-python NNCF/bin/python"""


def _present(rows: Sequence[Architecture]) -> list[str]:
    """Return the peers of any architecture, in their order in the tables."""
    present = {peer.name for row in rows for peer in row.peers}
    return [name for name in KINDS if name in present]


def _matrix(
    rows: Sequence[Architecture], cell: Callable[[Architecture, Peer], str], without: Sequence[str] = ()
) -> str:
    """Return a table of architectures by peers; a dash for a peer without latencies."""
    names = [name for name in _present(rows) if name not in without]
    body = []
    for row in rows:
        measured = {peer.name: peer for peer in row.peers if peer.latencies_s}
        cells = [cell(row, measured[name]) if name in measured else "-" for name in names]
        body.append((row.architecture, *cells))
    return _table(("architecture", *(KINDS[name].title for name in names)), body)


def _table(titles: Sequence[str], body: Sequence[Sequence[object]]) -> str:
    return "\n".join([_table_line(titles), _table_line(["---"] * len(titles)), *map(_table_line, body)])


def _table_line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(str(cell).replace("|", "/") for cell in cells) + " |"


def _wrapped(text: str) -> str:
    """Wrap the prose of a page; headings, tables and code stay as they are."""
    return "\n\n".join(
        block if block.startswith(("#", "|", "    ")) else _filled(block) for block in text.split("\n\n")
    )


def _filled(block: str) -> str:
    start = "- " if block.startswith("- ") else ""
    texts = ("\n" + block).split("\n- ")[1:] if start else [block]
    how = {
        "initial_indent": start,
        "subsequent_indent": " " * len(start),
        "break_long_words": False,
        "break_on_hyphens": False,
    }
    return "\n".join(textwrap.fill(" ".join(text.split()), WIDTH, **how) for text in texts)  # type: ignore[arg-type]


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.3g}"


def _mib(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else f"{size_bytes / 2**20:.3g}"
