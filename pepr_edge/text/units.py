"""Format numbers for people: the code has SI units, texts have ms, MiB and kWh; None is "not measured"."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

MISSING = "not measured"
METRIC_NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC",
    "f1": "F1",
    "sensitivity_at_specificity": "sensitivity at 90 % specificity",
    "specificity_at_sensitivity": "specificity at 90 % sensitivity",
    "expected_calibration_error": "expected calibration error",
    "cohen_kappa": "Cohen's kappa",
    "quadratic_kappa": "quadratic weighted kappa",
    "mean_absolute_error": "mean absolute error, in grades",
    "mean_auroc": "mean AUROC",
    "mean_average_precision": "mean average precision",
    "sensitivity_at_decision": "sensitivity of its decisions",
    "specificity_at_decision": "specificity of its decisions",
    "ppv_at_decision": "positive predictive value of its decisions",
    "npv_at_decision": "negative predictive value of its decisions",
    "mean_f1_at_decision": "F1 of its decisions, mean over the findings",
    "mean_sensitivity_at_decision": "sensitivity of its decisions, mean over the findings",
    "mean_specificity_at_decision": "specificity of its decisions, mean over the findings",
    "calibrated_expected_calibration_error": "expected calibration error, calibrated",
    "referred_share": "share of referred images",
    "accuracy_if_answered": "accuracy on the images that are not referred",
}
SPLIT_NAMES = {"train": "training", "val": "validation", "test": "test"}
STATUS_NAMES = {
    "ok": "not ranked",
    "over_budget": "rejected",  # over a budget, or below the required quality
    "no_skill": "no skill shown",
    "dropped": "not fully trained",
    "failed": "failed",
}
MIB = 2.0**20

_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")  # terminal escape sequences (ECMA-48) in logs
_METRIC_AT = re.compile(r"(sensitivity|specificity)_at_(sensitivity|specificity)_(0\.[0-9]+)")


def significant(value: float, digits: int = 3) -> str:
    """Return a number with that many significant digits, without an exponent; its whole part stays exact."""
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"


def _with_unit(value: float | None, scale: float, unit: str, digits: int) -> str:
    return MISSING if value is None else f"{significant(value / scale, digits)} {unit}"


def ms(seconds: float | None, digits: int = 3) -> str:
    """Format seconds as milliseconds."""
    return _with_unit(seconds, 1e-3, "ms", digits)


def mib(size_bytes: float | None, digits: int = 3) -> str:
    """Format bytes as MiB."""
    return _with_unit(size_bytes, MIB, "MiB", digits)


def energy(joules: float | None, digits: int = 3) -> str:
    """Format joules as Wh, or as kWh from 1 kWh."""
    if joules is not None and joules >= 3.6e6:
        return _with_unit(joules, 3.6e6, "kWh", digits)
    return _with_unit(joules, 3600.0, "Wh", digits)


def co2eq(grams: float | None, digits: int = 3) -> str:
    """Format grams of CO2 equivalent as g, or as kg from 1 kg."""
    if grams is not None and grams >= 1000:
        return _with_unit(grams, 1000.0, "kg", digits)
    return _with_unit(grams, 1.0, "g", digits)


def duration(seconds: float | None) -> str:
    """Format seconds as seconds, minutes or hours."""
    if seconds is None:
        return MISSING
    if seconds < 120:
        return f"{significant(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def count(value: float | None) -> str:
    """Format a whole number with a comma between thousands."""
    return MISSING if value is None else f"{round(value):,}"


def plural(number: int, noun: str) -> str:
    """Return `1 thread`, `2 threads`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def image_count(number: float) -> str:
    """Return a number of images, rounded to three significant digits."""
    rounded = round(float(f"{number:.3g}"))
    return "1 image" if rounded == 1 else f"{rounded:,} images"


def percent(share: float | None, decimals: int = 0) -> str:
    """Format a share as per cent; in whole per cent, a share above 0 never reads as 0 %."""
    value = 100 * (share or 0.0)
    if decimals:
        return f"{value:.{decimals}f} %"
    return "<1 %" if 0 < value < 1 else f"{value:.0f} %"


def probability(share: float | None) -> str:
    """Format an estimated probability as whole per cent; it never reads as certain, 0 % or 100 %."""
    value = 100 * (share or 0.0)
    if value >= 99.5:
        return ">99 %"
    return "<1 %" if value < 0.5 else f"{value:.0f} %"


def capitalised(text: str) -> str:
    """Capitalise the first letter; the others stay."""
    return text[:1].upper() + text[1:]


def listed(names: Sequence[str], limit: int | None = None) -> str:
    """Return `a`, `a and b`, `a, b and c`; of more names than the limit `a, b and 3 more`."""
    if limit is not None and len(names) > limit:
        names = [*names[:limit], f"{len(names) - limit} more"]
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def score(value: float | None, digits: int = 3) -> str:
    """Format a performance or a PePR score; a value just below 1 is shown with more digits."""
    if value is None:
        return MISSING
    text = f"{value:.{digits}f}"
    rounded_up_to_1 = value < 1 <= float(text)
    return score(value, digits + 1) if rounded_up_to_1 and digits < 6 else text


def performance(value: float | None, ci: tuple[float, float] | None, digits: int = 3) -> str:
    """Format a performance with its 95 % interval: `0.87 (0.84 to 0.89)`."""
    if value is None or ci is None:
        return score(value, digits)
    return f"{score(value, digits)} ({score(ci[0], digits)} to {score(ci[1], digits)})"


def metric(name: str) -> str:
    """Return a metric's name for people; the prefix `val_` becomes "validation"."""
    if name.startswith("val_"):
        return f"validation {metric(name[4:])}"
    at = _METRIC_AT.fullmatch(name)
    if at:
        return f"{at[1]} at {100 * float(at[3]):g} % {at[2]}"
    return METRIC_NAMES.get(name, name)


def log_line(text: str) -> str:
    """Remove terminal colours and replace each control character by a space."""
    return "".join(char if char.isprintable() else " " for char in _ANSI.sub("", text))


def printable(text: str) -> str:
    """Return text on one line, without terminal colours, control characters or repeated spaces."""
    return " ".join(log_line(text).split())


# Resource of a ranking -> its name, and the function that formats its values.
RESOURCES: dict[str, tuple[str, Callable[[float | None], str]]] = {
    "train_energy": ("training energy", energy),
    "train_co2eq": ("training CO2eq", co2eq),
    "train_time": ("training time", duration),
    "train_memory": ("training memory, peak", mib),
    "train_data": ("training images", count),
    "latency": ("latency, p90", ms),
    "peak_memory": ("memory on the device, peak", mib),
}


def resource(name: str, value: float | None) -> str:
    """Format a resource's value with its unit."""
    if name in RESOURCES:
        return RESOURCES[name][1](value)
    return MISSING if value is None else significant(value)
