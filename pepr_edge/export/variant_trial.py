"""The trial of one variant: its state during autotuning, and its record."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pepr_edge.export.options import settings_text
from pepr_edge.recipe.variants import Variant
from pepr_edge.records import Outcome, Quality, SettingsTrial, VariantTrial

# Speed-ups below 1 % count as timer noise: the best stays the best.
FASTER_RATIO = 0.99


@dataclass
class TrialState:
    """The trial of one variant so far. `timings` holds one entry for each of its session settings."""

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
        return min(assessed or ran, key=latency, default=None)


@dataclass(frozen=True)
class BestTrial:
    """The best file so far, and the timing with its best settings."""

    state: TrialState
    timing: SettingsTrial


def latency(timing: SettingsTrial) -> float:
    """Return the latency of a timing that ran, seconds."""
    assert timing.latency_s is not None
    return timing.latency_s


def to_record(state: TrialState, best: BestTrial, float32: SettingsTrial | None) -> VariantTrial:
    """Return the record of a trial, with the reason for its outcome.

    Args:
        state: the trial.
        best: the file and settings that were chosen.
        float32: the fastest timing of the float32 file; None if it did not run.
    """
    outcome = state.outcome
    reason = state.reason
    fastest = state.fastest()
    if state is best.state:
        outcome = "chosen"
        reason = _chosen_reason(best, float32)
    elif outcome == "slower" and fastest is not None:
        reason = _slower_reason(latency(fastest), latency(best.timing))
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
        quality=state.quality,
    )


def _slower_reason(own_s: float, chosen_s: float) -> str:
    text = f"{own_s * 1e3:.3g} ms, the chosen variant {chosen_s * 1e3:.3g} ms"
    if chosen_s < FASTER_RATIO * own_s:
        return text
    return f"{text}: the difference is within timer noise, and the chosen variant was tried first"


def _chosen_reason(best: BestTrial, float32: SettingsTrial | None) -> str:
    """Compare with float32, which was timed in another round: hence "about"."""
    own_s = latency(best.timing)
    text = f"the fastest variant that passed: {own_s * 1e3:.3g} ms with {settings_text(best.timing.settings)}"
    if float32 is None or float32 in best.state.timings:
        return text
    ratio = latency(float32) / own_s
    return f"{text}, about {ratio:.2g} times as fast as float32 with {settings_text(float32.settings)}"
