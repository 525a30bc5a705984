"""Our choice beside what other tools make of the same weights, on the same device, interleaved in one run: speed, quality, size, memory.

    pepr-edge run tools/peers.toml --data pneumoniamnist --out runs/peers
    python tools/peers.py runs/peers --out docs/benchmarks/peers.json --olive-python PYTHON --nncf-python PYTHON

PYTHON: of an environment that has olive-ai, onnx, onnxruntime and `requests`, or nncf, onnx and openvino; without it that peer is left out.
Writes the JSON, and beside it the page peers.md, after each architecture; what is there of the same inputs is kept. Some minutes for each
architecture; nothing else should run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from peers_make import PLAIN_INT8, Subject, Tools, make_all, preset, subjects, versions_there
from peers_measure import measure
from peers_records import Architecture, Comparison, Rules
from peers_table import page
from tqdm import tqdm

from pepr_edge import data as datasets
from pepr_edge.data import Dataset
from pepr_edge.device.facts import FIELD_PACKAGES, facts, versions
from pepr_edge.errors import PeprError, RunError
from pepr_edge.images.preprocess import to_tensor
from pepr_edge.recipe.variants import load as load_variant
from pepr_edge.run_dir.reader import Results, load
from pepr_edge.run_dir.store import read_record, sha256_file, stage_key, write_record, write_text

PACKAGES = (*FIELD_PACKAGES, "onnx", "optimum", "optimum-onnx", "timm", "torch")
OLIVE_PACKAGES = ("olive-ai", "onnx", "onnxruntime", "requests")
NNCF_PACKAGES = ("nncf", "onnx", "openvino")
# Blocks of 5, so at least 40 rounds of all of them: enough for the machine's moods to fall on each alike.
RUNS, SECONDS, FEWEST = 200, 20.0, 30


@dataclass(frozen=True)
class Plan:
    """All of a run of this tool but its architectures: `empty` is the comparison without rows."""

    empty: Comparison
    tools: Tools
    work: Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare all architectures of a run directory; 1 where something cannot be compared, with one line on why."""
    options = _parser().parse_args(arguments)
    # Inherited by every process that is started from here, whatever its library goes by.
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
        help="the JSON file; the page goes beside it",
    )
    parser.add_argument("--data", help="the images, where they are not where the recipe says")
    parser.add_argument(
        "--only",
        type=lambda text: tuple(text.split(",")),
        default=(),
        metavar="ARCH,...",
        help="only these architectures",
    )
    parser.add_argument("--olive-python", type=Path, help="Python of an environment with olive-ai")
    parser.add_argument("--nncf-python", type=Path, help="Python of an environment with nncf")
    parser.add_argument("--threads", type=int, default=1, help="of every peer")
    parser.add_argument(
        "--runs", type=int, default=RUNS, help=f"of every peer at least, or {FEWEST} in {SECONDS:g} s"
    )
    parser.add_argument(
        "--calibration-images", type=int, help=f"default: as many as the variant {PLAIN_INT8} takes"
    )
    parser.add_argument("--fresh", action="store_true", help="measure again what is there")
    return parser


def compare(options: argparse.Namespace, work: Path) -> int:
    """Measure what is not there yet, and write it down after each architecture; 1 where one of them could not be."""
    results = load(options.run)
    found = subjects(results, options.threads)
    wanted = {
        name: subject
        for name, subject in found.items()
        if not options.only or subject.trained.candidate.architecture in options.only
    }
    if absent := set(options.only) - {subject.trained.candidate.architecture for subject in wanted.values()}:
        raise RunError(
            f"--only {','.join(sorted(absent))}: not trained and exported in {options.run}, which has {', '.join(found) or 'none'}."
        )
    if not found:
        raise RunError(f"{options.run}: nothing in it is trained and exported as fp32. Run the recipe first.")
    images = _images(
        results, options.data, {subject.trained.candidate.image_size_px for subject in found.values()}, work
    )
    plan = _plan(options, next(iter(images.values())), work)
    keys = {name: _key(plan.empty, subject) for name, subject in found.items()}
    rows = {
        name: row for name, row in _kept(options.out, keys).items() if not (options.fresh and name in wanted)
    }
    faults = 0
    with tqdm(
        [name for name in wanted if name not in rows], desc="architectures", disable=not sys.stderr.isatty()
    ) as bar:
        for name in bar:
            try:
                rows[name] = _compared(
                    plan,
                    keys[name],
                    found[name],
                    images[found[name].trained.candidate.image_size_px],
                    bar.set_postfix_str,
                )
            except PeprError as fault:
                faults += 1
                bar.write(f"error: {fault}", file=sys.stderr)
            _write(options.out, plan.empty, [rows[name] for name in found if name in rows])
    _write(
        options.out, plan.empty, [rows[name] for name in found if name in rows]
    )  # the page may have changed where no row did
    return 1 if faults else 0


def _images(
    results: Results, source: str | None, sizes_px: Collection[int], work: Path
) -> dict[int, Dataset]:
    """The images that the run was trained on, by size.

    Raises:
        DataError: they cannot be had.
        RunError: they are others.
    """
    recipe, found = results.recipe, dict[int, Dataset]()
    update = {"source": source} if source is not None else {}
    for px in sorted(sizes_px):
        settings = datasets.DataSettings(
            **recipe.data.model_copy(update=update).model_dump(), image_size_px=px, seed=recipe.seed
        )
        datasets.prepare(settings, work / "data" / str(px))
        found[px] = datasets.load(work / "data" / str(px))
        sha256, expected = found[px].info.sha256, results.info.data.sha256
        if sha256 != expected:
            raise RunError(
                f"{settings.source}: sha256 {sha256[:12]}..., expected {expected[:12]}..., which the run was trained on. Give --data."
            )
    return found


def _plan(options: argparse.Namespace, images: Dataset, work: Path) -> Plan:
    quantise = load_variant(PLAIN_INT8).quantise
    assert quantise is not None
    asked = options.calibration_images or quantise.calibration_images
    rules = Rules(
        runs=options.runs,
        seconds=SECONDS,
        fewest=min(FEWEST, options.runs),
        calibration_images=min(asked, images.info.splits["train"].images),
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
    )
    return Plan(empty, tools, work)


def _python(path: Path | None) -> Path | None:
    # Not resolved: the link in an environment's bin is what makes it that environment.
    return None if path is None else path.absolute()


def _key(plan: Comparison, subject: Subject) -> str:
    """Hash of all that the figures of an architecture depend on."""
    files = [sha256_file(path) for path in (subject.checkpoint, subject.base, subject.chosen)]
    versions_ = [dict(plan.versions), dict(plan.olive_versions), dict(plan.nncf_versions)]
    machine = [plan.device.cpu, plan.threads, plan.preset]
    return stage_key(
        "peers",
        plan.schema_version,
        subject.trained.key,
        files,
        subject.settings,
        plan.rules,
        machine,
        versions_,
    )


def _kept(path: Path, keys: Mapping[str, str]) -> dict[str, Architecture]:
    """What is there of the same inputs, by candidate."""
    if not path.is_file():
        return {}
    by_key = {row.key: row for row in read_record(path, Comparison).rows}
    return {name: by_key[key] for name, key in keys.items() if key in by_key}


def _compared(
    plan: Plan, key: str, subject: Subject, images: Dataset, tell: Callable[[str], object]
) -> Architecture:
    """One architecture: make the files, measure, judge."""
    pixels, count = images.splits["train"][0], plan.empty.rules.calibration_images
    chosen = np.sort(
        np.random.default_rng(subject.trained.seed).choice(len(pixels), size=count, replace=False)
    )
    with tempfile.TemporaryDirectory(dir=plan.work) as folder:
        name = subject.trained.candidate.architecture
        tell(f"{name} makes the files")
        tensors = to_tensor(np.asarray(pixels[chosen]), subject.trained.preprocess)
        made = make_all(subject, tensors, plan.tools, plan.empty.threads, Path(folder))
        validation = images.splits["val"]
        return measure(
            key,
            subject,
            made,
            np.asarray(validation[0]),
            np.asarray(validation[1]),
            plan.empty.rules,
            lambda words: tell(f"{name} {words}"),
        )


def _write(path: Path, empty: Comparison, rows: Sequence[Architecture]) -> None:
    """The JSON, and the page beside it."""
    comparison = empty.model_copy(update={"rows": tuple(rows)})
    write_record(path, comparison)
    write_text(path.with_suffix(".md"), page(comparison))


if __name__ == "__main__":
    sys.exit(main())
