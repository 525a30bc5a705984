"""Every file is opened by `pepr_edge.untrusted`, or stands here with the reason why it need not be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "pepr_edge"
# Calls that open a file by its path, or parse what is in one.
BY_NAME = {"open", "load_file", "safe_open", "memmap", "open_memmap", "ZipFile"}
BY_METHOD = {"read_text", "read_bytes", "open", "fdopen"}
PARSERS = {("json", "load"), ("json", "loads"), ("tomllib", "loads"), ("np", "load"), ("torch", "load")}
LIBRARIES = {"Image", "zipfile", "os", "np", "json", "torch", "tomllib", "tarfile", "mmap"}

OURS = "written by this process or its parent"
SYSTEM = "a file of the system"
SHIPPED = "comes with pepr_edge"
WRITES = "opened to write, without following a link"
PREPARED = "prepared by this run, in a folder with its marker"
LIMITED = "takes what the gate has read; its values are checked"
NO_CODE = "weights only; what it holds is checked"
EXCEPTIONS: dict[str, dict[str, str]] = {
    "cli/__init__.py": {"open": SYSTEM, "os.open": SYSTEM},
    "data/cache.py": {"np.load": PREPARED},
    "data/tensor.py": {"torch.load": NO_CODE},
    "device/load.py": {"open": SYSTEM},
    "device/preflight.py": {"os.open": SYSTEM},
    "device/system_files.py": {".read_text": SYSTEM},
    "energy/carbon.py": {".open": SHIPPED},
    "energy/rapl.py": {".read_text": SYSTEM},
    "engine/file_sync.py": {".read_bytes": OURS},
    "engine/fork_safety.py": {"open": SYSTEM, ".read_text": SYSTEM},
    "engine/ray.py": {"np.memmap": PREPARED},
    "engine/ray_cluster.py": {"open": SYSTEM},
    "engine/worker_main.py": {"os.open": WRITES, "os.fdopen": OURS},
    "images/dicom_stream.py": {"Image.open": LIMITED},
    "images/preprocess.py": {"Image.open": LIMITED},
    "kit/install.py": {
        "os.open": "the installer imports nothing: its own gate",
        "os.fdopen": "the installer imports nothing: its own gate",
        "json.loads": LIMITED,
    },
    "kit/make.py": {".read_text": SHIPPED},
    "kit/own_wheel.py": {".read_bytes": SHIPPED, ".read_text": SHIPPED, "zipfile.ZipFile": WRITES},
    "kit/web_kit.py": {".read_text": SHIPPED},
    "kit/web_page.py": {".read_text": SHIPPED},
    "kit/web_runtime.py": {"tarfile.open": "an archive whose sha512 is known"},
    "kit/wheels.py": {"zipfile.ZipFile": "a wheel that pip downloaded and checked"},
    "measure/inference_worker.py": {"json.loads": OURS},
    "measure/line_process.py": {"json.loads": "a line of our own process, limited in length"},
    "measure/model_process.py": {"np.load": OURS},
    "measure/process.py": {"json.loads": OURS, "os.fdopen": "memory of this process"},
    "measure/worker.py": {"json.loads": OURS, "np.load": OURS, "os.fdopen": OURS},
    "preparation.py": {".read_text": PREPARED},
    "recipe/toml.py": {"tomllib.loads": LIMITED},
    "run_dir/store.py": {"open": WRITES, "os.open": WRITES, "os.fdopen": WRITES},
    "signing/key_files.py": {"os.open": WRITES, "os.fdopen": WRITES},
    "train/checkpoint_io.py": {"torch.load": NO_CODE},
    "train/models.py": {"load_file": NO_CODE},
    "train/weights/reading.py": {"load_file": NO_CODE, "torch.load": NO_CODE},
    "untrusted/documents.py": {"json.loads": "the gate"},
    "untrusted/files.py": {"os.open": "the gate", "os.fdopen": "the gate"},
    "untrusted/npz.py": {"zipfile.ZipFile": "the gate", ".open": "a member of an archive that was checked"},
    "untrusted/onnx_check.py": {"mmap.mmap": "the gate"},
}


def name_of(call: ast.Call) -> str | None:
    """Return how a file is opened or parsed by a call, else None."""
    function = call.func
    if isinstance(function, ast.Name):
        return function.id if function.id in BY_NAME else None
    if not isinstance(function, ast.Attribute):
        return None
    owner = function.value.id if isinstance(function.value, ast.Name) else ""
    if (owner, function.attr) in PARSERS or (
        owner in LIBRARIES and function.attr in {*BY_NAME, "mmap", "fdopen"}
    ):
        return f"{owner}.{function.attr}"
    is_runtime = owner in ("runtime", "process", "server") or isinstance(function.value, ast.Attribute)
    if function.attr in BY_METHOD and not (function.attr == "open" and is_runtime):
        return f".{function.attr}"
    return None


def readers() -> Iterator[tuple[str, str, int]]:
    """Yield module, call and line of each reader of the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        module = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = name_of(node)
                if name is not None:
                    yield module, name, node.lineno


def test_every_reader_goes_through_the_gate() -> None:
    others = [
        f"{module}:{line} {name}"
        for module, name, line in readers()
        if name not in EXCEPTIONS.get(module, {})
    ]
    assert others == []


def test_every_exception_is_still_needed() -> None:
    used = {(module, name) for module, name, _ in readers()}
    listed = {(module, name) for module, names in EXCEPTIONS.items() for name in names}
    assert listed - used == set()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("open(path)", "open"),
        ("path.read_text()", ".read_text"),
        ("(folder / NAME).read_bytes()", ".read_bytes"),
        ("json.loads(text)", "json.loads"),
        ("np.load(path)", "np.load"),
        ("Image.open(path)", "Image.open"),
        ("zipfile.ZipFile(path)", "zipfile.ZipFile"),
        ("path.open()", ".open"),
        ("runtime.open(model, settings)", None),
        ("open_regular(path)", None),
    ],
)
def test_the_walk_sees_them(source: str, expected: str | None) -> None:
    (call,) = [node for node in ast.walk(ast.parse(source, mode="eval")) if isinstance(node, ast.Call)][:1]
    assert name_of(call) == expected
