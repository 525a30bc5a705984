"""The energy of work on this machine, from counters or declared watts, in joules and CO2eq."""

__all__ = ["carbon", "counter", "meter", "nvml", "rapl", "source"]
