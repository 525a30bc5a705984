"""Records of tools/peers.py and their arithmetic: percentiles, ratios, the fastest peer above the gate."""

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
    """A kind of peer: its heading in a table, and its description."""

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
        "optimum's ORTQuantizer with AutoQuantizationConfig's preset for this processor and "
        "AutoCalibrationConfig.minmax, all else default, run by onnxruntime with default session options",
    ),
    "optimum_dynamic": Kind("optimum dynamic", "the same preset, dynamic"),
    "olive": Kind(
        "Olive static",
        "Olive's pass OnnxStaticQuantization with its defaults (int8 activations and weights), run by "
        "onnxruntime with default session options",
    ),
    "openvino": Kind(
        "OpenVINO f32", "OpenVINO on our float32 file, precision pinned to f32, batch dynamic as in the file"
    ),
    "openvino_default": Kind(
        "OpenVINO default", "the same without a set precision: bf16 if the processor has it"
    ),
    "openvino_int8": Kind("OpenVINO int8", "OpenVINO on our variant int8_static, without autotuning"),
    "openvino_nncf": Kind(
        "OpenVINO NNCF", "OpenVINO on NNCF's post-training quantisation of our float32 file, all default"
    ),
    OURS: Kind("ours", "the variant, runtime and options that `pepr-edge run` chose"),
}


class Peer(Record):
    """A peer on one architecture. A peer that failed has a `reason` and no latencies.

    `latencies_s` are rounded to 1e-7 s. `quality` compares with PyTorch eager on validation. `made` describes
    our choice. `ran_on` is the device as the runtime names it.
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
        """The median latency; None if it did not run."""
        return statistics.median(self.latencies_s) if self.latencies_s else None

    @property
    def p90_s(self) -> float | None:
        """The 90th percentile of the latencies; None if it did not run."""
        return float(np.quantile(self.latencies_s, 0.9)) if self.latencies_s else None

    @property
    def passed(self) -> bool:
        """True if it ran and passes the quality gate."""
        return bool(self.latencies_s) and self.quality is not None and self.quality.passed

    @property
    def keeps_all(self) -> bool:
        """True if no share of its quality is itself below the gate's threshold, whatever its interval."""
        quality = self.quality
        return quality is not None and min(quality.kept.values(), default=1.0) >= quality.threshold


class Int8Trial(Record):
    """What autotuning found out about one int8 variant: its outcome, the reason, and how it was made.

    `ratio_to_float32`: how many times as long it takes as float32 did; None if it was not timed.
    """

    variant: str
    outcome: str
    reason: str
    remedy: str = ""
    ratio_to_float32: NonNegative | None = None


class Architecture(Record):
    """All peers on one architecture, interleaved in one run. `key` is the hash of the inputs.

    `int8` are the int8 variants that autotuning tried or left out, if the run chose by autotuning.
    """

    key: str
    architecture: str
    image_size_px: int
    num_params: int
    rounds: int
    load_before: float | None = None
    load_after: float | None = None
    peers: tuple[Peer, ...]
    int8: tuple[Int8Trial, ...] = ()


class Rules(Record):
    """Length of the measurement: `runs` for each peer, or `fewest` in `seconds`; number of images."""

    runs: int
    seconds: float
    fewest: int
    calibration_images: int
    validation_images: int


class Comparison(Versioned):
    """docs/benchmarks/peers.json. `versions` are those of our environment.

    `runtime` is set if only peers of one ONNX runtime were compared, beside PyTorch.
    """

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
    runtime: str | None = None
    rows: tuple[Architecture, ...] = ()


def ratio(row: Architecture, name: str) -> float | None:
    """Return a peer's median latency divided by ours; None if one of them did not run."""
    medians_s = {peer.name: peer.p50_s for peer in row.peers}
    ours = medians_s.get(OURS)
    other = medians_s.get(name)
    return other / ours if ours and other else None


def ours(row: Architecture) -> Peer | None:
    """Return our choice; None if it did not run."""
    return next((peer for peer in row.peers if peer.name == OURS and peer.latencies_s), None)


def geometric_mean(values: Iterable[float]) -> float | None:
    """Return the geometric mean; None without values."""
    logs = [math.log(value) for value in values]
    return math.exp(statistics.fmean(logs)) if logs else None


def ratios(rows: Sequence[Architecture], name: str) -> list[float]:
    """Return a peer's ratios on the architectures where both the peer and our choice ran."""
    values = [ratio(row, name) for row in rows]
    return [value for value in values if value is not None]


def fastest(row: Architecture) -> Peer | None:
    """Return the fastest peer that passes the gate, without ours; None if no peer passes."""
    candidates = [
        (peer.p50_s, peer)
        for peer in row.peers
        if peer.name != OURS and peer.passed and peer.p50_s is not None
    ]
    return min(candidates, key=lambda pair: pair[0])[1] if candidates else None


def time_to_fastest(row: Architecture) -> float | None:
    """Return our median latency divided by the fastest gated peer's; None without one of them."""
    best = fastest(row)
    peer_ratio = ratio(row, best.name) if best is not None else None
    return 1 / peer_ratio if peer_ratio is not None else None
