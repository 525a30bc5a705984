"""Warnings about a device on which something may disturb a measurement, with advice.

A warning lowers confidence in the figures. It does not make the measurement INVALID.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import psutil

from pepr_edge.device.cpu import usable_cores
from pepr_edge.device.facts import clock_frequency, governor, is_self_governed, on_battery, temperature_c
from pepr_edge.device.load import busy_message
from pepr_edge.records import DeviceProfile, SessionSettings

# A check takes some milliseconds, and may wake an idle core.
CHECK_EVERY_S = 10.0
# Laptops and boards begin to throttle between 80 and 100 degrees.
HOT_C = 85.0
# While a model runs, the fastest core should not be below this share of its maximum frequency.
SLOW_SHARE = 0.7
# Share of the CPU time of the measurement that the hypervisor may take.
MAX_STEAL_SHARE = 0.02
# Share of the memory that should be free.
MIN_FREE_SHARE = 0.1
# Share of the memory limit of a control group that the process may use.
MAX_LIMIT_SHARE = 0.9

# Kind of a warning -> its message.
Warnings = Mapping[str, str]


class InterferenceMonitor:
    """Collects the warnings of one measurement, one of each kind."""

    def __init__(
        self, settings: SessionSettings, *, first: bool, warn: Callable[[str], None] | None = None
    ) -> None:
        """Check the device before the measurement.

        Args:
            settings: the runtime settings.
            first: nothing was measured before, so that all load comes from other programs.
            warn: called with each warning as soon as it is known.
        """
        self._warnings: dict[str, str] = {}
        self._warn = warn
        self._next_check_s = 0.0
        self._add(power())
        self._add(threads(settings))
        if first:
            self._add(other_programs())

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings so far."""
        return tuple(self._warnings.values())

    def check(self) -> None:
        """Check the device while the model runs, if a check is due."""
        if time.perf_counter() < self._next_check_s:
            return
        self._next_check_s = time.perf_counter() + CHECK_EVERY_S
        for condition in (power, heat, frequency, memory):
            self._add(condition())

    def end(self, measured: DeviceProfile) -> None:
        """Check the results of the measurement."""
        self._add(steal(measured))
        self._add(limit(measured))

    def _add(self, warnings: Warnings) -> None:
        for kind, message in warnings.items():
            if kind not in self._warnings:
                self._warnings[kind] = message
                if self._warn is not None:
                    self._warn(message)


def power() -> Warnings:
    """Warn if the device saves power."""
    warnings = {}
    if on_battery():
        warnings["battery"] = "on battery: plug the device in and measure again"
    if governor() == "powersave" and not is_self_governed():
        warnings["governor"] = (
            "the frequency governor is powersave, the processor may run below its speed: "
            "run `sudo cpupower frequency-set -g performance` and measure again, or say so beside the figures"
        )
    return warnings


def threads(settings: SessionSettings) -> Warnings:
    """Warn if there are more threads than cores."""
    cores = usable_cores()
    if settings.threads <= cores:
        return {}
    noun = "core" if cores == 1 else "cores"
    return {"threads": f"{settings.threads} threads on {cores} usable {noun}: give at most --threads {cores}"}


def other_programs() -> Warnings:
    """Warn if other programs use the CPU."""
    message = busy_message(usable_cores())
    return {"load": f"{message}: close them and measure again"} if message else {}


def heat() -> Warnings:
    """Warn if the processor is so hot that it may throttle."""
    celsius = temperature_c()
    if celsius is None or celsius <= HOT_C:
        return {}
    advice = "give it air, let it cool and measure again"
    return {"heat": f"the processor is at {celsius:.0f} degrees Celsius: {advice}"}


def frequency() -> Warnings:
    """Warn if even the fastest core runs slowly. To be called while the model runs."""
    cores = clock_frequency(percpu=True) or []
    fastest = max(cores, key=lambda core: float(core.current or 0.0), default=None)
    if fastest is None or not fastest.max or fastest.current >= SLOW_SHARE * fastest.max:
        return {}
    speed = f"{fastest.current:.0f} of {fastest.max:.0f} MHz"
    advice = "plug the device in, end its power saving, let it cool and measure again"
    return {"frequency": f"the processor runs at {speed}: {advice}"}


def memory() -> Warnings:
    """Warn if the machine is about to swap."""
    system = psutil.virtual_memory()
    if system.available >= MIN_FREE_SHARE * system.total:
        return {}
    free = f"{system.available / 2**20:.0f} MiB of {system.total / 2**20:.0f} left"
    return {"memory": f"memory is nearly full, {free}: close other programs and measure again"}


def steal(measured: DeviceProfile) -> Warnings:
    """Warn if the hypervisor gave much CPU time to other virtual machines."""
    pace_s = measured.paced_s or 0.0
    duration_s = sum(max(latency_s, pace_s) for latency_s in measured.latencies_s)
    share = (measured.steal_s or 0.0) / max(duration_s * measured.device.cores, 1e-9)
    if share <= MAX_STEAL_SHARE:
        return {}
    advice = "measure again when the host is quiet, or on a real device"
    return {"steal": f"other virtual machines took {100 * share:.0f} % of the CPU time: {advice}"}


def limit(measured: DeviceProfile) -> Warnings:
    """Warn if the model nearly fills the memory limit of its control group."""
    limit_bytes = measured.device.cgroup_memory_bytes
    peak_bytes = measured.peak_memory_bytes
    if limit_bytes is None or peak_bytes is None or peak_bytes <= MAX_LIMIT_SHARE * limit_bytes:
        return {}
    sizes = f"the model's {peak_bytes / 2**20:.0f} MiB nearly fill the limit of {limit_bytes / 2**20:.0f}"
    return {"limit": f"{sizes}: allow more, or take a smaller model"}
