"""The trial of one variant: its state during autotuning, and its record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pepr_edge.export.options import settings_text
from pepr_edge.recipe.variants import Variant
from pepr_edge.records import Outcome, Quality, SettingsTrial, VariantTrial

# Speed-ups below 1 % count as timer noise: the best stays the best.
FASTER_RATIO = 0.99


@dataclass
class TrialState:
    """The trial of one variant so far.

    `timings` holds one entry for each of its session settings; `final` is the timing of the final race, None
    if it was not in it.
    """

    variant: Variant
    path: Path
    remedy: str | None = None
    notes: tuple[str, ...] = ()
    made_s: float | None = None
    size_bytes: int | None = None
    timings: list[SettingsTrial] = field(default_factory=list)
    quality: Quality | None = None
    outcome: Outcome = "slower"
    reason: str = ""
    final: SettingsTrial | None = None

    def set_outcome(self, outcome: Outcome, reason: str) -> None:
        """Set the outcome; a later timing with other settings may change it."""
        self.outcome = outcome
        self.reason = reason

    def fastest(self) -> SettingsTrial | None:
        """Return the fastest timing: of the settings whose quality was measured, else of all that ran."""
        ran = [timing for timing in self.timings if timing.latency_s is not None]
        assessed = []
        if self.quality is not None:
            assessed = [timing for timing in ran if timing.settings == self.quality.settings]
        return fastest(assessed or ran)


@dataclass(frozen=True, eq=False)
class TimedFile:
    """A file with the settings of a timing, its quality, and its ratio to the reference.

    The ratio: how many times as long it takes. The reference is the first file that ran, with its fastest
    settings: float32, if that runs.
    """

    state: TrialState
    timing: SettingsTrial
    ratio: float
    quality: Quality | None = None


def latency(timing: SettingsTrial) -> float:
    """Return the latency of a timing that ran, seconds."""
    assert timing.latency_s is not None
    return timing.latency_s


def fastest(timings: Sequence[SettingsTrial]) -> SettingsTrial | None:
    """Return the fastest of timings that ran; None if there are none.

    They are compared by their ratios to float32: seconds of different minutes are no comparison. If float32
    did not run, there are no ratios, and the seconds decide.
    """
    compared = [timing for timing in timings if timing.ratio_to_float32 is not None]
    if compared:
        return min(compared, key=lambda timing: timing.ratio_to_float32 or 0.0)
    return min(timings, key=latency, default=None)


def memory_fault(timing: SettingsTrial, limit: float | None) -> str | None:
    """Return how a timing exceeds the memory budget, bytes, else None."""
    peak = timing.peak_memory_bytes
    if limit is None:
        return None
    budget = f"budget {limit / 2**20:.0f} MiB"
    if peak is None:
        return f"its peak memory could not be measured, {budget}"
    return f"peak memory {peak / 2**20:.0f} MiB, {budget}" if peak > limit else None


def to_record(state: TrialState, best: TimedFile, float32: TrialState) -> VariantTrial:
    """Return the record of a trial, with the reason for its outcome.

    Args:
        state: the trial.
        best: the file and settings that were chosen.
        float32: the trial of the float32 file.
    """
    outcome = state.outcome
    reason = state.reason
    if state is best.state:
        outcome = "chosen"
        reason = _chosen_reason(best, float32)
    elif outcome == "slower":
        reason = _slower_reason(state, best)
        if state.quality is not None and not state.quality.passed:
            reason += f"; and {state.quality.reason}"
    return VariantTrial(
        variant=state.variant.name,
        outcome=outcome,
        reason=reason,
        remedy=state.remedy,
        made_s=state.made_s,
        size_bytes=state.size_bytes,
        trials=tuple(state.timings),
        final=state.final,
        quality=state.quality,
    )


def _slower_reason(state: TrialState, best: TimedFile) -> str:
    """Compare with the chosen file: in the final race, else by the ratios to float32."""
    own = state.fastest()
    chosen: SettingsTrial | None = best.timing
    if state.final is not None and best.state.final is not None:
        own = state.final
        chosen = best.state.final
    own_ratio = None if own is None else own.ratio_to_float32
    chosen_ratio = None if chosen is None else chosen.ratio_to_float32
    if own_ratio is None or not chosen_ratio:
        return "not shown to be faster than the chosen variant"
    ratio = own_ratio / chosen_ratio
    text = f"it takes {ratio:.3g} times as long as the chosen variant"
    if chosen_ratio < FASTER_RATIO * own_ratio:
        return text
    return f"{text}: the difference is within timer noise"


def _chosen_reason(best: TimedFile, float32: TrialState) -> str:
    """Compare with float32 if the chosen file is shown to be faster than it."""
    timing = best.state.final or best.timing
    text = f"{latency(timing) * 1e3:.3g} ms with {settings_text(timing.settings)}"
    if best.state is float32:
        return f"no variant that passed is shown to be faster: {text}"
    text = f"the fastest variant that passed: {text}"
    reference = float32.final or float32.fastest()
    ratio = timing.ratio_to_float32
    if reference is None or not ratio:
        return text
    setting = settings_text(reference.settings)
    if ratio < FASTER_RATIO:
        return f"{text}, {1 / ratio:.3g} times as fast as float32 with {setting}, measured in turn"
    return f"{text}; float32 with {setting} is not slower, but did not pass"
