"""The ladder of variants: the fastest file x runtime x options that keeps its quality, found by measuring on this device.

Rung by rung a variant is made of the float32 file and raced, under each runtime, against the best so far, the two in turn. Who is faster
has to pass the quality gate and the memory budget to become the best. A ladder ends with its time budget; float32 is always left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from pepr_edge.errors import ExportError, MeasurementError
from pepr_edge.export.check import ANSWER_S, IMAGE_S, Logits
from pepr_edge.export.gate import judge
from pepr_edge.export.make import make
from pepr_edge.export.options import grid, starts, words
from pepr_edge.export.prepare import Prepared
from pepr_edge.export.variants import Variant
from pepr_edge.field.contestant import Contestant
from pepr_edge.field.race import Rules, race
from pepr_edge.preprocess import to_tensor
from pepr_edge.recipe import Recipe
from pepr_edge.records import Outcome, Preprocess, Quality, Rung, SessionSettings, Trial

# The best stays the best unless another is faster by more than the clock can be trusted.
FASTER = 0.99
# Rungs are begun within this share of the time budget: the rest is for the options of the one that came out first.
SHARE_OF_RUNGS = 0.85
# For each: the least that tells one per cent from none where the machine is quiet.
RULES = Rules(warmup_s=0.1, final_s=0.6)
AT_ONCE = 4  # contestants held open beside the best: their memory adds up

Pixels = NDArray[np.uint8]
Tell = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Task:
    """What a ladder climbs with.

    `calibration` are training images that ranges may be taken from; `pixels`, `labels` and `before`, PyTorch's logits, are of validation.
    """

    base: Path
    variants: tuple[Variant, ...]
    recipe: Recipe
    spec: Preprocess
    calibration: Pixels
    pixels: Pixels
    labels: NDArray[np.int64]
    before: Logits


@dataclass
class Tried:
    """A variant as far as it got."""

    variant: Variant
    path: Path
    remedy: str | None = None
    notes: tuple[str, ...] = ()
    made_s: float | None = None
    size_bytes: int | None = None
    trials: list[Trial] = field(default_factory=list)
    quality: Quality | None = None
    outcome: Outcome = "slower"
    reason: str = ""

    @property
    def fastest(self) -> Trial | None:
        """The trial with the least latency; None where no runtime runs it."""
        ran = [trial for trial in self.trials if trial.latency_s is not None]
        return min(ran, key=_latency, default=None)


@dataclass(frozen=True)
class Best:
    """The best so far."""

    tried: Tried
    settings: SessionSettings
    latency_s: float
    quality: Quality


@dataclass(frozen=True)
class Choice:
    """What a ladder came to: the file, how it is to be run, what it keeps, and every rung."""

    path: Path
    variant: str
    settings: SessionSettings
    quality: Quality
    remedy: str | None
    notes: tuple[str, ...]
    rungs: tuple[Rung, ...]


def climb(task: Task, folder: Path, tell: Tell) -> Choice:
    """Try the variants in order, then the options of the best.

    Args:
        task: what is to be tried, and on what.
        folder: room for the files.
        tell: called with rungs done, rungs in all, and what is under way.
    Raises:
        ExportError: not even float32 runs here within the memory budget.
    """
    with Prepared(task.base) as prepared:
        ladder = _Ladder(task, folder, prepared)
        for number, variant in enumerate(task.variants):
            tell(number, len(task.variants) + 1, variant.name)
            if (reason := ladder.why_not(variant, first=number == 0)) is not None:
                ladder.tried.append(Tried(variant, folder, outcome="not tried", reason=reason))
            else:
                ladder.step(variant)
        tell(len(task.variants), len(task.variants) + 1, "session options")
        ladder.options()
        return ladder.choice()


class _Ladder:
    """Holds the rungs so far and the best of them."""

    def __init__(self, task: Task, folder: Path, prepared: Prepared) -> None:
        self.task, self.folder, self.prepared = task, folder, prepared
        self.images = to_tensor(task.calibration, task.spec)
        self.tried: list[Tried] = []
        self.best: Best | None = None
        self.begun = time.perf_counter()

    def why_not(self, variant: Variant, first: bool) -> str | None:
        """Why a rung is not tried; None where it is."""
        if not first and time.perf_counter() - self.begun > SHARE_OF_RUNGS * self.task.recipe.export.time_budget_s:
            return f"the time budget of {self.task.recipe.export.time_budget_s:g} s was over"
        rescues = variant.auto is not None and variant.auto.rescue
        if rescues and not any(tried.outcome == "quality" for tried in self.tried):
            return "a remedy for int8 that is fast but loses quality, and none such was seen"
        return None

    def step(self, variant: Variant) -> None:
        """Make a variant and race it against the best."""
        tried = Tried(variant, self.folder / f"{variant.name}.onnx")
        self.tried.append(tried)
        begin = time.perf_counter()
        try:
            made = make(variant, self.prepared, tried.path, self.images, self._accept)
        except ExportError as fault:
            tried.outcome, tried.reason = "failed", str(fault)
            return
        tried.remedy, tried.notes = made.remedy, made.notes
        tried.made_s, tried.size_bytes = time.perf_counter() - begin, tried.path.stat().st_size
        self._race(tried, starts(self.task.recipe.device))
        if self.best is None or self.best.tried is not tried:
            tried.path.unlink(missing_ok=True)  # a ladder of large models would fill a small disk

    def options(self) -> None:
        """Race the options of the best file, a few at a time."""
        if self.best is None or time.perf_counter() - self.begun > self.task.recipe.export.time_budget_s:
            return
        others = grid(self.best.settings)
        for start in range(0, len(others), AT_ONCE):
            self._race(self.best.tried, others[start : start + AT_ONCE])

    def choice(self) -> Choice:
        """The best, and every rung with why it won or lost."""
        if self.best is None:
            raise ExportError(f"no variant runs here: {'; '.join(f'{t.variant.name}: {t.reason}' for t in self.tried if t.reason)}")
        best, tried = self.best, self.best.tried
        rungs = tuple(_rung(one, best, self.tried[0]) for one in self.tried)
        return Choice(tried.path, tried.variant.name, best.settings, best.quality, tried.remedy, tried.notes, rungs)

    def _accept(self, path: Path) -> bool:
        """Whether a file that is still being made keeps its quality, as the best runs."""
        settings = self.best.settings if self.best is not None else starts(self.task.recipe.device)[0]
        try:
            with self._contestant(path, settings) as contestant:
                return self._judge(contestant, settings).passed
        except MeasurementError:
            return False

    def _contestant(self, path: Path, settings: SessionSettings) -> Contestant:
        px, channels = self.task.spec.image_size_px, self.task.spec.channels
        return Contestant(path, settings, (1, channels, px, px), limit_s=ANSWER_S + IMAGE_S * len(self.task.pixels))

    def _judge(self, contestant: Contestant, settings: SessionSettings) -> Quality:
        recipe, logits = self.task.recipe, contestant.logits(self.task.pixels, self.task.spec)
        if not np.isfinite(logits).all():
            raise MeasurementError("its logits are not finite numbers.")
        return judge(logits, self.task.before, self.task.labels, recipe.score.performance, recipe.export.keep_performance, settings)

    def _race(self, tried: Tried, ways: Iterable[SessionSettings]) -> None:
        """Run a file in several ways against the best; the fastest that passes the gate becomes the best."""
        with ExitStack() as stack:
            open_ = {str(number): self._open(stack, tried, settings) for number, settings in enumerate(ways)}
            contestants = {name: (settings, found) for name, (settings, found) in open_.items() if found is not None}
            if not contestants:
                tried.outcome, tried.reason = "failed", next((t.reason for t in reversed(tried.trials)), "no runtime runs it")
                return
            field_ = {name: contestant for name, (_, contestant) in contestants.items()}
            if self.best is not None:
                with suppress(MeasurementError):
                    field_["best"] = stack.enter_context(self._contestant(self.best.tried.path, self.best.settings))
            result = race(field_, RULES)
            best_s = median(result["best"].latencies_s) if "best" in result and result["best"].latencies_s else None
            trials = []
            for name, (settings, contestant) in contestants.items():
                trials.append((_trial(settings, contestant, result[name].latencies_s, result[name].reason), contestant))
            tried.trials += [trial for trial, _ in trials]
            self._crown(tried, trials, best_s)

    def _open(self, stack: ExitStack, tried: Tried, settings: SessionSettings) -> tuple[SessionSettings, Contestant | None]:
        try:
            return settings, stack.enter_context(self._contestant(tried.path, settings))
        except MeasurementError as fault:
            tried.trials.append(Trial(settings=settings, latency_s=None, reason=str(fault)))
            return settings, None

    def _crown(self, tried: Tried, trials: list[tuple[Trial, Contestant]], best_s: float | None) -> None:
        """Judge the fastest way first, until one passes; one that is slower than the best is judged once, for the record."""
        limit = self.task.recipe.limits().get("peak_memory_bytes")
        for trial, contestant in sorted((one for one in trials if one[0].latency_s is not None), key=lambda one: _latency(one[0])):
            if limit is not None and (trial.peak_memory_bytes is None or trial.peak_memory_bytes > limit):
                tried.outcome, tried.reason = "memory", _too_big(trial, limit)
                continue
            faster = best_s is None or _latency(trial) < FASTER * best_s
            if not faster and tried.quality is not None:
                return
            try:
                tried.quality = self._judge(contestant, trial.settings)
            except MeasurementError as fault:
                tried.outcome, tried.reason = "failed", str(fault)
                continue
            if not tried.quality.passed:
                tried.outcome, tried.reason = "quality", tried.quality.reason
                continue
            if faster:
                tried.outcome, tried.reason = "slower", ""
                self._take(Best(tried, trial.settings, _latency(trial), tried.quality))
            return

    def _take(self, best: Best) -> None:
        before, self.best = self.best, best
        if before is not None and before.tried is not best.tried:
            before.tried.path.unlink(missing_ok=True)


def _latency(trial: Trial) -> float:
    assert trial.latency_s is not None
    return trial.latency_s


def _trial(settings: SessionSettings, contestant: Contestant, latencies_s: list[float], reason: str) -> Trial:
    if not latencies_s:
        return Trial(settings=settings, latency_s=None, reason=reason)
    with suppress(MeasurementError):
        memory = contestant.peak_memory_bytes()
        return Trial(
            settings=settings, latency_s=median(latencies_s), n=len(latencies_s), load_s=contestant.load_s, peak_memory_bytes=memory
        )
    return Trial(settings=settings, latency_s=None, reason="its process died")


def _too_big(trial: Trial, limit: float) -> str:
    if trial.peak_memory_bytes is None:
        return f"its peak memory could not be measured, budget {limit / 2**20:.0f} MiB"
    return f"peak memory {trial.peak_memory_bytes / 2**20:.0f} MiB, budget {limit / 2**20:.0f} MiB"


def _rung(tried: Tried, best: Best, first: Tried) -> Rung:
    """A rung as it is written down, with the reason in words."""
    chosen, outcome, reason = tried is best.tried, tried.outcome, tried.reason
    own = tried.fastest
    if chosen:
        outcome, reason = "chosen", _praise(best, first)
    elif outcome == "slower" and own is not None:
        reason = f"{_latency(own) * 1e3:.3g} ms with {words(own.settings)}, the chosen one {best.latency_s * 1e3:.3g} ms"
    return Rung(
        variant=tried.variant.name,
        outcome=outcome,
        reason=reason,
        remedy=tried.remedy,
        made_s=tried.made_s,
        size_bytes=tried.size_bytes,
        trials=tuple(tried.trials),
        quality=best.quality if chosen else tried.quality,
    )


def _praise(best: Best, first: Tried) -> str:
    """Why the chosen one was chosen: its latency beside that of plain float32."""
    text = f"the fastest that passed: {best.latency_s * 1e3:.3g} ms with {words(best.settings)}"
    plain = first.trials[0] if first.trials else None
    if plain is None or plain.latency_s is None:
        return text
    return f"{text}, {plain.latency_s / best.latency_s:.2g} times as fast as {first.variant.name} with {words(plain.settings)}"
