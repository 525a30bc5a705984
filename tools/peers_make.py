"""The files that tools/peers.py compares, made by each tool from one float32 file and the same images."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from peers_records import OURS

from pepr_edge.device.cpu import usable_cores
from pepr_edge.errors import ExportError, RunError
from pepr_edge.export.convert import convert
from pepr_edge.recipe.variants import load as load_variant
from pepr_edge.records import Artifact, SessionSettings, TrainResult, VariantTrial
from pepr_edge.run_dir.layout import candidate_folder
from pepr_edge.run_dir.reader import Results

TOOLS = Path(__file__).resolve().parent
PLAIN_INT8 = "int8_static"
LIMIT_S = 3600.0
# Program that prints the versions of packages in another environment; their names are its arguments.
VERSIONS = """
import importlib.metadata, json, sys
print(json.dumps({name: importlib.metadata.version(name) for name in sys.argv[1:]}))
"""


@dataclass(frozen=True)
class Subject:
    """A trained architecture of the run: its float32 file, and the chosen file, which `made` describes.

    `trials` are those of autotuning, if it chose the file.
    """

    trained: TrainResult
    checkpoint: Path
    base: Path
    chosen: Path
    settings: SessionSettings
    made: str
    trials: tuple[VariantTrial, ...] = ()


@dataclass(frozen=True)
class Tools:
    """The Pythons of other environments, None if not given, and optimum's preset for this processor."""

    olive: Path | None
    nncf: Path | None
    preset: str


@dataclass(frozen=True)
class Made:
    """A file to compare, its settings, and its own program if it needs one; or why there is no file."""

    name: str
    model: Path | None
    settings: SessionSettings
    program: tuple[str, ...] | None = None
    made: str = ""
    reason: str = ""


def preset(isa: Collection[str], architecture: str) -> str:
    """Return optimum's preset for a processor."""
    if architecture in ("aarch64", "arm64"):
        return "arm64"
    return "avx512_vnni" if "avx512_vnni" in isa else "avx2"


def subjects(results: Results, threads: int) -> dict[str, Subject]:
    """Return the trained and exported candidates of a run, by name.

    Raises:
        RunError: the recipe chooses variants automatically, and a choice is missing or outdated; the float32
            file must not be compared in its place.
    """
    chosen: dict[str, tuple[Path, Artifact]] = {}
    for entry in results.entries:
        if entry.artifact is not None and entry.artifact.settings is not None:
            chosen[entry.candidate.id] = (entry.folder / "model.onnx", entry.artifact)
    trainings = {entry.candidate.id: entry.trained for entry in results.entries if entry.trained is not None}
    by_candidate: dict[str, Subject] = {}
    for name, trained in trainings.items():
        folder = candidate_folder(results.folder, trained.candidate)
        base = folder / "fp32" / "model.onnx"
        if not base.is_file():
            continue
        if results.recipe.export.auto and name not in chosen:
            raise RunError(f"{folder}: no variant is chosen, or by another version. Run the recipe again.")
        path, artifact = chosen.get(name, (base, None))
        settings = SessionSettings(threads=threads)
        made = "fp32, because this run chose no variant"
        if artifact is not None and artifact.settings is not None:
            settings = artifact.settings
            made = describe(artifact.variant, settings)
        checkpoint = folder / trained.checkpoint
        trials = artifact.rungs if artifact is not None else ()
        by_candidate[name] = Subject(trained, checkpoint, base, path, settings, made, trials)
    return by_candidate


def describe(variant: str, settings: SessionSettings) -> str:
    """Name a variant, and those of its settings that differ from the default."""
    default = SessionSettings(runtime=settings.runtime, threads=settings.threads)
    parts = [variant, settings.runtime]
    for name in ("spinning", "arena", "graph_optimisation", "precision", "batch"):
        value = getattr(settings, name)
        if value != getattr(default, name):
            parts.append(f"{name} {value}")
    return ", ".join(parts)


def check_runtime(subjects: Mapping[str, Subject], runtime: str | None) -> None:
    """Check that our choices use the only runtime that is compared.

    Raises:
        RunError: one of them uses another.
    """
    for name, subject in subjects.items():
        chosen = subject.settings.runtime
        if runtime is not None and chosen != runtime:
            raise RunError(
                f"--runtime {runtime}: the run chose {chosen} for {name}. "
                f'Run the recipe with device.runtime = "{runtime}", or leave the option out.'
            )


def make_all(
    subject: Subject,
    images: NDArray[np.float32],
    tools: Tools,
    threads: int,
    folder: Path,
    runtime: str | None = None,
) -> list[Made]:
    """Make all files to compare, in the order in which they are shown.

    Args:
        subject: the architecture.
        images: model inputs to calibrate on, shape (n, channels, px, px).
        tools: the environments that quantise.
        threads: of each.
        folder: for the files.
        runtime: the only ONNX runtime to compare, None for all.
    """
    given = folder / "images.npy"
    np.save(given, images)
    plain = SessionSettings(threads=threads, spinning=True)  # onnxruntime's own defaults except for threads
    quantiser = Quantiser(subject.base, given, folder)
    made = [
        *_of_pytorch(subject, threads),
        Made("onnxruntime", subject.base, plain),
        *_of_onnxruntime(quantiser, tools, plain),
    ]
    if runtime != "onnxruntime":
        made += _of_openvino(quantiser, tools, SessionSettings(runtime="openvino", threads=threads), images)
    return [*made, Made(OURS, subject.chosen, subject.settings, made=subject.made)]


@dataclass(frozen=True)
class Quantiser:
    """Makes files in `folder` with other tools' scripts: from a float32 file, with the images of a file."""

    base: Path
    images: Path
    folder: Path

    def run(
        self, name: str, file: str, settings: SessionSettings, python: Path | None, script: str, *options: str
    ) -> Made:
        """Run a script in an environment."""
        if python is None:
            option = f"--{name.rpartition('_')[2]}-python"
            return Made(name, None, settings, reason=f"no environment with this tool was given ({option})")
        target = self.folder / file
        paths = (TOOLS / script, self.base, self.images, target)
        reason = run_script([str(python), *map(str, paths), *options])
        return Made(name, None if reason else target, settings, reason=reason)


def _of_pytorch(subject: Subject, threads: int) -> list[Made]:
    candidate = subject.trained.candidate.model_dump_json()
    settings = SessionSettings(runtime="pytorch", threads=threads)
    return [
        Made(mode, subject.checkpoint, settings, _python("peers_torch.py", mode, candidate))
        for mode in ("eager", "compile")
    ]


def _of_onnxruntime(quantiser: Quantiser, tools: Tools, settings: SessionSettings) -> list[Made]:
    """Quantise for onnxruntime; nothing is timed yet, so in parallel."""
    here = Path(sys.executable)
    calls: list[tuple[str, Path | None, str, tuple[str, ...]]] = [
        ("optimum_static", here, "peers_optimum.py", (tools.preset, "static")),
        ("optimum_dynamic", here, "peers_optimum.py", (tools.preset, "dynamic")),
        ("olive", tools.olive, "peers_olive.py", ()),
    ]
    with ThreadPoolExecutor(usable_cores()) as pool:
        jobs = [
            pool.submit(quantiser.run, name, f"{name}.onnx", settings, python, script, *options)
            for name, python, script, options in calls
        ]
        return [job.result() for job in jobs]


def _of_openvino(
    quantiser: Quantiser, tools: Tools, settings: SessionSettings, images: NDArray[np.float32]
) -> list[Made]:
    base = quantiser.base
    with ThreadPoolExecutor(usable_cores()) as pool:
        int8 = pool.submit(_plain_int8, base, quantiser.folder / "int8.onnx", images, settings)
        nncf = pool.submit(quantiser.run, "openvino_nncf", "nncf.xml", settings, tools.nncf, "peers_nncf.py")
        return [
            Made("openvino", base, settings),
            Made("openvino_default", base, settings, _python("peers_openvino.py")),
            int8.result(),
            nncf.result(),
        ]


def _python(name: str, *words: str) -> tuple[str, ...]:
    return (sys.executable, str(TOOLS / name), *words)


def _plain_int8(base: Path, path: Path, images: NDArray[np.float32], settings: SessionSettings) -> Made:
    try:
        convert(load_variant(PLAIN_INT8), base, path, images)
    except ExportError as fault:
        return Made("openvino_int8", None, settings, reason=without_paths(str(fault)))
    return Made("openvino_int8", path, settings)


def run_script(command: list[str]) -> str:
    """Run a script that makes a file; return the reason of a failure in one line, or ""."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"took more than {LIMIT_S:g} s"
    except OSError as fault:
        return f"cannot be started ({fault.strerror})"
    if done.returncode == 0:
        return ""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return without_paths(lines[-1] if lines else f"ended with status {done.returncode}")


def without_paths(text: str) -> str:
    """Return a text on one line, without the folders of this machine."""
    return re.sub(r"(?<![\w.])/(?:[^\s/'\":,()]+/)+", "", " ".join(text.split()))[:300]


def size_bytes(model: Path) -> int:
    """Return the size of a model's file, plus the weights beside an .xml file of OpenVINO."""
    return sum(path.stat().st_size for path in {model, model.with_suffix(".bin")} if path.is_file())


def versions_there(python: Path | None, packages: Collection[str]) -> Mapping[str, str]:
    """Return the versions of packages in another environment.

    Raises:
        RunError: a package is missing, or there is no such Python.
    """
    if python is None:
        return {}
    try:
        done = subprocess.run(
            [str(python), "-c", VERSIONS, *packages],
            capture_output=True,
            text=True,
            check=False,
            env=dict(os.environ),
        )
    except OSError as fault:
        raise RunError(
            f"{python}: cannot be started ({fault.strerror}), expected the Python of an environment."
        ) from None
    if done.returncode:
        raise RunError(f"{python}: does not have all of {', '.join(packages)}. Install them there.")
    by_name: dict[str, str] = json.loads(done.stdout)
    return by_name
