"""Run directories and field reports that somebody has spoiled."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_records
import numpy as np
import pytest
from hostile_check import PLACES, Row, Run, try_row, write

from pepr_edge.errors import PeprError
from pepr_edge.field.report_checksum import with_checksum
from pepr_edge.records import FieldReport
from pepr_edge.run_dir.store import log_event

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
CANDIDATE = "candidates/small@64"


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory of one candidate that went through all stages, not to be changed."""
    run = made_records.write_run(tmp_path_factory.mktemp("whole") / "run", "small")
    labels = np.arange(made_records.N_VAL) % 2
    logits = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)[labels]
    arrays: dict[str, Any] = {"val": logits, "val_labels": labels, "test": logits, "test_labels": labels}
    np.savez(run / CANDIDATE / "fp32" / "predictions.npz", **arrays)
    np.savez(run / CANDIDATE / "logits.npz", **arrays)
    return run


@pytest.fixture
def here(whole_run: Path, tmp_path: Path) -> Path:
    """A folder with a copy of the run directory, to be spoiled."""
    shutil.copytree(whole_run, tmp_path / "run")
    return tmp_path


def report(change: Callable[[dict[str, Any]], object]) -> bytes:
    """Return a field report with a change, and the checksum of the changed report."""
    made = made_records.field_report(made_records.bench("small"))
    document = json.loads(made.model_dump_json())
    change(document)
    try:
        return with_checksum(FieldReport.model_validate(document)).model_dump_json().encode()
    except ValueError:
        return json.dumps(document).encode()


def result(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda document: document["results"][0].update(values)


def device(**values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda document: document["device"].update(values)


REPORTS: dict[str, tuple[bytes, str]] = {
    "a list": (b"[]", "not a report"),
    "deep": (b"[" * 100_000, "nested"),
    "100,000 keys, one twice": (
        b"{" + b",".join(b'"k%d":1' % n for n in range(100_000)) + b',"k7":1}',
        "twice",
    ),
    "another version": (b'{"schema_version": 9}', "schema_version"),
    "400 digits": (b'{"a": ' + b"9" * 400 + b"}", "64 bits"),
    "negative memory": (report(result(peak_memory_bytes=-1)), "peak_memory_bytes"),
    "negative energy": (report(result(energy_j_per_inference=-1.0)), "energy_j_per_inference"),
    "latencies beyond all limits": (report(result(latencies_s=[1e308] * 128)), "latencies_s"),
    "latencies of 1e300 s": (report(result(latencies_s=[1e300] * 128)), "latencies_s"),
    "one latency beyond all limits": (report(result(latencies_s=[0.01] * 127 + [1e308])), "latencies_s"),
    "latencies near 0": (report(result(latencies_s=[5e-324] * 128)), "below"),
    "latencies of nobody": (report(result(latencies_s=[])), ""),
    "percentiles of others": (
        report(result(percentiles_s={"p50": 1, "p90": 1, "p95": 1, "p99": 1})),
        "percentiles_s",
    ),
    "no cores": (report(device(cores=0)), "cores"),
    "a processor with an escape sequence": (report(device(cpu="\x1b[2J")), "control characters"),
    "a processor with a mark of direction": (report(device(cpu="a\u202eb")), "control characters"),
    "of another run": (report(result(artifact_sha256="0" * 64)), "another run"),
    "partial": (report(lambda document: document.update(partial=True)), "partial"),
}
FILES = (
    "run.json",
    "recipe.toml",
    f"{CANDIDATE}/train.json",
    f"{CANDIDATE}/logits.npz",
    f"{CANDIDATE}/fp32/export.json",
    f"{CANDIDATE}/fp32/profile.json",
    f"{CANDIDATE}/fp32/predictions.npz",
    f"{CANDIDATE}/fp32/model.onnx",
)
RANK = ("rank", "{here}/run")
FIELD = (*RANK, "--field", "{here}/r.json")
ROWS = {
    **{
        f"report, {name}": Row(FIELD, 1, word, "r.json", write(content))
        for name, (content, word) in REPORTS.items()
    },
    **{f"report, {name}": Row(FIELD, 1, "r.json", "r.json", place) for name, place in PLACES.items()},
    **{
        f"{file}, {name}": Row(RANK, (0, 1), "", f"run/{file}", place)
        for file in FILES
        for name, place in PLACES.items()
    },
}


@pytest.mark.parametrize("name", ROWS)
def test_a_run_with_a_spoiled_file(name: str, here: Path, run: Run) -> None:
    try_row(ROWS[name], here, run)


@pytest.mark.parametrize("name", PLACES)
def test_the_log_of_a_run_blocks_nothing(name: str, tmp_path: Path) -> None:
    PLACES[name](tmp_path / "events.jsonl")
    fault = ""
    try:
        log_event(tmp_path, "made")
    except (PeprError, OSError) as error:
        fault = str(error)
    assert "\n" not in fault
    assert fault or b'"event": "made"' in tail_of(tmp_path / "events.jsonl")


def tail_of(path: Path) -> bytes:
    """Return the last bytes of a file that may be large."""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 100))
        return file.read()
