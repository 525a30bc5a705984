"""What tools/peers.py writes down, and the arithmetic on it: percentiles, ratios, and the fastest peer that passes the gate."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pepr_edge.records import DeviceFacts, NonNegative, Quality, Record, SessionSettings, Versioned

OURS = "ours"


@dataclass(frozen=True)
class Kind:
    """One of those compared: its heading in a table, and what it is, in words."""

    title: str
    what: str


# In the order in which they are shown.
KINDS: dict[str, Kind] = {
    "eager": Kind(
        "PyTorch eager", "the trained module as it is, `torch.inference_mode`; its file is the checkpoint"
    ),
    "compile": Kind(
        "torch.compile", "the same module, compiled in the default mode; its file is the checkpoint"
    ),
    "onnxruntime": Kind("ORT fp32", "onnxruntime on our float32 file, default session options"),
    "optimum_static": Kind(
        "optimum static",
        "optimum's ORTQuantizer with AutoQuantizationConfig's preset for this processor and AutoCalibrationConfig.minmax, all else "
        "default, run by onnxruntime with default session options",
    ),
    "optimum_dynamic": Kind("optimum dynamic", "the same preset, dynamic"),
    "olive": Kind(
        "Olive static",
        "Olive's pass OnnxStaticQuantization with its defaults (int8 activations and weights), run by onnxruntime with default session "
        "options",
    ),
    "openvino": Kind(
        "OpenVINO f32", "OpenVINO on our float32 file, precision pinned to f32, batch dynamic as in the file"
    ),
    "openvino_default": Kind(
        "OpenVINO as it comes", "the same without a word on precision: bf16 where the processor has it"
    ),
    "openvino_int8": Kind("OpenVINO int8", "OpenVINO on our variant int8_static, not chosen by any ladder"),
    "openvino_nncf": Kind(
        "OpenVINO NNCF", "OpenVINO on NNCF's post-training quantisation of our float32 file, all default"
    ),
    OURS: Kind("ours", "the variant, runtime and options that `pepr-edge run` chose"),
}


class Peer(Record):
    """One of those compared on one architecture. What failed has no latencies and its `reason`.

    `latencies_s` are rounded to 1e-7 s. `quality` is that on validation beside PyTorch eager. `made` says of ours what was chosen, `ran_on`
    what the runtime says that it used.
    """

    name: str
    settings: SessionSettings | None = None
    made: str = ""
    ran_on: str = ""
    reason: str = ""
    latencies_s: tuple[NonNegative, ...] = ()
    load_s: NonNegative | None = None
    first_s: NonNegative | None = None
    quality: Quality | None = None
    size_bytes: int | None = None
    peak_memory_bytes: int | None = None

    @property
    def p50_s(self) -> float | None:
        """The median latency; None where it did not run."""
        return statistics.median(self.latencies_s) if self.latencies_s else None

    @property
    def p90_s(self) -> float | None:
        """The 90th percentile of the latencies; None where it did not run."""
        return float(np.quantile(self.latencies_s, 0.9)) if self.latencies_s else None

    @property
    def passed(self) -> bool:
        """Whether it ran, and keeps the quality gate."""
        return bool(self.latencies_s) and self.quality is not None and self.quality.passed


class Architecture(Record):
    """All of them on one architecture, measured in turn in one run. `key` is the hash of what that depends on."""

    key: str
    architecture: str
    image_size_px: int
    num_params: int
    rounds: int
    load_before: float | None = None
    load_after: float | None = None
    peers: tuple[Peer, ...]


class Rules(Record):
    """How long is measured: until each peer has `runs`, or `fewest` in at least `seconds`; and on how many images."""

    runs: int
    seconds: float
    fewest: int
    calibration_images: int
    validation_images: int


class Comparison(Versioned):
    """docs/benchmarks/peers.json. `versions` are those of our environment, the others of those beside it."""

    what: str
    threads: int
    data: str
    data_sha256: str
    preset: str
    rules: Rules
    device: DeviceFacts
    versions: dict[str, str]
    olive_versions: dict[str, str]
    nncf_versions: dict[str, str]
    rows: tuple[Architecture, ...] = ()


def ratio(row: Architecture, name: str) -> float | None:
    """How many times as long a peer takes as our choice, by medians; None where one of the two did not run."""
    found = {peer.name: peer.p50_s for peer in row.peers}
    ours, other = found.get(OURS), found.get(name)
    return other / ours if ours and other else None


def geometric_mean(values: Iterable[float]) -> float | None:
    """None of no values."""
    logs = [math.log(value) for value in values]
    return math.exp(statistics.fmean(logs)) if logs else None


def ratios(rows: Sequence[Architecture], name: str) -> list[float]:
    """The ratios of a peer over the architectures on which both it and our choice ran."""
    return [found for row in rows if (found := ratio(row, name)) is not None]


def fastest(row: Architecture) -> Peer | None:
    """The fastest of the peers that pass the gate, ours not counted; None where none does."""
    able = [
        (peer.p50_s, peer)
        for peer in row.peers
        if peer.name != OURS and peer.passed and peer.p50_s is not None
    ]
    return min(able, key=lambda pair: pair[0])[1] if able else None


def behind(row: Architecture) -> float | None:
    """How many times as long our choice takes as the fastest of the peers that pass the gate; None where there is none, or none of ours."""
    best = fastest(row)
    share = ratio(row, best.name) if best is not None else None
    return 1 / share if share is not None else None
