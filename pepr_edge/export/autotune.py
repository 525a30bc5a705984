"""The ladder of variants: the fastest file x runtime x options that keeps its quality, found by measuring on this device.

Rung by rung a variant is made of the float32 file and raced, under each runtime, against the best so far, the two in turn. Who is faster
has to pass the quality gate and the budgets of size and memory to become the best. float32 is always left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from pepr_edge.errors import ExportError, MeasurementError
from pepr_edge.export.artifact import ExportSource
from pepr_edge.export.check import NOT_FINITE
from pepr_edge.export.convert import convert
from pepr_edge.export.options import grid, starts
from pepr_edge.export.prepare import Images, Prepared
from pepr_edge.export.variant_trial import FASTER, BestTrial, TrialState, latency, to_record
from pepr_edge.images.preprocess import to_tensor
from pepr_edge.measure.interleaved_timing import TimingRules, time_interleaved
from pepr_edge.measure.model_process import ModelProcess
from pepr_edge.recipe.variants import Variant
from pepr_edge.records import Quality, SessionSettings, SettingsTrial, VariantTrial

# Rungs are begun within this share of the time budget: the rest is for the options of the one that came out first.
SHARE_OF_VARIANTS = 0.85
# For each: the least that tells one per cent from none where the machine is quiet.
RULES = TimingRules(warmup_s=0.1, final_s=0.6)
MIN_TIMING_S = 10.0
MAX_OPEN = 4  # contestants held open beside the best: their memory adds up

OnProgress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class AutotuneResult:
    """What a ladder came to: the file, how it is to be run, and every rung."""

    path: Path
    variant: str
    settings: SessionSettings
    remedy: str | None
    notes: tuple[str, ...]
    rungs: tuple[VariantTrial, ...]


class _Ran(NamedTuple):
    """A way of running a file that was raced, and the process that still holds it open."""

    trial: SettingsTrial
    process: ModelProcess


def autotune(
    source: ExportSource, base: Path, variants: Sequence[Variant], folder: Path, on_progress: OnProgress
) -> AutotuneResult:
    """Try the variants in order, then the options of the best.

    Args:
        source: the candidate.
        base: its float32 file.
        variants: what is to be tried, float32 first.
        folder: room for the files.
        on_progress: called with rungs done, rungs in all, and what is under way.
    Raises:
        ExportError: not even float32 runs here within the budgets.
    """
    with Prepared(base) as prepared:
        most = max(
            (variant.quantise.calibration_images for variant in variants if variant.quantise), default=0
        )
        autotuner = _Autotuner(
            source, prepared, to_tensor(source.calibration(most), source.trained.preprocess)
        )
        for number, variant in enumerate(variants):
            on_progress(number, len(variants) + 1, variant.name)
            tried = TrialState(variant, folder / f"{variant.name}.onnx")
            if number and (reason := autotuner.why_not(variant)) is not None:
                tried.end("not tried", reason)
            else:
                autotuner.step(tried)
            autotuner.tried.append(tried)
            autotuner.tidy()
        on_progress(len(variants), len(variants) + 1, "session options")
        autotuner.options()
        return autotuner.choice()


class _Autotuner:
    """Holds the rungs so far and the best of them."""

    def __init__(self, source: ExportSource, prepared: Prepared, images: Images) -> None:
        self.source, self.recipe, self.prepared, self.images = source, source.recipe, prepared, images
        self.limits = self.recipe.limits()
        self.tried: list[TrialState] = []
        self.best: BestTrial | None = None
        self.begun = time.perf_counter()

    def left_s(self) -> float:
        """What is left of the time budget, seconds."""
        return self.recipe.export.time_budget_s - (time.perf_counter() - self.begun)

    def why_not(self, variant: Variant) -> str | None:
        """Why a rung is not tried; None where it is."""
        budget_s = self.recipe.export.time_budget_s
        if self.left_s() < (1 - SHARE_OF_VARIANTS) * budget_s:
            return f"the time budget of {budget_s:g} s was over"
        rescue = variant.auto is not None and variant.auto.rescue
        if rescue and not any(tried.outcome == "quality" for tried in self.tried):
            return "a remedy for a variant that is faster but loses quality, and none such was seen"
        return None

    def step(self, tried: TrialState) -> None:
        """Make a variant and race it against the best."""
        begin = time.perf_counter()
        try:
            made = convert(tried.variant, self.prepared, tried.path, self.images, self._accept)
        except (ExportError, OSError) as fault:
            tried.end("failed", str(fault))
            return
        tried.remedy, tried.notes = made.remedy, made.notes
        tried.made_s, tried.size_bytes = time.perf_counter() - begin, tried.path.stat().st_size
        limit = self.limits.get("size_bytes")
        if limit is not None and tried.size_bytes > limit:
            tried.end("size", f"file of {tried.size_bytes / 2**20:.3g} MiB, budget {limit / 2**20:.3g} MiB")
            return
        self._time_all(tried, starts(self.recipe.device))

    def options(self) -> None:
        """Race the options of the best file."""
        if self.best is not None:
            self._time_all(self.best.tried, grid(self.best.trial.settings))

    def tidy(self) -> None:
        """Delete all files but the best: a ladder of large models would fill a small disk."""
        for tried in self.tried:
            if self.best is None or tried is not self.best.tried:
                with suppress(OSError):
                    tried.path.unlink(missing_ok=True)

    def choice(self) -> AutotuneResult:
        """The best, and every rung with why it won or lost."""
        if self.best is None:
            reasons = "; ".join(
                f"{tried.variant.name}: {tried.reason}"
                for tried in self.tried
                if tried.outcome != "not tried"
            )
            raise ExportError(f"no variant runs here within the budgets: {reasons}")
        best, tried = self.best, self.best.tried
        plain = min(
            (trial for trial in self.tried[0].trials if trial.latency_s is not None),
            key=latency,
            default=None,
        )
        rungs = tuple(to_record(one, best, plain) for one in self.tried)
        return AutotuneResult(
            tried.path, tried.variant.name, best.trial.settings, tried.remedy, tried.notes, rungs
        )

    def _accept(self, path: Path) -> bool:
        """Whether a file that is still being made keeps its quality, run as the best is; no more of them when the time is over."""
        settings = self.best.trial.settings if self.best is not None else starts(self.recipe.device)[0]
        try:
            if self.left_s() < 0:
                raise ExportError(
                    f"the time budget of {self.recipe.export.time_budget_s:g} s was over before its quality held."
                )
            with self._model_process(path, settings) as process:
                return self._judge(process, settings).passed
        except MeasurementError:
            return False

    def _model_process(self, path: Path, settings: SessionSettings) -> ModelProcess:
        spec = self.source.trained.preprocess
        return ModelProcess(path, settings, (1, spec.channels, spec.image_size_px, spec.image_size_px))

    def _judge(self, process: ModelProcess, settings: SessionSettings) -> Quality:
        logits = process.logits(self.source.pixels("val"), self.source.trained.preprocess)
        if not np.isfinite(logits).all():
            raise MeasurementError(NOT_FINITE)
        return self.source.judge(logits, settings)

    def _time_all(self, tried: TrialState, ways: Sequence[SessionSettings]) -> None:
        """Run a file in several ways against the best, a few at a time."""
        for start in range(0, len(ways), MAX_OPEN):
            if start == 0 or self.left_s() > 0:
                self._time(tried, ways[start : start + MAX_OPEN])

    def _time(self, tried: TrialState, ways: Sequence[SessionSettings]) -> None:
        """The fastest that passes becomes the best."""
        with ExitStack() as stack:
            opened = []
            for settings in ways:
                try:
                    opened.append((settings, stack.enter_context(self._model_process(tried.path, settings))))
                except MeasurementError as fault:
                    tried.trials.append(SettingsTrial(settings=settings, latency_s=None, reason=str(fault)))
            field = {str(number): process for number, (_, process) in enumerate(opened)}
            if self.best is not None:
                with suppress(MeasurementError):
                    field["best"] = stack.enter_context(
                        self._model_process(self.best.tried.path, self.best.trial.settings)
                    )
            raced = (
                time_interleaved(
                    field, replace(RULES, limit_s=max(MIN_TIMING_S, min(RULES.limit_s, self.left_s())))
                )
                if opened
                else {}
            )
            ran = []
            for number, (settings, process) in enumerate(opened):
                trial = _trial(settings, process, raced[str(number)].latencies_s, raced[str(number)].reason)
                tried.trials.append(trial)
                ran += [_Ran(trial, process)] if trial.latency_s is not None else []
            if not ran and all(trial.latency_s is None for trial in tried.trials):
                tried.end("failed", next((trial.reason for trial in tried.trials), "no runtime runs it"))
            self._accept_best(tried, ran, raced["best"].latencies_s if "best" in raced else [])

    def _accept_best(self, tried: TrialState, ran: list[_Ran], best_latencies_s: list[float]) -> None:
        """Judge the fastest way first, until one passes; one that is slower than the best is judged once, for the record."""
        # Where the best died on the way, of what else was open, what it reached before is the mark.
        threshold_s = (
            median(best_latencies_s)
            if best_latencies_s
            else latency(self.best.trial)
            if self.best is not None
            else None
        )
        for trial, process in sorted(ran, key=lambda one: latency(one.trial)):
            if (reason := self._too_big(trial)) is not None:
                tried.end("memory", reason)
                continue
            faster = threshold_s is None or latency(trial) < FASTER * threshold_s
            if not faster and tried.quality is not None:
                return
            try:
                quality = self._judge(process, trial.settings)
            except MeasurementError as fault:
                tried.end("failed", str(fault))
                continue
            if self.best is None or self.best.tried is not tried or (faster and quality.passed):
                tried.quality = quality
            if faster and quality.passed:
                self.best = BestTrial(tried, trial)
            if faster and not quality.passed:
                tried.end("quality", quality.reason)
                continue
            tried.end("slower", "")
            return

    def _too_big(self, trial: SettingsTrial) -> str | None:
        """What of the memory budget a trial breaks, in words."""
        limit, peak = self.limits.get("peak_memory_bytes"), trial.peak_memory_bytes
        if limit is None or (peak is not None and peak <= limit):
            return None
        reached = (
            "its peak memory could not be measured" if peak is None else f"peak memory {peak / 2**20:.0f} MiB"
        )
        return f"{reached}, budget {limit / 2**20:.0f} MiB"


def _trial(
    settings: SessionSettings, process: ModelProcess, latencies_s: list[float], reason: str
) -> SettingsTrial:
    if not latencies_s:
        return SettingsTrial(settings=settings, latency_s=None, reason=reason or "it was given no time")
    try:
        peak = process.peak_memory_bytes()
    except MeasurementError as fault:
        return SettingsTrial(settings=settings, latency_s=None, reason=str(fault))
    return SettingsTrial(
        settings=settings,
        latency_s=median(latencies_s),
        n=len(latencies_s),
        load_s=process.load_s,
        peak_memory_bytes=peak,
    )
