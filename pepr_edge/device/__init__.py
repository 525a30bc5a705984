"""The device: what it is, and what disturbs a measurement on it."""

__all__ = ["cpu", "facts", "interference", "load", "preflight", "saturation", "system_files", "threads"]
