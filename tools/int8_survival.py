"""Say for each architecture of a run which int8 forms keep the quality, and how fast they are beside float32.

    pepr-edge run tools/peers_commodity.toml --data pneumoniamnist --out runs/commodity
    python tools/int8_survival.py runs/commodity --data pneumoniamnist --only resnet18d,ghostnet_100

Reads the trainings and float32 files of the run, whose folder keeps them, so it can be called again with
other forms. Each form is made, judged by the quality gate on validation, and timed in turn with float32 under
onnxruntime. Run nothing else on the machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from peers import image_set, images_of
from peers_make import Subject, subjects, without_paths

from pepr_edge.data import Dataset
from pepr_edge.errors import PeprError
from pepr_edge.export.artifact import ExportSource
from pepr_edge.export.check import logits_of
from pepr_edge.export.convert import convert
from pepr_edge.export.prepare import PreparedModel
from pepr_edge.export.quality_gate import LogitPair, add_agreement
from pepr_edge.images.preprocess import to_tensor
from pepr_edge.measure.interleaved_timing import TimingRules, latency_ratio, time_interleaved
from pepr_edge.measure.model_process import ModelProcess
from pepr_edge.recipe import Recipe
from pepr_edge.recipe.variants import load as load_variant
from pepr_edge.records import Quality, SessionSettings
from pepr_edge.run_dir.reader import load

FORMS = ("int8_static", "int8_weighted", "int8_kernels", "int8_mixed")
CALIBRATION_IMAGES = 512  # each form uses as many of them as its settings say
RULES = TimingRules(warmup_s=0.2, final_s=2.0)


class Form(NamedTuple):
    """One int8 form of an architecture: how long it took to make, its quality, its time beside float32."""

    name: str
    made_s: float
    remedy: str
    quality: Quality | None = None
    ratio: float | None = None
    reason: str = ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line for each form of each architecture; return 1 after a line about a fault."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="run directory with trained float32 files")
    parser.add_argument("--data", help="the images, if they are not where the recipe says")
    parser.add_argument("--only", default="", metavar="ARCH,...", help="only these architectures")
    parser.add_argument("--forms", default=",".join(FORMS), metavar="NAME,...", help="variants to try")
    options = parser.parse_args(arguments)
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        results = load(options.run)
        trained = subjects(results, threads=1)
        wanted = options.only.split(",") if options.only else None
        chosen = [
            subject
            for subject in trained.values()
            if wanted is None or subject.trained.candidate.architecture in wanted
        ]
        names = options.forms.split(",")
        specs = [subject.trained.preprocess for subject in chosen]
        with tempfile.TemporaryDirectory() as work:
            images = images_of(results, options.data, specs, Path(work))
            for subject in chosen:
                dataset = images[image_set(subject.trained.preprocess)]
                for form in survey(subject, dataset, results.recipe, names, Path(work)):
                    print(line(subject.trained.candidate.architecture, form), flush=True)
    except PeprError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 1
    return 0


def survey(
    subject: Subject, dataset: Dataset, recipe: Recipe, names: Sequence[str], folder: Path
) -> list[Form]:
    """Make the forms of one architecture, judge and time them."""
    trained = subject.trained
    settings = SessionSettings(threads=1)
    expected = logits_of(subject.base, dataset.splits["val"][0], trained.preprocess, settings)
    source = ExportSource(trained, {"val": expected}, dataset, recipe)

    def judge(path: Path) -> Quality:
        logits = logits_of(path, source.pixels("val"), trained.preprocess, settings)
        quality = source.assess_quality(logits, settings)
        return add_agreement(quality, LogitPair(logits, expected), LogitPair(logits[:0], expected[:0]))

    images = to_tensor(source.calibration(CALIBRATION_IMAGES), trained.preprocess)
    forms = []
    with PreparedModel(subject.base) as prepared:
        for name in names:
            path = folder / f"{name}.onnx"
            started_s = time.perf_counter()
            try:
                made = convert(load_variant(name), prepared, path, images, lambda file: judge(file).passed)
                made_s = time.perf_counter() - started_s
                ratio = _ratio(subject, path, settings)
                forms.append(Form(name, made_s, made.remedy or "", judge(path), ratio))
            except PeprError as fault:
                made_s = time.perf_counter() - started_s
                forms.append(Form(name, made_s, "", reason=without_paths(str(fault))))
    return forms


def _ratio(subject: Subject, path: Path, settings: SessionSettings) -> float | None:
    """Return how many times as long a file takes as float32, both timed in turn."""
    candidate = subject.trained.candidate
    shape = (1, candidate.in_channels, candidate.image_size_px, candidate.image_size_px)
    with ExitStack() as stack:
        processes = {
            name: stack.enter_context(ModelProcess(file, settings, shape))
            for name, file in (("int8", path), ("float32", subject.base))
        }
        latencies = time_interleaved(processes, RULES)
    return latency_ratio(latencies["int8"], latencies["float32"])


def line(architecture: str, form: Form) -> str:
    """Return one form as a line of text."""
    start = f"{architecture:24} {form.name:16} {form.made_s:6.1f} s"
    if form.quality is None:
        return f"{start}  not made: {form.reason}"
    verdict = "fails"
    if form.quality.passed:
        verdict = "passes" if form.quality.shown else "passes, with a note"
    speed = "-" if form.ratio is None else f"{1 / form.ratio:.2f}"
    kept = min(form.quality.kept.values(), default=1.0)
    return (
        f"{start}  {speed} x float32  {verdict}: {kept:.1%} kept, {form.quality.flips.count} of "
        f"{form.quality.flips.n} decisions differ; {form.remedy}"
    )


if __name__ == "__main__":
    sys.exit(main())
