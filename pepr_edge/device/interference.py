"""What on the device may disturb a measurement, and what to do about it. A warning is no INVALID: the figures stand, but say less."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import psutil

from pepr_edge.device.cpu import usable_cores
from pepr_edge.device.facts import governor, governs_itself, on_battery, temperature_c
from pepr_edge.device.load import busy
from pepr_edge.records import DeviceProfile, SessionSettings

# A look takes some milliseconds, and may wake a core that was to be left alone.
CHECK_EVERY_S = 10.0
# Laptops and boards begin to throttle between 80 and 100 degrees.
HOT_C = 85.0
# Share of the greatest frequency below which the fastest core should not fall while a model runs on it.
SLOW_SHARE = 0.7
# Shares of what the hypervisor took of the measuring's CPU time, of memory left, and of a limit that the process may reach.
MAX_STEAL, LEAST_FREE, NEAR_LIMIT = 0.02, 0.1, 0.9

# Kind of a warning -> its words.
Warnings = Mapping[str, str]


class InterferenceMonitor:
    """The warnings of one measurement; each kind is given once."""

    def __init__(
        self, settings: SessionSettings, *, first: bool, tell: Callable[[str], None] | None = None
    ) -> None:
        """Look at the device before.

        Args:
            settings: how the runtime is to run.
            first: nothing was measured just before: what is at work on the machine are others.
            tell: called with each warning as soon as it is known.
        """
        self._found: dict[str, str] = {}
        self._tell = tell
        self._due_s = 0.0
        self._note({**power(), **threads(settings), **(others() if first else {})})

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those so far."""
        return tuple(self._found.values())

    def check(self) -> None:
        """Look at the device while the model runs, if it is time again."""
        if time.perf_counter() >= self._due_s:
            self._due_s = time.perf_counter() + CHECK_EVERY_S
            self._note({**power(), **heat(), **frequency(), **memory()})

    def end(self, measured: DeviceProfile) -> None:
        """Look at what was measured."""
        self._note({**steal(measured), **limit(measured)})

    def _note(self, found: Warnings) -> None:
        for kind, words in found.items():
            if kind not in self._found and self._tell is not None:
                self._tell(words)
            self._found.setdefault(kind, words)


def power() -> Warnings:
    """Whether something saves power."""
    found = {}
    if on_battery():
        found["battery"] = "on battery: plug the device in and measure again"
    if governor() == "powersave" and not governs_itself():
        advice = (
            "run `sudo cpupower frequency-set -g performance` and measure again, or say so beside the figures"
        )
        found["governor"] = (
            f"the frequency governor is powersave, the processor may run below its speed: {advice}"
        )
    return found


def threads(settings: SessionSettings) -> Warnings:
    """Whether threads will wait for each other's cores."""
    cores = usable_cores()
    if settings.threads <= cores:
        return {}
    return {
        "threads": f"{settings.threads} threads on {cores} usable core{'s' * (cores > 1)}: give at most --threads {cores}"
    }


def others() -> Warnings:
    """Whether other programs are at work."""
    words = busy(usable_cores())
    return {"load": f"{words}: close them and measure again"} if words else {}


def heat() -> Warnings:
    """Whether the processor is about to slow itself down."""
    found = temperature_c()
    if found is None or found <= HOT_C:
        return {}
    return {
        "heat": f"the processor is at {found:.0f} degrees Celsius: give it air, let it cool and measure again"
    }


def frequency() -> Warnings:
    """Whether even the fastest core runs slowly; to be asked while the model runs."""
    try:
        cores = psutil.cpu_freq(percpu=True) or []
    except (OSError, NotImplementedError, AttributeError, RuntimeError):
        return {}
    fastest = max(cores, key=lambda core: float(core.current or 0.0), default=None)
    if fastest is None or not fastest.max or fastest.current >= SLOW_SHARE * fastest.max:
        return {}
    speeds = f"{fastest.current:.0f} of {fastest.max:.0f} MHz"
    return {
        "frequency": f"the processor runs at {speeds}: plug the device in, end its power saving, let it cool and measure again"
    }


def memory() -> Warnings:
    """Whether the machine is about to swap."""
    found = psutil.virtual_memory()
    if found.available >= LEAST_FREE * found.total:
        return {}
    left = f"{found.available / 2**20:.0f} MiB of {found.total / 2**20:.0f} left"
    return {"memory": f"memory is nearly out, {left}: close other programs and measure again"}


def steal(measured: DeviceProfile) -> Warnings:
    """Whether the hypervisor gave the CPU to other virtual machines."""
    each_s = (max(latency, measured.paced_s or 0.0) for latency in measured.latencies_s)
    share = (measured.steal_s or 0.0) / max(sum(each_s) * measured.device.cores, 1e-9)
    if share <= MAX_STEAL:
        return {}
    return {
        "steal": f"other virtual machines took {share:.0%} of the CPU time: measure again when the host is quiet, or on a real device"
    }


def limit(measured: DeviceProfile) -> Warnings:
    """Whether the model nearly fills the memory that its control group may have."""
    most, peak = measured.device.cgroup_memory_bytes, measured.peak_memory_bytes
    if most is None or peak is None or peak <= NEAR_LIMIT * most:
        return {}
    return {
        "limit": f"the model's {peak / 2**20:.0f} MiB nearly fill the limit of {most / 2**20:.0f}: allow more, or take a smaller model"
    }
