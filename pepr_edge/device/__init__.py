"""What the device is, and what disturbs a measurement on it."""

__all__ = ["cpu", "facts", "interference", "load", "preflight", "saturation"]
