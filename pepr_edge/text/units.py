"""Figures as people read them: SI inside, ms, MiB and kWh here. What is None reads "not measured", never 0."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

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
}
SPLIT_NAMES = {"train": "training", "val": "validation", "test": "test"}
STATUS_NAMES = {
    "ok": "not ranked",
    "over_budget": "over budget",
    "dropped": "not trained to its end",
    "failed": "failed",
}
MIB = 2.0**20

# ANSI escape sequences (ECMA-48), as logs of training tools hold them.
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


def significant(value: float, digits: int = 3) -> str:
    """A number with that many significant digits, never with an exponent and never less than its whole part."""
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"


def _with_unit(value: float | None, scale: float, unit: str, digits: int) -> str:
    return MISSING if value is None else f"{significant(value / scale, digits)} {unit}"


def ms(seconds: float | None, digits: int = 3) -> str:
    """Seconds as milliseconds."""
    return _with_unit(seconds, 1e-3, "ms", digits)


def mib(size_bytes: float | None, digits: int = 3) -> str:
    """Bytes as MiB."""
    return _with_unit(size_bytes, MIB, "MiB", digits)


def energy(joules: float | None, digits: int = 3) -> str:
    """Joules as Wh, or as kWh from 1 kWh."""
    if joules is not None and joules >= 3.6e6:
        return _with_unit(joules, 3.6e6, "kWh", digits)
    return _with_unit(joules, 3600.0, "Wh", digits)


def co2eq(grams: float | None, digits: int = 3) -> str:
    """Grams of CO2 equivalent, or kilograms from 1 kg."""
    if grams is not None and grams >= 1000:
        return _with_unit(grams, 1000.0, "kg", digits)
    return _with_unit(grams, 1.0, "g", digits)


def duration(seconds: float | None) -> str:
    """Seconds as seconds, minutes or hours."""
    if seconds is None:
        return MISSING
    if seconds < 120:
        return f"{significant(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def count(value: float | None) -> str:
    """A whole number, thousands set apart."""
    return MISSING if value is None else f"{round(value):,}"


def plural(number: int, noun: str) -> str:
    """`1 thread`, `2 threads`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def score(value: float | None, digits: int = 3) -> str:
    """A performance or a PePR score. What is not quite 1 never reads as 1.00: it gets another digit."""
    if value is None:
        return MISSING
    text = f"{value:.{digits}f}"
    return score(value, digits + 1) if value < 1 <= float(text) and digits < 6 else text


def performance(value: float | None, ci: tuple[float, float] | None, digits: int = 3) -> str:
    """A performance with its 95 % interval: `0.87 (0.84 to 0.89)`."""
    if value is None or ci is None:
        return score(value, digits)
    return f"{score(value, digits)} ({score(ci[0], digits)} to {score(ci[1], digits)})"


def metric(name: str) -> str:
    """A metric's name as people write it; `val_` in front means on validation."""
    if name.startswith("val_"):
        return f"validation {metric(name[4:])}"
    if found := re.fullmatch(r"(sensitivity|specificity)_at_(sensitivity|specificity)_(0\.[0-9]+)", name):
        return f"{found[1]} at {100 * float(found[3]):g} % {found[2]}"
    return METRIC_NAMES.get(name, name)


def log_line(text: str) -> str:
    """A line without terminal colours, each control character a space."""
    return "".join(char if char.isprintable() else " " for char in _ANSI.sub("", text))


def printable(text: str) -> str:
    """Text on one line, without terminal colours, control characters and doubled spaces."""
    return " ".join(log_line(text).split())


# Resource of a ranking -> its name in words, and how its values are written.
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
    """A resource's value with its unit."""
    return (
        RESOURCES[name][1](value) if name in RESOURCES else (MISSING if value is None else significant(value))
    )
