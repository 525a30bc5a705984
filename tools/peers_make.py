"""The files that tools/peers.py compares: what each tool makes of one float32 ONNX file and the same calibration images."""

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
from pepr_edge.records import Artifact, SessionSettings, TrainResult
from pepr_edge.run_dir.keys import candidate_folder
from pepr_edge.run_dir.reader import Results

TOOLS = Path(__file__).resolve().parent
PLAIN_INT8 = "int8_static"
LIMIT_S = 3600.0
# Asks another environment what it holds; the names come as arguments.
VERSIONS = """
import importlib.metadata, json, sys
print(json.dumps({name: importlib.metadata.version(name) for name in sys.argv[1:]}))
"""


@dataclass(frozen=True)
class Subject:
    """One trained architecture of the run: its float32 file, and what was chosen for it, `made` in words."""

    trained: TrainResult
    checkpoint: Path
    base: Path
    chosen: Path
    settings: SessionSettings
    made: str


@dataclass(frozen=True)
class Tools:
    """The environments beside ours, None where the user gave none, and optimum's preset for this processor."""

    olive: Path | None
    nncf: Path | None
    preset: str


@dataclass(frozen=True)
class Made:
    """One of those compared, ready to be opened: its file, the settings, a program of its own if it needs one; or why there is none."""

    name: str
    model: Path | None
    settings: SessionSettings
    program: tuple[str, ...] | None = None
    made: str = ""
    reason: str = ""


def preset(isa: Collection[str], architecture: str) -> str:
    """optimum's preset for a processor."""
    if architecture in ("aarch64", "arm64"):
        return "arm64"
    return "avx512_vnni" if "avx512_vnni" in isa else "avx2"


def subjects(results: Results, threads: int) -> dict[str, Subject]:
    """By candidate, those of a run that are trained and exported.

    Raises:
        RunError: its recipe lets a ladder choose, and a choice is missing or of other inputs: float32 must not pass for it.
    """
    chosen: dict[str, tuple[Path, Artifact]] = {}
    for entry in results.entries:
        if entry.artifact is not None and entry.artifact.settings is not None:
            chosen[entry.candidate.id] = (entry.folder / "model.onnx", entry.artifact)
    found: dict[str, Subject] = {}
    for trained in {
        entry.candidate.id: entry.trained for entry in results.entries if entry.trained is not None
    }.values():
        folder = candidate_folder(results.folder, trained.candidate)
        base = folder / "fp32" / "model.onnx"
        if not base.is_file():
            continue
        if results.recipe.export.auto and trained.candidate.id not in chosen:
            raise RunError(
                f"{folder}: no variant is chosen for it, or by another version. Run the recipe again."
            )
        path, artifact = chosen.get(trained.candidate.id, (base, None))
        settings = SessionSettings(threads=threads)
        if artifact is not None and artifact.settings is not None:
            settings = artifact.settings
        made = (
            describe(artifact.variant, settings) if artifact is not None else "fp32, as this run chose none"
        )
        found[trained.candidate.id] = Subject(
            trained, folder / trained.checkpoint, base, path, settings, made
        )
    return found


def describe(variant: str, settings: SessionSettings) -> str:
    """A variant, and of its settings what is not the default."""
    plain = SessionSettings(runtime=settings.runtime, threads=settings.threads)
    names = ("spinning", "arena", "graph_optimisation", "precision", "batch")
    changed = [
        f"{name} {value}" for name in names if (value := getattr(settings, name)) != getattr(plain, name)
    ]
    return ", ".join([f"{variant}, {settings.runtime}", *changed])


def make_all(
    subject: Subject, images: NDArray[np.float32], tools: Tools, threads: int, folder: Path
) -> list[Made]:
    """All that are compared, in the order in which they are shown.

    Args:
        subject: the architecture.
        images: model inputs to calibrate on, shape (n, channels, px, px).
        tools: the environments that quantise.
        threads: of each.
        folder: for the files.
    """
    given = folder / "images.npy"
    np.save(given, images)
    candidate = subject.trained.candidate.model_dump_json()
    default = SessionSettings(
        threads=threads, spinning=True
    )  # as onnxruntime is when nobody says anything but the threads
    plain = SessionSettings(runtime="openvino", threads=threads)
    torch = {
        mode: Made(
            mode,
            subject.checkpoint,
            SessionSettings(runtime="pytorch", threads=threads),
            _python("peers_torch.py", mode, candidate),
        )
        for mode in ("eager", "compile")
    }

    def quantised(name: str, file: str, settings: SessionSettings, python: Path | None, *words: str) -> Made:
        if python is None:
            return Made(
                name,
                None,
                settings,
                reason=f"no environment that has it was given (--{name.rpartition('_')[2]}-python)",
            )
        reason = script(
            [
                str(python),
                str(TOOLS / words[0]),
                str(subject.base),
                str(given),
                str(folder / file),
                *words[1:],
            ]
        )
        return Made(name, None if reason else folder / file, settings, reason=reason)

    ours, optimum = Path(sys.executable), (tools.preset,)
    # Nothing is timed yet: they may be made side by side.
    with ThreadPoolExecutor(usable_cores()) as pool:
        waiting = [
            pool.submit(quantised, "olive", "olive.onnx", default, tools.olive, "peers_olive.py"),
            pool.submit(
                quantised,
                "optimum_static",
                "optimum_static.onnx",
                default,
                ours,
                "peers_optimum.py",
                *optimum,
                "static",
            ),
            pool.submit(
                quantised,
                "optimum_dynamic",
                "optimum_dynamic.onnx",
                default,
                ours,
                "peers_optimum.py",
                *optimum,
                "dynamic",
            ),
            pool.submit(quantised, "openvino_nncf", "nncf.xml", plain, tools.nncf, "peers_nncf.py"),
            pool.submit(_plain_int8, subject.base, folder / "int8.onnx", images, plain),
        ]
        olive, static, dynamic, nncf, int8 = (one.result() for one in waiting)
    return [
        *torch.values(),
        Made("onnxruntime", subject.base, default),
        static,
        dynamic,
        olive,
        Made("openvino", subject.base, plain),
        Made("openvino_default", subject.base, plain, _python("peers_openvino.py")),
        int8,
        nncf,
        Made(OURS, subject.chosen, subject.settings, made=subject.made),
    ]


def _python(name: str, *words: str) -> tuple[str, ...]:
    return (sys.executable, str(TOOLS / name), *words)


def _plain_int8(base: Path, path: Path, images: NDArray[np.float32], settings: SessionSettings) -> Made:
    try:
        convert(load_variant(PLAIN_INT8), base, path, images)
    except ExportError as fault:
        return Made("openvino_int8", None, settings, reason=without_paths(str(fault)))
    return Made("openvino_int8", path, settings)


def script(words: list[str]) -> str:
    """Run a script that makes a file; why it made none, in one line, or nothing."""
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, errors="replace", timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"took more than {LIMIT_S:g} s"
    except OSError as fault:
        return f"cannot be started ({fault.strerror})"
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return (
        without_paths(lines[-1] if lines else f"ended with status {done.returncode}")
        if done.returncode
        else ""
    )


def without_paths(text: str) -> str:
    """A reason on one line, without the folders of one person's machine."""
    return re.sub(r"(?<![\w.])/(?:[^\s/'\":,()]+/)+", "", " ".join(text.split()))[:300]


def size_bytes(model: Path) -> int:
    """Of a model's file, and of the weights that lie beside an .xml of OpenVINO."""
    return sum(path.stat().st_size for path in {model, model.with_suffix(".bin")} if path.is_file())


def versions_there(python: Path | None, packages: Collection[str]) -> Mapping[str, str]:
    """Versions of packages in another environment.

    Raises:
        RunError: it does not have them, or is none.
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
    found: dict[str, str] = json.loads(done.stdout)
    return found
