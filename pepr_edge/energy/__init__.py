"""What work on this machine costs: counters or declared watts, joules and CO2eq."""

__all__ = ["carbon", "counter", "meter", "nvml", "rapl", "source"]
