"""A rung of the ladder while it is climbed, and as it is written down."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pepr_edge.export.options import words
from pepr_edge.recipe.variants import Variant
from pepr_edge.records import Outcome, Quality, SettingsTrial, VariantTrial

# The best stays the best unless another is faster by more than the clock can be trusted.
FASTER = 0.99


@dataclass
class TrialState:
    """A variant as far as it got."""

    variant: Variant
    path: Path
    remedy: str | None = None
    notes: tuple[str, ...] = ()
    made_s: float | None = None
    size_bytes: int | None = None
    trials: list[SettingsTrial] = field(default_factory=list)
    quality: Quality | None = None
    outcome: Outcome = "slower"
    reason: str = ""

    def end(self, outcome: Outcome, reason: str) -> None:
        """What became of it, unless something better is found of another of its ways."""
        self.outcome, self.reason = outcome, reason

    def accepted(self) -> SettingsTrial | None:
        """The fastest of the ways that it may be run in: by quality's own settings where it was judged, else of all that ran."""
        ran = [trial for trial in self.trials if trial.latency_s is not None]
        judged = [
            trial for trial in ran if self.quality is not None and trial.settings == self.quality.settings
        ]
        return min(judged or ran, key=latency, default=None)


@dataclass(frozen=True)
class BestTrial:
    """The best so far: a file, and the way in which it is run."""

    tried: TrialState
    trial: SettingsTrial


def latency(trial: SettingsTrial) -> float:
    """Seconds; only of a trial that ran."""
    assert trial.latency_s is not None
    return trial.latency_s


def to_record(tried: TrialState, best: BestTrial, plain: SettingsTrial | None) -> VariantTrial:
    """A rung as it is kept, with its reason in words.

    Args:
        tried: the rung.
        best: what was chosen in the end.
        plain: float32 in its fastest way; None where it did not run.
    """
    chosen, outcome, reason = tried is best.tried, tried.outcome, tried.reason
    own = tried.accepted()
    if chosen:
        outcome, reason = "chosen", _chosen_message(best, plain)
    elif outcome == "slower" and own is not None:
        lost = (
            f"; and {tried.quality.reason}" if tried.quality is not None and not tried.quality.passed else ""
        )
        reason = f"{_slower_message(latency(own), latency(best.trial))}{lost}"
    return VariantTrial(
        variant=tried.variant.name,
        outcome=outcome,
        reason=reason,
        remedy=tried.remedy,
        made_s=tried.made_s,
        size_bytes=tried.size_bytes,
        trials=tuple(tried.trials),
        quality=tried.quality,
    )


def _slower_message(own_s: float, chosen_s: float) -> str:
    text = f"{own_s * 1e3:.3g} ms, the chosen one {chosen_s * 1e3:.3g} ms"
    return (
        text
        if chosen_s < FASTER * own_s
        else f"{text}: as fast, as far as can be told, and the chosen one was there first"
    )


def _chosen_message(best: BestTrial, plain: SettingsTrial | None) -> str:
    """Why the chosen one was chosen: its latency beside that of plain float32, which was raced in a round of its own."""
    own = latency(best.trial)
    text = f"the fastest that passed: {own * 1e3:.3g} ms with {words(best.trial.settings)}"
    if plain is None or plain in best.tried.trials:
        return text
    return f"{text}, about {latency(plain) / own:.2g} times as fast as float32 with {words(plain.settings)}"
