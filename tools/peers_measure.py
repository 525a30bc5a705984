"""All peers of one architecture held open at once, each in a process of its own, timed in turn; then their quality."""

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
from peers_records import Architecture, Peer, Rules

from pepr_edge.device.cpu import usable_cores
from pepr_edge.device.load import load_average
from pepr_edge.errors import MeasurementError
from pepr_edge.export.quality_gate import judge
from pepr_edge.measure.interleaved_timing import REST_S, SPIN_S
from pepr_edge.measure.model_process import ModelProcess
from pepr_edge.records import Quality

T = TypeVar("T")
REFERENCE = "eager"
THRESHOLD = 0.99
GATED = "accuracy"  # beside balanced accuracy, which the gate always looks at
BLOCK, SHORT_BLOCK = 5, 2
SLOW_S = 0.05  # those that take longer have short blocks, so that the others need not wait for them
WARM_UP_RUNS = 10
# torch.compile takes minutes on one thread, and hundreds of images a while too.
ANSWER_S = 1800.0


@dataclass
class Open:
    """One that is compared, open or not, and what is known of it so far."""

    made: Made
    contestant: ModelProcess | None = None
    reason: str = ""
    ran_s: float = 0.0
    latencies_s: list[float] = field(default_factory=list)
    memory: int | None = None
    logits: NDArray[np.float32] | None = None

    def ask(self, question: Callable[[ModelProcess], T]) -> T | None:
        """What it answers; None where it died of it, or has before."""
        if self.contestant is None or self.reason:
            return None
        try:
            return question(self.contestant)
        except MeasurementError as fault:
            self.reason = without_paths(str(fault))
            return None

    def satisfied(self, rules: Rules) -> bool:
        """Whether it has been measured for long enough, or cannot be."""
        runs = len(self.latencies_s)
        return (
            bool(self.reason) or runs >= rules.runs or (runs >= rules.fewest and self.ran_s >= rules.seconds)
        )


def measure(
    key: str,
    subject: Subject,
    made: Sequence[Made],
    pixels: NDArray[np.uint8],
    labels: NDArray[np.int64],
    rules: Rules,
    tell: Callable[[str], object],
) -> Architecture:
    """Compare on one architecture.

    Args:
        key: of the result.
        subject: the architecture.
        made: those that are compared.
        pixels: validation images, shape (n, px, px, channels).
        labels: shape (n,).
        rules: how long to measure.
        tell: called with what is under way.
    Raises:
        MeasurementError: PyTorch itself, beside which quality is judged, gives no logits.
    """
    candidate, spec = subject.trained.candidate, subject.trained.preprocess
    shape = (1, candidate.in_channels, candidate.image_size_px, candidate.image_size_px)
    with ExitStack() as stack:
        peers = []
        for one in made:
            tell(f"opens {one.name}")
            peers.append(_open(one, shape, stack))
        before = load_average()
        tell("times")
        rounds = take_turns(peers, rules)
        after = load_average()
        for peer in peers:
            peer.memory = peer.ask(lambda contestant: contestant.peak_memory_bytes())
        tell("judges")
        # Nothing is timed any more: all cores may work.
        with ThreadPoolExecutor(usable_cores()) as pool:
            said = pool.map(lambda peer: peer.ask(lambda contestant: contestant.logits(pixels, spec)), peers)
            for peer, logits in zip(peers, said, strict=True):
                peer.logits = logits
    reference = next(peer for peer in peers if peer.made.name == REFERENCE)
    if reference.logits is None:
        raise MeasurementError(
            f"{candidate.architecture}: PyTorch gave no logits to judge the others by ({reference.reason})."
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
        peers=tuple(_written(peer, expected, labels) for peer in peers),
    )


def _open(made: Made, shape: tuple[int, ...], stack: ExitStack) -> Open:
    found = Open(made, reason=made.reason)
    if made.model is not None and not made.reason:
        try:
            found.contestant = stack.enter_context(
                ModelProcess(made.model, made.settings, shape, made.program, ANSWER_S)
            )
        except MeasurementError as fault:
            found.reason = without_paths(str(fault)) or "could not be opened"
    return found


def take_turns(peers: Sequence[Open], rules: Rules) -> int:
    """Time the peers in blocks, round after round, all of them until the last has enough; the number of rounds.

    The order is rotated from round to round, and every other round turned about: nobody always follows the same one.
    """
    able = [peer for peer in peers if peer.contestant is not None]
    typical = {
        id(peer): median(peer.ask(lambda contestant: contestant.time(WARM_UP_RUNS)) or [0.0]) for peer in able
    }
    rounds = 0
    while not all(peer.satisfied(rules) for peer in able):
        start = rounds % len(able)
        order = able[start:] + able[:start]
        for peer in order if rounds % 2 == 0 else reversed(order):
            _block(peer, SHORT_BLOCK if typical[id(peer)] > SLOW_S else BLOCK)
        rounds += 1
    return rounds


def _block(peer: Open, count: int) -> None:
    """One turn. The run before the counted ones brings back into the caches what others drove out."""
    taken = peer.ask(lambda contestant: contestant.time(1 + count))
    if taken is None:
        return
    peer.ran_s += sum(taken)
    peer.latencies_s += taken[1:]
    if peer.made.settings.threads > 1:
        # Its threads still spin, on the cores of whoever comes next.
        time.sleep(SPIN_S if peer.made.settings.spinning else REST_S)


def _written(peer: Open, expected: NDArray[np.float32], labels: NDArray[np.int64]) -> Peer:
    contestant, made = peer.contestant, peer.made
    ran = contestant is not None and not peer.reason
    reason, quality = peer.reason, _quality(peer, expected, labels) if ran else None
    if ran and quality is None:
        reason = "its logits are not finite numbers of the right shape"
    return Peer(
        name=made.name,
        settings=made.settings,
        made=made.made,
        ran_on=contestant.provider_used if contestant is not None and ran else "",
        reason=reason,
        latencies_s=tuple(round(latency, 7) for latency in peer.latencies_s) if ran else (),
        load_s=contestant.load_s if contestant is not None and ran else None,
        first_s=contestant.first_s if contestant is not None and ran else None,
        quality=quality,
        size_bytes=size_bytes(made.model) if made.model is not None else None,
        peak_memory_bytes=peer.memory,
    )


def _quality(peer: Open, expected: NDArray[np.float32], labels: NDArray[np.int64]) -> Quality | None:
    if peer.logits is None or peer.logits.shape != expected.shape or not np.isfinite(peer.logits).all():
        return None
    return judge(peer.logits, expected, labels, GATED, THRESHOLD, peer.made.settings)
