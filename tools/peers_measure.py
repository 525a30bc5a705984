"""Time all peers of one architecture, each open in its own process, in rounds; then judge their quality."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from peers_make import Made, Subject, size_bytes, without_paths
from peers_records import Architecture, Int8Trial, Peer, Rules

from pepr_edge.device.cpu import usable_cores
from pepr_edge.device.load import load_average
from pepr_edge.errors import MeasurementError
from pepr_edge.export.quality_gate import assess_quality
from pepr_edge.measure.interleaved_timing import REST_S, SPINNING_REST_S
from pepr_edge.measure.model_process import ModelProcess
from pepr_edge.records import Quality, VariantTrial

T = TypeVar("T")
REFERENCE = "eager"
INT8 = ("int8_", "optimum_")  # how the names of int8 variants begin
THRESHOLD = 0.99
GATED = "accuracy"  # in addition to balanced accuracy, which the gate always includes
BLOCK = 5
SHORT_BLOCK = 2
SLOW_S = 0.05  # a slower peer has short blocks, so that the others wait less
WARM_UP_RUNS = 10
# torch.compile takes minutes on one thread, and so do hundreds of images.
TIMEOUT_S = 1800.0


@dataclass
class OpenPeer:
    """A peer, open or not, and its measurements so far."""

    made: Made
    process: ModelProcess | None = None
    reason: str = ""
    ran_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    memory: int | None = None
    logits: NDArray[np.float32] | None = None

    def request(self, function: Callable[[ModelProcess], T]) -> T | None:
        """Return the process's answer; None if the process failed now or before."""
        if self.process is None or self.reason:
            return None
        try:
            return function(self.process)
        except MeasurementError as fault:
            self.reason = without_paths(str(fault))
            return None

    def finished(self, rules: Rules) -> bool:
        """True if it has enough measurements, or failed."""
        runs = len(self.latencies_s)
        long_enough = runs >= rules.fewest and self.ran_s >= rules.seconds
        return bool(self.reason) or runs >= rules.runs or long_enough


def measure(
    key: str,
    subject: Subject,
    made: Sequence[Made],
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    rules: Rules,
    on_message: Callable[[str], object],
) -> Architecture:
    """Compare the peers on one architecture.

    Args:
        key: of the result.
        subject: the architecture.
        made: the files to compare.
        pixels: validation images, shape (n, px, px, channels).
        labels: shape (n,).
        rules: the length of the measurement.
        on_message: called with a progress message.
    Raises:
        MeasurementError: PyTorch, the reference for quality, gives no logits.
    """
    candidate = subject.trained.candidate
    spec = subject.trained.preprocess
    shape = (1, candidate.in_channels, candidate.image_size_px, candidate.image_size_px)
    with ExitStack() as stack:
        peers = []
        for each in made:
            on_message(f"opening {each.name}")
            peers.append(_open(each, shape, stack))
        before = load_average()
        on_message("timing")
        rounds = time_in_rounds(peers, rules)
        after = load_average()
        for peer in peers:
            peer.memory = peer.request(lambda process: process.peak_memory_bytes())
        on_message("judging quality")
        # The timing is over, so all cores may work.
        with ThreadPoolExecutor(usable_cores()) as pool:
            answers = pool.map(lambda peer: peer.request(lambda process: process.logits(pixels, spec)), peers)
            for peer, logits in zip(peers, answers, strict=True):
                peer.logits = logits
    reference = next(peer for peer in peers if peer.made.name == REFERENCE)
    if reference.logits is None:
        raise MeasurementError(
            f"{candidate.architecture}: PyTorch, the reference for quality, gave no logits "
            f"({reference.reason})."
        )
    expected = reference.logits
    return Architecture(
        key=key,
        architecture=candidate.architecture,
        image_size_px=candidate.image_size_px,
        num_params=subject.trained.num_params,
        rounds=rounds,
        load_before=before,
        load_after=after,
        peers=tuple(_record(peer, expected, labels) for peer in peers),
        int8=tuple(int8_trial(trial) for trial in subject.trials if trial.variant.startswith(INT8)),
    )


def int8_trial(trial: VariantTrial) -> Int8Trial:
    """Return what autotuning found out about an int8 variant."""
    timings = [trial.final] if trial.final is not None else list(trial.trials)
    ratios = [timing.ratio_to_float32 for timing in timings if timing.ratio_to_float32 is not None]
    return Int8Trial(
        variant=trial.variant,
        outcome=trial.outcome,
        reason=without_paths(trial.reason),
        remedy=trial.remedy or "",
        ratio_to_float32=min(ratios, default=None),
    )


def _open(made: Made, shape: tuple[int, ...], stack: ExitStack) -> OpenPeer:
    peer = OpenPeer(made, reason=made.reason)
    if made.model is not None and not made.reason:
        try:
            peer.process = stack.enter_context(
                ModelProcess(made.model, made.settings, shape, made.program, TIMEOUT_S)
            )
        except MeasurementError as fault:
            peer.reason = without_paths(str(fault)) or "could not be opened"
    return peer


def time_in_rounds(peers: Sequence[OpenPeer], rules: Rules) -> int:
    """Time all peers in blocks, round after round, until each has enough; return the number of rounds.

    The order rotates from round to round, and every second round runs backwards, so that no peer always
    follows the same other one.
    """
    running = [peer for peer in peers if peer.process is not None]
    typical_s = {
        id(peer): median(peer.request(lambda process: process.time(WARM_UP_RUNS)) or [0.0])
        for peer in running
    }
    rounds = 0
    while not all(peer.finished(rules) for peer in running):
        start = rounds % len(running)
        order = running[start:] + running[:start]
        for peer in order if rounds % 2 == 0 else reversed(order):
            _block(peer, SHORT_BLOCK if typical_s[id(peer)] > SLOW_S else BLOCK)
        rounds += 1
    return rounds


def _block(peer: OpenPeer, count: int) -> None:
    """Time one block. An extra first run refills the caches after the other processes."""
    taken = peer.request(lambda process: process.time(1 + count))
    if taken is None:
        return
    peer.ran_s += sum(taken)
    peer.latencies_s += taken[1:]
    if peer.made.settings.threads > 1:
        # Its threads still spin on the cores that the next peer needs.
        time.sleep(SPINNING_REST_S if peer.made.settings.spinning else REST_S)


def _record(peer: OpenPeer, expected: NDArray[np.float32], labels: NDArray[np.int64]) -> Peer:
    process = peer.process
    made = peer.made
    ran = process is not None and not peer.reason
    reason = peer.reason
    quality = _quality(peer, expected, labels) if ran else None
    if ran and quality is None:
        reason = "its logits are not finite numbers of the right shape"
    return Peer(
        name=made.name,
        settings=made.settings,
        made=made.made,
        ran_on=process.provider_used if process is not None and ran else "",
        reason=reason,
        latencies_s=tuple(round(latency, 7) for latency in peer.latencies_s) if ran else (),
        load_s=process.load_s if process is not None and ran else None,
        first_s=process.first_s if process is not None and ran else None,
        quality=quality,
        size_bytes=size_bytes(made.model) if made.model is not None else None,
        peak_memory_bytes=peer.memory,
    )


def _quality(peer: OpenPeer, expected: NDArray[np.float32], labels: NDArray[np.int64]) -> Quality | None:
    if peer.logits is None or peer.logits.shape != expected.shape or not np.isfinite(peer.logits).all():
        return None
    return assess_quality(peer.logits, expected, labels, GATED, THRESHOLD, peer.made.settings)
