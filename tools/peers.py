"""Compare our choice with other tools' files of the same weights: speed, quality, size, memory.

    pepr-edge run tools/peers.toml --data pneumoniamnist --out runs/peers
    python tools/peers.py runs/peers --olive-python PYTHON --nncf-python PYTHON

    pepr-edge run tools/peers_commodity.toml --data pneumoniamnist --out runs/commodity
    python tools/peers.py runs/commodity --runtime onnxruntime --out docs/benchmarks/peers_commodity.json

PYTHON: of an environment with olive-ai, onnx, onnxruntime and `requests`, or with nncf, onnx and openvino;
without it, that peer is left out. Writes the JSON file, and the page peers.md beside it, after each
architecture. Existing rows with the same inputs are kept. Each architecture takes some minutes; run nothing
else on the machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from peers_make import (
    PLAIN_INT8,
    Subject,
    Tools,
    check_runtime,
    make_all,
    preset,
    subjects,
    versions_there,
)
from peers_measure import measure
from peers_records import Architecture, Comparison, Rules
from peers_table import page
from tqdm import tqdm

from pepr_edge import data as datasets
from pepr_edge.data import Dataset
from pepr_edge.device.facts import FIELD_PACKAGES, facts, versions
from pepr_edge.errors import PeprError, RunError
from pepr_edge.images.preprocess import to_tensor
from pepr_edge.recipe.resolve import data_settings
from pepr_edge.recipe.variants import load as load_variant
from pepr_edge.records import Interpolation, Preprocess
from pepr_edge.run_dir.reader import Results, load
from pepr_edge.run_dir.store import read_record, sha256_file, stage_key, write_record, write_text

PACKAGES = (*FIELD_PACKAGES, "onnx", "optimum", "optimum-onnx", "timm", "torch")
OLIVE_PACKAGES = ("olive-ai", "onnx", "onnxruntime", "requests")
NNCF_PACKAGES = ("nncf", "onnx", "openvino")
# With blocks of 5 these are at least 40 rounds of all peers: enough for disturbances to affect each peer
# equally.
RUNS = 200
SECONDS = 20.0
MIN_RUNS = 30
ImageSet = tuple[int, Interpolation]


@dataclass(frozen=True)
class Plan:
    """The settings of one call of this tool; `empty` is the comparison without rows."""

    empty: Comparison
    tools: Tools
    work: Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare all architectures of a run directory; return 1, after a line about the fault, if one fails."""
    options = _parser().parse_args(arguments)
    # Child processes inherit both, and each library reads one of them.
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(options.threads)
    with tempfile.TemporaryDirectory() as work:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(work, "inductor"))
        try:
            return compare(options, Path(work))
        except PeprError as fault:
            print(f"error: {fault}", file=sys.stderr)
            return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="run directory of tools/peers.toml")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("docs/benchmarks/peers.json"),
        help="the JSON file; the page is written beside it",
    )
    parser.add_argument("--data", help="the images, if they are not where the recipe says")
    parser.add_argument(
        "--only",
        type=lambda text: tuple(text.split(",")),
        default=(),
        metavar="ARCH,...",
        help="only these architectures",
    )
    parser.add_argument("--olive-python", type=Path, help="Python of an environment with olive-ai")
    parser.add_argument("--nncf-python", type=Path, help="Python of an environment with nncf")
    parser.add_argument(
        "--runtime",
        choices=["onnxruntime"],
        help="compare only what runs under this runtime, beside PyTorch; the run must have used it",
    )
    parser.add_argument("--threads", type=int, default=1, help="threads of every peer")
    parser.add_argument(
        "--runs",
        type=int,
        default=RUNS,
        help=f"minimum runs of every peer; {MIN_RUNS} are enough after {SECONDS:g} s",
    )
    parser.add_argument(
        "--calibration-images", type=int, help=f"default: the number of the variant {PLAIN_INT8}"
    )
    parser.add_argument("--fresh", action="store_true", help="measure existing rows again")
    return parser


def compare(options: argparse.Namespace, work: Path) -> int:
    """Measure the missing rows and write the files after each architecture; return 1 if one of them fails."""
    results = load(options.run)
    trained = subjects(results, options.threads)
    if not trained:
        raise RunError(f"{options.run}: nothing in it is trained and exported as fp32. Run the recipe first.")
    check_runtime(trained, options.runtime)
    architectures = {name: subject.trained.candidate.architecture for name, subject in trained.items()}
    wanted = [name for name in trained if not options.only or architectures[name] in options.only]
    absent = set(options.only) - set(architectures.values())
    if absent:
        raise RunError(
            f"--only {','.join(sorted(absent))}: not trained and exported in {options.run}, "
            f"which has {', '.join(trained)}. Correct --only."
        )
    specs = [subject.trained.preprocess for subject in trained.values()]
    images = images_of(results, options.data, specs, work)
    plan = _plan(options, next(iter(images.values())), work)
    keys = {name: _key(plan.empty, subject) for name, subject in trained.items()}
    rows = _current_rows(options.out, keys)
    if options.fresh:
        rows = {name: row for name, row in rows.items() if name not in wanted}
    failures = 0
    missing = [name for name in wanted if name not in rows]
    with tqdm(missing, desc="architectures", disable=not sys.stderr.isatty()) as bar:
        for name in bar:
            subject = trained[name]
            dataset = images[image_set(subject.trained.preprocess)]
            try:
                rows[name] = _compare_architecture(plan, keys[name], subject, dataset, bar.set_postfix_str)
            except PeprError as fault:
                failures += 1
                bar.write(f"error: {fault}", file=sys.stderr)
            _write(options.out, plan.empty, [rows[name] for name in trained if name in rows])
    # Write the page even if no row is new: its text may have changed.
    _write(options.out, plan.empty, [rows[name] for name in trained if name in rows])
    return 1 if failures else 0


def images_of(
    results: Results, source: str | None, specs: Collection[Preprocess], work: Path
) -> dict[ImageSet, Dataset]:
    """Return the images of the run's trainings, by size and filter, with the run's positive class.

    Raises:
        DataError: they cannot be read.
        RunError: they differ from those of the run.
    """
    recipe = results.recipe
    if source is not None:
        recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"source": source})})
    found: dict[ImageSet, Dataset] = {}
    for px, interpolation in sorted({image_set(spec) for spec in specs}):
        settings = data_settings(recipe, px, interpolation)
        folder = work / "data" / f"{px}-{interpolation}"
        datasets.prepare(settings, folder)
        dataset = datasets.load(folder)
        data = results.info.data
        sha256 = dataset.info.sha256
        expected = data.sha256
        if sha256 != expected:
            raise RunError(
                f"{settings.source}: sha256 {sha256[:12]}..., expected that of the run, {expected[:12]}... "
                "Give its images with --data."
            )
        # Images tell nothing of the positive class, which the run has chosen.
        info = dataset.info.replace(positive=data.positive, positive_by=data.positive_by)
        found[px, interpolation] = replace(dataset, info=info)
    return found


def image_set(spec: Preprocess) -> ImageSet:
    """Return the size and filter of a candidate's images."""
    return spec.image_size_px, spec.interpolation


def _plan(options: argparse.Namespace, images: Dataset, work: Path) -> Plan:
    quantise = load_variant(PLAIN_INT8).quantise
    assert quantise is not None
    requested = options.calibration_images or quantise.calibration_images
    rules = Rules(
        runs=options.runs,
        seconds=SECONDS,
        fewest=min(MIN_RUNS, options.runs),
        calibration_images=min(requested, images.info.splits["train"].images),
        validation_images=images.info.splits["val"].images,
    )
    device = facts()
    tools = Tools(
        _python(options.olive_python), _python(options.nncf_python), preset(device.isa, device.architecture)
    )
    assert __doc__ is not None
    empty = Comparison(
        what=__doc__.splitlines()[0],
        threads=options.threads,
        data=images.info.name,
        data_sha256=images.info.sha256,
        preset=tools.preset,
        rules=rules,
        device=device.model_copy(update={"versions": {}}),
        versions=versions(PACKAGES),
        olive_versions=dict(versions_there(tools.olive, OLIVE_PACKAGES)),
        nncf_versions=dict(versions_there(tools.nncf, NNCF_PACKAGES)),
        runtime=options.runtime,
    )
    return Plan(empty, tools, work)


def _python(path: Path | None) -> Path | None:
    # Do not resolve the link in an environment's bin folder: Python finds the environment by it.
    return None if path is None else path.absolute()


def _key(plan: Comparison, subject: Subject) -> str:
    """Hash everything on which the figures of an architecture depend."""
    files = [sha256_file(path) for path in (subject.checkpoint, subject.base, subject.chosen)]
    versions_ = [dict(plan.versions), dict(plan.olive_versions), dict(plan.nncf_versions)]
    machine = [plan.device.cpu, plan.threads, plan.preset]
    runtimes = [] if plan.runtime is None else [plan.runtime]  # keys without the option stay as they were
    return stage_key(
        "peers",
        plan.schema_version,
        subject.trained.key,
        files,
        subject.settings,
        plan.rules,
        machine,
        versions_,
        *runtimes,
    )


def _current_rows(path: Path, keys: Mapping[str, str]) -> dict[str, Architecture]:
    """Return the existing rows that have the same inputs, by candidate."""
    if not path.is_file():
        return {}
    by_key = {row.key: row for row in read_record(path, Comparison).rows}
    return {name: by_key[key] for name, key in keys.items() if key in by_key}


def _compare_architecture(
    plan: Plan, key: str, subject: Subject, images: Dataset, on_message: Callable[[str], object]
) -> Architecture:
    """Make the files of one architecture, measure them and judge their quality."""
    pixels = images.splits["train"][0]
    count = plan.empty.rules.calibration_images
    chosen = np.sort(
        np.random.default_rng(subject.trained.seed).choice(len(pixels), size=count, replace=False)
    )
    with tempfile.TemporaryDirectory(dir=plan.work) as folder:
        name = subject.trained.candidate.architecture
        on_message(f"{name}: making the files")
        tensors = to_tensor(np.asarray(pixels[chosen]), subject.trained.preprocess)
        made = make_all(subject, tensors, plan.tools, plan.empty.threads, Path(folder), plan.empty.runtime)
        validation = images.splits["val"]
        return measure(
            key,
            subject,
            made,
            np.asarray(validation[0]),
            np.asarray(validation[1]),
            plan.empty.rules,
            lambda message: on_message(f"{name}: {message}"),
        )


def _write(path: Path, empty: Comparison, rows: Sequence[Architecture]) -> None:
    """Write the JSON file, and the page beside it."""
    comparison = empty.model_copy(update={"rows": tuple(rows)})
    write_record(path, comparison)
    write_text(path.with_suffix(".md"), page(comparison, path.name))


if __name__ == "__main__":
    sys.exit(main())
