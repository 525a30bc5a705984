"""Measure models in a browser's page against onnxruntime in a process, by turns, and write a table.

    python tools/bench_browser.py BUNDLE ... [--rounds N] [--chromium PATH] [--out FILE.json] [--add]

Each bundle with a fallback counts as two models: its own file and float32. In a round each is measured once
in the page (quick rules, one thread, from a file) and right after that natively (one thread). Before the
rounds, the first check of each bundle's own file is timed in fresh browsers. `--add` adds rounds to those in
the file. Needs node, Chromium and `npm ci --prefix tests/web`. The table is written beside the JSON file, as
Markdown.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from tqdm import tqdm

from pepr_edge.bundle.read import read_manifest
from pepr_edge.device.facts import facts, versions
from pepr_edge.kit import web_page, web_runtime
from pepr_edge.measure.runtimes import RUNTIMES
from pepr_edge.records import SessionSettings
from pepr_edge.run_dir.store import write_text
from pepr_edge.text.units import plural, significant

SCRIPTS = Path(__file__).resolve().parents[1] / "tests" / "web"
TURNS = SCRIPTS / "turns.mjs"
FIRST_CHECK = SCRIPTS / "first_check.mjs"
# Fresh browsers for the first check of each bundle.
CHECKS = 5
# Native runs of a turn: as many latencies as the quick rules ask for, and warm-up.
WARM_UP_S = 1.0
QUERIES = 128
NATIVE_S = 3.0


class Form(NamedTuple):
    """One file of a bundle, in the order in which the page lists them."""

    name: str
    variant: str
    file: Path
    shape: tuple[int, ...]


def main() -> None:
    """Measure, and write JSON and Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    parser.add_argument("--out", type=Path, help="write the result here, as JSON, and beside it as Markdown")
    parser.add_argument("--add", action="store_true", help="add the rounds to those in --out")
    arguments = parser.parse_args()
    forms = [form for bundle in arguments.bundles for form in forms_of(bundle)]
    before = stored(arguments.out, forms) if arguments.add else None
    checks = before["first_checks"] if before else first_checks(arguments.bundles, arguments.chromium)
    turns = measure(arguments.bundles, forms, arguments.rounds, arguments.chromium)
    if before:
        for model, of_form in zip(before["models"], turns, strict=True):
            of_form[:0] = model["turns"]
    document = {
        "device": facts().model_dump(mode="json"),
        "versions": {**versions(("pepr_edge", "onnxruntime")), web_runtime.PACKAGE: web_runtime.VERSION},
        "chromium": version_of(arguments.chromium),
        "rounds": len(turns[0]),
        "first_checks": checks,
        "models": [summary(form, of_form) for form, of_form in zip(forms, turns, strict=True)],
    }
    text = json.dumps(document, indent=1) + "\n"
    if arguments.out is None:
        print(text)
        return
    write_text(arguments.out, text)
    write_text(arguments.out.with_suffix(".md"), markdown(document))


def stored(out: Path | None, forms: list[Form]) -> dict[str, Any]:
    """Return what an earlier call wrote of the same models."""
    if out is None or not out.is_file():
        raise SystemExit("--add: no file of an earlier call, expected it as --out. Leave --add out.")
    document = json.loads(out.read_text(encoding="utf-8"))
    if [(model["model"], model["variant"]) for model in document["models"]] != [form[:2] for form in forms]:
        raise SystemExit(f"--add: {out} holds other models. Give the same bundles in the same order.")
    assert isinstance(document, dict)
    return document


def first_checks(bundles: list[Path], chromium: str) -> list[dict[str, Any]]:
    """Return how long the first check of each bundle's own file takes, from a click to its result."""
    checks = []
    for bundle in tqdm(bundles, unit="model"):
        form = forms_of(bundle)[0]
        with tempfile.TemporaryDirectory() as temporary:
            page = written_page([bundle], Path(temporary))
            command = ["node", str(FIRST_CHECK), chromium, page.as_uri()]
            runs = []
            for _ in range(CHECKS):
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                runs.append(json.loads(done.stdout))
            page_bytes = page.stat().st_size
        checks.append(
            {
                "model": form.name,
                "variant": form.variant,
                "model_bytes": form.file.stat().st_size,
                "page_bytes": page_bytes,
                "load_s": statistics.median(run["load_s"] for run in runs),
                "check_s": statistics.median(run["check_s"] for run in runs),
                "runs": runs,
            }
        )
    return checks


def written_page(bundles: list[Path], folder: Path) -> Path:
    """Write the page of a kit."""
    page = folder / "index.html"
    page.write_text(web_page.page(bundles, web_runtime.read(("wasm",)), "benchmark"), encoding="utf-8")
    return page


def forms_of(bundle: Path) -> list[Form]:
    """Return the files of a bundle that the page lists."""
    manifest = read_manifest(bundle)
    name = f"{manifest.architecture}@{manifest.image_size_px}"
    shape = (1, *manifest.input.shape[1:])
    forms = [Form(name, manifest.variant, bundle / "model.onnx", shape)]
    if manifest.fallback is not None:
        forms.append(Form(name, manifest.fallback.variant, bundle / manifest.fallback.file, shape))
    return forms


def measure(bundles: list[Path], forms: list[Form], rounds: int, chromium: str) -> list[list[dict[str, Any]]]:
    """Return the turns of each form: what the page and the native runtime measured."""
    turns: list[list[dict[str, Any]]] = [[] for _ in forms]
    with tempfile.TemporaryDirectory() as temporary:
        page = written_page(bundles, Path(temporary))
        command = ["node", str(TURNS), chromium, page.as_uri()]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for turn in tqdm(range(rounds * len(forms)), unit="turn"):
                number = turn % len(forms)
                in_page = ask(process.stdin, process.stdout, number)
                turns[number].append({"page": in_page, "native": native(forms[number])})
            process.stdin.close()
    return turns


def ask(requests: IO[str], answers: IO[str], number: int) -> dict[str, Any]:
    """Let the page measure one form."""
    requests.write(f"{number}\n")
    requests.flush()
    answer = json.loads(answers.readline())
    assert isinstance(answer, dict)
    return answer


def native(form: Form) -> dict[str, float]:
    """Measure one form in this process, with one thread."""
    runtime = RUNTIMES["onnxruntime"]
    session = runtime.open(form.file, SessionSettings())
    tensor = np.random.default_rng(0).normal(size=form.shape).astype(np.float32)
    begin = time.perf_counter()
    while time.perf_counter() - begin < WARM_UP_S:
        runtime.run(session, tensor)
    latencies: list[float] = []
    begin = time.perf_counter()
    while len(latencies) < QUERIES or time.perf_counter() - begin < NATIVE_S:
        before = time.perf_counter()
        runtime.run(session, tensor)
        latencies.append((time.perf_counter() - before) * 1e3)
    return {"p50_ms": statistics.median(latencies), "p90_ms": float(np.quantile(latencies, 0.9))}


def version_of(program: str) -> str:
    """Return what a program says of its version."""
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def summary(form: Form, turns: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the medians of a form over its turns, the ratio within turns, and the turns."""
    ratios = [turn["page"]["p50_ms"] / turn["native"]["p50_ms"] for turn in turns]
    return {
        "model": form.name,
        "variant": form.variant,
        "page_p50_ms": statistics.median(turn["page"]["p50_ms"] for turn in turns),
        "native_p50_ms": statistics.median(turn["native"]["p50_ms"] for turn in turns),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "turns": turns,
    }


def markdown(document: dict[str, Any]) -> str:
    """Return the page with the table."""
    device = document["device"]
    used = document["versions"]
    rows = [row_of(model) for model in document["models"]]
    lines = [
        "# In the browser, measured",
        "",
        f"`tools/bench_browser.py`, {plural(document['rounds'], 'round')}: each model once in the page of a "
        "web kit, quick rules, one thread, and right after that natively, one thread. Ratios are within "
        "turns; their range over the rounds is in brackets.",
        "",
        f"Device: {device['cpu']}, {device['cores']} cores, {device['os']}; {document['chromium']}, "
        f"onnxruntime-web {used[web_runtime.PACKAGE]} against onnxruntime {used['onnxruntime']}. "
        "Raw values: [browser.json](browser.json). One machine: a phone has another processor and another "
        "browser, which the page measures by itself.",
        "",
        "| model | variant | page, p50 ms | native, p50 ms | page takes, times as long |",
        "|---|---|---|---|---|",
        *rows,
        "",
        "Which of int8 and float32 is faster in a page depends on the model, and it is not as natively: the "
        "page measures both. WebAssembly has vectors of 128 bits; native code uses all of the processor.",
        "",
        f"First check of one model, from the click to its result, in a fresh browser; medians of {CHECKS}.",
        "It unpacks and starts the runtime, opens the model and runs its self-test.",
        "",
        "| model | variant | model, MB | page, MB | page opens, s | first check, s |",
        "|---|---|---|---|---|---|",
        *(check_row(check) for check in document["first_checks"]),
        "",
        "How the page is made: [in a browser](../browser.md).",
    ]
    return "\n".join(lines) + "\n"


def row_of(model: dict[str, Any]) -> str:
    """Return the row of the table for one model."""
    ratios = [significant(ratio, 2) for ratio in (model["ratio"], min(model["ratios"]), max(model["ratios"]))]
    times = [significant(model[name]) for name in ("page_p50_ms", "native_p50_ms")]
    cells = (model["model"], model["variant"], *times, f"{ratios[0]} ({ratios[1]} to {ratios[2]})")
    return f"| {' | '.join(cells)} |"


def check_row(check: dict[str, Any]) -> str:
    """Return the row of the first check of one model."""
    sizes = [significant(check[name] / 1e6) for name in ("model_bytes", "page_bytes")]
    times = [significant(check[name]) for name in ("load_s", "check_s")]
    return f"| {' | '.join((check['model'], check['variant'], *sizes, *times))} |"


if __name__ == "__main__":
    main()
