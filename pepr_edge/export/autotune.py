"""Autotuning: find the fastest variant, runtime and session options that keep the quality on this device.

The variants are made from the float32 file one by one. Each is timed under every runtime, interleaved with
the best so far. A faster file becomes the best if it passes the quality gate and the budgets of size and
memory. Only ratios within such a race decide, and they are chained to a ratio to float32: the machine may be
faster or slower minutes later.

At the end the best files and float32 are raced again. float32 remains if no other is shown to be faster.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pepr_edge.errors import ExportError, MeasurementError
from pepr_edge.export.artifact import ExportSource
from pepr_edge.export.check import NOT_FINITE
from pepr_edge.export.convert import convert
from pepr_edge.export.options import autotuning_fault, option_grid, trial_settings
from pepr_edge.export.prepare import Images, PreparedModel
from pepr_edge.export.variant_race import chained_ratio, is_below, time_in_turn, timing_of, winner_of
from pepr_edge.export.variant_trial import FASTER_RATIO, TimedFile, TrialState, memory_fault, to_record
from pepr_edge.images.preprocess import to_tensor
from pepr_edge.measure.interleaved_timing import (
    ParticipantLatencies,
    TimingRules,
    latency_ratio,
    ratios_to_fastest,
)
from pepr_edge.measure.model_process import ModelProcess
from pepr_edge.recipe import FLOAT32
from pepr_edge.recipe.variants import Variant
from pepr_edge.records import Quality, SessionSettings, SettingsTrial, VariantTrial

# New variants start within this share of the time budget; the rest is for the session options of the best.
VARIANTS_TIME_SHARE = 0.85
FINAL_TIME_SHARE = 0.08  # of the time budget, kept for the final race
# The shortest timing that resolves a difference of 1 % on a quiet machine.
TIMING_RULES = TimingRules(warmup_s=0.1, final_s=0.6)
# Files that take over 10 % longer than the fastest end after ten rounds: they cannot win.
FINAL_RULES = TimingRules(warmup_s=0.1, min_rounds=10, prune_ratio=1.1, final_s=1.5)
MIN_TIMING_S = 10.0
MAX_OPEN = 4  # model processes open at the same time, without the best: their memory adds up
MAX_FINALISTS = 2  # beside float32: their files are kept until the final race

OnProgress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class AutotuneResult:
    """The chosen file, how to run it, and the trial of every variant."""

    path: Path
    variant: str
    settings: SessionSettings
    remedy: str | None
    notes: tuple[str, ...]
    trials: tuple[VariantTrial, ...]


class _TimedModel(NamedTuple):
    """A timing, the process in which the model is still open, and the ratio to the reference.

    The ratio is None if the file could not be compared.
    """

    timing: SettingsTrial
    process: ModelProcess
    ratio: float | None


def autotune(
    source: ExportSource,
    float32_path: Path,
    variants: Sequence[Variant],
    folder: Path,
    on_progress: OnProgress,
) -> AutotuneResult:
    """Try the variants in order, then the session options of the best, then race the best files again.

    Args:
        source: the candidate.
        float32_path: its float32 file.
        variants: the variants to try, float32 first.
        folder: where the files of the variants are written.
        on_progress: called with the number of finished steps, the number of steps, and the name of the
            current one.
    Raises:
        ExportError: the recipe's runtime takes no part in autotuning; no variant runs here within the
            budgets, not even float32.
    """
    fault = autotuning_fault(source.recipe.device)
    if fault is not None:
        raise ExportError(fault)
    calibrated = [variant.quantise for variant in variants if variant.quantise is not None]
    image_count = max((quantise.calibration_images for quantise in calibrated), default=0)
    images = to_tensor(source.calibration(image_count), source.trained.preprocess)
    steps = len(variants) + 2
    with PreparedModel(float32_path) as prepared:
        autotuner = _Autotuner(source, prepared, images)
        for number, variant in enumerate(variants):
            on_progress(number, steps, variant.name)
            autotuner.try_variant(variant, folder / f"{variant.name}.onnx")
        on_progress(len(variants), steps, "session options")
        autotuner.try_options()
        on_progress(len(variants) + 1, steps, "final race")
        autotuner.race_finalists()
        return autotuner.result()


class _Autotuner:
    """Holds the trials so far and the best of them.

    `reference` is the first file that ran; `passed` has each variant that passed, with its fastest settings.
    """

    def __init__(self, source: ExportSource, prepared: PreparedModel, images: Images) -> None:
        self.source = source
        self.recipe = source.recipe
        self.prepared = prepared
        self.images = images
        self.limits = self.recipe.limits()
        self.budget_s = self.recipe.export.time_budget_s
        self.trials: list[TrialState] = []
        self.best: TimedFile | None = None
        self.reference: TimedFile | None = None
        self.passed: list[TimedFile] = []
        self.started_s = time.perf_counter()

    def try_variant(self, variant: Variant, path: Path) -> None:
        """Make a variant and compare it with the best."""
        state = TrialState(variant, path)
        # The first variant is tried in any case: without it there may be no result.
        reason = self._skip_reason(variant) if self.trials else None
        if reason is not None:
            state.set_outcome("not tried", reason)
        elif self._make(state):
            self._try_all_settings(state, trial_settings(self.recipe.device))
        self.trials.append(state)
        self._delete_other_files()

    def try_options(self) -> None:
        """Try the session options of the best file."""
        if self.best is not None:
            self._try_all_settings(self.best.state, option_grid(self.best.timing.settings))

    def result(self) -> AutotuneResult:
        """Return the best file, and every trial with the reason for its outcome."""
        if self.best is None:
            tried = [state for state in self.trials if state.outcome != "not tried"]
            reasons = "; ".join(f"{state.variant.name}: {state.reason}" for state in tried)
            raise ExportError(f"no variant runs here within the budgets: {reasons}")
        best = self.best
        return AutotuneResult(
            best.state.path,
            best.state.variant.name,
            best.timing.settings,
            best.state.remedy,
            best.state.notes,
            tuple(to_record(state, best, self.trials[0]) for state in self.trials),
        )

    def _remaining_s(self) -> float:
        """Return what is left of the time budget, seconds."""
        return self.budget_s - (time.perf_counter() - self.started_s)

    def _skip_reason(self, variant: Variant) -> str | None:
        """Return why a variant is not tried, else None."""
        if self._remaining_s() < (1 - VARIANTS_TIME_SHARE) * self.budget_s:
            return f"the time budget of {self.budget_s:g} s is used up"
        fallback_only = variant.auto is not None and variant.auto.rescue
        if fallback_only and not any(state.outcome == "quality" for state in self.trials):
            return "only for candidates that lose quality with a faster variant; no variant lost quality here"
        return None

    def _make(self, state: TrialState) -> bool:
        """Write the file of a variant; False if it cannot be made or is too large."""
        started_s = time.perf_counter()
        try:
            made = convert(state.variant, self.prepared, state.path, self.images, self._keeps_quality)
        except (ExportError, OSError) as fault:
            state.set_outcome("failed", str(fault) or type(fault).__name__)
            return False
        state.remedy = made.remedy
        state.notes = made.notes
        state.made_s = time.perf_counter() - started_s
        state.size_bytes = state.path.stat().st_size
        limit = self.limits.get("size_bytes")
        if limit is not None and state.size_bytes > limit:
            sizes = f"file of {state.size_bytes / 2**20:.3g} MiB, budget {limit / 2**20:.3g} MiB"
            state.set_outcome("size", sizes)
            return False
        return True

    def _finalists(self) -> list[TimedFile]:
        """Return the reference, then the best and the next files that passed, fastest first."""
        if self.reference is None:
            return []
        reference = self.reference
        finalists = []
        for timed in sorted(self.passed, key=lambda timed: (timed is not self.best, timed.ratio)):
            if timed.state is reference.state:
                reference = timed
            else:
                finalists.append(timed)
        return [reference, *finalists[:MAX_FINALISTS]]

    def _delete_other_files(self) -> None:
        """Delete all files but those of the final race: the variants of a large model could fill a disk."""
        kept = [timed.state for timed in self._finalists()]
        for state in self.trials:
            if not any(state is other for other in kept):
                with suppress(OSError):
                    state.path.unlink(missing_ok=True)

    def _keeps_quality(self, path: Path) -> bool:
        """Return True if an intermediate file keeps the quality, run with the settings of the best.

        Raises:
            ExportError: the time budget is used up.
        """
        if self.best is not None:
            settings = self.best.timing.settings
        else:
            settings = trial_settings(self.recipe.device)[0]
        if self._remaining_s() < 0:
            raise ExportError(
                f"the time budget of {self.budget_s:g} s was used up before a file kept the quality."
            )
        try:
            with self._model_process(path, settings) as process:
                return self._measure_quality(process).passed
        except MeasurementError:
            return False

    def _model_process(self, path: Path, settings: SessionSettings) -> ModelProcess:
        spec = self.source.trained.preprocess
        return ModelProcess(path, settings, (1, spec.channels, spec.image_size_px, spec.image_size_px))

    def _measure_quality(self, process: ModelProcess) -> Quality:
        logits = process.logits(self.source.pixels("val"), self.source.trained.preprocess)
        if not np.isfinite(logits).all():
            raise MeasurementError(NOT_FINITE)
        return self.source.assess_quality(logits, process.settings)

    def _try_all_settings(self, state: TrialState, settings: Sequence[SessionSettings]) -> None:
        """Try a file with all these settings, a few at a time while the time budget lasts."""
        for start in range(0, len(settings), MAX_OPEN):
            if start == 0 or self._remaining_s() > FINAL_TIME_SHARE * self.budget_s:
                self._try_settings(state, settings[start : start + MAX_OPEN])

    def _try_settings(self, state: TrialState, settings: Sequence[SessionSettings]) -> None:
        """Time a file, interleaved with the best; the fastest accepted settings become the new best."""
        timed: list[_TimedModel] = []
        with ExitStack() as stack:
            processes = self._open(stack, state, settings)
            if processes:
                timed = self._race(stack, state, processes)
            if all(timing.latency_s is None for timing in state.timings):
                reason = state.timings[0].reason if state.timings else "no runtime runs it"
                state.set_outcome("failed", reason)
            self._accept_best(state, timed)

    def _open(
        self, stack: ExitStack, state: TrialState, settings: Sequence[SessionSettings]
    ) -> list[ModelProcess]:
        """Open a file with each of the settings; a failure is recorded."""
        processes = []
        for wanted in settings:
            try:
                processes.append(stack.enter_context(self._model_process(state.path, wanted)))
            except MeasurementError as fault:
                state.timings.append(SettingsTrial(settings=wanted, latency_s=None, reason=str(fault)))
        return processes

    def _race(
        self, stack: ExitStack, state: TrialState, processes: Sequence[ModelProcess]
    ) -> list[_TimedModel]:
        """Time the processes of a file in turn; record all timings and return those that ran."""
        results, ratios = self._time_with_best(stack, processes)
        to_float32 = (state if self.reference is None else self.reference.state).variant.name == FLOAT32
        timed = []
        for process, result, ratio in zip(processes, results, ratios, strict=True):
            timing = timing_of(process, result, ratio if to_float32 else None)
            state.timings.append(timing)
            if timing.latency_s is not None:
                timed.append(_TimedModel(timing, process, ratio))
        if self.reference is None and timed:
            fastest = min(timed, key=lambda model: model.ratio or 1.0)
            self.reference = TimedFile(state, fastest.timing, fastest.ratio or 1.0)
        return timed

    def _time_with_best(
        self, stack: ExitStack, processes: Sequence[ModelProcess]
    ) -> tuple[list[ParticipantLatencies], list[float | None]]:
        """Time the processes in turn with the best; if that does not run, with the reference.

        Returns:
            The latencies and the ratios to the reference; in the first race, to its fastest. They are None if
            neither the best nor the reference runs any more.
        """
        limit_s = self._remaining_s() - FINAL_TIME_SHARE * self.budget_s
        rules = replace(TIMING_RULES, limit_s=max(MIN_TIMING_S, min(TIMING_RULES.limit_s, limit_s)))
        anchors = [anchor for anchor in (self.best, self.reference) if anchor is not None]
        for anchor in anchors:
            with suppress(MeasurementError):
                beside = stack.enter_context(self._model_process(anchor.state.path, anchor.timing.settings))
                anchored, *results = time_in_turn((beside, *processes), rules)
                if anchored.latencies_s:
                    return results, [chained_ratio(result, anchored, anchor.ratio) for result in results]
        results = time_in_turn(processes, rules)
        if self.best is not None:
            return results, [None] * len(results)
        self.reference = None
        return results, ratios_to_fastest(results)

    def _accept_best(self, state: TrialState, timed: Sequence[_TimedModel]) -> None:
        """Measure the quality, fastest settings first, until one passes.

        If no settings are faster than the best, the quality is measured once, for the record.
        """
        for timing, process, ratio in sorted(timed, key=lambda model: model.ratio or 0.0):
            too_large = memory_fault(timing, self.limits.get("peak_memory_bytes"))
            if too_large is not None:
                state.set_outcome("memory", too_large)
                continue
            faster = self.best is None or is_below(ratio, FASTER_RATIO * self.best.ratio)
            if not faster and state.quality is not None:
                return
            try:
                quality = self._measure_quality(process)
            except MeasurementError as fault:
                state.set_outcome("failed", str(fault))
                continue
            accepted = faster and quality.passed
            # Of the best file, the quality under its best settings is kept.
            if accepted or self.best is None or self.best.state is not state:
                state.quality = quality
            if quality.passed and ratio is not None:
                self._add_passed(TimedFile(state, timing, ratio, quality), is_best=faster)
            if faster and not quality.passed:
                state.set_outcome("quality", quality.reason)
                continue
            # The outcome of all that ran; `to_record` marks the best as chosen.
            state.set_outcome("slower", "")
            return

    def _add_passed(self, timed: TimedFile, is_best: bool) -> None:
        self.passed = [other for other in self.passed if other.state is not timed.state]
        self.passed.append(timed)
        if is_best:
            self.best = timed

    def race_finalists(self) -> None:
        """Time the best files and float32 again, in turn: the fastest that passed is the best.

        It is float32 if no other that passed is shown to be faster.
        """
        finalists = self._finalists()
        if self.best is None or len(finalists) < 2:
            return
        results = self._time_finalists(finalists)
        passed = [timed for timed in finalists if timed in self.passed and timed in results]
        winner = winner_of(passed, finalists[0], results)
        if winner is not None:
            self.best = winner
            winner.state.quality = winner.quality

    def _time_finalists(self, finalists: Sequence[TimedFile]) -> dict[TimedFile, ParticipantLatencies]:
        """Time the finalists in turn and record it; return the latencies of those that ran."""
        opened: dict[TimedFile, ModelProcess] = {}
        with ExitStack() as stack:
            for timed in finalists:
                with suppress(MeasurementError):
                    process = self._model_process(timed.state.path, timed.timing.settings)
                    opened[timed] = stack.enter_context(process)
            limit_s = max(MIN_TIMING_S, min(FINAL_RULES.limit_s, self._remaining_s()))
            timings = time_in_turn(tuple(opened.values()), replace(FINAL_RULES, limit_s=limit_s))
            results = dict(zip(opened, timings, strict=True))
            float32 = results.get(finalists[0]) if finalists[0].state.variant.name == FLOAT32 else None
            for timed, result in results.items():
                ratio = None if float32 is None else latency_ratio(result, float32)
                timed.state.final = timing_of(opened[timed], result, ratio)
        return {timed: result for timed, result in results.items() if result.latencies_s}
