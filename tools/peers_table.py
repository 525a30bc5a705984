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
    behind,
    fastest,
    geometric_mean,
    ratio,
    ratios,
)

WIDTH = 140
# Which ratios stand first: those to peers that users would otherwise take.
FIRST = ("eager", "optimum_static", "olive")


def page(found: Comparison) -> str:
    """The whole page in Markdown."""
    sections = [
        _head(found),
        _summary(found.rows),
        _latencies(found.rows),
        _ratios(found.rows),
        _choices(found.rows),
        _quality(found.rows),
    ]
    sections += [_resources(found.rows), _failures(found.rows), _machine(found)]
    return _wrapped("\n\n".join(section for section in sections if section)) + "\n"


def _head(found: Comparison) -> str:
    rules, threads = found.rules, _counted(found.threads, "thread")
    listing = "\n".join(f"- **{kind.title}**: {kind.what}." for kind in KINDS.values())
    return f"""# Our choice beside what other tools make of the same weights

`tools/peers.py` wrote this page from peers.json: {_counted(len(found.rows), "architecture")} trained on {found.data}, one image at a time,
{threads}. Every peer runs in a process of its own; all are open at once and take short blocks in turn, in an order that changes every
round, until each has {rules.runs} runs, or {rules.fewest} in at least {rules.seconds:g} s. The first run of each block, after another
process had the caches, is not counted. Quantisers calibrate on the same {rules.calibration_images} training images.

The gate: at least 99 % of PyTorch eager's accuracy and of its balanced accuracy on {rules.validation_images} validation images.

{listing}"""


def _summary(rows: Sequence[Architecture]) -> str:
    """Geometric means over the architectures, and the worst that happens."""
    lines = []
    for name in (*FIRST, *(name for name in KINDS if name not in (*FIRST, OURS))):
        found = ratios(rows, name)
        if (mean := geometric_mean(found)) is not None:
            lines.append(
                (KINDS[name].title, f"{mean:.2f}", f"{min(found):.2f}", f"{max(found):.2f}", len(found))
            )
    table = _table(
        ("how many times as long as ours", "geometric mean", "least", "most", "architectures"), lines
    )
    return f"## In short\n\n{_worst(rows)}\n\n{table}"


def _worst(rows: Sequence[Architecture]) -> str:
    shares = [(share, row) for row in rows if (share := behind(row)) is not None]
    if not shares:
        return "Nothing of ours was measured beside a peer that passes the gate."
    share, row = max(shares, key=lambda pair: pair[0])
    best = fastest(row)
    assert best is not None
    words = f"{share - 1:.1%} slower" if share > 1 else f"{1 - share:.1%} faster"
    lost = [
        row.architecture
        for row in rows
        for peer in row.peers
        if peer.name == OURS and peer.latencies_s and not peer.passed
    ]
    gate = f"It fails the gate on {', '.join(lost)}." if lost else "It passes the gate wherever it ran."
    mean = geometric_mean(1 / share for share, _ in shares)
    return (
        f"Against the fastest peer that passes the gate, our choice is {words} where it does worst ({row.architecture}, "
        f"{KINDS[best.name].title}), and {mean:.2f} times as fast in geometric mean over {_counted(len(shares), 'architecture')}. {gate}"
    )


def _latencies(rows: Sequence[Architecture]) -> str:
    def cell(row: Architecture, peer: Peer) -> str:
        best = fastest(row)
        text = f"{_ms(peer.p50_s)} ({_ms(peer.p90_s)})"
        text = f"**{text}**" if best is not None and best.name == peer.name else text
        return text if peer.passed else f"{text} †"

    note = "p50 (p90). Bold: the fastest peer that passes the gate. †: fails the gate. -: did not run, see below."
    return f"## Latency, ms\n\n{note}\n\n{_matrix(rows, cell)}"


def _ratios(rows: Sequence[Architecture]) -> str:
    def cell(row: Architecture, peer: Peer) -> str:
        return f"{ratio(row, peer.name) or 0:.2f}{'' if peer.passed else ' †'}"

    rows = [row for row in rows if any(peer.name == OURS and peer.latencies_s for peer in row.peers)]
    return (
        f"## How many times as long as ours\n\nBy medians. †: fails the gate.\n\n{_matrix(rows, cell, without=(OURS,))}"
        if rows
        else ""
    )


def _choices(rows: Sequence[Architecture]) -> str:
    body = [
        (
            row.architecture,
            f"{row.num_params / 1e6:.2f}",
            peer.made,
            peer.reason or (f"{share:.3f}" if (share := behind(row)) else "-"),
        )
        for row in rows
        for peer in row.peers
        if peer.name == OURS
    ]
    return f"## What we chose\n\n{_table(('architecture', 'parameters (M)', 'choice', 'time / fastest gated peer'), body)}"


def _quality(rows: Sequence[Architecture]) -> str:
    def cell(row: Architecture, peer: Peer) -> str:
        if peer.quality is None:
            return "-"
        shares = [peer.quality.kept.get(name) for name in ("balanced_accuracy", "accuracy")]
        words = " / ".join("-" if share is None else f"{100 * share:.1f}" for share in shares)
        return f"{words}, {peer.quality.flips.count}"

    note = "Balanced accuracy / accuracy on validation, in % of PyTorch eager's, and decisions that differ from its."
    return f"## Quality\n\n{note}\n\n{_matrix(rows, cell)}"


def _resources(rows: Sequence[Architecture]) -> str:
    def cell(row: Architecture, peer: Peer) -> str:
        return f"{_mib(peer.size_bytes)} / {_mib(peer.peak_memory_bytes)}"

    return f"## File and peak memory of the process, MiB\n\n{_matrix(rows, cell)}"


def _failures(rows: Sequence[Architecture]) -> str:
    body = [
        (row.architecture, KINDS[peer.name].title, peer.reason)
        for row in rows
        for peer in row.peers
        if peer.reason
    ]
    return f"## What did not run\n\n{_table(('architecture', 'peer', 'reason'), body)}" if body else ""


def _machine(found: Comparison) -> str:
    """The machine and the versions, and how to do it again."""
    device = found.device
    places = {
        "": found.versions,
        "Olive's environment: ": found.olive_versions,
        "NNCF's environment: ": found.nncf_versions,
    }
    versions = "\n".join(
        f"- {place}{', '.join(f'{name} {number}' for name, number in those.items())}"
        for place, those in places.items()
        if those
    )
    loads = [load for row in found.rows for load in (row.load_before, row.load_after) if load is not None]
    load = (
        f"\n- load average before and after each architecture: {min(loads):.1f} to {max(loads):.1f}"
        if loads
        else ""
    )
    return f"""## Machine

- {device.cpu}, {_counted(device.cores, "core")}, {device.os}, Python {device.python}
- instruction sets: {", ".join(device.isa)}; optimum's preset: {found.preset}{load}
{versions}

    pepr-edge run tools/peers.toml --data pneumoniamnist --out runs/peers
    python tools/peers.py runs/peers --out docs/benchmarks/peers.json --olive-python OLIVE/bin/python --nncf-python NNCF/bin/python"""


def _matrix(
    rows: Sequence[Architecture], cell: Callable[[Architecture, Peer], str], without: Sequence[str] = ()
) -> str:
    """Architectures by peers; a dash where one has no latencies."""
    names = [
        name
        for name in KINDS
        if name not in without and any(peer.name == name for row in rows for peer in row.peers)
    ]
    body = []
    for row in rows:
        those = {peer.name: peer for peer in row.peers}
        body.append(
            (
                row.architecture,
                *(
                    cell(row, those[name]) if name in those and those[name].latencies_s else "-"
                    for name in names
                ),
            )
        )
    return _table(("architecture", *(KINDS[name].title for name in names)), body)


def _table(titles: Sequence[str], body: Sequence[Sequence[object]]) -> str:
    lines = [titles, ["---"] * len(titles), *body]
    return "\n".join(f"| {' | '.join(str(value).replace('|', '/') for value in line)} |" for line in lines)


def _wrapped(text: str) -> str:
    """A page with its prose in lines of equal width; headings, tables and code stay as they are."""
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


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.3g}"


def _mib(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else f"{size_bytes / 2**20:.3g}"
